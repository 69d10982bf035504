//! One run: parts start, faults fall, faults end, everything settles, the invariants are checked.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use commit_log::Log;
use contract::{
    Activity, ActivityId, Cents, SkuId, UserId,
    activity::{Admission, Rules},
    record::{Action, LedgerCommand, Record},
    topic,
};
use domain::model::ModelStore;
use foundation::Clock;
use gateway_core::Keys;
use ledger::LedgerClient;
use tokio_util::sync::CancellationToken;
use workers::{self, Journal, Keeper, Relay, Timeouts};

use crate::{
    check,
    client::{self, History, Mall},
    gateway::{Incarnation, Way},
    ledger::SimLedger,
    log::{Habits, SimLog},
    mutant::Mutant,
    store::SimStore,
    world::{BEGIN_MS, Scheduler, World},
};

/// How long an order may wait for its payment.
pub const PAY_WITHIN_MS: u64 = 4_000;
/// Gateway cores.
const CORES: usize = 2;
/// Faults end here; what follows must settle by itself.
const FAULTS_END_MS: u64 = BEGIN_MS + 15_000;
/// A part that was killed is back within this time.
const DOWN_MAX_MS: u64 = 400;
/// A run that has not settled after this many steps never will.
const STEPS_MAX: u64 = 3_000_000;

/// What dies together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// One core with its feed.
    Core(usize),
    /// The ledger house.
    Ledger,
    /// The log's writer, with what it had not synced.
    Log,
    /// Journal worker.
    Journal,
    /// Outbox relay.
    Relay,
    /// Timeout worker.
    Timeouts,
    /// Keeper of the ledger.
    Keeper,
    /// Clients do not die; they hang up.
    Client,
}

const MORTAL: [Part; 8] =
    [Part::Core(0), Part::Core(1), Part::Ledger, Part::Log, Part::Journal, Part::Relay, Part::Timeouts, Part::Keeper];

/// What came of a run that held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Folds every decision of the run: the same seed has the same.
    pub trace: u64,
    /// Polls of tasks and moves of time.
    pub steps: u64,
    /// Parts that were killed.
    pub crashes: u64,
    /// How often the sale was parked.
    pub parked: u64,
    /// Order ids that clients were given.
    pub accepted: usize,
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
    ledger: SimLedger,
    mall: Rc<Mall>,
    lives: Rc<RefCell<[Option<Rc<Incarnation>>; CORES]>>,
    next_worker: Cell<u16>,
    mutant: Mutant,
}

/// Runs `seed`; panics where an invariant does not hold or the run does not settle.
pub fn run(seed: u64, mutant: Mutant) -> Report {
    let world = World::new(seed);
    let stock = 1 + world.below(12);
    let users = 4 + world.index(24);
    let mut run = Run::new(&world, mutant);
    run.announce(stock);
    for part in MORTAL {
        run.start(part);
    }
    for user in 0..users {
        let user = UserId::from_i64(1 + user as i64).unwrap_or_else(|| unreachable!("ids from 1"));
        run.scheduler.spawn(Part::Client, client::shop(run.mall.clone(), user));
    }
    // Time goes on while everybody waits for a part that is down.
    let clock = world.clone();
    run.scheduler.spawn(Part::Client, async move {
        while clock.now_ms() < FAULTS_END_MS + DOWN_MAX_MS {
            clock.sleep_until(clock.now_ms() + 50).await;
        }
    });
    run.refuse_orders_for_a_while();
    let (steps, crashes) = run.play(users);
    let counters = run.counters();
    check::all(&check::Evidence {
        stock,
        activity: run.mall.activity,
        counters,
        journal: run.log.records(topic::ORDERS),
        model: &run.model,
        history: &run.mall.history,
    });
    let History { accepted, answers, .. } = &run.mall.history;
    Report {
        trace: world.trace(),
        steps,
        crashes,
        parked: run.store.times_parked(),
        accepted: accepted.borrow().values().map(Vec::len).sum(),
        answers: answers.borrow().clone().into_iter().collect(),
        ending: format!("{counters:?}"),
    }
}

/// An admin ends the sale: the gateways and the ledger learn of it by the log, and the ledger is asked directly.
async fn end(world: &World, log: &SimLog, ledger: &SimLedger, mut activity: Activity) {
    let (id, ends_at_ms) = (activity.id, world.now_ms());
    (activity.version, activity.rules) = (2, activity.rules.ended_at(ends_at_ms));
    let command = LedgerCommand { activity: id, action: Action::End { ends_at_ms } };
    let record = |topic: &'static str, value| commit_log::NewRecord {
        topic: topic.into(),
        key: contract::record::activity_key(id).to_vec(),
        value,
    };
    let records = vec![record(topic::ACTIVITIES, activity.to_bytes()), record(topic::COMMANDS, command.to_bytes())];
    while log.append(records.clone()).await.is_err() {}
    while ledger.act(vec![command]).await.is_err() {
        world.sleep_until(world.now_ms() + 100).await;
    }
}

impl Run {
    fn new(world: &World, mutant: Mutant) -> Self {
        let habits = Habits { loses_answer_in: 300, late_in: 0, hasty: mutant == Mutant::HastyLog };
        let log = SimLog::new(world.clone(), habits);
        let model = ModelStore::new(PAY_WITHIN_MS);
        let store = SimStore::new(world.clone(), model.clone(), 200);
        let ledger = SimLedger::new(world.clone());
        let mall = Rc::new(Mall {
            world: world.clone(),
            activity: ActivityId::from_i64(77).unwrap_or_else(|| unreachable!("a positive id")),
            keys: Keys::new(b"simulation"),
            cores: RefCell::default(),
            store: store.clone(),
            history: History::default(),
        });
        let scheduler = Scheduler::new(world.clone());
        let (lives, next_worker) = (Rc::default(), Cell::new(0));
        Self { world: world.clone(), scheduler, log, store, model, ledger, mall, lives, next_worker, mutant }
    }

    /// The admin's work, done once and whole: topics, the activity, its ledger; in some runs, its end.
    fn announce(&mut self, stock: u64) {
        let ends = self.world.one_in(4);
        let rules = Rules { per_user_limit: 1, starts_at_ms: BEGIN_MS, ends_at_ms: BEGIN_MS + 3_600_000 };
        let activity = Activity {
            id: self.mall.activity,
            version: 1,
            title: "茶".to_owned(),
            sku: SkuId::from_i64(5).unwrap_or_else(|| unreachable!("a positive id")),
            price: Cents::new(100),
            original_price: Cents::new(200),
            rules,
            admission: Admission::default(),
        };
        self.model.put_activity(&activity);
        let (log, ledger, world) = (self.log.clone(), self.ledger.clone(), self.world.clone());
        self.scheduler.spawn(Part::Client, async move {
            let mut topics = topic::fixed().to_vec();
            topics.push(topic::timeouts(PAY_WITHIN_MS));
            if let Err(error) = log.create_topics(topics).await {
                panic!("topics: {error}");
            }
            let record = commit_log::NewRecord {
                topic: topic::ACTIVITIES.into(),
                key: contract::record::activity_key(activity.id).to_vec(),
                value: activity.to_bytes(),
            };
            while log.append(vec![record.clone()]).await.is_err() {}
            while ledger.open(activity.id, stock, rules).await.is_err() {
                world.sleep_until(world.now_ms() + 100).await;
            }
            if ends {
                world.sleep_until(BEGIN_MS + world.below(FAULTS_END_MS - BEGIN_MS)).await;
                end(&world, &log, &ledger, activity).await;
            }
        });
        // Topics are made in the first poll; the rest goes on beside everything else.
        assert!(self.scheduler.step());
    }

    /// In half of the runs the database refuses new orders for some time, so that the sale is parked.
    fn refuse_orders_for_a_while(&mut self) {
        if self.world.one_in(2) {
            return;
        }
        let (world, model, activity) = (self.world.clone(), self.model.clone(), self.mall.activity);
        let from_ms = BEGIN_MS + world.below(5_000);
        let until_ms = from_ms + world.below(FAULTS_END_MS - from_ms);
        self.scheduler.spawn(Part::Client, async move {
            world.sleep_until(from_ms).await;
            model.refuse(activity, true);
            world.sleep_until(until_ms).await;
            model.refuse(activity, false);
        });
    }

    fn start(&mut self, part: Part) {
        let (world, log, store) = (self.world.clone(), self.log.clone(), self.store.clone());
        match part {
            Part::Core(index) => {
                let worker = self.next_worker.replace(self.next_worker.get() + 1);
                let life = Incarnation::new(&world, Way::House(self.ledger.clone()), self.mall.keys.clone(), worker);
                self.lives.borrow_mut()[index] = Some(life.clone());
                self.list_cores();
                self.scheduler.spawn(part, life.clone().run());
                self.scheduler.spawn(part, life.follow(log));
            }
            Part::Ledger => self.scheduler.spawn(part, self.ledger.clone().serve(log, store)),
            Part::Log => self.scheduler.spawn(part, log.write()),
            Part::Journal => self.work(part, async move |log| Journal::join(log, store, world).await),
            Part::Relay => self.work(part, async move |log| Ok(Relay::new(log, store, world))),
            Part::Timeouts => self.work(part, async move |log| Timeouts::join(log, store, world).await),
            Part::Keeper => {
                let ledger = check::Keeps { ledger: self.ledger.clone(), mutant: self.mutant };
                self.work(part, async move |log| Keeper::join(log, store, ledger, world).await);
            }
            Part::Client => unreachable!("clients start by themselves"),
        }
    }

    fn work<W: workers::Worker + 'static>(
        &mut self,
        part: Part,
        join: impl AsyncFnOnce(SimLog) -> Result<W, workers::WorkerError> + 'static,
    ) {
        let (world, log) = (self.world.clone(), self.log.clone());
        self.scheduler.spawn(part, async move {
            match join(log).await {
                Ok(worker) => workers::run(worker, world, CancellationToken::new()).await,
                Err(error) => panic!("{part:?} can't join: {error}"),
            }
        });
    }

    fn kill(&mut self, part: Part) {
        self.scheduler.kill(part);
        match part {
            Part::Core(index) => {
                if let Some(life) = self.lives.borrow_mut()[index].take() {
                    life.hang_up();
                }
                self.list_cores();
            }
            Part::Ledger => {
                self.ledger.crash();
                self.lives.borrow().iter().flatten().for_each(|life| life.lose_link());
            }
            Part::Log => self.log.crash(),
            Part::Journal | Part::Relay | Part::Timeouts | Part::Keeper | Part::Client => {}
        }
    }

    fn list_cores(&self) {
        *self.mall.cores.borrow_mut() = self.lives.borrow().iter().flatten().cloned().collect();
    }

    /// Safety, then liveness: crashes at any step until [`FAULTS_END_MS`], then none.
    fn play(&mut self, users: usize) -> (u64, u64) {
        let mut down: Vec<(u64, Part)> = Vec::new();
        let (mut steps, mut crashes) = (0, 0);
        loop {
            steps += 1;
            assert!(steps < STEPS_MAX, "the run does not settle: {}", self.unsettled());
            let now_ms = self.world.now_ms();
            if now_ms < FAULTS_END_MS && self.world.one_in(400) {
                let part = MORTAL[self.world.index(MORTAL.len())];
                if !down.iter().any(|(_, dead)| *dead == part) {
                    self.kill(part);
                    crashes += 1;
                    down.push((now_ms + self.world.below(DOWN_MAX_MS), part));
                }
            }
            if let Some(at) = down.iter().position(|(until_ms, _)| *until_ms <= now_ms) {
                let (_, part) = down.swap_remove(at);
                self.start(part);
            }
            if !self.scheduler.step() && down.is_empty() {
                panic!("nothing can happen any more: {}", self.unsettled());
            }
            let faults_over = now_ms >= FAULTS_END_MS && down.is_empty();
            if steps % 64 == 0 && faults_over && self.mall.history.done.get() == users && self.is_settled() {
                return (steps, crashes);
            }
        }
    }

    fn lags(&self) -> [u64; 3] {
        [
            self.log.lag("order-core", topic::ORDERS),
            self.log.lag("order-core.keeper", topic::COMMANDS),
            self.log.lag("order-core.timeouts", &topic::timeouts(PAY_WITHIN_MS).name),
        ]
    }

    fn is_settled(&self) -> bool {
        let is_quiet = check::outbox_is_empty(&self.model) && check::none_is_parked(&self.model);
        self.lags() == [0; 3] && is_quiet && check::unpaid(&self.model) == 0
    }

    fn unsettled(&self) -> String {
        let [journal, commands, timeouts] = self.lags();
        format!(
            "at {} ms, clients done {}, lag of journal {journal}, commands {commands}, timeouts {timeouts}, outbox \
             empty {}, none parked {}, unpaid orders {}",
            self.world.now_ms() - BEGIN_MS,
            self.mall.history.done.get(),
            check::outbox_is_empty(&self.model),
            check::none_is_parked(&self.model),
            check::unpaid(&self.model),
        )
    }

    fn counters(&mut self) -> contract::stock::Counters {
        let (ledger, activity) = (self.ledger.clone(), self.mall.activity);
        let found = Rc::new(Cell::new(None));
        let answer = found.clone();
        self.scheduler.spawn(Part::Client, async move {
            while answer.get().is_none() {
                answer.set(ledger.counters(activity).await.ok().flatten());
            }
        });
        for _ in 0..STEPS_MAX {
            if let Some(counters) = found.get() {
                return counters;
            }
            self.scheduler.step();
        }
        panic!("the ledger does not answer");
    }
}
