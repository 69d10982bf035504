//! Ledgers from what outlives them: the database's snapshots, and the journal after them.

use std::{collections::HashMap, future::Future};

use commit_log::{Consumer, Log, LogError, Record};
use contract::{
    ActivityId,
    codec::DecodeError,
    record::{Entries, Record as _},
    stock::{Replay, RestoreError, Snapshot},
    topic,
};

/// Records read at a time.
const READ_RECORDS_MAX: usize = 1024;

/// What the ledgers are rebuilt on: the state of each as the database has it.
pub trait SnapshotSource: Send + 'static {
    /// One snapshot of every activity whose `Opened` entry the database has taken in.
    fn snapshots(&self) -> impl Future<Output = Result<Vec<Snapshot>, String>> + Send;
}

/// Why the ledgers can't be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The database did not answer.
    #[error("the database can't be read: {0}")]
    Snapshots(String),
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What outlived one of them can't be used.
    #[error(transparent)]
    Fault(#[from] LedgerFault),
}

/// Why one ledger can't be rebuilt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFault {
    /// The journal and the database contradict each other, or the journal itself.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The journal holds bytes that are no entry.
    #[error("offset {offset} of the journal is no entry: {reason}")]
    Poison {
        /// Where.
        offset: u64,
        /// Why.
        reason: DecodeError,
    },
}

/// Every ledger as database and journal have it, up to the journal's end when it was looked at, or why it can't be had.
///
/// # Errors
/// If the database or the log does not answer.
pub async fn restore<L: Log, S: SnapshotSource>(
    log: &L,
    snapshots: &S,
) -> Result<HashMap<ActivityId, Result<Replay, LedgerFault>>, RebuildError> {
    let snapshots = snapshots.snapshots().await.map_err(RebuildError::Snapshots)?;
    let mut ledgers: HashMap<ActivityId, Result<Replay, LedgerFault>> = snapshots
        .iter()
        .map(|snapshot| (snapshot.activity, Replay::from_snapshot(snapshot).map_err(LedgerFault::from)))
        .collect();
    drop(snapshots);
    let mut left: u64 = 0;
    let mut ends = HashMap::new();
    for (partition, end) in log.ends(topic::ORDERS).await? {
        if end > 0 {
            left += 1;
            ends.insert(partition, end);
        }
    }
    let mut reader = log.follow(&[topic::ORDERS]).await?;
    while left > 0 {
        for record in reader.poll(READ_RECORDS_MAX).await? {
            take(&mut ledgers, &record);
            left -= u64::from(ends.get(&record.partition) == Some(&(record.offset + 1)));
        }
    }
    Ok(ledgers)
}

/// A record that can't be used ends the replay of its ledger alone.
fn take(ledgers: &mut HashMap<ActivityId, Result<Replay, LedgerFault>>, record: &Record) {
    let entries = match Entries::decode(&record.value) {
        Ok(entries) => entries.into_vec(),
        Err(reason) => {
            let offset = record.offset;
            if let Some(activity) = activity_of(&record.key) {
                ledgers.insert(activity, Err(LedgerFault::Poison { offset, reason }));
            }
            return;
        }
    };
    for entry in &entries {
        let ledger = ledgers.entry(entry.activity).or_insert_with(|| Ok(Replay::default()));
        if let Ok(replay) = ledger
            && let Err(fault) = replay.take(entry)
        {
            *ledger = Err(fault.into());
        }
    }
}

/// Whose record the key belongs to.
fn activity_of(key: &[u8]) -> Option<ActivityId> {
    ActivityId::from_i64(i64::from_be_bytes(key.try_into().ok()?))
}
