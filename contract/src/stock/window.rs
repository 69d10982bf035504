//! The sliding window over a user's attempts. It is kept by the ledger, because all gateways meet there,
//! and it is no part of the journal: a ledger that is rebuilt begins with an empty one.

use std::collections::{BTreeMap, HashMap};

use crate::UserId;

/// At most `max` attempts of one user within any `within_ms`. Repeats of a request are no attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// Attempts, at most [`Window::MAX`]; 0 is any number.
    pub max: u32,
    /// Milliseconds.
    pub within_ms: u64,
}

impl Window {
    /// The greatest `max`.
    pub const MAX: u32 = 32;
}

/// The attempts within the window.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts {
    /// By instant; the number distinguishes those of one instant.
    times: BTreeMap<(u64, u64), UserId>,
    counts: HashMap<UserId, u32>,
    next: u64,
}

impl Attempts {
    /// Whether the user may try, who then has.
    pub(super) fn admit(&mut self, window: Window, user: UserId, now_ms: u64) -> bool {
        if window.max == 0 {
            return true;
        }
        while let Some(entry) = self.times.first_entry()
            && entry.key().0.saturating_add(window.within_ms) <= now_ms
        {
            let user = entry.remove();
            if let Some(count) = self.counts.get_mut(&user) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&user);
                }
            }
        }
        let count = self.counts.entry(user).or_insert(0);
        if *count >= window.max {
            return false;
        }
        *count += 1;
        self.next += 1;
        self.times.insert((now_ms, self.next), user);
        true
    }
}
