//! What a gateway core was told is held and has not read on the journal as counting, in case Redis forgets it.
//!
//! Redis writes its append-only file before it answers, but not while a sync of that file is running: a crash then loses
//! up to two seconds of answers that clients have had. A server that is replaced by its replica loses what was not copied.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use contract::{
    ActivityId, OrderId,
    stock::{BatchReply, Outcome, Reservation},
};

use super::Remembered;

/// An order that was confirmed once more may be on the journal for long; it is remembered for this time.
const REPEATED_MS: u64 = 60_000;
/// How often the list is searched for orders that were confirmed once more long ago.
const EXPIRE_EVERY_MS: u64 = 10_000;
/// Orders of one core; beyond it the oldest are forgotten. 40 MiB.
const HOLDS_MAX: usize = 512 * 1024;

/// What one core remembers.
#[derive(Debug, Default)]
pub struct RecentHolds {
    holds: Mutex<Holds>,
}

#[derive(Debug, Default)]
struct Holds {
    /// Ids of orders grow with time, so the first is the oldest.
    by_order: BTreeMap<OrderId, Held>,
    expire_at_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    activity: ActivityId,
    remembered: Remembered,
    is_repeated: bool,
}

impl RecentHolds {
    /// Takes the ledger's reply to `asked`.
    pub fn remember(&self, activity: ActivityId, asked: &[Reservation], reply: &BatchReply, now_ms: u64) {
        let mut holds = self.holds();
        if now_ms >= holds.expire_at_ms {
            holds.expire_at_ms = now_ms + EXPIRE_EVERY_MS;
            let is_recent = |held: &Held| !held.is_repeated || held.remembered.at_ms + REPEATED_MS >= now_ms;
            holds.by_order.retain(|_, held| is_recent(held));
        }
        for (reservation, outcome) in asked.iter().zip(&reply.outcomes) {
            let Outcome::Held { order, repeated } = *outcome else { continue };
            while holds.by_order.len() >= HOLDS_MAX {
                holds.by_order.pop_first();
            }
            let reservation = Reservation { order, ..*reservation };
            let remembered = Remembered { reservation, at_ms: now_ms };
            holds.by_order.entry(order).or_insert(Held { activity, remembered, is_repeated: repeated });
        }
    }

    /// The journal has these orders, as entries that count.
    pub fn forget(&self, orders: impl IntoIterator<Item = OrderId>) {
        let mut holds = self.holds();
        for order in orders {
            if holds.by_order.is_empty() {
                return;
            }
            holds.by_order.remove(&order);
        }
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<(ActivityId, Remembered)> {
        self.holds().by_order.values().map(|held| (held.activity, held.remembered)).collect()
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
