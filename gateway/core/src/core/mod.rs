//! The gateway of one thread.

mod connections;
mod decision;
mod handlers;
mod random;
mod service;
mod tracer;
mod turn;

use std::{net::IpAddr, sync::Arc, time::Duration};

use contract::{
    Activity, ActivityId,
    activity::EntryRule,
    record::{OrderEvent, TokenCut},
    snowflake::Snowflake,
    stock::{BatchReply, Entry, Outcome},
};

use self::{connections::Connections, handlers::Handlers, service::Service, tracer::Tracer};
pub use self::{
    handlers::{PartReason, Readiness},
    tracer::{CoreSpan, Spanned},
};
use crate::{
    Limits, Now, Request,
    config::Config,
    ids::ConnId,
    queue::{self, Batch, BatchId, QueuedReservation, ReservationQueue, Unavailable, UnreadHold},
    stats::Stats,
    tickets::Captcha,
};

/// The core takes no connection now, because too many are open or because it drains. The shell closes the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRefused;

/// What a connection's driver must do now.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read from the socket and give what came to [`Core::handle_client`], or [`Core::handle_eof`].
    Read,
    /// Write all of the buffer, then poll again. Where [`Core::poll_ready`] names the connection
    /// meanwhile and [`Core::is_cut`] says so, give it up.
    Write,
    /// Do nothing until [`Core::poll_ready`] names the connection.
    Wait,
    /// Close the socket and call [`Core::close`]. Where the client may still be sending, shut down
    /// writing first and read a little, so that the last answer is not lost to a reset (RFC 9112
    /// section 9.6).
    Close,
}

/// A message from the process to each of its cores. Every core gets every record of the log's topics, in order.
#[derive(Debug, Clone)]
pub enum Control {
    /// A record of [`contract::topic::ACTIVITIES`].
    Activity(Activity),
    /// Records of [`contract::topic::ENTRY_RULES`].
    EntryRules(Arc<[EntryRule]>),
    /// Records of [`contract::topic::ORDERS`].
    Entries(Arc<[Entry]>),
    /// Records of [`contract::topic::ORDER_EVENTS`].
    OrderEvents(Arc<[OrderEvent]>),
    /// Records of [`contract::topic::TOKEN_CUTS`].
    TokenCuts(Arc<[TokenCut]>),
    /// The core has received everything that was on the log when it was made, and may serve.
    CaughtUp,
    /// The readiness of the rest of the process.
    Readiness(Readiness),
    /// The lease of the core's worker id was extended, epoch milliseconds.
    LeaseUntil(u64),
    /// Captcha images that [`Core::poll_captchas`] requested, in any number of messages; an empty one if no more come.
    Captchas(Vec<Captcha>),
    /// No new connections; those that are open close after their current request.
    Drain,
}

/// Everything one thread of the gateway decides.
///
/// The shell calls it in this order whenever something happened:
/// 1. `handle_*` with what happened: bytes, an end of file, a reply, a control, a timer;
/// 2. [`Core::poll_batch`] until `None`: each batch goes to the ledger, its reply to
///    [`Core::handle_reply`], or the loss of the link to [`Core::handle_link_lost`];
/// 3. [`Core::poll_metrics`] until `None`, each answered with [`Core::handle_metrics`];
/// 4. [`Core::poll_ready`] until `None`: the driver of each connection named stops what it waits for
///    (a read too: what it would still bring is not wanted) and polls;
/// 5. [`Core::poll_client`] for the connection that was handled, until it says [`Next::Read`],
///    [`Next::Wait`] or [`Next::Close`];
/// 6. [`Core::poll_timeout`]: when to call [`Core::handle_timeout`] next.
///
/// `now` never goes back in `mono`. Input is used or kept here, so a driver reads only after [`Next::Read`];
/// a read of at most 16 KiB at a time bounds what is kept for a connection to 96 KiB.
#[derive(Debug)]
pub struct Core {
    connections: Connections,
    handlers: Handlers,
    queue: ReservationQueue,
    tracer: Option<Box<Tracer>>,
    now: Now,
}

impl Core {
    /// A core that knows nothing yet. `ids` makes order ids for a worker id that no other core has.
    pub fn new(config: Config, ids: Snowflake, now: Now) -> Self {
        let (connections, queue) = (Connections::new(&config), ReservationQueue::new(config.waiting_max));
        let tracer = config.traced_per_million.map(|rate| Box::new(Tracer::new(config.seed, rate)));
        Self { connections, handlers: Handlers::new(&config, ids, now), queue, tracer, now }
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        Stats::new(
            self.connections.answers(),
            self.connections.counts(),
            self.queue.counts(),
            self.handlers.refused_locally(),
        )
    }

    /// The limits of a request's size.
    pub fn limits(&self) -> Limits {
        self.connections.limits()
    }

    /// ConnectionTable that are open.
    pub fn connections(&self) -> usize {
        self.connections.open_connections()
    }

    /// Reservations that wait for the ledger.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Event streams that are open.
    pub fn streams(&self) -> usize {
        self.connections.open_streams()
    }

    /// Whether `/readyz` answers 200.
    pub fn is_ready(&self) -> bool {
        self.handlers.is_ready()
    }

    /// Whether the connection waits for the ledger.
    pub fn is_reserving(&self, id: ConnId) -> bool {
        self.connections.is_reserving(id)
    }

    /// When the connection must have made progress, on the clock of [`Now::mono`]. [`Core::handle_timeout`] enforces it.
    pub fn client_deadline(&self, id: ConnId) -> Option<Duration> {
        self.connections.deadline(id)
    }

    /// Whether the client took too long to read what is being written to it: the driver stops writing, closes the socket
    /// without waiting, and calls [`Core::close`]. [`Core::poll_ready`] names the connection then.
    pub fn is_cut(&self, id: ConnId) -> bool {
        self.connections.is_cut(id)
    }

    /// Takes a new connection from `peer`.
    ///
    /// # Errors
    /// [`ConnectionRefused`]: it must be closed.
    pub fn open(&mut self, peer: IpAddr, now: Now) -> Result<ConnId, ConnectionRefused> {
        self.now = now;
        self.connections.open(peer, now)
    }

    /// Forgets a connection. A reservation that it waited for is still made.
    pub fn close(&mut self, id: ConnId) {
        self.connections.close(id);
    }

    /// Bytes came from the client. How many of them were taken: all.
    pub fn handle_client(&mut self, id: ConnId, input: &[u8], now: Now) -> usize {
        let (connections, service) = self.serve_at(now);
        connections.handle_client(id, input, service, now);
        input.len()
    }

    /// A whole request came, on a connection whose driver has the parser. The answer is polled for like any other.
    ///
    /// # Panics
    /// If the request before it is not answered yet.
    pub fn handle_request(&mut self, id: ConnId, request: &Request<'_>, now: Now) {
        let (connections, service) = self.serve_at(now);
        connections.handle_request(id, request, service, now);
    }

    /// The client sends no more. Its requests are still answered.
    pub fn handle_eof(&mut self, id: ConnId) {
        self.connections.handle_eof(id);
    }

    /// Takes the ledger's reply to a batch, or its failure. A reply to a batch that is no longer in flight is ignored.
    pub fn handle_reply(&mut self, batch: BatchId, reply: Result<BatchReply, Unavailable>, now: Now) {
        self.now = now;
        let Some(concluded) = self.queue.conclude(batch) else { return };
        let reply = reply.and_then(|reply| {
            let is_answer = self.handlers.is_open_in(batch.activity(), reply.counters.term);
            if is_answer { Ok(reply) } else { Err(Unavailable::Frozen) }
        });
        if let Some(tracer) = &mut self.tracer {
            tracer.end_batch(batch, reply.is_ok());
        }
        match reply {
            Ok(reply) if queue::fits(&concluded.sent, &reply) => {
                self.handlers.handle_reply(batch, &concluded, &reply, now);
                if self.handlers.answers_after_log(batch.activity()) {
                    self.answer_after_log(batch.activity(), &concluded.sent, &reply, now);
                } else {
                    for (waiting, outcome) in concluded.sent.iter().zip(reply.outcomes) {
                        self.conclude(waiting, Ok(outcome), now);
                    }
                }
            }
            reply @ (Ok(_) | Err(_)) => {
                let reason = reply.err().unwrap_or(Unavailable::Unknown);
                self.queue.count_unavailable();
                for waiting in &concluded.sent {
                    self.conclude(waiting, Err(reason), now);
                }
            }
        }
        self.queue.give_back(batch.activity(), concluded.sent);
        self.pass_changes_on();
    }

    /// Answers refusals. Each yes waits until it was read on the journal.
    fn answer_after_log(&mut self, activity: ActivityId, sent: &[QueuedReservation], reply: &BatchReply, now: Now) {
        let (term, seq) = (reply.counters.term, reply.counters.seq);
        for (waiting, outcome) in sent.iter().zip(&reply.outcomes) {
            if let Outcome::Held { order, repeated } = *outcome {
                self.queue.await_journal(activity, UnreadHold { waiting: *waiting, order, repeated, term, seq });
            } else {
                self.conclude(waiting, Ok(*outcome), now);
            }
        }
        self.answer_read(activity, now);
    }

    /// Answers the yeses of the sale that the journal has decided.
    fn answer_read(&mut self, activity: ActivityId, now: Now) {
        loop {
            let Self { queue, handlers, .. } = self;
            let Some((hold, answer)) = queue.poll_read(activity, |hold| handlers.verdict(activity, hold)) else {
                return;
            };
            self.conclude(&hold.waiting, answer, now);
        }
    }

    fn conclude(&mut self, waiting: &QueuedReservation, outcome: Result<Outcome, Unavailable>, now: Now) {
        if let Some(tracer) = &mut self.tracer {
            tracer.end(waiting.wait, outcome);
        }
        let (connections, service) = self.serve_at(now);
        connections.handle_outcome(waiting, outcome, service, now);
    }

    /// The link to the ledger is lost: no reply comes to any batch in flight.
    pub fn handle_link_lost(&mut self, now: Now) {
        for batch in self.queue.in_flight() {
            self.handle_reply(batch, Err(Unavailable::Unknown), now);
        }
    }

    /// What the process sends to all its cores.
    pub fn handle_control(&mut self, control: Control, now: Now) {
        self.now = now;
        match control {
            Control::Activity(activity) => self.handlers.handle_activity(activity),
            Control::EntryRules(rules) => self.handlers.handle_rules(&rules, now),
            Control::Entries(entries) => {
                self.handlers.handle_entries(&entries, now);
                for activity in self.queue.unread_activities() {
                    self.answer_read(activity, now);
                }
            }
            Control::OrderEvents(events) => self.handlers.handle_order_events(&events),
            Control::TokenCuts(cuts) => self.handlers.handle_cuts(&cuts, now),
            Control::CaughtUp => self.handlers.handle_caught_up(),
            Control::Readiness(readiness) => {
                self.connections.handle_stopping(readiness.is_stopping);
                self.handlers.handle_readiness(readiness);
            }
            Control::LeaseUntil(until_ms) => self.handlers.handle_lease(until_ms),
            Control::Captchas(captchas) => self.handlers.handle_captchas(captchas),
            Control::Drain => {
                self.handlers.handle_drain();
                self.connections.handle_drain();
            }
        }
        self.pass_changes_on();
    }

    /// The text of `/metrics`, in Prometheus' format, for the connection that asked.
    pub fn handle_metrics(&mut self, id: ConnId, text: &[u8], now: Now) {
        let (connections, service) = self.serve_at(now);
        connections.handle_metrics(id, text, service, now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        let (connections, service) = self.serve_at(now);
        connections.handle_timeout(service, now);
        let Self { connections, queue, .. } = self;
        queue.drop_abandoned(|waiting| connections.waits_for(waiting.conn, waiting.wait));
        if let Some(tracer) = &mut self.tracer {
            tracer.handle_timeout(now.mono);
        }
    }

    /// The next batch for a ledger.
    pub fn poll_batch(&mut self) -> Option<Batch> {
        let Self { connections, handlers, queue, tracer, now } = self;
        let mut batch = queue.poll_batch(
            |waiting| connections.waits_for(waiting.conn, waiting.wait),
            |activity| handlers.asked_in(activity, *now),
        )?;
        if let Some(tracer) = tracer {
            batch.trace = tracer.begin_batch(batch.id, queue.sent(batch.id), now.mono);
        }
        Some(batch)
    }

    /// A span that has ended, for the exporter.
    pub fn poll_span(&mut self) -> Option<CoreSpan> {
        self.tracer.as_mut()?.poll()
    }

    /// A connection that asked for `/metrics`: the shell renders them and calls [`Core::handle_metrics`].
    pub fn poll_metrics(&mut self) -> Option<ConnId> {
        self.connections.poll_metrics()
    }

    /// A connection whose driver must poll it.
    pub fn poll_ready(&mut self) -> Option<ConnId> {
        self.connections.poll_ready()
    }

    /// What to do for the connection now. Answers are appended to `out`, which the driver empties by writing it: it polls
    /// again once all of it is written, or once [`Core::is_cut`] is true.
    pub fn poll_client(&mut self, id: ConnId, out: &mut Vec<u8>) -> Next {
        let now = self.now;
        let (connections, service) = self.serve_at(now);
        connections.poll_client(id, out, service, now)
    }

    /// How many captcha images the shell is to have rendered and to bring as [`Control::Captchas`]; nothing while some
    /// are outstanding.
    pub fn poll_captchas(&mut self, now: Now) -> Option<usize> {
        self.handlers.poll_captchas(now)
    }

    /// When to call [`Core::handle_timeout`], on the clock of [`Now::mono`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.connections.poll_timeout()
    }

    fn serve_at(&mut self, now: Now) -> (&mut Connections, Service<'_>) {
        self.now = now;
        self.connections.set_time(now.wall_ms);
        (&mut self.connections, Service::new(&mut self.handlers, &mut self.queue, self.tracer.as_deref_mut(), now))
    }

    /// Sends order statuses that changed to the streams that follow them.
    fn pass_changes_on(&mut self) {
        while let Some((id, order)) = self.handlers.poll_changed() {
            self.connections.handle_changed(id, order);
        }
    }
}
