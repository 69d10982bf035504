//! The fence on a real Redis and a real log: what was promised is not forgotten, whatever Redis lost.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::sync::{Arc, Mutex};

use commit_log::{Consumer, LocalConsumer, LocalLog, Log, LogError, NewRecord, Partition, Record};
use contract::{
    ActivityId, OrderId, UserId,
    activity::Terms,
    ledger::{Counters, Outcome, RequestKey, Reservation, Snapshot, Window},
    topic::{self, Topic},
};
use ledger::{
    LedgerClient, LedgerUnavailable,
    house::SnapshotSource,
    journal,
    redis::{
        RedisLedger,
        fence::{Fence, FenceError, Looked},
        wire::Caller,
    },
};
use services::Redis;

const TERMS: Terms = Terms { per_user_limit: 2, starts_at_ms: 0, ends_at_ms: u64::MAX >> 12 };
const BY_THE_SERVER: Caller<'static> = Caller { run: "", now_ms: None, window: Window { max: 0, within_ms: 0 } };
const STOCK: u64 = 10;
/// Between two looks.
const LOOK_EVERY_MS: u64 = 100;
/// A sale goes on within this time.
const RECOVERY_MAX_MS: u64 = 10_000;

fn activity() -> ActivityId {
    ActivityId::from_i64(7).unwrap()
}

fn order(id: i64) -> OrderId {
    OrderId::from_i64(id).unwrap()
}

fn asks(id: i64) -> Reservation {
    let request = Some(RequestKey([u8::try_from(id).unwrap(); 16]));
    Reservation { order: order(id), user: UserId::from_i64(100 + id).unwrap(), request, quantity: 1 }
}

fn held(id: i64, repeated: bool) -> Vec<Outcome> {
    vec![Outcome::Held { order: order(id), repeated }]
}

fn key(part: &str) -> String {
    format!("mall:{{{}}}:{part}", activity())
}

/// What the database has taken in.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<Vec<Snapshot>>>);

impl SnapshotSource for Database {
    async fn snapshots(&self) -> Result<Vec<Snapshot>, String> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// A sale in Redis, with the log and the database behind it.
struct Sale {
    redis: Redis,
    ledgers: RedisLedger,
    log: LocalLog,
    database: Database,
    fence: Fence<LocalLog, Database>,
    now_ms: u64,
    _folder: tempfile::TempDir,
}

impl Sale {
    /// Opened once the fence has compared an empty Redis.
    async fn open() -> Option<Self> {
        let redis = Redis::start_with("no")?;
        let (ledgers, folder) = (RedisLedger::new(&redis.url()).unwrap(), tempfile::tempdir().unwrap());
        let log = LocalLog::open(&folder.path().join("log.db")).unwrap();
        log.create_topics(topic::fixed().to_vec()).await.unwrap();
        let database = Database::default();
        let fence = Fence::new(ledgers.clone(), log.clone(), database.clone());
        let mut sale = Self { redis, ledgers, log, database, fence, now_ms: 1_000_000, _folder: folder };
        sale.recover().await;
        sale.ledgers.open(activity(), STOCK, TERMS).await.unwrap();
        Some(sale)
    }

    async fn buy(&self, id: i64) -> Result<Vec<Outcome>, LedgerUnavailable> {
        Ok(self.ledgers.reserve(BY_THE_SERVER, activity(), &[asks(id)]).await?.outcomes)
    }

    async fn counters(&self) -> Counters {
        self.ledgers.counters(activity()).await.unwrap().unwrap()
    }

    async fn relay(&self) {
        relay(&self.ledgers, &self.log).await;
    }

    /// The database takes in what the ledger has now.
    async fn take_in(&self) {
        *self.database.0.lock().unwrap() = vec![self.ledgers.snapshot(activity()).await.unwrap().unwrap()];
    }

    async fn look(&mut self) -> Result<Looked, FenceError> {
        self.now_ms += LOOK_EVERY_MS;
        self.fence.look(self.now_ms).await
    }

    /// Looks until something was compared; how long that took.
    async fn recover(&mut self) -> u64 {
        let begun_ms = self.now_ms;
        while self.look().await.unwrap() != Looked::Compared {
            assert!(self.now_ms < begun_ms + RECOVERY_MAX_MS, "nothing is compared");
        }
        self.now_ms - begun_ms
    }

    /// As a restart of the server leaves the ledger.
    fn freeze(&self) {
        self.redis.ask(&["HSET", &key("ledger"), "run", "another"]);
    }
}

/// What a gateway's relay does.
async fn relay(ledgers: &RedisLedger, log: &LocalLog) {
    for outbox in ledgers.read_outboxes(&[activity()]).await.unwrap() {
        log.append(journal::records(&outbox.entries)).await.unwrap();
        ledgers.trim_outbox(&outbox).await.unwrap();
    }
}

/// A log on which the relay appends between the moment when its end is read and the moment when it is read.
#[derive(Clone)]
struct Racing {
    log: LocalLog,
    ledgers: RedisLedger,
}

impl Log for Racing {
    type Consumer = OneByOne;
    async fn create_topics(&self, topics: Vec<Topic>) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }
    async fn topics(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        self.log.topics(prefix).await
    }
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        self.log.append(records).await
    }
    async fn join(&self, group: &str, topics: &[&str]) -> Result<Self::Consumer, LogError> {
        self.log.join(group, topics).await.map(OneByOne)
    }
    async fn follow(&self, topics: &[&str]) -> Result<Self::Consumer, LogError> {
        relay(&self.ledgers, &self.log).await;
        self.log.follow(topics).await.map(OneByOne)
    }
    async fn ends(&self, topic: &str) -> Result<Vec<(Partition, u64)>, LogError> {
        self.log.ends(topic).await
    }
}

/// Does not hand out what is behind the end that was read.
struct OneByOne(LocalConsumer);

impl Consumer for OneByOne {
    async fn poll(&mut self, _: usize) -> Result<Vec<Record>, LogError> {
        self.0.poll(1).await
    }
    async fn commit(&mut self, offsets: Vec<(Partition, u64)>) -> Result<(), LogError> {
        self.0.commit(offsets).await
    }
    fn rewind(&mut self, partition: &Partition, offset: u64) {
        self.0.rewind(partition, offset);
    }
    fn pause(&mut self, partition: &Partition) {
        self.0.pause(partition);
    }
    fn resume(&mut self, partition: &Partition) {
        self.0.resume(partition);
    }
}

#[tokio::test]
async fn what_is_relayed_during_a_comparison_is_not_lost() {
    let Some(mut sale) = Sale::open().await else { return };
    sale.buy(1).await.unwrap();
    sale.relay().await;
    sale.buy(2).await.unwrap();
    sale.buy(3).await.unwrap();
    let before = sale.counters().await;
    sale.freeze();
    let log = Racing { log: sale.log.clone(), ledgers: sale.ledgers.clone() };
    let mut fence = Fence::new(sale.ledgers.clone(), log, sale.database.clone());
    loop {
        sale.now_ms += LOOK_EVERY_MS;
        if fence.look(sale.now_ms).await.unwrap() == Looked::Compared {
            break;
        }
    }
    let after = sale.counters().await;
    assert_eq!((after.seq, after.held), (before.seq, before.held));
    assert_eq!(sale.buy(3).await.unwrap(), held(3, true), "the order that was relayed meanwhile");
}

#[tokio::test]
async fn a_ledger_ahead_of_the_log_is_compared_again() {
    let Some(mut sale) = Sale::open().await else { return };
    sale.relay().await;
    sale.take_in().await;
    sale.buy(1).await.unwrap();
    // Neither in the outbox nor on the log, as a broken outbox would leave it.
    let taken = sale.ledgers.read_outboxes(&[activity()]).await.unwrap();
    sale.ledgers.trim_outbox(&taken[0]).await.unwrap();
    sale.freeze();
    sale.fence = Fence::new(sale.ledgers.clone(), sale.log.clone(), sale.database.clone());
    let before = sale.counters().await;
    let mut refused = 0;
    for _ in 0..50 {
        match sale.look().await {
            Err(FenceError::Ahead { redis: 2, journal: 1, .. }) => refused += 1,
            Err(error) => panic!("{error}"),
            Ok(looked) => assert_ne!(looked, Looked::Compared),
        }
    }
    assert!(refused > 1, "it goes on trying");
    assert_eq!(sale.counters().await, before);
    assert!(sale.buy(2).await.unwrap_err().0.contains("FROZEN"));

    sale.log.append(journal::records(&taken[0].entries)).await.unwrap();
    sale.recover().await;
    assert_eq!(sale.counters().await.seq, before.seq);
    assert_eq!(sale.buy(1).await.unwrap(), held(1, true));
    assert_eq!(sale.buy(2).await.unwrap(), held(2, false));
}
