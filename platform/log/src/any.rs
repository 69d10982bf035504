//! The log that the settings choose.

use std::time::Instant;

use contract::topic::Topic;
use foundation::metrics::Histogram;

use crate::{Consumer, LocalConsumer, LocalLog, Log, LogError, NewRecord, Partition, Record};
#[cfg(feature = "kafka")]
use crate::{KafkaConsumer, KafkaLog};

/// In the data directory, or on Kafka.
#[derive(Clone)]
pub struct AnyLog {
    backend: Backend,
    append_time: Histogram,
}

#[derive(Clone)]
enum Backend {
    Local(LocalLog),
    #[cfg(feature = "kafka")]
    Kafka(KafkaLog),
}

/// Reads an [`AnyLog`].
pub enum AnyConsumer {
    /// See [`LocalConsumer`].
    Local(LocalConsumer),
    /// See [`KafkaConsumer`].
    #[cfg(feature = "kafka")]
    Kafka(KafkaConsumer),
}

macro_rules! each {
    ($any:ident, $value:expr, $it:ident => $work:expr) => {
        match $value {
            $any::Local($it) => $work,
            #[cfg(feature = "kafka")]
            $any::Kafka($it) => $work,
        }
    };
}

impl AnyLog {
    /// The log in the data directory. `append_time` takes how long each append that succeeded took.
    pub const fn local(log: LocalLog, append_time: Histogram) -> Self {
        Self { backend: Backend::Local(log), append_time }
    }

    /// The log on Kafka. `append_time` as above.
    #[cfg(feature = "kafka")]
    pub const fn kafka(log: KafkaLog, append_time: Histogram) -> Self {
        Self { backend: Backend::Kafka(log), append_time }
    }

    /// Writes what waits, where that is this process' work; see [`LocalLog::close`].
    pub fn close(&self) {
        match &self.backend {
            Backend::Local(log) => log.close(),
            #[cfg(feature = "kafka")]
            Backend::Kafka(_) => {}
        }
    }

    /// Whether the log can be written, where that is this process' work; see [`LocalLog::check_writable`]. A gateway
    /// goes on selling while Kafka is away.
    ///
    /// # Errors
    /// Why it can't.
    pub async fn check_writable(&self) -> Result<(), String> {
        match &self.backend {
            Backend::Local(log) => log.check_writable().await,
            #[cfg(feature = "kafka")]
            Backend::Kafka(_) => Ok(()),
        }
    }
}

impl Log for AnyLog {
    type Consumer = AnyConsumer;

    async fn create_topics(&self, topics: Vec<Topic>) -> Result<(), LogError> {
        each!(Backend, &self.backend, log => log.create_topics(topics).await)
    }

    async fn topics(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        each!(Backend, &self.backend, log => log.topics(prefix).await)
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        let begun = Instant::now();
        let appended = each!(Backend, &self.backend, log => log.append(records).await);
        if appended.is_ok() {
            self.append_time.observe(begun.elapsed());
        }
        appended
    }

    async fn join(&self, group: &str, topics: &[&str]) -> Result<AnyConsumer, LogError> {
        match &self.backend {
            Backend::Local(log) => log.join(group, topics).await.map(AnyConsumer::Local),
            #[cfg(feature = "kafka")]
            Backend::Kafka(log) => log.join(group, topics).await.map(AnyConsumer::Kafka),
        }
    }

    async fn follow(&self, topics: &[&str]) -> Result<AnyConsumer, LogError> {
        match &self.backend {
            Backend::Local(log) => log.follow(topics).await.map(AnyConsumer::Local),
            #[cfg(feature = "kafka")]
            Backend::Kafka(log) => log.follow(topics).await.map(AnyConsumer::Kafka),
        }
    }

    async fn ends(&self, topic: &str) -> Result<Vec<(Partition, u64)>, LogError> {
        each!(Backend, &self.backend, log => log.ends(topic).await)
    }
}

impl Consumer for AnyConsumer {
    async fn poll(&mut self, max: usize) -> Result<Vec<Record>, LogError> {
        each!(Self, self, consumer => consumer.poll(max).await)
    }

    async fn commit(&mut self, offsets: Vec<(Partition, u64)>) -> Result<(), LogError> {
        each!(Self, self, consumer => consumer.commit(offsets).await)
    }

    fn rewind(&mut self, partition: &Partition, offset: u64) {
        each!(Self, self, consumer => consumer.rewind(partition, offset));
    }

    fn pause(&mut self, partition: &Partition) {
        each!(Self, self, consumer => consumer.pause(partition));
    }

    fn resume(&mut self, partition: &Partition) {
        each!(Self, self, consumer => consumer.resume(partition));
    }
}
