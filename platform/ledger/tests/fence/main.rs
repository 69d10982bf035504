//! The fence on a real Redis and a real log: what was promised is not forgotten, whatever Redis lost.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod racing;

use std::sync::{Arc, Mutex};

use commit_log::{LocalLog, Log};
use contract::{
    ActivityId, OperationId, OrderId, UserId,
    activity::Rules,
    record::{Action, LedgerCommand},
    stock::{Counters, Outcome, RequestKey, Reservation, Snapshot, Window},
    topic,
};
use ledger::{
    LedgerClient, LedgerUnavailable,
    house::{SnapshotSource, restore},
    journal,
    redis::{
        RedisLedger, Remembered,
        fence::{Fence, FenceError, Looked},
        wire::Caller,
    },
};
use racing::Racing;
use services::Redis;

const RULES: Rules = Rules { per_user_limit: 2, starts_at_ms: 0, ends_at_ms: u64::MAX >> 12 };
const BY_THE_SERVER: Caller<'static> =
    Caller { run: "", now_ms: None, window: Window { max: 0, within_ms: 0 }, repeats_only: false };
const STOCK: u64 = 10;
/// Between two looks.
const LOOK_EVERY_MS: u64 = 100;
/// A sale goes on within this time.
const RECOVERY_MAX_MS: u64 = 10_000;
const LOOKS_MAX: u64 = RECOVERY_MAX_MS / LOOK_EVERY_MS;
const PARTS: [&str; 6] = ["ledger", "orders", "requests", "users", "restocks", "outbox"];

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
        sale.ledgers.open(activity(), STOCK, RULES).await.unwrap();
        Some(sale)
    }

    async fn buy(&self, id: i64) -> Result<Vec<Outcome>, LedgerUnavailable> {
        Ok(self.ledgers.reserve(BY_THE_SERVER, activity(), &[asks(id)]).await?.outcomes)
    }

    async fn act(&self, action: Action) -> Result<Vec<Outcome>, LedgerUnavailable> {
        self.ledgers.act(vec![LedgerCommand { activity: activity(), action }]).await
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

    /// Looks until the ledger is closed, because it was lost.
    async fn until_closed(&mut self) {
        for _ in 0..LOOKS_MAX {
            self.look().await.unwrap();
            if !self.ledgers.closed().await.unwrap().is_empty() {
                return;
            }
        }
        panic!("the loss is not noticed");
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

/// A deletion, or the eviction of a full server.
#[tokio::test]
async fn whatever_is_lost_of_a_ledger_it_sells_on_with_what_was_sold() {
    for part in PARTS {
        let Some(mut sale) = Sale::open().await else { return };
        for id in 1..=4 {
            sale.buy(id).await.unwrap();
        }
        let operation = OperationId::from_i64(5).unwrap();
        sale.act(Action::Settle(order(1))).await.unwrap();
        sale.act(Action::Release(order(2))).await.unwrap();
        sale.act(Action::Restock { operation, delta: 3 }).await.unwrap();
        // The database has the first, the log the second, and the outbox (where it is not what is lost) the third.
        sale.relay().await;
        sale.take_in().await;
        sale.buy(5).await.unwrap();
        sale.relay().await;
        if part != "outbox" {
            sale.buy(6).await.unwrap();
        }
        let before = sale.ledgers.snapshot(activity()).await.unwrap().unwrap();
        sale.redis.ask(&["DEL", &key(part)]);

        assert!(sale.ledgers.open(activity(), STOCK, RULES).await.is_err() || part != "ledger", "all units at once");
        if part != "restocks" {
            assert!(sale.buy(9).await.is_err(), "{part} is lost and the ledger sells");
        }
        if part != "ledger" {
            let refused = sale.act(Action::Settle(order(3))).await.unwrap_err();
            assert!(refused.0.contains("FROZEN"), "{part}: {refused}");
        }
        let took_ms = sale.recover().await;
        assert!(took_ms < RECOVERY_MAX_MS / 2, "{part}: {took_ms} ms");
        let after = sale.ledgers.snapshot(activity()).await.unwrap().unwrap();
        assert!(after.epoch > before.epoch, "{part}");
        assert_eq!(after, Snapshot { epoch: after.epoch, ..before }, "{part}");
        assert_eq!(sale.buy(3).await.unwrap(), held(3, true), "{part}");
        assert_eq!(sale.buy(9).await.unwrap(), held(9, false), "{part}");
        let again = Action::Restock { operation, delta: 3 };
        assert_eq!(sale.act(again).await, Ok(vec![Outcome::Done]), "{part}");
        assert_eq!(sale.counters().await.total, STOCK + 3, "{part}: the restock counts once");
        assert_eq!(sale.act(Action::Settle(order(3))).await, Ok(vec![Outcome::Done]), "{part}");
        sale.relay().await;
        assert!(sale.ledgers.closed().await.unwrap().is_empty(), "{part}");
        assert!(sale.ledgers.is_verified().await.unwrap(), "{part}");
    }
}

/// The log was away, say: what the outbox had is still what the rest of the ledger says.
#[tokio::test]
async fn an_outbox_that_is_lost_with_entries_is_made_again() {
    let Some(mut sale) = Sale::open().await else { return };
    for id in 1..=4 {
        sale.buy(id).await.unwrap();
    }
    sale.relay().await;
    sale.take_in().await;
    for id in 5..=8 {
        sale.buy(id).await.unwrap();
    }
    for id in [1, 5] {
        sale.act(Action::Settle(order(id))).await.unwrap();
    }
    for id in [2, 6] {
        sale.act(Action::Release(order(id))).await.unwrap();
    }
    sale.act(Action::Restock { operation: OperationId::from_i64(5).unwrap(), delta: -4 }).await.unwrap();
    sale.act(Action::End { ends_at_ms: 1 }).await.unwrap();
    let before = sale.ledgers.snapshot(activity()).await.unwrap().unwrap();
    sale.redis.ask(&["DEL", &key("outbox")]);
    sale.recover().await;
    let after = sale.ledgers.snapshot(activity()).await.unwrap().unwrap();
    let journal = restore(&sale.log, &sale.database).await.unwrap();
    assert_eq!(journal[&activity()].snapshot(), before, "the journal leads there");
    assert_eq!(after, Snapshot { epoch: before.epoch + 1, ..before });
    assert_eq!(sale.buy(7).await.unwrap(), held(7, true));
}

/// Nothing tells what the outbox had. To rebuild the ledger without it would sell units twice.
#[tokio::test]
async fn a_ledger_whose_outbox_and_orders_are_lost_stays_frozen() {
    let Some(mut sale) = Sale::open().await else { return };
    sale.buy(1).await.unwrap();
    sale.relay().await;
    sale.take_in().await;
    sale.buy(2).await.unwrap();
    sale.redis.ask(&["DEL", &key("outbox"), &key("orders")]);
    let before = sale.counters().await;
    let mut refused = 0;
    for _ in 0..LOOKS_MAX {
        match sale.look().await {
            Err(FenceError::Ahead { redis: 3, journal: 2, .. }) => refused += 1,
            Err(error) => panic!("{error}"),
            Ok(looked) => assert_ne!(looked, Looked::Compared),
        }
    }
    assert!(refused > 1, "it goes on trying");
    assert_eq!(sale.counters().await, before);
    assert!(sale.buy(3).await.is_err());
}

/// FLUSHALL, with an order that only a gateway remembers.
#[tokio::test]
async fn when_all_is_lost_the_gateways_are_asked() {
    let Some(mut sale) = Sale::open().await else { return };
    sale.buy(1).await.unwrap();
    sale.relay().await;
    sale.buy(2).await.unwrap();
    sale.redis.ask(&["FLUSHALL"]);
    assert!(sale.ledgers.open(activity(), STOCK, RULES).await.is_err());
    assert!(sale.act(Action::Settle(order(1))).await.is_err(), "it is no unknown order");
    // Nothing but the journal knows the sale.
    let mut restarted = Fence::new(sale.ledgers.clone(), sale.log.clone(), Database::default());
    std::mem::swap(&mut sale.fence, &mut restarted);
    sale.until_closed().await;
    assert!(sale.ledgers.open(activity(), STOCK, RULES).await.is_err());
    let promised = Remembered { reservation: asks(2), at_ms: 1 };
    sale.ledgers.remember(activity(), &[promised]).await.unwrap();
    let mut looks = 0;
    while sale.ledgers.closed().await.unwrap().contains_key(&activity()) {
        sale.look().await.unwrap();
        looks += 1;
        assert!(looks < LOOKS_MAX, "the ledger is not rebuilt");
    }
    assert_eq!(sale.buy(1).await.unwrap(), held(1, true));
    assert_eq!(sale.buy(2).await.unwrap(), held(2, true));
    assert_eq!(sale.counters().await.held, 2);
}

/// The relay may have read entries that it appends after the log was read.
#[tokio::test]
async fn a_lost_ledger_is_rebuilt_once_the_relay_rests() {
    for rests in [true, false] {
        let Some(mut sale) = Sale::open().await else { return };
        sale.relay().await;
        sale.take_in().await;
        sale.redis.ask(&["DEL", &key("ledger")]);
        assert!(sale.ledgers.lease_relay("ours", 600_000).await.unwrap());
        sale.until_closed().await;
        let closed_ms = sale.now_ms;
        while sale.now_ms < closed_ms + 3_000 {
            assert_eq!(sale.look().await.unwrap(), Looked::Frozen);
        }
        if rests {
            let token = sale.ledgers.closed().await.unwrap()[&activity()].clone();
            sale.ledgers.rest_relay(activity(), "another", &token).await.unwrap();
            sale.ledgers.rest_relay(activity(), "ours", "an earlier closing").await.unwrap();
            assert_eq!(sale.look().await.unwrap(), Looked::Frozen);
            sale.ledgers.rest_relay(activity(), "ours", &token).await.unwrap();
            assert_eq!(sale.look().await.unwrap(), Looked::Compared);
        } else {
            // A relay that hangs is not waited for without an end.
            sale.recover().await;
            assert!(sale.now_ms < closed_ms + RECOVERY_MAX_MS);
        }
        assert_eq!(sale.buy(1).await.unwrap(), held(1, false));
    }
}

/// Its process died after it had closed a ledger, or before it had said that it is open again.
#[tokio::test]
async fn another_fence_goes_on_where_one_died() {
    let Some(mut sale) = Sale::open().await else { return };
    sale.relay().await;
    sale.take_in().await;
    sale.redis.ask(&["DEL", &key("users")]);
    sale.until_closed().await;
    sale.redis.ask(&["DEL", "mall:closed"]);
    sale.fence = Fence::new(sale.ledgers.clone(), sale.log.clone(), sale.database.clone());
    let mut looks = 0;
    while sale.buy(1).await.is_err() {
        sale.look().await.unwrap();
        looks += 1;
        assert!(looks < LOOKS_MAX, "the ledger is not rebuilt");
    }
    sale.redis.ask(&["HSET", "mall:closed", &activity().to_string(), "closed:1"]);
    let mut looks = 0;
    while sale.look().await.unwrap() != Looked::Selling {
        looks += 1;
        assert!(looks < LOOKS_MAX, "it does not sell");
    }
    assert!(sale.ledgers.closed().await.unwrap().is_empty(), "relays would rest for ever");
}

/// One that can't be compared does not keep the others frozen.
#[tokio::test]
async fn a_ledger_that_can_not_be_compared_stays_frozen_alone() {
    let Some(mut sale) = Sale::open().await else { return };
    let other = ActivityId::from_i64(8).unwrap();
    sale.ledgers.open(other, STOCK, RULES).await.unwrap();
    sale.relay().await;
    sale.redis.ask(&["XADD", &format!("mall:{{{other}}}:outbox"), "*", "no", "entry"]);
    sale.freeze();
    sale.redis.ask(&["HSET", &format!("mall:{{{other}}}:ledger"), "run", "another"]);
    sale.fence = Fence::new(sale.ledgers.clone(), sale.log.clone(), sale.database.clone());
    sale.recover().await;
    assert_eq!(sale.buy(1).await.unwrap(), held(1, false));
    let reply = sale.ledgers.reserve(BY_THE_SERVER, other, &[asks(2)]).await;
    assert!(reply.unwrap_err().0.contains("FROZEN"));
    let mut failed = false;
    for _ in 0..20 {
        failed |= sale.look().await.is_err();
    }
    assert!(failed, "it is reported");
}

/// Without marks, and with parts that are missing because they are empty.
#[tokio::test]
async fn a_ledger_of_an_earlier_version_sells_on_and_is_marked() {
    let unmark = |sale: &Sale| {
        for part in ["ledger", "orders", "requests", "users"] {
            sale.redis.ask(&["HDEL", &key(part), "mark"]);
        }
        sale.redis.ask(&["SREM", &key("restocks"), "mark"]);
        assert_eq!(sale.redis.ask(&["EXISTS", &key("restocks")]).trim(), "0");
    };
    let Some(mut sale) = Sale::open().await else { return };
    sale.relay().await;
    unmark(&sale);
    assert_eq!(sale.buy(1).await.unwrap(), held(1, false), "before the fence has seen it");
    assert_eq!(sale.act(Action::Release(order(1))).await, Ok(vec![Outcome::Done]));
    let before = sale.counters().await;
    sale.relay().await;
    sale.take_in().await;
    let mut looked = Looked::Resting;
    while looked == Looked::Resting {
        looked = sale.look().await.unwrap();
    }
    assert_eq!((looked, sale.counters().await), (Looked::Selling, before), "it is not interrupted");
    for part in ["ledger", "orders", "requests", "users"] {
        assert_eq!(sale.redis.ask(&["HGET", &key(part), "mark"]).trim(), "1", "{part}");
    }
    assert_eq!(sale.redis.ask(&["SISMEMBER", &key("restocks"), "mark"]).trim(), "1");

    // One that has lost its holds by then is no ledger to mark.
    unmark(&sale);
    sale.buy(3).await.unwrap();
    sale.relay().await;
    sale.redis.ask(&["DEL", &key("orders")]);
    sale.recover().await;
    assert_eq!(sale.buy(3).await.unwrap(), held(3, true));
    assert_eq!(sale.act(Action::Settle(order(3))).await, Ok(vec![Outcome::Done]));

    // And after a restart it goes on where it was.
    unmark(&sale);
    sale.relay().await;
    let before = sale.counters().await;
    sale.freeze();
    sale.recover().await;
    assert_eq!(sale.counters().await, Counters { epoch: before.epoch + 1, ..before });
}
