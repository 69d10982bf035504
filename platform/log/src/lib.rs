//! The seam to the log: topics of partitions of records, consumer groups and committed offsets, as
//! Kafka has them.
//!
//! An appended record is durable when [`Log::append`] answers, and stays in its partition's order.
//! Delivery is at least once: consumers must tolerate a record twice. The module `conformance` (feature `testing`)
//! is the suite that every backend passes.
#![forbid(unsafe_code)]

mod any;
#[cfg(feature = "testing")]
pub mod conformance;
mod cursor;
pub mod groups;
#[cfg(feature = "kafka")]
mod kafka;
mod local;
mod processes;
mod worker_ids;

use std::{future::Future, sync::Arc};

use contract::topic::Topic;

pub use any::{AnyConsumer, AnyLog};
pub use cursor::Cursor;
#[cfg(feature = "kafka")]
pub use kafka::{KafkaConsumer, KafkaLog, KafkaSettings};
pub use local::{CommittedOffsets, LocalConsumer, LocalLog, OpenError, committed_offsets, copy_log};
pub use processes::ProcessReporter;
pub use worker_ids::{WorkerIdError, WorkerIds};

/// An append whose outcome is unknown may reach the log this long after it began, and not later.
pub const LANDS_WITHIN_MS: u64 = 30_000;

/// A record to append. Records of one key stay in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// An existing topic.
    pub topic: Arc<str>,
    /// Picks the partition ([`contract::topic::partition_of`]); what a compacted topic keeps the last of.
    pub key: Vec<u8>,
    /// The record's bytes.
    pub value: Vec<u8>,
}

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// From 0.
    pub index: u32,
}

/// A record and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where.
    pub partition: Partition,
    /// Grows by at least one with every record of the partition.
    pub offset: u64,
    /// As appended.
    pub key: Vec<u8>,
    /// As appended.
    pub value: Vec<u8>,
}

/// Why the log did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No such topic.
    #[error("no such topic: {0}")]
    UnknownTopic(String),
    /// The topic exists with other partitions.
    #[error("topic {0} exists with other partitions")]
    TopicDiffers(String),
    /// The topic exists with a setting under which acknowledged records can be lost.
    #[error("topic {topic} has {found}; the mall needs {needed}. Set it with kafka-configs.sh --alter --add-config")]
    TopicUnsafe {
        /// Its name on the brokers.
        topic: String,
        /// The setting and its value.
        found: String,
        /// The setting and what it must be.
        needed: String,
    },
    /// The log can't take more now; nothing was appended.
    #[error("the log is full: {0}")]
    Full(&'static str),
    /// It is not known whether the records were appended.
    #[error("the log failed: {0}")]
    Unknown(String),
    /// Another consumer of the group has the partition now; the commit did not count.
    #[error("the consumer group has moved on")]
    Rebalanced,
    /// The log is closed.
    #[error("the log is closed")]
    Closed,
}

/// The log.
pub trait Log: Clone + Send + Sync + 'static {
    /// See [`Consumer`].
    type Consumer: Consumer;

    /// Makes the topics that are not there yet.
    fn create_topics(&self, topics: Vec<Topic>) -> impl Future<Output = Result<(), LogError>> + Send;

    /// Names of the topics that begin with `prefix`.
    fn topics(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>, LogError>> + Send;

    /// Appends all of `records`, in order; they are durable when this answers `Ok`. All or none of
    /// them stand on the local log; [`LogError::Unknown`] may mean any part of them.
    fn append(&self, records: Vec<NewRecord>) -> impl Future<Output = Result<(), LogError>> + Send;

    /// Joins `group` on `topics`: the group's living consumers share the partitions, and each begins
    /// at the group's committed offset, or at the oldest record.
    fn join(&self, group: &str, topics: &[&str]) -> impl Future<Output = Result<Self::Consumer, LogError>> + Send;

    /// Reads every partition of `topics` from the oldest record, in no group.
    fn follow(&self, topics: &[&str]) -> impl Future<Output = Result<Self::Consumer, LogError>> + Send;

    /// The offset after the last record of every partition of `topic`.
    fn ends(&self, topic: &str) -> impl Future<Output = Result<Vec<(Partition, u64)>, LogError>> + Send;
}

/// Reads records; each partition's in order. Dropping it leaves the group.
pub trait Consumer: Send + 'static {
    /// Waits for records and hands out 1 to `max` of them. Cancel-safe: what a dropped call would
    /// have handed out, the next one does.
    fn poll(&mut self, max: usize) -> impl Future<Output = Result<Vec<Record>, LogError>> + Send;

    /// The group has done with `partition` up to and without `next`. A follower has nothing to commit
    /// and answers `Ok`.
    fn commit(&mut self, offsets: Vec<(Partition, u64)>) -> impl Future<Output = Result<(), LogError>> + Send;

    /// The next poll hands out `partition` from `offset` on again.
    fn rewind(&mut self, partition: &Partition, offset: u64);

    /// No records of `partition` until [`Consumer::resume`].
    fn pause(&mut self, partition: &Partition);

    /// Takes [`Consumer::pause`] back.
    fn resume(&mut self, partition: &Partition);
}

/// What to commit once all of `records` are done: the offset after the last of each partition.
pub fn next_offsets(records: &[Record]) -> Vec<(Partition, u64)> {
    let mut next = std::collections::BTreeMap::new();
    for record in records {
        next.insert(record.partition.clone(), record.offset + 1);
    }
    next.into_iter().collect()
}
