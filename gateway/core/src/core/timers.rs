//! Deadlines. A timer that was set stays set: when it fires, the connection's deadline is looked at.
//! Deadlines move with every request, timers hardly ever.

use std::time::Duration;

use super::{
    ConnId, Core,
    connection::{Awaited, Connection, Phase},
    serve::is_head,
};
use crate::{Answer, Now};

/// Bytes of events that a client may leave unread before its stream is given up.
const STREAM_UNREAD_BYTES_MAX: usize = 4 * 1024;

impl Core {
    /// When to call [`Core::handle_timeout`], on the clock of [`Now::mono`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        while let Some((at, id)) = self.timers.first().copied()
            && at <= now.mono
        {
            self.timers.pop_first();
            self.with(id, |core, connection| {
                connection.timer_at = None;
                match connection.due() {
                    Some(deadline) if deadline <= now.mono => core.expire(id, connection),
                    Some(deadline) => core.set_timer(id, connection, deadline),
                    None => {}
                }
            });
        }
    }

    /// Sets the deadline of what is awaited now, unless it is set.
    pub(super) fn arm(&mut self, id: ConnId, connection: &mut Connection) {
        let awaited = connection.awaited();
        if connection.deadline_for == Some(awaited) {
            return;
        }
        let timeouts = &self.config.timeouts;
        let after = match awaited {
            Awaited::Request => timeouts.idle,
            Awaited::Header => timeouts.header,
            Awaited::Body => timeouts.body,
            Awaited::Reply => timeouts.reply,
            Awaited::Heartbeat => timeouts.heartbeat,
        };
        let deadline = self.now.mono.saturating_add(after);
        connection.deadline_for = Some(awaited);
        connection.deadline = Some(deadline);
        self.set_timer(id, connection, deadline);
    }

    /// The driver writes now: sets when that must be done.
    pub(super) fn await_write(&mut self, id: ConnId, connection: &mut Connection) {
        let by = self.now.mono.saturating_add(self.config.timeouts.write);
        connection.write_by = Some(by);
        self.set_timer(id, connection, by);
    }

    fn set_timer(&mut self, id: ConnId, connection: &mut Connection, at: Duration) {
        if connection.timer_at.is_none_or(|set| at < set) {
            if let Some(later) = connection.timer_at.replace(at) {
                self.timers.remove(&(later, id));
            }
            self.timers.insert((at, id));
        }
    }

    fn expire(&mut self, id: ConnId, connection: &mut Connection) {
        if connection.write_by.is_some_and(|by| by <= self.now.mono) {
            self.stats.connections_cut += 1;
            (connection.cut, connection.closing) = (true, true);
            (connection.deadline, connection.write_by) = (None, None);
            self.announce(id, connection);
            return;
        }
        connection.deadline_for = None;
        match (connection.phase, connection.awaited()) {
            (Phase::Receiving, Awaited::Header | Awaited::Body) => {
                let head_only = is_head(&connection.stash);
                self.reject(connection, Answer::RequestTimeout, head_only);
                connection.deadline = None;
            }
            (Phase::Receiving, _) => {
                connection.closing = true;
                connection.deadline = None;
            }
            (Phase::Reserving(reserving), _) => {
                self.refuse(&mut connection.out, &reserving.exchange, Answer::Unavailable);
                self.resume(id, connection, &reserving.exchange);
            }
            (Phase::Metrics(exchange), _) => {
                self.refuse(&mut connection.out, &exchange, Answer::Unavailable);
                self.resume(id, connection, &exchange);
            }
            (Phase::Streaming(streaming), _) => {
                let stuck = connection.out.len() > STREAM_UNREAD_BYTES_MAX;
                if stuck || !self.may_become_known(streaming.order) {
                    self.end_stream(id, connection, streaming);
                } else {
                    crate::http::chunk(&mut connection.out, streaming.http_1_0, b":\n\n");
                    self.arm(id, connection);
                }
            }
        }
        self.announce(id, connection);
    }
}
