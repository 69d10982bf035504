//! A log on which something is appended while it is read.

use commit_log::{Consumer, LocalConsumer, LocalLog, Log, LogError, NewRecord, Partition, Record};
use contract::topic::Topic;
use ledger::redis::RedisLedger;

use crate::relay;

/// A log on which the relay appends between the moment when its end is read and the moment when it is read.
#[derive(Clone)]
pub(crate) struct Racing {
    pub(crate) log: LocalLog,
    pub(crate) ledgers: RedisLedger,
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
pub(crate) struct OneByOne(LocalConsumer);

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
