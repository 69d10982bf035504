//! A sale in Redis, with a log, a database and a gateway's memory around it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

use commit_log::{Consumer as _, LocalLog, Log, LogError, NewRecord, Partition};
use contract::{
    Activity, ActivityId, Cents, OrderId, SkuId, UserId,
    activity::{Admission, Rules},
    record::{Action, Entries, LedgerCommand, Record as _},
    stock::{Counters, Entry, HoldState, Outcome, Promise, RequestKey, Reservation, Snapshot, Term, Window},
    topic::{self, Topic},
};
use domain::{Line, SaleStore as _, TAKE_IN_MAX, model::ModelStore, order_state::OrderState};
use ledger::{
    LedgerClient as _, LedgerUnavailable, journal,
    redis::{
        Outbox, RedisLedger,
        fence::{Fence, FenceError, Looked, Opening, RecoverySource},
        wire::{Caller, Holds},
    },
    restore::SnapshotSource,
};
use services::Redis;

pub(crate) const RULES: Rules = Rules { per_user_limit: 2, starts_at_ms: 0, ends_at_ms: u64::MAX >> 12 };
pub(crate) const BY_THE_SERVER: Caller<'static> = Caller {
    run: "",
    term: None,
    now_ms: None,
    window: Window { max: 0, within_ms: 0 },
    holds: Holds::New,
    trace: None,
};
pub(crate) const STOCK: u64 = 10;
/// Between two looks.
pub(crate) const LOOK_EVERY_MS: u64 = 100;
/// A sale goes on within this time.
pub(crate) const RECOVERY_MAX_MS: u64 = 10_000;
pub(crate) const LOOKS_MAX: u64 = RECOVERY_MAX_MS / LOOK_EVERY_MS;
pub(crate) const PARTS: [&str; 6] = ["ledger", "orders", "requests", "users", "restocks", "outbox"];

pub(crate) fn activity() -> ActivityId {
    ActivityId::from_i64(7).unwrap()
}

pub(crate) fn order(id: i64) -> OrderId {
    OrderId::from_i64(id).unwrap()
}

pub(crate) fn asks(id: i64) -> Reservation {
    let request = Some(RequestKey([u8::try_from(id).unwrap(); 16]));
    Reservation { order: order(id), user: UserId::from_i64(100 + id).unwrap(), request, quantity: 1 }
}

pub(crate) fn held(id: i64, repeated: bool) -> Vec<Outcome> {
    vec![Outcome::Held { order: order(id), repeated }]
}

pub(crate) fn key(part: &str) -> String {
    format!("mall:{{{}.0}}:{part}", activity())
}

/// What the database has. Its decisions are the test's.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) model: ModelStore,
    pub(crate) decisions: Arc<Mutex<Vec<LedgerCommand>>>,
    to_open: Arc<Mutex<Vec<Opening>>>,
    last_term: Arc<AtomicI64>,
}

impl Database {
    fn empty() -> Self {
        Self {
            model: ModelStore::new(60_000),
            decisions: Arc::default(),
            to_open: Arc::default(),
            last_term: Arc::default(),
        }
    }
}

impl SnapshotSource for Database {
    async fn snapshots(&self) -> Result<Vec<Snapshot>, String> {
        self.model.snapshots().await.map_err(|error| error.to_string())
    }
}

impl RecoverySource for Database {
    async fn opened(&self) -> Result<Vec<ActivityId>, String> {
        Ok(SnapshotSource::snapshots(self).await?.iter().map(|snapshot| snapshot.activity).collect())
    }

    async fn to_open(&self) -> Result<Vec<Opening>, String> {
        let opened = self.opened().await?;
        let to_open = self.to_open.lock().unwrap();
        Ok(to_open.iter().filter(|opening| !opened.contains(&opening.activity)).copied().collect())
    }

    async fn next_term(&self, above: Term) -> Result<Term, String> {
        let above = i64::try_from(above.0).unwrap();
        self.last_term.fetch_max(above, Ordering::SeqCst);
        Ok(Term(u64::try_from(self.last_term.fetch_add(1, Ordering::SeqCst) + 1).unwrap()))
    }

    async fn decisions(&self, activity: ActivityId) -> Result<Vec<LedgerCommand>, String> {
        let decisions = self.decisions.lock().unwrap();
        Ok(decisions.iter().filter(|command| command.activity == activity).copied().collect())
    }

    async fn promises(&self, _: ActivityId) -> Result<Vec<Promise>, String> {
        Ok(Vec::new())
    }
}

/// What happens to the next appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Written, and acknowledged.
    Written,
    /// Written, and nobody knows.
    Unknown,
    /// Not written, and nobody knows.
    Lost,
}

/// A log whose appends can fail.
#[derive(Clone)]
pub(crate) struct Fragile {
    pub(crate) log: LocalLog,
    /// The fates of the next appends; behind them, all are written.
    pub(crate) fates: Arc<Mutex<Vec<Fate>>>,
    pub(crate) appends: Arc<Mutex<usize>>,
}

impl Log for Fragile {
    type Consumer = commit_log::LocalConsumer;
    async fn create_topics(&self, topics: Vec<Topic>) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }
    async fn topics(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        self.log.topics(prefix).await
    }
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        let fate = {
            *self.appends.lock().unwrap() += 1;
            let mut fates = self.fates.lock().unwrap();
            if fates.is_empty() { Fate::Written } else { fates.remove(0) }
        };
        if fate != Fate::Lost {
            self.log.append(records).await?;
        }
        if fate == Fate::Written { Ok(()) } else { Err(LogError::Unknown("as told".to_owned())) }
    }
    async fn join(&self, group: &str, topics: &[&str]) -> Result<Self::Consumer, LogError> {
        self.log.join(group, topics).await
    }
    async fn follow(&self, topics: &[&str]) -> Result<Self::Consumer, LogError> {
        self.log.follow(topics).await
    }
    async fn ends(&self, topic: &str) -> Result<Vec<(Partition, u64)>, LogError> {
        self.log.ends(topic).await
    }
}

/// A sale in Redis, with the log and the database behind it.
pub(crate) struct Sale {
    pub(crate) redis: Redis,
    pub(crate) ledgers: RedisLedger,
    pub(crate) log: Fragile,
    pub(crate) database: Database,
    pub(crate) fence: Fence<Fragile, Database>,
    pub(crate) now_ms: u64,
    /// Orders that were confirmed to clients.
    pub(crate) promised: Mutex<Vec<OrderId>>,
    folder: tempfile::TempDir,
}

impl Sale {
    /// Opened by the fence.
    pub(crate) async fn open() -> Option<Self> {
        Self::open_with(RULES).await
    }

    pub(crate) async fn open_with(rules: Rules) -> Option<Self> {
        let redis = Redis::start_with("no")?;
        let (ledgers, folder) = (RedisLedger::new(&redis.url()).unwrap(), tempfile::tempdir().unwrap());
        let log = LocalLog::open(&folder.path().join("log.db")).unwrap();
        log.create_topics(topic::fixed().to_vec()).await.unwrap();
        let log = Fragile { log, fates: Arc::default(), appends: Arc::default() };
        let database = Database::empty();
        let fence = Fence::new(ledgers.clone(), log.clone(), database.clone(), 0);
        let promised = Mutex::default();
        let mut sale = Self { redis, ledgers, log, database, fence, now_ms: 1_000_000, promised, folder };
        sale.announce(activity(), rules);
        sale.recover().await;
        Some(sale)
    }

    /// An admin wants the ledger open.
    pub(crate) fn announce(&self, id: ActivityId, rules: Rules) {
        self.database.model.put_activity(&Activity {
            id,
            version: 1,
            title: "a sale".to_owned(),
            sku: SkuId::from_i64(1).unwrap(),
            price: Cents::new(100),
            original_price: Cents::new(100),
            rules,
            admission: Admission::default(),
        });
        self.database.to_open.lock().unwrap().push(Opening { activity: id, stock: STOCK, rules });
    }

    /// Log and database are lost, and an admin wants the same sale again.
    pub(crate) async fn lose_log_and_database(&mut self) {
        let log = LocalLog::open(&self.folder.path().join("another.db")).unwrap();
        log.create_topics(topic::fixed().to_vec()).await.unwrap();
        self.log.log = log;
        self.database = Database::empty();
        self.announce(activity(), RULES);
        self.restart_fence();
    }

    /// A process that has seen nothing takes over.
    pub(crate) fn restart_fence(&mut self) {
        self.fence = Fence::new(self.ledgers.clone(), self.log.clone(), self.database.clone(), 1_000);
    }

    pub(crate) async fn buy(&self, id: i64) -> Result<Vec<Outcome>, LedgerUnavailable> {
        self.ask(&asks(id)).await
    }

    pub(crate) async fn ask(&self, asked: &Reservation) -> Result<Vec<Outcome>, LedgerUnavailable> {
        let outcomes = self.ledgers.reserve(BY_THE_SERVER, activity(), &[*asked]).await?.outcomes;
        if let Outcome::Held { order, .. } = outcomes[0] {
            self.promised.lock().unwrap().push(order);
        }
        Ok(outcomes)
    }

    pub(crate) async fn act(&self, action: Action) -> Result<Vec<Outcome>, LedgerUnavailable> {
        self.ledgers.act(vec![LedgerCommand { activity: activity(), action }]).await
    }

    /// The database decides, and its command is lost on its way.
    pub(crate) fn decide(&self, action: Action) {
        self.database.decisions.lock().unwrap().push(LedgerCommand { activity: activity(), action });
    }

    pub(crate) async fn counters(&self) -> Counters {
        self.ledgers.counters(activity()).await.unwrap().unwrap()
    }

    pub(crate) async fn snapshot(&self) -> Snapshot {
        self.ledgers.snapshot(activity()).await.unwrap().unwrap()
    }

    /// What a gateway's relay has read and not appended yet.
    pub(crate) async fn read_outbox(&self) -> Outbox {
        self.ledgers.read_outboxes(&[activity()]).await.unwrap().remove(0)
    }

    /// What a gateway's relay does with it.
    pub(crate) async fn append(&self, outbox: &Outbox) -> bool {
        self.log.log.append(journal::records(&outbox.entries)).await.unwrap();
        self.ledgers.trim_outbox(outbox).await.unwrap()
    }

    pub(crate) async fn relay(&self) {
        for outbox in self.ledgers.read_outboxes(&[activity()]).await.unwrap() {
            assert!(self.append(&outbox).await, "the ledger is open");
        }
    }

    /// A gateway that answers what it remembers of the orders.
    pub(crate) async fn remember(&self, ids: impl IntoIterator<Item = i64>, at_ms: u64) {
        let holds: Vec<Promise> = ids.into_iter().map(|id| Promise { reservation: asks(id), at_ms }).collect();
        self.ledgers.remember(activity(), &holds).await.unwrap();
    }

    /// The journal, in its order.
    pub(crate) async fn journal(&self) -> Vec<Line> {
        let mut left: u64 = self.log.log.ends(topic::ORDERS).await.unwrap().iter().map(|(_, end)| end).sum();
        let mut reader = self.log.log.follow(&[topic::ORDERS]).await.unwrap();
        let mut lines = Vec::new();
        while left > 0 {
            for record in reader.poll(100).await.unwrap() {
                left -= 1;
                let entries = Entries::decode(&record.value).unwrap().into_vec();
                lines.extend(entries.into_iter().map(|entry| Line { offset: record.offset, entry }));
            }
        }
        lines
    }

    pub(crate) async fn entries(&self) -> Vec<Entry> {
        Line::entries(&self.journal().await)
    }

    /// The database takes in what the journal has.
    pub(crate) async fn take_in(&self) {
        let journal = self.journal().await;
        for lines in journal.chunks(TAKE_IN_MAX) {
            self.database.model.take_in(lines, self.now_ms).await.unwrap();
        }
    }

    pub(crate) async fn look(&mut self) -> Result<Looked, FenceError> {
        self.now_ms += LOOK_EVERY_MS;
        self.fence.look(self.now_ms).await
    }

    /// Looks until something was recovered; how long that took.
    pub(crate) async fn recover(&mut self) -> u64 {
        let begun_ms = self.now_ms;
        while self.look().await.unwrap() != Looked::Recovered {
            assert!(self.now_ms < begun_ms + RECOVERY_MAX_MS, "nothing is recovered");
        }
        self.now_ms - begun_ms
    }

    /// Looks, whatever fails, until the ledger sells.
    pub(crate) async fn until_it_sells(&mut self) {
        let begun_ms = self.now_ms;
        while !matches!(self.look().await, Ok(Looked::Selling)) || self.fence.failed().len() > 0 {
            assert!(self.now_ms < begun_ms + RECOVERY_MAX_MS, "it does not sell");
        }
    }

    /// Looks until the ledger is closed.
    pub(crate) async fn until_closed(&mut self) {
        for _ in 0..LOOKS_MAX {
            self.look().await.unwrap();
            if !self.ledgers.closed().await.unwrap().is_empty() {
                return;
            }
        }
        panic!("the loss is not noticed");
    }

    /// As a restart of the server leaves the ledger.
    pub(crate) fn freeze(&self) {
        self.redis.ask(&["HSET", &key("ledger"), "run", "another"]);
    }

    /// Redis, journal and database agree, and every promise is an order of one kind or the other; how many of them failed.
    pub(crate) async fn check(&self) -> usize {
        self.relay().await;
        self.take_in().await;
        let mirror = self.database.model.snapshots().await.unwrap().remove(0);
        let found = self.snapshot().await;
        let epoch = found.epoch;
        assert_eq!(Snapshot { epoch, is_open: true, ..mirror }, found, "the database is the ledger");
        let units = |state| {
            let holds = found.holds.iter().filter(|hold| hold.state == state);
            holds.map(|hold| u64::from(hold.reservation.quantity)).sum::<u64>()
        };
        let counters = self.counters().await;
        assert_eq!((units(HoldState::Held), units(HoldState::Sold)), (counters.held, counters.sold));
        assert_eq!(counters.total, counters.available + counters.held + counters.sold);
        let mut failed = 0;
        for order in self.promised.lock().unwrap().iter() {
            let state = self.database.model.order_state(*order);
            assert!(state.is_some(), "order {order} was promised, and nobody has it");
            failed += usize::from(state == Some(OrderState::Failed));
        }
        failed
    }

    /// Keeps the files until the end of the test.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}
