//! The workers between log, database and ledger. Each takes one step a call and holds nothing that is
//! not on the log or in the database: a worker may be dropped at any await and made again. None needs a runtime:
//! time is a [`Clock`], so the simulation runs them as they are.
#![forbid(unsafe_code)]

#[cfg(feature = "redis")]
mod fence;
mod journal;
mod keeper;
mod lease;
mod refunder;
mod relay;
#[cfg(test)]
mod tests;
mod timeouts;

use std::future::Future;

use commit_log::{Consumer, Log, LogError, NewRecord, Partition, Record};
use contract::{
    record::{DeadLetter, Record as _},
    topic,
};
use domain::SaleError;
use foundation::Clock;
use ledger::LedgerUnavailable;
use tokio_util::sync::CancellationToken;

#[cfg(feature = "redis")]
pub use fence::guard;
pub use journal::{Journal, TakenIn};
pub use keeper::Keeper;
pub use lease::{FencingNumber, Held, Lease, Led};
pub use refunder::{PayBack, Refunder};
pub use relay::Relay;
pub use timeouts::{BeforeClosing, NobodyToAsk, Timeouts};

/// The pause after a step that failed; it doubles up to [`PAUSE_MAX_MS`].
const PAUSE_MIN_MS: u64 = 100;
const PAUSE_MAX_MS: u64 = 2_000;

/// Why a step did not do its work. Nothing was committed; the next step tries again.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The database did not.
    #[error(transparent)]
    Store(#[from] SaleError),
    /// The log did not.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A payment platform did not.
    #[error("the payment platform: {0}")]
    Platform(String),
    /// The search index did not.
    #[error("{0}")]
    Search(String),
    /// The ledger did not.
    #[error(transparent)]
    Ledger(#[from] LedgerUnavailable),
}

impl WorkerError {
    /// The store of a worker failed.
    pub fn store(error: impl Into<SaleError>) -> Self {
        Self::Store(error.into())
    }
}

/// Does one thing over and over.
pub trait Worker: Send {
    /// For logs.
    const NAME: &'static str;

    /// Waits for work and does it once. After an error the next call tries the same work again.
    fn step(&mut self) -> impl Future<Output = Result<(), WorkerError>> + Send;

    /// No step follows. It takes a second at most.
    fn end(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Steps `worker` until `stop`, pausing after failures.
pub async fn run<W: Worker>(mut worker: W, clock: impl Clock, stop: CancellationToken) {
    let mut pause_ms = PAUSE_MIN_MS;
    loop {
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            result = worker.step() => result,
        };
        let Err(error) = result else {
            pause_ms = PAUSE_MIN_MS;
            continue;
        };
        tracing::warn!(worker = W::NAME, %error, pause_ms, "a step failed; it is tried again");
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = clock.sleep_until(clock.now_ms() + pause_ms) => {}
        }
        pause_ms = (2 * pause_ms).min(PAUSE_MAX_MS);
    }
    worker.end().await;
}

/// Commits; a group that has moved on will see the records again, which every worker tolerates.
async fn commit(consumer: &mut impl Consumer, offsets: Vec<(Partition, u64)>) -> Result<(), WorkerError> {
    match consumer.commit(offsets).await {
        Ok(()) | Err(LogError::Rebalanced) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Has the consumer hand out all of `records` again.
fn rewind(consumer: &mut impl Consumer, records: &[Record]) {
    let mut first = std::collections::BTreeMap::new();
    for record in records {
        first.entry(&record.partition).or_insert(record.offset);
    }
    for (partition, offset) in first {
        consumer.rewind(partition, offset);
    }
}

/// Puts what can't be used where people look for it.
///
/// # Errors
/// Those of the log.
pub async fn bury(log: &impl Log, group: &str, dead: Vec<(Record, String)>) -> Result<(), LogError> {
    if dead.is_empty() {
        return Ok(());
    }
    let letter = |(record, reason): (Record, String)| {
        let Record { partition, offset, key, value } = record;
        tracing::error!(topic = %partition.topic, partition = partition.index, offset, reason, "a record is given up");
        let letter = DeadLetter {
            topic: partition.topic.to_string(),
            partition: partition.index,
            offset,
            group: group.to_owned(),
            reason,
            value,
        };
        NewRecord { topic: topic::DEAD_LETTERS.into(), key, value: letter.to_bytes() }
    };
    log.append(dead.into_iter().map(letter).collect()).await
}
