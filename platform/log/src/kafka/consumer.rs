//! Reading from Kafka.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use futures_util::FutureExt as _;
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tokio::runtime::Handle;

use super::unknown;
use crate::{Consumer, LogError, Partition, Record};

/// A member of a group that was not heard of for so long is dead; brokers take no less by default.
const SESSION_MS: &str = "6000";
const HEARTBEAT_MS: &str = "1000";
/// A member that has not polled for so long gives its partitions up.
const POLL_EVERY_MAX_MS: &str = "120000";
/// Bytes of one partition that are fetched ahead.
const FETCH_AHEAD_KB: &str = "4096";
/// How long a seek may take; it is carried out by the client's own thread.
const SEEK_MAX: Duration = Duration::from_secs(1);
/// How long the end of a consumer is waited for.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// Between two looks whether a commit that was under way has ended.
const CLOSE_LOOK_EVERY: Duration = Duration::from_millis(10);

/// A topic's name on the brokers, and the partition's number.
type Place = (String, i32);

/// What the callbacks and the consumer share: the partitions that a member of a group has.
#[derive(Clone, Default)]
struct Assigned(Arc<Mutex<BTreeSet<Place>>>);

impl Assigned {
    fn places(&self) -> MutexGuard<'_, BTreeSet<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Context {
    assigned: Assigned,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "Kafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The next poll reports it.
        tracing::debug!(%error, reason, "a reader of the log");
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // Before they are another's: a commit that comes now must not count.
        if let Rebalance::Revoke(partitions) = rebalance {
            let mut places = self.assigned.places();
            for element in partitions.elements() {
                places.remove(&(element.topic().to_owned(), element.partition()));
            }
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            let mut places = self.assigned.places();
            for element in partitions.elements() {
                places.insert((element.topic().to_owned(), element.partition()));
            }
        }
    }
}

/// A member of a group, or a follower.
pub struct KafkaConsumer {
    /// `None` once it is closed.
    consumer: Option<Arc<StreamConsumer<Context>>>,
    assigned: Assigned,
    /// Where partitions are to be read from instead of from where they stand.
    rewinds: BTreeMap<Partition, u64>,
    prefix: String,
    is_member: bool,
    /// The log's names of the topics, by those on the brokers.
    names: BTreeMap<String, Arc<str>>,
    runtime: Handle,
}

impl KafkaConsumer {
    pub(super) fn member(
        config: &ClientConfig,
        prefix: String,
        topics: &[&str],
        runtime: Handle,
    ) -> Result<Self, LogError> {
        let consumer = Self::new(config, prefix, topics.iter().copied(), true, runtime)?;
        let names: Vec<&str> = consumer.names.keys().map(String::as_str).collect();
        consumer.client()?.subscribe(&names).map_err(|error| unknown(&error))?;
        Ok(consumer)
    }

    pub(super) fn follower(
        config: &ClientConfig,
        prefix: String,
        partitions: &[(&str, u32)],
        runtime: Handle,
    ) -> Result<Self, LogError> {
        let consumer = Self::new(config, prefix, partitions.iter().map(|(topic, _)| *topic), false, runtime)?;
        let mut list = TopicPartitionList::new();
        for (topic, index) in partitions {
            let partition = Partition { topic: Arc::from(*topic), index: *index };
            consumer.add(&mut list, &partition, Offset::Beginning)?;
        }
        consumer.client()?.assign(&list).map_err(|error| unknown(&error))?;
        Ok(consumer)
    }

    fn new<'a>(
        config: &ClientConfig,
        prefix: String,
        topics: impl Iterator<Item = &'a str>,
        is_member: bool,
        runtime: Handle,
    ) -> Result<Self, LogError> {
        let mut config = config.clone();
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "earliest").set("queued.max.messages.kbytes", FETCH_AHEAD_KB);
        config.set("session.timeout.ms", SESSION_MS).set("heartbeat.interval.ms", HEARTBEAT_MS);
        config.set("max.poll.interval.ms", POLL_EVERY_MAX_MS).set("fetch.wait.max.ms", "100");
        // After a broker's failure the next try comes soon.
        config.set("fetch.error.backoff.ms", "50");
        let assigned = Assigned::default();
        let context = Context { assigned: assigned.clone() };
        let consumer = config.create_with_context(context).map_err(|error| unknown(&error))?;
        let names = topics.map(|topic| (format!("{prefix}{topic}"), Arc::from(topic))).collect();
        let (consumer, rewinds) = (Some(Arc::new(consumer)), BTreeMap::new());
        Ok(Self { consumer, assigned, rewinds, prefix, is_member, names, runtime })
    }

    fn client(&self) -> Result<&Arc<StreamConsumer<Context>>, LogError> {
        self.consumer.as_ref().ok_or(LogError::Closed)
    }

    /// Goes back where that was asked for. Nothing is read before it is done: what was to come again would
    /// be passed over.
    fn go_back(&mut self) -> Result<(), LogError> {
        while let Some((partition, offset)) = self.rewinds.pop_first() {
            let (topic, index) = self.place(&partition);
            if self.is_member && !self.assigned.places().contains(&(topic.clone(), index)) {
                // Its new consumer begins at the committed offset.
                continue;
            }
            let at = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
            if let Err(error) = self.client()?.seek(&topic, index, at, SEEK_MAX) {
                self.rewinds.insert(partition, offset);
                return Err(unknown(&error));
            }
        }
        Ok(())
    }

    fn place(&self, partition: &Partition) -> Place {
        (format!("{}{}", self.prefix, partition.topic), i32::try_from(partition.index).unwrap_or(i32::MAX))
    }

    fn add(&self, list: &mut TopicPartitionList, partition: &Partition, offset: Offset) -> Result<(), LogError> {
        let (topic, index) = self.place(partition);
        list.add_partition_offset(&topic, index, offset).map_err(|error| unknown(&error))
    }

    fn list(&self, partition: &Partition) -> TopicPartitionList {
        let (topic, index) = self.place(partition);
        let mut list = TopicPartitionList::new();
        list.add_partition(&topic, index);
        list
    }

    /// The client queues an event for every broker, repeatedly while they are unreachable: a caller that comes
    /// back after that wants what is behind it, or one error for them all.
    fn after(&self, mut error: KafkaError) -> Result<Option<Record>, LogError> {
        loop {
            match self.client()?.recv().now_or_never() {
                Some(Ok(message)) => return Ok(self.read(&message)),
                Some(Err(next)) => error = next,
                None => return Err(unknown(&error)),
            }
        }
    }

    fn read(&self, message: &BorrowedMessage<'_>) -> Option<Record> {
        let topic = self.names.get(message.topic())?.clone();
        Some(Record {
            partition: Partition { topic, index: u32::try_from(message.partition()).ok()? },
            offset: u64::try_from(message.offset()).ok()?,
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().unwrap_or_default().to_vec(),
        })
    }
}

impl Consumer for KafkaConsumer {
    async fn poll(&mut self, max: usize) -> Result<Vec<Record>, LogError> {
        self.go_back()?;
        let mut records = Vec::new();
        // Only the first is waited for: a poll that is dropped has taken nothing.
        while records.is_empty() {
            match self.client()?.recv().await {
                Ok(first) => records.extend(self.read(&first)),
                Err(error) => records.extend(self.after(error)?),
            }
        }
        while records.len() < max
            && let Some(Ok(next)) = self.client()?.recv().now_or_never()
        {
            records.extend(self.read(&next));
        }
        Ok(records)
    }

    async fn commit(&mut self, offsets: Vec<(Partition, u64)>) -> Result<(), LogError> {
        if !self.is_member || offsets.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (partition, next) in &offsets {
            if !self.assigned.places().contains(&self.place(partition)) {
                return Err(LogError::Rebalanced);
            }
            let next = i64::try_from(*next).map_err(|_| LogError::Unknown(format!("{next} is no offset")))?;
            self.add(&mut list, partition, Offset::Offset(next))?;
        }
        let consumer = self.client()?.clone();
        let commit = move || consumer.commit(&list, CommitMode::Sync);
        let done = self.runtime.spawn_blocking(commit).await.map_err(|_| LogError::Closed)?;
        done.map_err(|error| match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::FencedInstanceId
                | RDKafkaErrorCode::AssignmentLost,
            ) => LogError::Rebalanced,
            Some(_) | None => unknown(&error),
        })
    }

    fn rewind(&mut self, partition: &Partition, offset: u64) {
        self.rewinds.insert(partition.clone(), offset);
    }

    fn pause(&mut self, partition: &Partition) {
        let Some(consumer) = &self.consumer else { return };
        if let Err(error) = consumer.pause(&self.list(partition)) {
            tracing::debug!(%error, ?partition, "a partition that is not read can't be paused");
        }
    }

    fn resume(&mut self, partition: &Partition) {
        let Some(consumer) = &self.consumer else { return };
        if let Err(error) = consumer.resume(&self.list(partition)) {
            tracing::debug!(%error, ?partition, "a partition that is not read can't be resumed");
        }
    }
}

/// Leaves the group, which asks the brokers and may rarely never return: a thread of its own does it, and is waited for a
/// moment only. A group that was not left gives the partitions to another member after [`SESSION_MS`].
impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        let (ended, end) = mpsc::channel();
        let close = move || {
            let mut shared = consumer;
            // A commit that is under way has the consumer as well.
            while let Err(again) = Arc::try_unwrap(shared).map(drop) {
                shared = again;
                thread::sleep(CLOSE_LOOK_EVERY);
            }
            // The process may have stopped waiting.
            let (Ok(()) | Err(_)) = ended.send(());
        };
        let is_closed = match thread::Builder::new().name("kafka-close".to_owned()).spawn(close) {
            Ok(_) => end.recv_timeout(CLOSE_MAX).is_ok(),
            Err(_) => false,
        };
        if !is_closed {
            tracing::warn!(topics = ?self.names.values(), "a reader of the log does not end; nobody waits for it any more");
        }
    }
}
