//! Deadlines. Deadlines move with every request, timers hardly ever: a timer that was set stays set, and when it fires,
//! the connection's deadline is compared with the clock.

use std::{collections::BTreeSet, time::Duration};

use super::phase::Awaited;
use crate::{Timeouts, ids::ConnId};

/// The deadlines of one connection.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    deadline: Option<Duration>,
    /// What `deadline` bounds; `None` where a new one must be set.
    awaited: Option<Awaited>,
    /// When what the driver is writing must be written.
    write_by: Option<Duration>,
    /// The earliest timer that is set for the connection.
    timer_at: Option<Duration>,
}

impl Deadlines {
    /// The earliest of them.
    pub(super) fn due(&self) -> Option<Duration> {
        self.deadline.into_iter().chain(self.write_by).min()
    }

    pub(super) fn is_write_late(&self, mono: Duration) -> bool {
        self.write_by.is_some_and(|by| by <= mono)
    }

    /// Has [`Timers::arm`] set a new deadline, even for what was awaited before.
    pub(super) fn expect_new(&mut self) {
        self.awaited = None;
    }

    /// The driver has written everything.
    pub(super) fn end_write(&mut self) {
        self.write_by = None;
    }

    /// Nothing is awaited any more but a write that is in progress.
    pub(super) fn end(&mut self) {
        self.deadline = None;
    }
}

/// One timer for each connection that has a deadline.
#[derive(Debug)]
pub(super) struct Timers {
    set: BTreeSet<(Duration, ConnId)>,
    timeouts: Timeouts,
}

impl Timers {
    pub(super) const fn new(timeouts: Timeouts) -> Self {
        Self { set: BTreeSet::new(), timeouts }
    }

    /// When the next timer fires.
    pub(super) fn next(&self) -> Option<Duration> {
        self.set.first().map(|(at, _)| *at)
    }

    /// A connection whose timer has fired.
    pub(super) fn pop_due(&mut self, mono: Duration) -> Option<ConnId> {
        self.set.first().filter(|(at, _)| *at <= mono)?;
        self.set.pop_first().map(|(_, id)| id)
    }

    /// Whether a deadline of the connection has passed, after its timer fired. If not, the timer is set again.
    pub(super) fn is_late(&mut self, id: ConnId, deadlines: &mut Deadlines, mono: Duration) -> bool {
        deadlines.timer_at = None;
        match deadlines.due() {
            Some(deadline) if deadline <= mono => true,
            Some(deadline) => {
                self.set(id, deadlines, deadline);
                false
            }
            None => false,
        }
    }

    /// Sets the deadline of what is awaited now, unless it is set.
    #[inline]
    pub(super) fn arm(&mut self, id: ConnId, deadlines: &mut Deadlines, awaited: Awaited, mono: Duration) {
        if deadlines.awaited == Some(awaited) {
            return;
        }
        let after = match awaited {
            Awaited::FirstRequest => self.timeouts.first_request,
            Awaited::Request => self.timeouts.idle,
            Awaited::Header => self.timeouts.header,
            Awaited::Body => self.timeouts.body,
            Awaited::Reply => self.timeouts.reply,
            Awaited::Heartbeat => self.timeouts.heartbeat,
        };
        let deadline = mono.saturating_add(after);
        deadlines.awaited = Some(awaited);
        deadlines.deadline = Some(deadline);
        self.set(id, deadlines, deadline);
    }

    /// Sets when the write that the driver begins now must be done.
    #[inline]
    pub(super) fn begin_write(&mut self, id: ConnId, deadlines: &mut Deadlines, mono: Duration) {
        let by = mono.saturating_add(self.timeouts.write);
        deadlines.write_by = Some(by);
        self.set(id, deadlines, by);
    }

    /// Removes the timer of a connection that is closed.
    pub(super) fn remove(&mut self, id: ConnId, deadlines: &Deadlines) {
        if let Some(at) = deadlines.timer_at {
            let was_set = self.set.remove(&(at, id));
            assert!(was_set, "{id:?} has a timer at {at:?} that is not set");
        }
    }

    fn set(&mut self, id: ConnId, deadlines: &mut Deadlines, at: Duration) {
        if deadlines.timer_at.is_none_or(|set| at < set) {
            if let Some(later) = deadlines.timer_at.replace(at) {
                self.set.remove(&(later, id));
            }
            self.set.insert((at, id));
        }
    }
}
