//! Work that one process at a time does.

use std::future::Future;

use crate::SaleError;

/// Work that one process at a time does. Every lease has a row from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseName {
    /// Recovers and opens ledgers in Redis.
    Fence,
    /// Appends the outbox to the log.
    OutboxRelay,
    /// Sends money back.
    Refunder,
    /// Removes rows that have ended.
    Sweeper,
}

impl LeaseName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fence, Self::OutboxRelay, Self::Refunder, Self::Sweeper];

    /// The key of its row.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fence => "ledger-fence",
            Self::OutboxRelay => "outbox-relay",
            Self::Refunder => "refunder",
            Self::Sweeper => "sweeper",
        }
    }
}

/// A lease as its row has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeaseRow {
    /// A random number of the holder; 0 if nobody holds it.
    pub holder: i64,
    /// Grows each time the lease gets a holder. A write of a holder with a lower number is refused.
    pub fencing_number: u64,
    /// Grows each time the holder renews it. It is 0 when the holder is new.
    pub renewals: u64,
    /// How often a former holder noticed that it had appended to the log after the lease had passed on.
    pub late_writes: u64,
}

/// The leases in the database. Each call is one transaction.
pub trait LeaseStore: Clone + Send + Sync + 'static {
    /// The present row of a lease.
    fn lease(&self, name: LeaseName) -> impl Future<Output = Result<LeaseRow, SaleError>> + Send;

    /// Sets holder, fencing number and renewals of `to` if the row still has those of `from`; whether it had.
    fn move_lease(
        &self,
        name: LeaseName,
        from: LeaseRow,
        to: LeaseRow,
    ) -> impl Future<Output = Result<bool, SaleError>> + Send;

    /// Forgets rows of the outbox that are durable on the log, if the relay's lease still has `fencing_number`; whether it
    /// had. If not, the records may have reached the log behind newer ones of the present holder: this is counted as a late
    /// write, and the present holder repairs it.
    fn outbox_sent_by(&self, ids: &[i64], fencing_number: u64) -> impl Future<Output = Result<bool, SaleError>> + Send;

    /// Sends the newest row of every activity and entry rule that was changed since `since_ms` to the log once more. Readers
    /// ignore a version that they know; the compacted topics keep the last record of each key.
    fn repeat_latest(&self, since_ms: u64) -> impl Future<Output = Result<(), SaleError>> + Send;
}
