//! What the tests of order-core and admin run on: a log and ledgers in memory, a clock that is set by hand.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

pub mod document;
pub mod hostile;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use commit_log::{Consumer, Cursor, Log, LogError, NewRecord, Partition, Record};
use contract::{
    ActivityId,
    activity::Rules,
    record::{Entries, LedgerCommand, Record as _},
    stock::{Command, Counters, Entry, Ledger, Outcome, Reservation},
    topic::{self, Topic, partition_of},
};
use foundation::Clock;
use ledger::{LedgerClient, LedgerUnavailable};
use tokio::sync::Notify;

pub const START_MS: u64 = 1_800_000_000_000;

#[derive(Clone)]
pub struct HandClock(Arc<(AtomicU64, Notify)>);

impl HandClock {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn advance(&self, by_ms: u64) {
        self.0.0.fetch_add(by_ms, Ordering::SeqCst);
        self.0.1.notify_waiters();
    }
}

impl Default for HandClock {
    fn default() -> Self {
        Self(Arc::new((AtomicU64::new(START_MS), Notify::new())))
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        self.0.0.load(Ordering::SeqCst)
    }

    async fn sleep_until(&self, at_ms: u64) {
        loop {
            let moved = self.0.1.notified();
            if self.now_ms() >= at_ms {
                return;
            }
            moved.await;
        }
    }
}

#[derive(Clone, Default)]
pub struct MemoryLog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    appended: Notify,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Vec<Vec<Record>>>,
    committed: BTreeMap<(String, Partition), u64>,
}

impl MemoryLog {
    pub async fn with_topics(pay_within_ms: u64) -> Self {
        let log = Self::default();
        let mut topics = topic::fixed().to_vec();
        topics.push(topic::timeouts(pay_within_ms));
        log.create_topics(topics).await.unwrap();
        log
    }

    pub fn records(&self, topic: &str) -> Vec<Record> {
        self.0.state.lock().unwrap().topics[topic].concat()
    }

    /// The journal's entries, partition by partition.
    pub fn journal(&self) -> Vec<Entry> {
        let records = self.records(topic::ORDERS);
        records.iter().flat_map(|record| Entries::decode(&record.value).unwrap().into_vec()).collect()
    }

    /// What `group` has left to do on `topic`.
    pub fn lag(&self, group: &str, topic: &str) -> u64 {
        let state = self.0.state.lock().unwrap();
        let lag = |(index, records): (usize, &Vec<Record>)| {
            let partition = Partition { topic: topic.into(), index: index.try_into().unwrap() };
            records.len() as u64 - state.committed.get(&(group.to_owned(), partition)).copied().unwrap_or(0)
        };
        state.topics[topic].iter().enumerate().map(lag).sum()
    }

    fn reader(&self, group: Option<&str>, topics: &[&str]) -> Result<MemoryConsumer, LogError> {
        let state = self.0.state.lock().unwrap();
        let mut positions = BTreeMap::new();
        for name in topics {
            let partitions = state.topics.get(*name).ok_or_else(|| LogError::UnknownTopic((*name).to_owned()))?;
            for index in 0..partitions.len() {
                let partition = Partition { topic: (*name).into(), index: index.try_into().unwrap() };
                let committed = group.and_then(|group| state.committed.get(&(group.to_owned(), partition.clone())));
                positions.insert(partition.clone(), committed.copied().unwrap_or(0));
            }
        }
        let group = group.map(str::to_owned);
        Ok(MemoryConsumer { shared: Arc::clone(&self.0), group, cursor: Cursor::new(positions) })
    }
}

impl Log for MemoryLog {
    type Consumer = MemoryConsumer;

    async fn create_topics(&self, topics: Vec<Topic>) -> Result<(), LogError> {
        let mut state = self.0.state.lock().unwrap();
        for topic in topics {
            state.topics.entry(topic.name).or_insert_with(|| vec![Vec::new(); topic.partitions as usize]);
        }
        Ok(())
    }

    async fn topics(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        let state = self.0.state.lock().unwrap();
        Ok(state.topics.keys().filter(|name| name.starts_with(prefix)).cloned().collect())
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        let mut state = self.0.state.lock().unwrap();
        for NewRecord { topic, key, value } in records {
            let partitions = state.topics.get_mut(&*topic).ok_or_else(|| LogError::UnknownTopic(topic.to_string()))?;
            let index = partition_of(&key, partitions.len().try_into().unwrap());
            let records = &mut partitions[index as usize];
            let offset = records.len() as u64;
            records.push(Record { partition: Partition { topic, index }, offset, key, value });
        }
        self.0.appended.notify_waiters();
        Ok(())
    }

    async fn join(&self, group: &str, topics: &[&str]) -> Result<MemoryConsumer, LogError> {
        self.reader(Some(group), topics)
    }

    async fn follow(&self, topics: &[&str]) -> Result<MemoryConsumer, LogError> {
        self.reader(None, topics)
    }

    async fn ends(&self, topic: &str) -> Result<Vec<(Partition, u64)>, LogError> {
        let state = self.0.state.lock().unwrap();
        let partitions = state.topics.get(topic).ok_or_else(|| LogError::UnknownTopic(topic.to_owned()))?;
        let end = |(index, records): (usize, &Vec<Record>)| {
            (Partition { topic: topic.into(), index: index.try_into().unwrap() }, records.len() as u64)
        };
        Ok(partitions.iter().enumerate().map(end).collect())
    }
}

pub struct MemoryConsumer {
    shared: Arc<Shared>,
    group: Option<String>,
    cursor: Cursor,
}

impl Consumer for MemoryConsumer {
    async fn poll(&mut self, max: usize) -> Result<Vec<Record>, LogError> {
        let shared = Arc::clone(&self.shared);
        loop {
            let appended = shared.appended.notified();
            let mut records = Vec::new();
            {
                let state = shared.state.lock().unwrap();
                for (partition, position) in self.cursor.readable() {
                    let stored = &state.topics[&*partition.topic][partition.index as usize];
                    let from = usize::try_from(position).unwrap().min(stored.len());
                    let take = (max - records.len()).min(stored.len() - from);
                    records.extend_from_slice(&stored[from..from + take]);
                }
            }
            if !records.is_empty() {
                self.cursor.pass(&records);
                return Ok(records);
            }
            appended.await;
        }
    }

    async fn commit(&mut self, offsets: Vec<(Partition, u64)>) -> Result<(), LogError> {
        if let Some(group) = &self.group {
            let mut state = self.shared.state.lock().unwrap();
            state.committed.extend(offsets.into_iter().map(|(partition, next)| ((group.clone(), partition), next)));
        }
        Ok(())
    }

    fn rewind(&mut self, partition: &Partition, offset: u64) {
        self.cursor.rewind(partition, offset);
    }

    fn pause(&mut self, partition: &Partition) {
        self.cursor.pause(partition);
    }

    fn resume(&mut self, partition: &Partition) {
        self.cursor.resume(partition);
    }
}

/// Ledgers whose journal is on a [`MemoryLog`].
#[derive(Clone)]
pub struct MemoryLedgers {
    ledgers: Arc<Mutex<HashMap<ActivityId, Ledger>>>,
    log: MemoryLog,
    clock: HandClock,
    is_away: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
}

impl MemoryLedgers {
    pub fn new(log: MemoryLog, clock: HandClock) -> Self {
        Self { ledgers: Arc::default(), log, clock, is_away: Arc::default(), reads: Arc::default() }
    }

    /// Whether reads of counters fail from now on.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// How often counters were read, with or without success.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// The ledger is gone, and is back with [`MemoryLedgers::find`].
    pub fn lose(&self, activity: ActivityId) -> Ledger {
        self.ledgers.lock().unwrap().remove(&activity).expect("the ledger is open")
    }

    pub fn find(&self, ledger: Ledger) {
        self.ledgers.lock().unwrap().insert(ledger.activity(), ledger);
    }

    async fn write(&self, entries: Vec<Entry>) {
        self.log.append(ledger::journal::records(&entries)).await.unwrap();
    }

    pub async fn reserve(&self, activity: ActivityId, asked: Reservation) -> Outcome {
        let mut journal = Vec::new();
        let outcome = {
            let mut ledgers = self.ledgers.lock().unwrap();
            let ledger = ledgers.get_mut(&activity).expect("the ledger is open");
            ledger.apply(Command::Reserve(asked), self.clock.now_ms(), &mut journal)
        };
        self.write(journal).await;
        outcome
    }
}

impl LedgerClient for MemoryLedgers {
    async fn open(&self, activity: ActivityId, stock: u64, rules: Rules) -> Result<Counters, LedgerUnavailable> {
        let mut journal = Vec::new();
        let counters = {
            let mut ledgers = self.ledgers.lock().unwrap();
            let now_ms = self.clock.now_ms();
            let ledger = ledgers.entry(activity).or_insert_with(|| {
                let (ledger, opened) = Ledger::open(activity, stock, rules, now_ms);
                journal.push(opened);
                ledger
            });
            ledger.counters()
        };
        self.write(journal).await;
        Ok(counters)
    }

    async fn act(&self, commands: Vec<LedgerCommand>) -> Result<Vec<Outcome>, LedgerUnavailable> {
        let mut journal = Vec::new();
        let outcomes = {
            let mut ledgers = self.ledgers.lock().unwrap();
            let now_ms = self.clock.now_ms();
            let mut act = |command: LedgerCommand| match ledgers.get_mut(&command.activity) {
                Some(ledger) => ledger.apply(command.action.into(), now_ms, &mut journal),
                None => Outcome::UnknownOrder,
            };
            commands.into_iter().map(&mut act).collect()
        };
        self.write(journal).await;
        Ok(outcomes)
    }

    async fn counters(&self, activity: ActivityId) -> Result<Option<Counters>, LedgerUnavailable> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) {
            return Err(LedgerUnavailable("the ledger does not answer".to_owned()));
        }
        Ok(self.ledgers.lock().unwrap().get(&activity).map(Ledger::counters))
    }
}
