//! The ledger thread on a real log: durable before it answers, the same after a restart.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use commit_log::{Consumer, LocalLog, Log, LogError, NewRecord, Partition};
use contract::{
    ActivityId, OrderId, UserId,
    activity::Rules,
    record::{Action, Entries, LedgerCommand, Record as _},
    stock::{BatchReply, Entry, Outcome, Reservation, Snapshot, Window},
    topic::{self, Topic},
};
use foundation::SystemClock;
use ledger::{
    LedgerClient, LedgerUnavailable,
    conformance::{Fixture, suite},
    local::{self, LocalLedger},
    restore::SnapshotSource,
};

const RULES: Rules = Rules { per_user_limit: 1, starts_at_ms: 0, ends_at_ms: u64::MAX };

fn activity() -> ActivityId {
    ActivityId::from_i64(1).unwrap()
}

/// The database has taken nothing in: all comes from the journal.
struct Nothing;

impl SnapshotSource for Nothing {
    async fn snapshots(&self) -> Result<Vec<Snapshot>, String> {
        Ok(Vec::new())
    }
}

/// A log that fails on request after it has written, so that the caller can't know the outcome.
#[derive(Clone)]
struct Forgetful {
    log: LocalLog,
    fails: Arc<AtomicBool>,
}

impl Log for Forgetful {
    type Consumer = commit_log::LocalConsumer;
    async fn create_topics(&self, topics: Vec<Topic>) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }
    async fn topics(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        self.log.topics(prefix).await
    }
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        self.log.append(records).await?;
        if self.fails.load(Ordering::Relaxed) { Err(LogError::Unknown("as told".to_owned())) } else { Ok(()) }
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

async fn log(folder: &tempfile::TempDir) -> LocalLog {
    let log = LocalLog::open(&folder.path().join("log.db")).unwrap();
    log.create_topics(topic::fixed().to_vec()).await.unwrap();
    log
}

fn asks(order: i64, user: i64) -> Reservation {
    let (order, user) = (OrderId::from_i64(order).unwrap(), UserId::from_i64(user).unwrap());
    Reservation { order, user, request: None, quantity: 1 }
}

async fn reserve(
    ledger: &LocalLedger,
    activity: ActivityId,
    reservations: Vec<Reservation>,
) -> Result<BatchReply, LedgerUnavailable> {
    ask(ledger, activity, reservations, false).await
}

async fn ask(
    ledger: &LocalLedger,
    activity: ActivityId,
    reservations: Vec<Reservation>,
    repeats_only: bool,
) -> Result<BatchReply, LedgerUnavailable> {
    let (sender, answer) = tokio::sync::oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let reply = move |result| drop(sender.lock().unwrap().take().unwrap().send(result));
    ledger.reserve((activity, None), reservations, repeats_only, Box::new(reply));
    answer.await.unwrap()
}

fn held(order: i64, repeated: bool) -> Outcome {
    Outcome::Held { order: OrderId::from_i64(order).unwrap(), repeated }
}

/// A ledger thread and the log it writes.
struct Home {
    ledger: LocalLedger,
    log: LocalLog,
    next: AtomicI64,
}

impl Fixture for Home {
    type Client = LocalLedger;

    async fn client(&self) -> LocalLedger {
        self.ledger.clone()
    }

    fn activity(&self) -> ActivityId {
        ActivityId::from_i64(self.next.fetch_add(1, Ordering::Relaxed)).unwrap()
    }

    async fn ask(
        &self,
        client: &LocalLedger,
        activity: ActivityId,
        reservations: Vec<Reservation>,
        repeats_only: bool,
    ) -> Result<BatchReply, LedgerUnavailable> {
        ask(client, activity, reservations, repeats_only).await
    }

    async fn journal(&self, _: &LocalLedger, activity: ActivityId) -> Vec<Entry> {
        let mut reader = self.log.follow(&[topic::ORDERS]).await.unwrap();
        let ends = self.log.ends(topic::ORDERS).await.unwrap();
        let mut left: u64 = ends.iter().map(|(_, end)| end).sum();
        let mut entries = Vec::new();
        while left > 0 {
            let records = reader.poll(1000).await.unwrap();
            left -= records.len() as u64;
            entries.extend(records.iter().flat_map(|record| Entries::decode(&record.value).unwrap().into_vec()));
        }
        entries.retain(|entry| entry.activity == activity);
        entries
    }
}

#[tokio::test]
async fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder).await;
    let (ledger, _) = local::start(log.clone(), Nothing, Window::default(), SystemClock).await.unwrap();
    suite(&Home { ledger, log, next: AtomicI64::new(1) }).await;
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let before = {
        let log = log(&folder).await;
        let (ledger, thread) = local::start(log.clone(), Nothing, Window::default(), SystemClock).await.unwrap();
        assert!(reserve(&ledger, activity(), vec![asks(10, 1)]).await.is_err(), "not open yet");
        ledger.open(activity(), 2, RULES).await.unwrap();
        let reply = reserve(&ledger, activity(), vec![asks(11, 1), asks(12, 2), asks(13, 3)]).await.unwrap();
        assert_eq!(reply.outcomes, [held(11, false), held(12, false), Outcome::SoldOut]);
        let release = Action::Release(OrderId::from_i64(12).unwrap());
        let outcomes = ledger.act(vec![LedgerCommand { activity: activity(), action: release }]).await;
        assert_eq!(outcomes, Ok(vec![Outcome::Done]));
        assert_eq!((ledger.stats().commits(), ledger.stats().reservations()), (1, 2));
        let counters = ledger.counters(activity()).await.unwrap();
        drop(ledger);
        thread.join().unwrap();
        log.close();
        counters
    };
    let (ledger, _) = local::start(log(&folder).await, Nothing, Window::default(), SystemClock).await.unwrap();
    assert_eq!(ledger.counters(activity()).await.unwrap(), before);
    assert_eq!(ledger.open(activity(), 99, RULES).await.map(Some), Ok(before), "opening again changes nothing");
    let reply = reserve(&ledger, activity(), vec![asks(21, 1), asks(22, 3), asks(23, 2)]).await.unwrap();
    assert_eq!(reply.outcomes, [held(11, true), held(22, false), Outcome::SoldOut]);
}

/// What the log may or may not have is neither promised nor forgotten: the ledgers are rebuilt from it.
#[tokio::test]
async fn a_log_that_fails_is_believed_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let log = Forgetful { log: log(&folder).await, fails: Arc::default() };
    let (ledger, _) = local::start(log.clone(), Nothing, Window::default(), SystemClock).await.unwrap();
    ledger.open(activity(), 1, RULES).await.unwrap();
    log.fails.store(true, Ordering::Relaxed);
    assert!(reserve(&ledger, activity(), vec![asks(10, 1)]).await.is_err());
    log.fails.store(false, Ordering::Relaxed);
    let reply = reserve(&ledger, activity(), vec![asks(11, 1), asks(12, 2)]).await.unwrap();
    assert_eq!(reply.outcomes, [held(10, true), Outcome::SoldOut], "the unit was held by the append that failed");
}
