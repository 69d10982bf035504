//! One thread's gateway.

mod connection;
mod orders;
mod reads;
mod reserve;
mod serve;
mod streams;
mod tickets;
mod timers;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use contract::{Activity, OrderId, activity::EntryRule, record::OrderEvent, snowflake::Snowflake, stock::Entry};

pub use connection::ConnId;
use connection::{Connection, Connections, Phase};

use crate::{
    Limits, Now,
    board::Board,
    config::Config,
    gate::Gate,
    pipe::{Batch, Pipe, Waiting},
    stats::Stats,
    tickets::{CAPTCHA_LEAD_MS, Captcha, Tickets},
};

/// No connection is taken now: too many are open, or the core drains. The shell closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

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

/// What a core is told by its process. Of the log's topics every core gets every record, in order.
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
    /// All that the log held when the core was made has been given to it: it may serve.
    CaughtUp,
    /// Why the rest of the process is not ready; empty where it is.
    NotReady(Arc<[String]>),
    /// The lease of the core's worker id was extended, epoch milliseconds.
    LeaseUntil(u64),
    /// Pictures that [`Core::poll_captchas`] asked for, in as many messages as it took; an empty one where
    /// no more of them come.
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
/// `now` never goes back in `mono`. Input is used up or kept here, so a driver only reads when told to;
/// a read of at most 16 KiB at a time bounds what is kept for a connection to 96 KiB.
#[derive(Debug)]
pub struct Core {
    config: Config,
    now: Now,
    connections: Connections,
    gate: Gate,
    board: Board,
    tickets: Tickets,
    pipe: Pipe,
    ids: Snowflake,
    /// One for each connection that has a deadline.
    timers: BTreeSet<(Duration, ConnId)>,
    ready: VecDeque<ConnId>,
    metrics_asked: VecDeque<ConnId>,
    watchers: BTreeMap<OrderId, Vec<ConnId>>,
    streams: usize,
    caught_up: bool,
    draining: bool,
    not_ready: Arc<[String]>,
    /// Bodies are written here before their length is known.
    scratch: Vec<u8>,
    drawn: u64,
    /// Of trace ids alone.
    trace_seed: u64,
    stats: Stats,
}

impl Core {
    /// A core that knows nothing yet. `ids` makes order ids for a worker id that is this core's alone.
    pub fn new(config: Config, ids: Snowflake, now: Now) -> Self {
        Self {
            gate: Gate::new(&config, now.mono),
            board: Board::new(config.board, config.seed),
            tickets: Tickets::new(config.keys.tickets.clone(), config.captchas_max, config.seed),
            pipe: Pipe::new(config.waiting_max),
            ids,
            now,
            connections: Connections::default(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            metrics_asked: VecDeque::new(),
            watchers: BTreeMap::new(),
            streams: 0,
            caught_up: false,
            draining: false,
            not_ready: Arc::from([]),
            scratch: Vec::new(),
            drawn: 0,
            trace_seed: serve::one_way(b"trace ids", config.seed, 0),
            stats: Stats::default(),
            config,
        }
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What a request may measure.
    pub fn limits(&self) -> Limits {
        self.config.http
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.open()
    }

    /// Reservations that wait for the ledger.
    pub fn waiting(&self) -> usize {
        self.pipe.waiting()
    }

    /// Event streams that are open.
    pub fn streams(&self) -> usize {
        self.streams
    }

    /// Whether `/readyz` says yes.
    pub fn is_ready(&self) -> bool {
        self.caught_up && !self.draining && self.not_ready.is_empty()
    }

    /// When the connection must have moved on, on the clock of [`Now::mono`]: [`Core::handle_timeout`]
    /// sees to it.
    pub fn client_deadline(&self, id: ConnId) -> Option<Duration> {
        self.connections.get(id)?.due()
    }

    /// Whether the client took too long to read what is being written to it: the driver stops writing,
    /// says no goodbye and calls [`Core::close`]. [`Core::poll_ready`] names the connection then.
    pub fn is_cut(&self, id: ConnId) -> bool {
        self.connections.get(id).is_some_and(|connection| connection.cut)
    }

    /// Takes a new connection from `peer`.
    ///
    /// # Errors
    /// [`Refused`]: it must be closed.
    pub fn open(&mut self, peer: IpAddr, now: Now) -> Result<ConnId, Refused> {
        self.now = now;
        if self.draining || self.connections.open() >= self.config.connections_max {
            self.stats.connections_refused += 1;
            return Err(Refused);
        }
        self.stats.connections_opened += 1;
        let id = self.connections.insert(Connection::new(peer));
        self.with(id, |core, connection| core.arm(id, connection));
        Ok(id)
    }

    /// Forgets a connection. What it waited for goes on without it.
    pub fn close(&mut self, id: ConnId) {
        let Some(connection) = self.connections.remove(id) else { return };
        if let Some(at) = connection.timer_at {
            self.timers.remove(&(at, id));
        }
        if let Phase::Streaming(streaming) = connection.phase {
            self.unwatch(id, streaming.order);
        }
    }

    /// The next batch for a ledger.
    pub fn poll_batch(&mut self) -> Option<Batch> {
        let connections = &self.connections;
        let waited_for = |waiting: &Waiting| {
            matches!(connections.get(waiting.conn).map(|connection| connection.phase),
                Some(Phase::Reserving(reserving)) if reserving.ticket == waiting.ticket)
        };
        let wall_ms = self.now.wall_ms;
        let batch = self.pipe.poll_batch(waited_for, |activity| self.board.is_ended_early(activity, wall_ms))?;
        let size = batch.reservations.len() as u64;
        self.stats.batches += 1;
        self.stats.reservations += size;
        self.stats.batch_largest = self.stats.batch_largest.max(size);
        Some(batch)
    }

    /// A connection whose driver must poll it.
    pub fn poll_ready(&mut self) -> Option<ConnId> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.announced = false;
                return Some(id);
            }
        }
        None
    }

    /// Something the process told all cores.
    pub fn handle_control(&mut self, control: Control, now: Now) {
        self.now = now;
        match control {
            Control::Activity(activity) => {
                if self.board.handle_activity(activity) && self.caught_up {
                    self.gate.screen.rebuild(self.board.catalogue());
                }
            }
            Control::EntryRules(rules) => rules.iter().for_each(|rule| self.board.handle_rule(*rule)),
            Control::Entries(entries) => self.board.handle_entries(&entries),
            Control::OrderEvents(events) => self.board.handle_order_events(&events),
            Control::CaughtUp => {
                self.caught_up = true;
                self.gate.screen.rebuild(self.board.catalogue());
            }
            Control::NotReady(reasons) => self.not_ready = reasons,
            Control::LeaseUntil(until_ms) => self.ids.extend_lease(until_ms),
            Control::Captchas(captchas) => self.tickets.handle_captchas(captchas),
            Control::Drain => self.drain(),
        }
        self.tell_watchers();
    }

    /// How many pictures of challenges the shell is to have painted and to bring as
    /// [`Control::Captchas`]; nothing while it owes some.
    pub fn poll_captchas(&mut self, now: Now) -> Option<usize> {
        let needed = self.board.needs_captchas(now.wall_ms, CAPTCHA_LEAD_MS);
        needed.then(|| self.tickets.poll_wanted()).flatten()
    }

    fn drain(&mut self) {
        self.draining = true;
        let ids: Vec<ConnId> = self.connections.ids().collect();
        for id in ids {
            self.with(id, |core, connection| {
                match connection.phase {
                    Phase::Receiving if connection.stash.is_empty() => connection.closing = true,
                    Phase::Streaming(streaming) => core.end_stream(id, connection, streaming),
                    Phase::Receiving | Phase::Reserving(_) | Phase::Metrics(_) => return,
                }
                core.announce(id, connection);
            });
        }
    }

    /// Lends the connection to `act`, with the core beside it; nothing where it is gone.
    fn with(&mut self, id: ConnId, act: impl FnOnce(&mut Self, &mut Connection)) {
        if let Some(mut connection) = self.connections.lend(id) {
            act(self, &mut connection);
            self.connections.give_back(id, connection);
        }
    }

    /// Puts the connection into the queue of [`Core::poll_ready`], once.
    fn announce(&mut self, id: ConnId, connection: &mut Connection) {
        if !connection.announced {
            connection.announced = true;
            self.ready.push_back(id);
        }
    }
}
