//! One run on ledgers in Redis: gateways with their relays, two order-cores with fence and workers, a log whose appends
//! land late, a database that fails, and a Redis that restarts, forgets, fails over, fills up and loses keys.
//!
//! Faults are chosen so that at any time one more failure would be survived: nothing dies that holds the only copy of an
//! order which a client may have been told of. Under that rule no promise may be lost. Every fourth seed is a sale that
//! answers after the log: there anything but the log may die and forget at any time.

mod faults;
mod settled;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    time::Duration,
};

use commit_log::Log;
use contract::{
    Activity, ActivityId, Cents, OperationId, OrderId, SkuId, UserId,
    activity::{Admission, AnswerAfter, Rules},
    record::{Record as _, activity_key},
    topic,
};
use domain::{LeaseName, model::ModelStore};
use foundation::{Clock, Readiness};
use gateway_core::Keys;
use ledger::redis::{
    RedisLedger,
    fence::{Fence, Opening},
    relay::{LedgerRelay, RENEW_EVERY},
};
use tokio_util::sync::CancellationToken;
use workers::{Journal, Keeper, Lease, Relay, Timeouts};

pub use crate::redis::Planted;
use crate::{
    client::{self, History, Mall},
    gateway::{Incarnation, Way},
    link::Link,
    log::{Habits, SimLog},
    redis::SimRedis,
    run::PAY_WITHIN_MS,
    store::SimStore,
    world::{BEGIN_MS, Scheduler, World},
};

/// Gateways, each with one core and a relay.
const GATEWAYS: usize = 3;
/// Faults end here.
const FAULTS_END_MS: u64 = BEGIN_MS + 12_000;
/// What follows must settle by itself within this time.
const SETTLE_MAX_MS: u64 = 120_000;
/// Before a relay that failed tries again.
const RELAY_RETRY_MS: u64 = 50;

/// What dies, or is paused, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// A gateway: core, connection, feed, relay.
    Gateway(usize),
    /// An order-core: fence, keeper, journal, timeouts, outbox relay.
    OrderCore(usize),
    /// The log's writer, with what it had not synced.
    Log,
    /// Clients, and what has no process of its own.
    Client,
}

const MORTAL: [Part; 6] =
    [Part::Gateway(0), Part::Gateway(1), Part::Gateway(2), Part::OrderCore(0), Part::OrderCore(1), Part::Log];

/// What came of a run that held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Folds every decision of the run: the same seed has the same.
    pub trace: u64,
    /// Polls of tasks and moves of time.
    pub steps: u64,
    /// What happened, in its order.
    pub faults: Vec<String>,
    /// Order ids that clients were given.
    pub accepted: usize,
    /// Promises that became failed orders.
    pub failed: usize,
    /// Terms that were opened.
    pub terms: usize,
    /// Answers by status and code.
    pub answers: Vec<(String, u64)>,
    /// Units sold, closed and left at the end.
    pub ending: String,
}

struct Run {
    world: World,
    scheduler: Scheduler<Part>,
    log: SimLog,
    store: SimStore,
    model: ModelStore,
    redis: SimRedis,
    mall: Rc<Mall>,
    lives: Rc<RefCell<[Option<Rc<Incarnation>>; GATEWAYS]>>,
    next_worker: Cell<u16>,
    planted: Planted,
    answer_after: AnswerAfter,
    /// What gateways that died were told is held, as far as they had not read it.
    dead_memory: BTreeSet<OrderId>,
    /// Units that the sale is to have in the end.
    total: Rc<Cell<u64>>,
    faults: Vec<String>,
}

/// Whether the sale of `seed` answers after the log.
pub const fn answers_after_log(seed: u64) -> bool {
    seed % 4 == 3
}

/// Runs `seed`; panics where an invariant does not hold or the run does not settle.
pub fn run(seed: u64, planted: Planted) -> Report {
    let world = World::new(seed);
    let stock = 1 + world.below(12);
    let users = 4 + world.index(16);
    let answer_after = if answers_after_log(seed) { AnswerAfter::Log } else { AnswerAfter::Script };
    let mut run = Run::new(&world, stock, planted, answer_after);
    run.announce(stock);
    for part in MORTAL {
        run.start(part);
    }
    for user in 0..users {
        let user = UserId::from_i64(1 + user as i64).unwrap_or_else(|| unreachable!("ids from 1"));
        run.scheduler.spawn(Part::Client, client::shop(run.mall.clone(), user));
    }
    let steps = run.play(users);
    run.conclude(steps)
}

impl Run {
    fn new(world: &World, stock: u64, planted: Planted, answer_after: AnswerAfter) -> Self {
        let hasty = planted == Planted::HastyLog;
        let log = SimLog::new(world.clone(), Habits { loses_answer_in: 300, late_in: 150, hasty });
        let model = ModelStore::new(PAY_WITHIN_MS);
        let store = SimStore::new(world.clone(), model.clone(), 300).with(planted);
        let redis = SimRedis::new(world.clone(), planted);
        redis.disturb(400);
        let mall = Rc::new(Mall {
            world: world.clone(),
            activity: ActivityId::from_i64(77).unwrap_or_else(|| unreachable!("a positive id")),
            keys: Keys::new(b"simulation"),
            cores: RefCell::default(),
            store: store.clone(),
            history: History::default(),
        });
        Self {
            world: world.clone(),
            scheduler: Scheduler::new(world.clone()),
            log,
            store,
            model,
            redis,
            mall,
            lives: Rc::default(),
            next_worker: Cell::new(0),
            planted,
            answer_after,
            dead_memory: BTreeSet::new(),
            total: Rc::new(Cell::new(stock)),
            faults: Vec::new(),
        }
    }

    /// The admin's work: topics, the activity, the wish that its ledger be opened; in some runs restocks, and its end.
    fn announce(&mut self, stock: u64) {
        let id = self.mall.activity;
        let is_hasty = self.planted == Planted::AnswersTooSoon;
        let answer_after = if is_hasty { AnswerAfter::Script } else { self.answer_after };
        let rules = Rules { per_user_limit: 1, starts_at_ms: BEGIN_MS, ends_at_ms: BEGIN_MS + 3_600_000 };
        let mut activity = Activity {
            id,
            version: 1,
            title: "茶".to_owned(),
            sku: SkuId::from_i64(5).unwrap_or_else(|| unreachable!("a positive id")),
            price: Cents::new(100),
            original_price: Cents::new(200),
            rules,
            admission: Admission { answer_after, ..Admission::default() },
        };
        self.model.put_activity(&activity);
        self.store.open(Opening { activity: id, stock, rules });
        let (ends, restocks) = (self.world.one_in(5), self.world.below(3));
        let (log, world, model, total) = (self.log.clone(), self.world.clone(), self.model.clone(), self.total.clone());
        self.scheduler.spawn(Part::Client, async move {
            let mut topics = topic::fixed().to_vec();
            topics.push(topic::timeouts(PAY_WITHIN_MS));
            if let Err(error) = log.create_topics(topics).await {
                panic!("topics: {error}");
            }
            let record = |activity: &Activity| {
                let (key, value) = (activity_key(activity.id).to_vec(), activity.to_bytes());
                vec![commit_log::NewRecord { topic: topic::ACTIVITIES.into(), key, value }]
            };
            while log.append(record(&activity)).await.is_err() {}
            for number in 0..restocks {
                world.sleep_until(world.now_ms() + world.below(4_000)).await;
                let operation = OperationId::from_i64(1 + number as i64).unwrap_or_else(|| unreachable!("positive"));
                // A command for a ledger that is not open yet goes to the dead letters.
                if !model.opened().is_empty() {
                    model.ask_restock(id, operation, 2);
                    total.set(total.get() + 2);
                }
            }
            if ends {
                world.sleep_until(BEGIN_MS + 4_000 + world.below(8_000)).await;
                if !model.opened().is_empty() {
                    activity.version = 2;
                    activity.rules = activity.rules.ended_at(world.now_ms());
                    while log.append(record(&activity)).await.is_err() {}
                    model.end_sale(id, activity.rules.ends_at_ms);
                }
            }
        });
        self.scheduler.spawn(Part::Client, self.log.clone().land_late());
        // Topics are made in the first poll; the rest goes on beside everything else.
        while self.log.topic_count() == 0 {
            assert!(self.scheduler.step());
        }
    }

    fn start(&mut self, part: Part) {
        match part {
            Part::Gateway(index) => self.start_gateway(index),
            Part::OrderCore(index) => self.start_order_core(index),
            Part::Log => self.scheduler.spawn(part, self.log.clone().write()),
            Part::Client => unreachable!("clients start by themselves"),
        }
    }

    fn start_gateway(&mut self, index: usize) {
        let part = Part::Gateway(index);
        let worker = self.next_worker.replace(self.next_worker.get() + 1);
        let link = Link::new(self.world.clone(), self.redis.clone(), self.planted == Planted::ForgetfulGateway);
        let recent = link.recent.clone();
        let keys = self.mall.keys.clone();
        let life = Incarnation::new(&self.world, Way::Redis(link.clone()), keys, worker);
        self.lives.borrow_mut()[index] = Some(life.clone());
        self.list_cores();
        self.scheduler.spawn(part, link.run());
        self.scheduler.spawn(part, life.clone().run());
        self.scheduler.spawn(part, life.follow(self.log.clone()));
        let name = format!("gateway-{worker}");
        let ledgers = self.redis.ledgers();
        self.check_redis(part, &ledgers);
        let mut relay = LedgerRelay::new(ledgers, self.log.clone(), name, vec![recent]);
        let (world, activity) = (self.world.clone(), self.mall.activity);
        // As the relay's thread in `gateway/src/redis/relay.rs`.
        self.scheduler.spawn(part, async move {
            loop {
                let pause_ms = match relay.step(&[activity], Duration::from_millis(world.now_ms() - BEGIN_MS)).await {
                    Ok(step) if step.is_idle => u64::try_from(RENEW_EVERY.as_millis()).unwrap_or(u64::MAX),
                    Ok(_) => 1,
                    Err(_) => RELAY_RETRY_MS,
                };
                world.sleep_until(world.now_ms() + pause_ms).await;
            }
        });
    }

    fn start_order_core(&mut self, index: usize) {
        let part = Part::OrderCore(index);
        let (world, log, store) = (self.world.clone(), self.log.clone(), self.store.clone());
        let ledgers = self.redis.ledgers();
        self.check_redis(part, &ledgers);
        let nonce = self.world.below(u64::MAX);
        let fence = Fence::new(ledgers.clone(), log.clone(), store.clone(), nonce);
        let lease = |name| Lease::new(store.clone(), name, 1 + (nonce >> 2).cast_signed());
        let (fence_lease, relay_lease) = (lease(LeaseName::Fence), lease(LeaseName::OutboxRelay));
        let ready = Readiness::default().part("fence", "it has not looked yet");
        self.scheduler.spawn(
            part,
            workers::guard(
                fence,
                Some(fence_lease),
                store.clone(),
                world.clone(),
                ready,
                |_| {},
                CancellationToken::new(),
            ),
        );
        self.work(part, Relay::new(log.clone(), store.clone(), world.clone()).led_by(relay_lease));
        let keeps = crate::check::Keeps::new(ledgers, self.planted);
        let (scheduler_world, joined) = (self.world.clone(), (log, store));
        self.scheduler.spawn(part, async move {
            let (log, store) = joined;
            let world = scheduler_world;
            let stop = CancellationToken::new;
            let Ok(journal) = Journal::join(log.clone(), store.clone(), world.clone()).await else { return };
            let Ok(timeouts) = Timeouts::join(log.clone(), store.clone(), world.clone()).await else { return };
            let Ok(keeper) = Keeper::join(log, store, keeps, world.clone()).await else { return };
            tokio::join!(
                workers::run(journal, world.clone(), stop()),
                workers::run(timeouts, world.clone(), stop()),
                workers::run(keeper, world.clone(), stop()),
            );
        });
    }

    /// As each process checks once a second that its Redis can be written.
    fn check_redis(&mut self, part: Part, ledgers: &RedisLedger) {
        let (connection, world) = (ledgers.connection(), self.world.clone());
        self.scheduler.spawn(part, async move {
            loop {
                drop(connection.check().await);
                world.sleep_until(world.now_ms() + 1_000).await;
            }
        });
    }

    fn work<W: workers::Worker + 'static>(&mut self, part: Part, worker: W) {
        self.scheduler.spawn(part, workers::run(worker, self.world.clone(), CancellationToken::new()));
    }

    fn kill(&mut self, part: Part) {
        self.scheduler.kill(part);
        match part {
            Part::Gateway(index) => {
                if let Some(life) = self.lives.borrow_mut()[index].take() {
                    let recent = life.recent().map(|recent| recent.all()).unwrap_or_default();
                    self.dead_memory.extend(recent.iter().map(|(_, promise)| promise.reservation.order));
                    life.hang_up();
                }
                self.list_cores();
            }
            Part::Log => self.log.crash(),
            Part::OrderCore(_) | Part::Client => {}
        }
    }

    fn list_cores(&self) {
        *self.mall.cores.borrow_mut() = self.lives.borrow().iter().flatten().cloned().collect();
    }
}
