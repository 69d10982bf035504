//! Servers, the address that leads to one of them, and connections to them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::redis::{ErrorKind, RedisError, RedisFuture, Value, parse_redis_value};
use contract::{
    ActivityId, OrderId,
    stock::{Counters, Snapshot, script::key_prefix},
};
use foundation::{
    Clock,
    redis::{Connection, Transport},
};
use ledger::redis::RedisLedger;

use super::{
    Planted, Server,
    scripts::{read_counters, read_snapshot},
};
use crate::world::World;

/// How long a client of redis-rs waits for a reply.
const REPLY_MAX_MS: u64 = 1_000;
/// How long `XREAD` waits at most.
const BLOCK_MS: u64 = 100;

/// What a server has lost when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    Nothing,
    /// All that was written in the last milliseconds.
    Last(u64),
    /// Everything.
    All,
}

/// A connection to one life of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    node: usize,
    life: u64,
}

struct Node {
    server: Server,
    /// Grows with each restart. Connections are of one life.
    life: u64,
    is_up: bool,
}

/// A command that is carried out long after its client has given up.
struct Late {
    at_ms: u64,
    session: Session,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct State {
    nodes: Vec<Node>,
    /// The node to which the address leads.
    address: usize,
    runs: u64,
    late: Vec<Late>,
    /// One exchange in this many is disturbed; 0: none.
    disturbed_in: u64,
}

/// The Redis of one run. Clones are the same.
#[derive(Clone)]
pub struct SimRedis {
    world: World,
    state: Arc<Mutex<State>>,
}

impl State {
    fn next_run(&mut self) -> u64 {
        self.runs += 1;
        self.runs
    }

    fn server(&mut self, session: Session) -> Option<&mut Server> {
        let node = self.nodes.get_mut(session.node)?;
        (node.is_up && node.life == session.life).then_some(&mut node.server)
    }

    /// Carries out what was sent long ago and is due.
    fn catch_up(&mut self, now_ms: u64) {
        while let Some(at) = self.late.iter().position(|late| late.at_ms <= now_ms) {
            let Late { session, bytes, .. } = self.late.remove(at);
            if let Some(server) = self.server(session) {
                server.handle(&bytes, now_ms);
            }
        }
    }
}

impl SimRedis {
    /// One empty server.
    pub fn new(world: World, planted: Planted) -> Self {
        let mut state = State::default();
        let server = Server::new(state.next_run(), planted);
        state.nodes.push(Node { server, life: 0, is_up: true });
        Self { world, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has one exchange in `every` fail, before or after the work; 0: none.
    pub fn disturb(&self, every: u64) {
        self.state().disturbed_in = every;
    }

    /// The ledgers, over a connection of its own.
    pub fn ledgers(&self) -> RedisLedger {
        let client = Client { redis: self.clone(), session: Mutex::default() };
        RedisLedger::over(Connection::over(client))
    }

    /// A connection to the server to which the address leads; `None` while it is down.
    pub fn connect(&self) -> Option<Session> {
        let state = self.state();
        let node = state.nodes.get(state.address).filter(|node| node.is_up)?;
        Some(Session { node: state.address, life: node.life })
    }

    /// Sends commands; one reply for each. `None` where the connection is lost.
    pub fn send(&self, session: Session, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        let now_ms = self.world.now_ms();
        let mut state = self.state();
        state.catch_up(now_ms);
        Some(state.server(session)?.handle(bytes, now_ms))
    }

    /// Whether the connection still leads anywhere.
    pub fn is_connected(&self, session: Session) -> bool {
        self.state().server(session).is_some()
    }

    /// The server to which the address leads dies.
    pub fn stop(&self) {
        let mut state = self.state();
        let address = state.address;
        state.nodes[address].is_up = false;
    }

    /// It comes back as a new run, and loads its data until `loads_until_ms`.
    pub fn start(&self, loss: Loss, loads_until_ms: u64) {
        let now_ms = self.world.now_ms();
        let mut state = self.state();
        let (run, address) = (state.next_run(), state.address);
        let node = &mut state.nodes[address];
        let mut server = match loss {
            Loss::Nothing => node.server.successor(run, now_ms, 0),
            Loss::Last(ms) => node.server.successor(run, now_ms, ms),
            Loss::All => node.server.emptied(run),
        };
        server.load_until(loads_until_ms);
        *node = Node { server, life: node.life + 1, is_up: true };
    }

    /// The address leads to a replica that lags behind by `lag_ms`. The old master answers its connections as before.
    pub fn fail_over(&self, lag_ms: u64) {
        let now_ms = self.world.now_ms();
        let mut state = self.state();
        let (run, address) = (state.next_run(), state.address);
        let server = state.nodes[address].server.successor(run, now_ms, lag_ms);
        state.nodes.push(Node { server, life: 0, is_up: true });
        state.address = state.nodes.len() - 1;
    }

    /// The address leads back to a server that has been a master all the time, if there is one.
    pub fn fail_back(&self) {
        let mut state = self.state();
        let address = state.address;
        let is_master = |(index, node): &(usize, &Node)| *index != address && node.is_up && node.server.is_master();
        if let Some((index, _)) = state.nodes.iter().enumerate().rfind(is_master) {
            state.address = index;
        }
    }

    /// Every server but the one to which the address leads learns that it is a replica of that one.
    pub fn demote_others(&self) {
        let mut state = self.state();
        let address = state.address;
        let master = state.nodes[address].server.clone();
        for (index, node) in state.nodes.iter_mut().enumerate() {
            if index != address {
                node.server.demote(&master);
            }
        }
    }

    fn with_master<T>(&self, look: impl FnOnce(&Server) -> T) -> T {
        let state = self.state();
        look(&state.nodes[state.address].server)
    }

    /// The counters of a ledger on the server to which the address leads.
    pub fn counters(&self, activity: ActivityId) -> Option<Counters> {
        self.with_master(|server| read_counters(server.data(), activity))
    }

    /// All of a ledger.
    pub fn snapshot(&self, activity: ActivityId) -> Snapshot {
        self.with_master(|server| read_snapshot(server.data(), activity))
    }

    /// Whether the ledger is open on this run, and whole.
    pub fn sells(&self, activity: ActivityId) -> bool {
        self.with_master(|server| {
            let key = |name: &str| format!("{}{name}", key_prefix(activity));
            let run = server.data().fields(&key("ledger"), &["run"]);
            let is_open = run.is_ok_and(|run| run[0].as_deref() == Some(server.run()));
            let parts = ["orders", "requests", "users", "restocks", "outbox"];
            is_open && parts.iter().all(|part| server.data().exists(&key(part)))
        })
    }

    /// Elements that wait in the outbox.
    pub fn outbox_length(&self, activity: ActivityId) -> usize {
        let key = format!("{}outbox", key_prefix(activity));
        self.with_master(|server| server.data().stream(&key).ok().flatten().map_or(0, |stream| stream.elements.len()))
    }

    /// Orders that were held and wait in the outbox.
    pub fn outbox_orders(&self, activity: ActivityId) -> Vec<OrderId> {
        let key = format!("{}outbox", key_prefix(activity));
        self.with_master(|server| {
            let stream = server.data().stream(&key).ok().flatten().cloned().unwrap_or_default();
            let fields = stream.elements.into_values().flatten().filter(|(name, _)| name == "h");
            fields
                .flat_map(|(_, held)| held.split(' ').step_by(4).filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
                .collect()
        })
    }

    /// Deletes a key in the same run.
    pub fn evict(&self, key: &str) {
        let mut state = self.state();
        let address = state.address;
        state.nodes[address].server.evict(key);
    }

    /// The keys there are.
    pub fn keys(&self) -> Vec<String> {
        let state = self.state();
        state.nodes[state.address].server.keys()
    }

    /// The server to which the address leads refuses writes for lack of memory.
    pub fn fill(&self) {
        let mut state = self.state();
        let address = state.address;
        state.nodes[address].server.set_full(true);
    }

    /// No server refuses writes any more.
    pub fn make_room(&self) {
        self.state().nodes.iter_mut().for_each(|node| node.server.set_full(false));
    }

    fn later(&self, session: Session, bytes: Vec<u8>) {
        let at_ms = self.world.now_ms() + REPLY_MAX_MS + self.world.below(3_000);
        self.state().late.push(Late { at_ms, session, bytes });
    }
}

/// What redis-rs is in production: one connection for all who share it, made again after a loss.
struct Client {
    redis: SimRedis,
    session: Mutex<Option<Session>>,
}

fn lost(why: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Io, why))
}

impl Client {
    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connected(&self) -> Result<Session, RedisError> {
        let mut session = self.session();
        match *session {
            Some(open) if self.redis.is_connected(open) => Ok(open),
            // The first command on a connection that has ended gets the error; the next one connects.
            Some(_) => {
                *session = None;
                Err(lost("the connection was lost"))
            }
            None => {
                *session = self.redis.connect();
                session.ok_or_else(|| lost("no server"))
            }
        }
    }

    async fn exchange(&self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, RedisError> {
        let world = &self.redis.world;
        world.pause().await;
        let session = self.connected()?;
        let disturbed_in = self.redis.state().disturbed_in;
        let fate = if disturbed_in > 0 && world.one_in(disturbed_in) { 1 + world.below(3) } else { 0 };
        if fate == 1 || fate == 2 {
            if fate == 2 {
                self.redis.later(session, bytes);
            }
            world.sleep_until(world.now_ms() + REPLY_MAX_MS).await;
            return Err(lost("no reply"));
        }
        let mut replies = self.redis.send(session, &bytes).ok_or_else(|| lost("the connection was lost"))?;
        if replies == [b"*-1\r\n"] {
            world.sleep_until(world.now_ms() + BLOCK_MS).await;
            replies = self.redis.send(session, &bytes).ok_or_else(|| lost("the connection was lost"))?;
        }
        world.pause().await;
        if fate == 3 {
            world.sleep_until(world.now_ms() + REPLY_MAX_MS).await;
            return Err(lost("no reply"));
        }
        if self.redis.is_connected(session) { Ok(replies) } else { Err(lost("the connection was lost")) }
    }
}

impl Transport for Client {
    fn ask(&self, commands: Vec<u8>, replies: usize) -> RedisFuture<'_, Vec<Value>> {
        Box::pin(async move {
            let found = self.exchange(commands).await?;
            assert_eq!(found.len(), replies, "a reply for each command");
            found.iter().map(|reply| parse_redis_value(reply)).collect()
        })
    }

    fn leave(&self) {
        *self.session() = None;
    }
}
