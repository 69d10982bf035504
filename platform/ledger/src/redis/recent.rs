//! What a gateway core was told is held and has not read on the journal as counting, in case Redis forgets it.
//!
//! Redis writes its append-only file before it answers, but not while a sync of that file is running: a crash then loses
//! up to two seconds of answers that clients have had. A server that is replaced by its replica loses what was not copied.
//! If much is remembered, or for long, the log is away or behind. The core stops selling then, because what only Redis and
//! one gateway know is lost with both.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use contract::{
    ActivityId, OrderId,
    stock::{BatchReply, Outcome, Promise, Reservation},
};

/// Orders that were confirmed once more may be on the journal for long; they are remembered for this time.
const REPEATED_MS: u64 = 60_000;
/// How often they are searched for those that are older.
const EXPIRE_EVERY_MS: u64 = 10_000;
/// Orders that were confirmed once more, of one core; beyond it the oldest are forgotten. 8 MiB.
const REPEATED_MAX: usize = 64 * 1024;

/// When a core stops selling because the journal does not have what it has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnconfirmedLimits {
    /// Orders.
    pub orders_max: usize,
    /// The age of the oldest.
    pub age_max_ms: u64,
}

impl Default for UnconfirmedLimits {
    fn default() -> Self {
        Self { orders_max: 200_000, age_max_ms: 60_000 }
    }
}

/// What one core remembers.
#[derive(Debug, Default)]
pub struct RecentHolds {
    limits: UnconfirmedLimits,
    holds: Mutex<Holds>,
}

/// Ids of orders grow with time, so the first of a map is its oldest.
#[derive(Debug, Default)]
struct Holds {
    confirmed: BTreeMap<OrderId, (ActivityId, Promise)>,
    /// Orders that had been held before, so that the core may have read them long ago.
    repeated: BTreeMap<OrderId, (ActivityId, Promise)>,
    expire_at_ms: u64,
}

impl RecentHolds {
    /// A core's memory that is full at `limits`.
    pub fn new(limits: UnconfirmedLimits) -> Self {
        Self { limits, holds: Mutex::default() }
    }

    /// Takes the ledger's reply to `asked`.
    pub fn remember(&self, activity: ActivityId, asked: &[Reservation], reply: &BatchReply, now_ms: u64) {
        let mut holds = self.holds();
        if now_ms >= holds.expire_at_ms {
            holds.expire_at_ms = now_ms + EXPIRE_EVERY_MS;
            holds.repeated.retain(|_, (_, remembered)| remembered.at_ms + REPEATED_MS >= now_ms);
        }
        for (reservation, outcome) in asked.iter().zip(&reply.outcomes) {
            let Outcome::Held { order, repeated } = *outcome else { continue };
            let remembered = Promise { reservation: Reservation { order, ..*reservation }, at_ms: now_ms };
            if !repeated {
                holds.confirmed.insert(order, (activity, remembered));
            } else if !holds.confirmed.contains_key(&order) {
                while holds.repeated.len() >= REPEATED_MAX {
                    holds.repeated.pop_first();
                }
                holds.repeated.entry(order).or_insert((activity, remembered));
            }
        }
    }

    /// The journal has these orders, as entries that count.
    pub fn forget(&self, orders: impl IntoIterator<Item = OrderId>) {
        let mut holds = self.holds();
        for order in orders {
            if holds.confirmed.is_empty() && holds.repeated.is_empty() {
                return;
            }
            holds.confirmed.remove(&order);
            holds.repeated.remove(&order);
        }
    }

    /// Whether the core must not confirm more orders.
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.unconfirmed() >= self.limits.orders_max || self.oldest_ms(now_ms) > self.limits.age_max_ms
    }

    /// The age of the oldest order that was confirmed and not read on the journal, in milliseconds; 0 if there is none.
    pub fn oldest_ms(&self, now_ms: u64) -> u64 {
        let holds = self.holds();
        let oldest = holds.confirmed.first_key_value();
        oldest.map_or(0, |(_, (_, remembered))| now_ms.saturating_sub(remembered.at_ms))
    }

    /// Orders that were confirmed and not read on the journal.
    pub fn unconfirmed(&self) -> usize {
        self.holds().confirmed.len()
    }

    /// All that is remembered, oldest first.
    pub fn all(&self) -> Vec<(ActivityId, Promise)> {
        let holds = self.holds();
        holds.repeated.values().chain(holds.confirmed.values()).copied().collect()
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use contract::{
        UserId,
        stock::{Counters, Term},
    };

    use super::*;

    fn reply(recent: &RecentHolds, id: i64, repeated: bool, now_ms: u64) {
        let order = OrderId::from_i64(id).unwrap();
        // A repeat has an order id of its own, which nobody gets.
        let asked = OrderId::from_i64(1_000 + id).unwrap();
        let asked = Reservation { order: asked, user: UserId::from_i64(1).unwrap(), request: None, quantity: 1 };
        let counters = Counters { total: 9, available: 9, held: 0, sold: 0, term: Term::FIRST, epoch: 1, seq: 1 };
        let outcomes = vec![Outcome::Held { order, repeated }];
        recent.remember(ActivityId::from_i64(7).unwrap(), &[asked], &BatchReply { outcomes, counters }, now_ms);
    }

    fn orders(recent: &RecentHolds) -> Vec<i64> {
        recent.all().iter().map(|(_, held)| held.reservation.order.as_i64()).collect()
    }

    #[test]
    fn an_order_is_remembered_until_the_journal_has_it() {
        let recent = RecentHolds::default();
        for id in [1, 2, 3] {
            reply(&recent, id, false, 1_000);
        }
        reply(&recent, 3, true, 1_001);
        reply(&recent, 4, true, 1_001);
        assert_eq!((orders(&recent), recent.unconfirmed()), (vec![4, 1, 2, 3], 3));
        recent.forget([2, 9].map(|id| OrderId::from_i64(id).unwrap()));
        assert_eq!(orders(&recent), [4, 1, 3]);
        reply(&recent, 5, false, 1_000_000);
        assert_eq!(orders(&recent), [1, 3, 5], "repeats for a minute, the others for as long as it takes");
    }

    #[test]
    fn too_many_or_too_old_is_full() {
        let recent = RecentHolds::new(UnconfirmedLimits { orders_max: 2, age_max_ms: 500 });
        assert!(!recent.is_full(u64::MAX));
        reply(&recent, 9, true, 0);
        reply(&recent, 1, false, 1_000);
        assert!(!recent.is_full(1_500) && recent.is_full(1_501), "by the oldest, and repeats do not count");
        reply(&recent, 2, false, 1_001);
        assert!(recent.is_full(1_001), "by their number");
        recent.forget([OrderId::from_i64(1).unwrap()]);
        assert!(!recent.is_full(1_501));
    }
}
