//! Topics that admin keeps the newest records of.

use commit_log::{Consumer, Log, LogError, Record};

/// Records of one step.
const BATCH_MAX: usize = 500;

/// Keeps what the records of one topic say.
pub trait Keep {
    /// The topic.
    const TOPIC: &'static str;

    /// Takes a record. One that can't be decoded is logged and skipped.
    fn keep(&self, record: &Record);
}

/// Reads a topic into what keeps its records, from the oldest record on.
#[derive(Debug)]
pub struct TopicReader<L: Log, K> {
    consumer: L::Consumer,
    kept: K,
}

impl<L: Log, K: Keep> TopicReader<L, K> {
    /// A reader that fills `kept`.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn follow(log: &L, kept: K) -> Result<Self, LogError> {
        Ok(Self { consumer: log.follow(&[K::TOPIC]).await?, kept })
    }

    /// Waits for records and takes them.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn step(&mut self) -> Result<(), LogError> {
        self.consumer.poll(BATCH_MAX).await?.iter().for_each(|record| self.kept.keep(record));
        Ok(())
    }
}
