//! What the mock platform does wrong on request, so that a shop can be tried with a platform that errs. Nothing of it is
//! kept: a process that starts again makes no mistakes.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The longest delay of a notice, in milliseconds.
pub const DELAY_MS_MAX: u64 = 3_600_000;

/// Mistakes that are still to be made. Each number is for that many notices or answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Notices that are not sent, as if they had been heard.
    pub lose_notices: u32,
    /// Notices that are sent `delay_ms` later.
    pub delay_notices: u32,
    /// How much later, in milliseconds.
    pub delay_ms: u64,
    /// Notices that are sent twice.
    pub double_notices: u32,
    /// Notices that wait until a later one was sent, or for a second.
    pub reorder_notices: u32,
    /// Notices in GBK.
    pub gbk_notices: u32,
    /// Refunds that move money and are answered with `fund_change=N`.
    pub unmoved_refunds: u32,
    /// Queries that are answered with `TRADE_CLOSED`, whatever the trade is.
    pub closed_queries: u32,
    /// Requests that are carried out and get no answer in time.
    pub silent_after: u32,
}

/// The mistakes of a platform. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct FaultSwitches(Arc<Mutex<Faults>>);

impl FaultSwitches {
    pub(super) fn now(&self) -> Faults {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, faults: Faults) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// Whether this mistake is to be made now; if so, there is one less to make.
    pub(super) fn take(&self, which: impl Fn(&mut Faults) -> &mut u32) -> bool {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = which(&mut faults);
        let is_due = *left > 0;
        *left = left.saturating_sub(1);
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_made_as_often_as_it_is_asked_for() {
        let switches = FaultSwitches::default();
        let loses = || switches.take(|faults| &mut faults.lose_notices);
        assert!(!loses());
        switches.set(Faults { lose_notices: 2, ..Faults::default() });
        assert_eq!([loses(), loses(), loses()], [true, true, false]);
    }
}
