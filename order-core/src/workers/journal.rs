//! The ledger's journal into the database.

use std::collections::BTreeMap;

use commit_log::{Consumer, Log, Partition, Record, next_offsets};
use contract::{
    record::{Entries, Record as _},
    topic,
};
use foundation::Clock;
use store::{SaleStore, StoreError, TAKE_IN_MAX};

use super::{Worker, WorkerError, bury, commit, rewind};

const GROUP: &str = "order-core";
/// Records that are read at a time; one may hold [`contract::record::ENTRIES_MAX`] entries.
const READ_MAX: usize = 256;
/// How long a partition stands still whose entries the database can't take in.
const STUCK_MS: u64 = 10_000;

/// Takes the ledger's journal into the database, up to [`TAKE_IN_MAX`] entries in one transaction.
///
/// Records that are no entries go to the dead letters. An entry never does: a mirror with a hole could
/// not be compared with its ledger any more. Where entries are missing or contradict the database, the
/// partition stands still, loudly, and is read again from its oldest record every ten seconds, which
/// heals a database that is older than the group's offsets.
#[derive(Debug)]
pub struct Journal<L: Log, S, C> {
    log: L,
    consumer: L::Consumer,
    store: S,
    clock: C,
    /// Partitions that stand still, until when.
    stuck: BTreeMap<Partition, u64>,
}

impl<L: Log, S: SaleStore, C: Clock> Journal<L, S, C> {
    /// Joins the workers of the journal.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn join(log: L, store: S, clock: C) -> Result<Self, WorkerError> {
        let consumer = log.join(GROUP, &[topic::ORDERS]).await?;
        Ok(Self { log, consumer, store, clock, stuck: BTreeMap::new() })
    }

    async fn poll(&mut self) -> Result<Vec<Record>, WorkerError> {
        let now_ms = self.clock.now_ms();
        let rested: Vec<Partition> = self
            .stuck
            .iter()
            .filter(|(_, until_ms)| **until_ms <= now_ms)
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in rested {
            self.consumer.rewind(&partition, 0);
            self.consumer.resume(&partition);
            self.stuck.remove(&partition);
        }
        let until_ms = self.stuck.values().min().copied();
        let rest = async {
            match until_ms {
                Some(until_ms) => self.clock.sleep_until(until_ms).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            records = self.consumer.poll(READ_MAX) => Ok(records?),
            () = rest => Ok(Vec::new()),
        }
    }

    async fn take(&mut self, records: &[Record]) -> Result<(), WorkerError> {
        let mut entries = Vec::with_capacity(records.len());
        let mut dead = Vec::new();
        for record in records {
            match Entries::decode(&record.value) {
                Ok(read) => entries.extend(read.into_vec()),
                Err(error) => dead.push((record.clone(), error.to_string())),
            }
        }
        // What one transaction takes in before another fails is read again, and changes nothing then.
        for entries in entries.chunks(TAKE_IN_MAX) {
            let taken = self.store.take_in(entries, self.clock.now_ms()).await?;
            if taken.failed > 0 {
                tracing::error!(orders = taken.failed, "orders could not be written; their units are released");
            }
        }
        bury(&self.log, GROUP, dead).await?;
        Ok(())
    }

    /// Takes each partition by itself; those that can't be taken stand still, the others go on.
    async fn take_apart(&mut self, records: &[Record]) -> Result<(), WorkerError> {
        let mut partitions: BTreeMap<&Partition, Vec<Record>> = BTreeMap::new();
        for record in records {
            partitions.entry(&record.partition).or_default().push(record.clone());
        }
        for (partition, records) in partitions {
            match self.take(&records).await {
                Ok(()) => commit(&mut self.consumer, next_offsets(&records)).await?,
                Err(WorkerError::Store(error)) if is_stuck(&error) => {
                    tracing::error!(partition = partition.index, %error, "the journal stands still");
                    self.consumer.pause(partition);
                    self.stuck.insert(partition.clone(), self.clock.now_ms() + STUCK_MS);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_stuck(error: &StoreError) -> bool {
    match error {
        StoreError::Gap { .. } | StoreError::Contradiction(_) => true,
        StoreError::Ids(_)
        | StoreError::Unavailable(_)
        | StoreError::Unsuitable(_)
        | StoreError::Database(_)
        | StoreError::Migration(_) => false,
    }
}

impl<L: Log, S: SaleStore, C: Clock> Worker for Journal<L, S, C> {
    const NAME: &'static str = "journal";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let records = self.poll().await?;
        if records.is_empty() {
            return Ok(());
        }
        let result = match self.take(&records).await {
            Ok(()) => commit(&mut self.consumer, next_offsets(&records)).await,
            Err(WorkerError::Store(error)) if is_stuck(&error) => self.take_apart(&records).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            rewind(&mut self.consumer, &records);
        }
        result
    }
}
