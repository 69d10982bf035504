//! Orders that Redis reported to a gateway core as held and that the core has not read on the journal as counting, in
//! case Redis loses them.
//!
//! Redis writes its append-only file before it answers, but not while a sync of that file is running: a crash then loses
//! up to two seconds of answers that clients have had. A server that is replaced by its replica loses what was not copied.
//! If much is remembered, or for long, the log is away or behind. The core stops selling then, because what only Redis and
//! one gateway know is lost with both.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use contract::{
    ActivityId, OrderId,
    stock::{BatchReply, Counters, Outcome, Promise, Reservation, Term},
};

use super::Settled;

/// Orders that were confirmed once more may be on the journal for long; they are remembered for this time.
const REPEATED_MS: u64 = 60_000;
/// How often they are searched for those that are older.
const EXPIRE_EVERY_MS: u64 = 10_000;
/// Orders that were confirmed once more, of one core; beyond it the oldest are forgotten. 8 MiB.
const REPEATED_MAX: usize = 64 * 1024;
/// Orders that were decided in recoveries and are kept in mind, in case their replies come later.
const OUT_OF_TURN_MAX: usize = 64 * 1024;
/// Promises that were left behind by a term and are reported at a time.
const LEFT_BEHIND_MAX: usize = 4_096;

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
    confirmed: BTreeMap<OrderId, Remembered>,
    /// Orders that had been held before, so that the core may have read them long ago.
    repeated: BTreeMap<OrderId, Remembered>,
    /// The term of each ledger that the journal has opened last.
    opened: BTreeMap<ActivityId, Term>,
    /// How far the journal was read, in each term.
    read: BTreeMap<(ActivityId, Term), u64>,
    /// Orders that were decided otherwise than by their number.
    out_of_turn: BTreeSet<OrderId>,
    expire_at_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    activity: ActivityId,
    /// The term of the reply.
    term: Term,
    promise: Promise,
}

impl Holds {
    /// Whether the journal was read up to the hold that `later` others of its batch follow. `counters` are the batch's.
    fn has_read(&self, activity: ActivityId, counters: &Counters, later: u64) -> bool {
        let read = self.read.get(&(activity, counters.term));
        read.is_some_and(|read| *read >= counters.seq.saturating_sub(later))
    }
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
            holds.repeated.retain(|_, remembered| remembered.promise.at_ms + REPEATED_MS >= now_ms);
        }
        let is_new = |outcome: &&Outcome| matches!(outcome, Outcome::Held { repeated: false, .. });
        let mut new_holds = reply.outcomes.iter().filter(is_new).count() as u64;
        for (reservation, outcome) in asked.iter().zip(&reply.outcomes) {
            let Outcome::Held { order, repeated } = *outcome else { continue };
            // The journal may be read before the reply, if this process was slow.
            new_holds -= u64::from(!repeated);
            let is_read = !repeated && holds.has_read(activity, &reply.counters, new_holds);
            if is_read || holds.out_of_turn.contains(&order) {
                continue;
            }
            let promise = Promise { reservation: Reservation { order, ..*reservation }, at_ms: now_ms };
            let remembered = Remembered { activity, term: reply.counters.term, promise };
            if !repeated {
                holds.confirmed.insert(order, remembered);
            } else if !holds.confirmed.contains_key(&order) {
                while holds.repeated.len() >= REPEATED_MAX {
                    holds.repeated.pop_first();
                }
                holds.repeated.entry(order).or_insert(remembered);
            }
        }
    }

    /// Takes what the journal has settled.
    pub fn settle(&self, Settled { orders, out_of_turn, read, opened }: &Settled) {
        let mut holds = self.holds();
        holds.opened.extend(opened);
        holds.read.extend(read);
        holds.out_of_turn.extend(out_of_turn);
        while holds.out_of_turn.len() > OUT_OF_TURN_MAX {
            holds.out_of_turn.pop_first();
        }
        for order in orders {
            if holds.confirmed.is_empty() && holds.repeated.is_empty() {
                return;
            }
            holds.confirmed.remove(order);
            holds.repeated.remove(order);
        }
    }

    /// Promises of a term that was followed by another one, which has opened without them: the oldest of each ledger, at
    /// most [`LEFT_BEHIND_MAX`] in all. The recovery did not learn of them, because this gateway was late, or had its
    /// replies from a server that had been replaced.
    pub fn left_behind(&self) -> Vec<(ActivityId, Promise)> {
        let holds = self.holds();
        if holds.opened.is_empty() {
            return Vec::new();
        }
        let is_left =
            |found: &&Remembered| holds.opened.get(&found.activity).is_some_and(|opened| found.term < *opened);
        let left = holds.repeated.values().chain(holds.confirmed.values()).filter(is_left).take(LEFT_BEHIND_MAX);
        left.map(|found| (found.activity, found.promise)).collect()
    }

    /// Whether the core must not confirm more orders.
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.unconfirmed() >= self.limits.orders_max || self.oldest_ms(now_ms) > self.limits.age_max_ms
    }

    /// The age of the oldest order that was confirmed and not read on the journal, in milliseconds; 0 if there is none.
    pub fn oldest_ms(&self, now_ms: u64) -> u64 {
        let holds = self.holds();
        let oldest = holds.confirmed.first_key_value();
        oldest.map_or(0, |(_, remembered)| now_ms.saturating_sub(remembered.promise.at_ms))
    }

    /// Orders that were confirmed and not read on the journal.
    pub fn unconfirmed(&self) -> usize {
        self.holds().confirmed.len()
    }

    /// All that is remembered, oldest first.
    pub fn all(&self) -> Vec<(ActivityId, Promise)> {
        let holds = self.holds();
        let all = holds.repeated.values().chain(holds.confirmed.values());
        all.map(|found| (found.activity, found.promise)).collect()
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use contract::UserId;

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

    /// A process that was slow reads the journal before the reply.
    #[test]
    fn an_order_that_the_journal_has_already_is_not_remembered() {
        let recent = RecentHolds::default();
        let read = |seq| Settled {
            read: [((ActivityId::from_i64(7).unwrap(), Term::FIRST), seq)].into(),
            ..Settled::default()
        };
        recent.settle(&read(1));
        reply(&recent, 1, false, 1_000);
        assert_eq!(recent.unconfirmed(), 0, "it is entry 1");
        let decided = OrderId::from_i64(2).unwrap();
        recent.settle(&Settled { out_of_turn: vec![decided], ..Settled::default() });
        recent.settle(&read(0));
        reply(&recent, 2, false, 1_000);
        reply(&recent, 3, false, 1_000);
        assert_eq!(orders(&recent), [3]);
    }

    fn settle(recent: &RecentHolds, orders: impl IntoIterator<Item = i64>) {
        let orders = orders.into_iter().map(|id| OrderId::from_i64(id).unwrap()).collect();
        recent.settle(&Settled { orders, ..Settled::default() });
    }

    /// A recovery that this gateway did not take part in.
    #[test]
    fn a_promise_of_an_older_term_is_left_behind_when_another_opens() {
        let recent = RecentHolds::default();
        reply(&recent, 1, false, 1_000);
        let opened =
            |term| Settled { opened: [(ActivityId::from_i64(7).unwrap(), Term(term))].into(), ..Settled::default() };
        recent.settle(&opened(0));
        assert!(recent.left_behind().is_empty(), "it is of the term that is open");
        recent.settle(&opened(5));
        assert_eq!(recent.left_behind().len(), 1);
        settle(&recent, [1]);
        assert!(recent.left_behind().is_empty(), "it was settled");
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
        settle(&recent, [2, 9]);
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
        settle(&recent, [1]);
        assert!(!recent.is_full(1_501));
    }
}
