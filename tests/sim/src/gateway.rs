//! Gateway cores on wires: bytes arrive in pieces, connections break, a core can die.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use commit_log::{Consumer, Log, LogError, Record as LogRecord};
use contract::{
    Activity,
    activity::EntryRule,
    record::{Entries, OrderEvents, Record as _},
    snowflake::Snowflake,
    stock::BatchReply,
    topic,
};
use foundation::Clock;
use gateway_core::{Batch, BatchId, Config, ConnId, Control, Core, Keys, Next, Now, Unavailable};
use ledger::{
    confirmed::{CountedOrders, RecentHolds},
    house::Request,
};
use tokio::sync::Notify;

use crate::{
    ledger::SimLedger,
    link::Link,
    log::SimLog,
    world::{BEGIN_MS, World},
};

/// How often a core looks at its connection to Redis.
const TICK_MS: u64 = 200;

/// A connection between a client and a core.
#[derive(Default)]
pub(crate) struct Wire {
    to_core: RefCell<Vec<u8>>,
    to_client: RefCell<Vec<u8>>,
    closed: Cell<bool>,
    changed: Notify,
}

impl Wire {
    /// The client sends.
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.to_core.borrow_mut().extend_from_slice(bytes);
    }

    /// What has arrived at the client; `None` once the connection is gone and all was taken.
    pub(crate) async fn receive(&self) -> Option<Vec<u8>> {
        loop {
            let changed = self.changed.notified();
            let arrived = std::mem::take(&mut *self.to_client.borrow_mut());
            if !arrived.is_empty() {
                return Some(arrived);
            }
            if self.closed.get() {
                return None;
            }
            changed.await;
        }
    }

    /// Either side is gone.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.changed.notify_waiters();
    }
}

/// The answers of the ledger, on their way to a core.
type Letters = Arc<Mutex<VecDeque<(BatchId, Result<BatchReply, Unavailable>)>>>;

/// How a core reaches the ledgers.
#[derive(Clone)]
pub(crate) enum Way {
    /// In its own process.
    House(SimLedger),
    /// In Redis.
    Redis(Rc<Link>),
}

/// One life of one core. A new life begins with nothing but the log.
pub(crate) struct Incarnation {
    world: World,
    way: Way,
    core: RefCell<Core>,
    wires: RefCell<BTreeMap<ConnId, Rc<Wire>>>,
    letters: Letters,
    link_lost: Cell<bool>,
    bell: Arc<Notify>,
}

impl Incarnation {
    /// A core that makes order ids for `worker`, which no other life has.
    pub(crate) fn new(world: &World, way: Way, keys: Keys, worker: u16) -> Rc<Self> {
        let mut config = Config::new(keys, u64::from(worker));
        // All clients of the simulation have one address.
        config.connections_per_client_max = config.connections_max;
        let ids = Snowflake::new(worker, world.now_ms(), u64::MAX);
        let core = RefCell::new(Core::new(config, ids, now(world)));
        let (world, bell) = (world.clone(), Arc::<Notify>::default());
        if let Way::Redis(link) = &way {
            link.rings(&bell);
        }
        let (wires, letters, link_lost) = (RefCell::default(), Letters::default(), Cell::new(false));
        Rc::new(Self { world, way, core, wires, letters, link_lost, bell })
    }

    /// A client connects.
    pub(crate) fn connect(&self) -> Option<Rc<Wire>> {
        let id = self.core.borrow_mut().open(IpAddr::V4(Ipv4Addr::LOCALHOST), now(&self.world)).ok()?;
        let wire = Rc::new(Wire::default());
        self.wires.borrow_mut().insert(id, wire.clone());
        Some(wire)
    }

    /// Something was sent on a wire.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// The ledger died with what it had been sent.
    pub(crate) fn lose_link(&self) {
        self.link_lost.set(true);
        self.ring();
    }

    /// Orders that the core knows as held and has not read on the journal.
    pub(crate) fn recent(&self) -> Option<Arc<RecentHolds>> {
        match &self.way {
            Way::House(_) => None,
            Way::Redis(link) => Some(link.recent.clone()),
        }
    }

    /// The core is gone: its clients see their connections end.
    pub(crate) fn hang_up(&self) {
        for wire in self.wires.borrow().values() {
            wire.close();
        }
    }

    /// The core's own loop.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            let rung = self.bell.notified();
            self.turn();
            let timeout = self.core.borrow().poll_timeout().and_then(|at| u64::try_from(at.as_millis()).ok());
            let mut timeout_ms = timeout.map_or(u64::MAX, |at_ms| (BEGIN_MS + at_ms).max(self.world.now_ms() + 1));
            if let Way::Redis(_) = self.way {
                timeout_ms = timeout_ms.min(self.world.now_ms() + TICK_MS);
            }
            tokio::select! {
                biased;
                () = rung => {}
                () = self.world.sleep_until(timeout_ms) => {}
            }
            self.world.pause().await;
        }
    }

    fn turn(&self) {
        let at = now(&self.world);
        self.core.borrow_mut().handle_timeout(at);
        if self.link_lost.take() {
            self.core.borrow_mut().handle_link_lost(at);
        }
        let letters = std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner));
        for (batch, reply) in letters {
            self.core.borrow_mut().handle_reply(batch, reply, at);
        }
        if let Way::Redis(link) = &self.way {
            link.tick();
            while let Some((batch, reply)) = link.poll_reply() {
                self.core.borrow_mut().handle_reply(batch, reply, at);
            }
        }
        let wires: Vec<(ConnId, Rc<Wire>)> = self.wires.borrow().iter().map(|(id, wire)| (*id, wire.clone())).collect();
        for (id, wire) in wires {
            self.serve(id, &wire);
        }
        loop {
            let ready = self.core.borrow_mut().poll_ready();
            let Some(id) = ready else { break };
            let wire = self.wires.borrow().get(&id).cloned();
            if let Some(wire) = wire {
                self.serve(id, &wire);
            }
        }
        loop {
            let batch = self.core.borrow_mut().poll_batch();
            let Some(batch) = batch else { break };
            match &self.way {
                Way::House(ledger) => self.ask(ledger, batch),
                Way::Redis(link) => link.send(batch),
            }
        }
    }

    fn ask(&self, ledger: &SimLedger, batch: Batch) {
        let (id, letters, bell) = (batch.id, self.letters.clone(), self.bell.clone());
        let reply = move |result: Result<_, _>| {
            let letter = (id, result.map_err(|_| Unavailable::Unknown));
            letters.lock().unwrap_or_else(PoisonError::into_inner).push_back(letter);
            bell.notify_one();
        };
        let Batch { activity, reservations, repeats_only, trace, .. } = batch;
        ledger.send(Request::Reserve { activity, trace, reservations, repeats_only, reply: Box::new(reply) });
    }

    /// Gives the core a piece of what has arrived, and the client what the core has for it.
    fn serve(&self, id: ConnId, wire: &Wire) {
        let mut out = Vec::new();
        loop {
            let next = self.core.borrow_mut().poll_client(id, &mut out);
            match next {
                Next::Write => {
                    wire.to_client.borrow_mut().append(&mut out);
                    wire.changed.notify_waiters();
                }
                Next::Read if wire.closed.get() => self.core.borrow_mut().handle_eof(id),
                Next::Read => {
                    let mut arrived = wire.to_core.borrow_mut();
                    if arrived.is_empty() {
                        return;
                    }
                    let piece = 1 + self.world.index(arrived.len());
                    let used = self.core.borrow_mut().handle_client(id, &arrived[..piece], now(&self.world));
                    arrived.drain(..used);
                }
                Next::Wait if wire.closed.get() => return self.forget(id, wire),
                Next::Wait => return,
                Next::Close => return self.forget(id, wire),
            }
        }
    }

    fn forget(&self, id: ConnId, wire: &Wire) {
        self.core.borrow_mut().close(id);
        self.wires.borrow_mut().remove(&id);
        wire.close();
    }

    /// The feed of the log, as the gateway's control task gives it to every core.
    pub(crate) async fn follow(self: Rc<Self>, log: SimLog) {
        const TOPICS: [&str; 4] = [topic::ACTIVITIES, topic::ENTRY_RULES, topic::ORDERS, topic::ORDER_EVENTS];
        let mut waiting = BTreeMap::new();
        for name in TOPICS {
            let ends = log.ends(name).await.unwrap_or_default();
            waiting.extend(ends.into_iter().filter(|(_, end)| *end > 0));
        }
        let mut counted = CountedOrders::default();
        let Ok(mut feed) = log.follow(&TOPICS).await else { panic!("the topics are made before anything runs") };
        loop {
            if waiting.is_empty() {
                self.control(Control::CaughtUp);
            }
            let records = match feed.poll(64).await {
                Ok(records) => records,
                Err(LogError::Closed) => return,
                Err(_) => {
                    self.world.sleep_until(self.world.now_ms() + 50).await;
                    continue;
                }
            };
            for record in &records {
                self.pass_on(record, &mut counted);
                if waiting.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                    waiting.remove(&record.partition);
                }
            }
        }
    }

    fn pass_on(&self, record: &LogRecord, counted: &mut CountedOrders) {
        let value = record.value.as_slice();
        let control = match &*record.partition.topic {
            topic::ACTIVITIES => Activity::decode(value).map(Control::Activity),
            topic::ENTRY_RULES => EntryRule::decode(value).map(|rule| Control::EntryRules(Arc::new([rule]))),
            topic::ORDERS => Entries::decode(value).map(|entries| Control::Entries(entries.into_vec().into())),
            _ => OrderEvents::decode(value).map(|events| Control::OrderEvents(events.into_vec().into())),
        };
        if let (Ok(Control::Entries(entries)), Way::Redis(link)) = (&control, &self.way) {
            link.recent.settle(&counted.take(entries));
        }
        match control {
            Ok(control) => self.control(control),
            Err(error) => panic!("a record of {} is poison: {error}", record.partition.topic),
        }
    }

    fn control(&self, control: Control) {
        self.core.borrow_mut().handle_control(control, now(&self.world));
        self.ring();
    }
}

fn now(world: &World) -> Now {
    let wall_ms = world.now_ms();
    Now { mono: Duration::from_millis(wall_ms - BEGIN_MS), wall_ms }
}
