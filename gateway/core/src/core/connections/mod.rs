//! ConnectionTable: bytes in, answers out, deadlines.

mod clients;
mod connection;
mod phase;
mod server;
mod streams;
mod table;
mod timers;

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use contract::{OrderId, stock::Outcome};

use self::{
    clients::ClientConnections,
    connection::{Connection, Serving},
    phase::{Awaited, Phase, Reserving},
    server::Server,
    streams::event,
    table::ConnectionTable,
    timers::Timers,
};
use super::{ConnectionRefused, Next, service::Service};
use crate::{
    Answer, Config, Limits, Now, Request,
    board::Order,
    http::{Headers, Persist},
    ids::{ConnId, WaitId},
    queue::{QueuedReservation, Unavailable},
    stats::{AnswerCounts, ConnectionCounts},
};

/// The connections of a core.
#[derive(Debug)]
pub(super) struct Connections {
    connections: ConnectionTable,
    timers: Timers,
    server: Server,
    ready: VecDeque<ConnId>,
    connections_max: usize,
    clients: ClientConnections,
    limits: Limits,
    counts: ConnectionCounts,
}

impl Connections {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            connections: ConnectionTable::default(),
            timers: Timers::new(config.timeouts),
            server: Server::new(config.streams_max, config.streams_per_user_max, config.origins.clone(), config.seed),
            ready: VecDeque::new(),
            connections_max: config.connections_max,
            clients: ClientConnections::new(
                config.connections_per_client_max,
                config.gate.trusted_proxies.clone(),
                config.seed,
            ),
            limits: config.http,
            counts: ConnectionCounts::default(),
        }
    }

    pub(super) const fn counts(&self) -> ConnectionCounts {
        self.counts
    }

    pub(super) const fn answers(&self) -> &AnswerCounts {
        self.server.writer().counts()
    }

    /// Sets the `Date` of the answers to come.
    #[inline]
    pub(super) fn set_time(&mut self, wall_ms: u64) {
        self.server.writer_mut().set_time(wall_ms);
    }

    pub(super) const fn limits(&self) -> Limits {
        self.limits
    }

    /// ConnectionTable that are open.
    pub(super) const fn open_connections(&self) -> usize {
        self.connections.open()
    }

    /// Event streams that are open.
    pub(super) const fn open_streams(&self) -> usize {
        self.server.streams().open()
    }

    pub(super) fn deadline(&self, id: ConnId) -> Option<Duration> {
        self.connections.get(id)?.deadlines().due()
    }

    pub(super) fn is_cut(&self, id: ConnId) -> bool {
        self.connections.get(id).is_some_and(Connection::is_cut)
    }

    pub(super) fn is_reserving(&self, id: ConnId) -> bool {
        self.connections.get(id).is_some_and(|connection| matches!(connection.phase(), Phase::Reserving(_)))
    }

    /// Whether the connection waits for this reservation.
    #[inline]
    pub(super) fn waits_for(&self, id: ConnId, wait: WaitId) -> bool {
        self.connections.get(id).is_some_and(|connection| connection.waits_for(wait))
    }

    pub(super) fn open(&mut self, peer: IpAddr, now: Now) -> Result<ConnId, ConnectionRefused> {
        let is_full = self.server.is_draining() || self.connections.open() >= self.connections_max;
        if is_full || !self.clients.add(peer) {
            self.counts.refused += 1;
            return Err(ConnectionRefused);
        }
        self.counts.opened += 1;
        let id = self.connections.insert(Connection::new(peer));
        if let Some(connection) = self.connections.get_mut(id) {
            arm(&mut self.timers, id, connection, now);
        }
        Ok(id)
    }

    pub(super) fn close(&mut self, id: ConnId) {
        let Some(connection) = self.connections.remove(id) else { return };
        self.timers.remove(id, connection.deadlines());
        self.clients.remove(connection.peer());
        if let Phase::Streaming(streaming) = connection.phase() {
            self.server.streams_mut().remove(&streaming, id);
        }
    }

    #[inline]
    pub(super) fn handle_client(&mut self, id: ConnId, input: &[u8], mut service: Service<'_>, now: Now) {
        let Self { connections, timers, server, limits, .. } = self;
        let Some(connection) = connections.get_mut(id) else { return };
        connection.handle_input(input, &mut Serving { id, limits, server, service: &mut service });
        arm(timers, id, connection, now);
    }

    pub(super) fn handle_request(&mut self, id: ConnId, request: &Request<'_>, mut service: Service<'_>, now: Now) {
        let Self { connections, timers, server, limits, .. } = self;
        let Some(connection) = connections.get_mut(id) else { return };
        connection.handle_request(request, &mut Serving { id, limits, server, service: &mut service });
        arm(timers, id, connection, now);
    }

    pub(super) fn handle_eof(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.handle_eof();
        }
    }

    /// The outcome of a reservation.
    pub(super) fn handle_outcome(
        &mut self,
        waiting: &QueuedReservation,
        outcome: Result<Outcome, Unavailable>,
        mut service: Service<'_>,
        now: Now,
    ) {
        let QueuedReservation { conn: id, wait, .. } = *waiting;
        let Self { connections, timers, ready, server, limits, .. } = self;
        let waiting = connections.get_mut(id).and_then(|connection| Some((connection.reserving(wait)?, connection)));
        let Some((mut reserving, connection)) = waiting else {
            self.counts.outcomes_late += 1;
            return;
        };
        if server.is_draining() {
            reserving.exchange.persist = Persist::Close;
        }
        let mut serving = Serving { id, limits, server, service: &mut service };
        connection.conclude(&reserving.exchange, &mut serving, |server, out| {
            server.answer_outcome(&reserving, outcome, out);
        });
        arm(timers, id, connection, now);
        announce(ready, id, connection);
    }

    /// The text of `/metrics`.
    pub(super) fn handle_metrics(&mut self, id: ConnId, text: &[u8], mut service: Service<'_>, now: Now) {
        let Self { connections, timers, ready, server, limits, .. } = self;
        let Some(connection) = connections.get_mut(id) else { return };
        let Phase::Metrics(exchange) = connection.phase() else { return };
        let mut serving = Serving { id, limits, server, service: &mut service };
        connection.conclude(&exchange, &mut serving, |server, out| {
            let headers = Headers { content_type: Some("text/plain; version=0.0.4"), ..Headers::default() };
            server.writer_mut().write(out, &exchange, Answer::Read, &headers, text);
        });
        arm(timers, id, connection, now);
        announce(ready, id, connection);
    }

    /// An order's status changed: sends it to those who follow it.
    pub(super) fn handle_changed(&mut self, id: OrderId, order: Order) {
        for follower in self.server.streams().followers(id) {
            let Some(connection) = self.connections.get_mut(follower) else { continue };
            let Phase::Streaming(streaming) = connection.phase() else { continue };
            if !connection.send_event(&streaming, order, event(id, order.status).as_bytes()) {
                connection.end_stream(&streaming);
                self.server.streams_mut().remove(&streaming, follower);
            }
            announce(&mut self.ready, follower, connection);
        }
    }

    pub(super) fn handle_timeout(&mut self, mut service: Service<'_>, now: Now) {
        while let Some(id) = self.timers.pop_due(now.mono) {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            if self.timers.is_late(id, connection.deadlines_mut(), now.mono) {
                self.expire(id, &mut service, now);
            }
        }
    }

    fn expire(&mut self, id: ConnId, service: &mut Service<'_>, now: Now) {
        let Self { connections, timers, ready, server, limits, .. } = self;
        let Some(connection) = connections.get_mut(id) else { return };
        if connection.deadlines().is_write_late(now.mono) {
            self.counts.cut += 1;
            connection.cut();
            announce(ready, id, connection);
            return;
        }
        connection.deadlines_mut().expect_new();
        match (connection.phase(), connection.awaited()) {
            (Phase::Receiving, Awaited::Header | Awaited::Body) => connection.end_late(server),
            (Phase::Receiving, Awaited::FirstRequest | Awaited::Request | Awaited::Reply | Awaited::Heartbeat) => {
                connection.end_idle()
            }
            (Phase::Reserving(Reserving { exchange, .. }) | Phase::Metrics(exchange), _) => {
                let mut serving = Serving { id, limits, server, service };
                connection.conclude(&exchange, &mut serving, |server, out| {
                    server.writer_mut().refuse(out, &exchange, Answer::Unavailable);
                });
                arm(timers, id, connection, now);
            }
            (Phase::Streaming(streaming), _) => {
                let goes_on = now.wall_ms / 1000 < streaming.expires_at_s && service.may_become_known(streaming.order);
                if goes_on && connection.send_heartbeat(&streaming) {
                    arm(timers, id, connection, now);
                } else {
                    connection.end_stream(&streaming);
                    server.streams_mut().remove(&streaming, id);
                }
            }
        }
        announce(ready, id, connection);
    }

    /// Whether connections close after their next request, while new ones are still taken.
    pub(super) const fn handle_stopping(&mut self, is_stopping: bool) {
        self.server.set_closes(is_stopping);
    }

    /// Takes no new connections; those that are open close after their current request.
    pub(super) fn handle_drain(&mut self) {
        self.server.handle_drain();
        let ids: Vec<ConnId> = self.connections.ids().collect();
        for id in ids {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            if let Phase::Streaming(streaming) = connection.phase() {
                connection.end_stream(&streaming);
                self.server.streams_mut().remove(&streaming, id);
                announce(&mut self.ready, id, connection);
            } else if connection.end_if_idle() {
                announce(&mut self.ready, id, connection);
            }
        }
    }

    #[inline]
    pub(super) fn poll_client(&mut self, id: ConnId, out: &mut Vec<u8>, mut service: Service<'_>, now: Now) -> Next {
        let Self { connections, timers, server, limits, .. } = self;
        let Some(connection) = connections.get_mut(id) else { return Next::Close };
        connection.deadlines_mut().end_write();
        if connection.is_cut() {
            return Next::Close;
        }
        if connection.continue_input(&mut Serving { id, limits, server, service: &mut service }) {
            arm(timers, id, connection, now);
        }
        let next = connection.poll(out);
        if next == Next::Write {
            timers.begin_write(id, connection.deadlines_mut(), now.mono);
        }
        next
    }

    /// A connection whose driver must poll it.
    pub(super) fn poll_ready(&mut self) -> Option<ConnId> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.end_announcement();
                return Some(id);
            }
        }
        None
    }

    /// A connection that waits for the text of `/metrics`.
    pub(super) fn poll_metrics(&mut self) -> Option<ConnId> {
        self.server.poll_metrics()
    }

    /// When the next timer fires.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.timers.next()
    }
}

/// Sets the deadline of what the connection awaits now.
#[inline]
fn arm(timers: &mut Timers, id: ConnId, connection: &mut Connection, now: Now) {
    let awaited = connection.awaited();
    timers.arm(id, connection.deadlines_mut(), awaited, now.mono);
}

/// Puts the connection into the queue of [`Connections::poll_ready`], once.
#[inline]
fn announce(ready: &mut VecDeque<ConnId>, id: ConnId, connection: &mut Connection) {
    if connection.announce() {
        ready.push_back(id);
    }
}
