//! The reservations that a gateway core was told are held in the last seconds, in case Redis forgets them.
//!
//! Redis writes its append-only file before it answers, but not while a sync of that file is running: a crash then loses
//! up to two seconds of answers that clients have had. The journal has nearly all of them by then; these are the rest.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use contract::{
    ActivityId,
    stock::{BatchReply, Outcome, Reservation},
};

use super::Remembered;

/// Redis delays its append-only file for two seconds at most; the rest is for clocks and queues.
const REMEMBERED_MS: u64 = 10_000;
/// Holds of one core; beyond it the oldest are forgotten. 32 MiB.
const HOLDS_MAX: usize = 512 * 1024;

/// The latest holds of one core, oldest first.
#[derive(Debug, Default)]
pub struct RecentHolds {
    holds: Mutex<VecDeque<(ActivityId, Remembered)>>,
}

impl RecentHolds {
    /// Takes the ledger's reply to `asked`.
    pub fn remember(&self, activity: ActivityId, asked: &[Reservation], reply: &BatchReply, now_ms: u64) {
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |(_, held): &(ActivityId, Remembered)| held.at_ms + REMEMBERED_MS < now_ms;
        while holds.front().is_some_and(is_old) {
            holds.pop_front();
        }
        for (reservation, outcome) in asked.iter().zip(&reply.outcomes) {
            if let Outcome::Held { repeated: false, .. } = outcome {
                if holds.len() >= HOLDS_MAX {
                    holds.pop_front();
                }
                holds.push_back((activity, Remembered { reservation: *reservation, at_ms: now_ms }));
            }
        }
    }

    /// All of them.
    pub fn holds(&self) -> Vec<(ActivityId, Remembered)> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}
