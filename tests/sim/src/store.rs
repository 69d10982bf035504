//! A database that answers late, sometimes not at all, and whose answers can be lost after it did the
//! work.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use contract::{
    ActivityId, OrderId,
    record::LedgerCommand,
    stock::{Promise, Snapshot, Term},
};
use domain::{
    DatabaseCounts, LeaseName, LeaseRow, LeaseStore, Line, OutboxRow, Outlook, PaidOutcome, Parked, Retried, SaleError,
    SaleStore, TakenIn, model::ModelStore,
};
use ledger::{
    redis::fence::{Opening, RecoverySource},
    restore::SnapshotSource,
};

use crate::{redis::Planted, world::World};

/// The database of one run. What a call did stays, even if its caller dies.
#[derive(Clone)]
pub(crate) struct SimStore {
    world: World,
    model: ModelStore,
    /// One call in this many fails before its work, and one in as many after it; 0: none.
    fails_in: u64,
    /// How often a sale was parked.
    parked: Arc<AtomicU64>,
    /// Ledgers that an admin wants open.
    openings: Arc<Mutex<Vec<Opening>>>,
    planted: Planted,
}

impl SimStore {
    /// Wraps the database that outlives everything.
    pub(crate) fn new(world: World, model: ModelStore, fails_in: u64) -> Self {
        Self { world, model, fails_in, parked: Arc::default(), openings: Arc::default(), planted: Planted::None }
    }

    /// The same database with a bug.
    pub(crate) fn with(self, planted: Planted) -> Self {
        Self { planted, ..self }
    }

    /// An admin wants a ledger open.
    pub(crate) fn open(&self, opening: Opening) {
        self.openings.lock().unwrap_or_else(PoisonError::into_inner).push(opening);
    }

    /// How often a sale was parked.
    pub(crate) fn times_parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    async fn fault(&self) -> Result<(), SaleError> {
        self.world.pause().await;
        if self.fails_in > 0 && self.world.one_in(self.fails_in) {
            return Err(SaleError::Failed { reason: "the connection was lost".to_owned(), outlook: Outlook::WillPass });
        }
        Ok(())
    }
}

/// The futures of the model are ready at once, so that a call's work can't be cut in two.
impl SaleStore for SimStore {
    type Error = SaleError;

    async fn take_in(&self, lines: &[Line], now_ms: u64) -> Result<TakenIn, SaleError> {
        self.fault().await?;
        let done = self.model.take_in(lines, now_ms).await?;
        self.fault().await?;
        Ok(done)
    }

    async fn park(
        &self,
        activity: ActivityId,
        reason: &str,
        lines: &[Line],
        times_ms: (u64, u64),
    ) -> Result<(), SaleError> {
        self.fault().await?;
        self.model.park(activity, reason, lines, times_ms).await?;
        self.parked.fetch_add(1, Ordering::Relaxed);
        self.fault().await
    }

    async fn parked(&self) -> Result<Vec<Parked>, SaleError> {
        self.fault().await?;
        self.model.parked().await
    }

    async fn retry_parked(&self, activity: ActivityId, limit: usize, now_ms: u64) -> Result<Retried, SaleError> {
        self.fault().await?;
        let done = self.model.retry_parked(activity, limit, now_ms).await?;
        self.fault().await?;
        Ok(done)
    }

    async fn note_failed_try(&self, activity: ActivityId, reason: &str, next_try_ms: u64) -> Result<(), SaleError> {
        self.fault().await?;
        self.model.note_failed_try(activity, reason, next_try_ms).await?;
        self.fault().await
    }

    async fn close_unpaid(&self, orders: &[OrderId], now_ms: u64) -> Result<usize, SaleError> {
        self.fault().await?;
        let done = self.model.close_unpaid(orders, now_ms).await?;
        self.fault().await?;
        Ok(done)
    }

    async fn mark_paid(&self, order: OrderId, now_ms: u64) -> Result<PaidOutcome, SaleError> {
        self.fault().await?;
        let done = self.model.mark_paid(order, now_ms).await?;
        self.fault().await?;
        Ok(done)
    }

    async fn repeat_commands(&self, after: Option<OrderId>) -> Result<Option<OrderId>, SaleError> {
        self.fault().await?;
        let done = self.model.repeat_commands(after).await?;
        self.fault().await?;
        Ok(done)
    }

    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>, SaleError> {
        self.fault().await?;
        self.model.outbox(limit).await
    }

    async fn outbox_sent(&self, ids: &[i64]) -> Result<(), SaleError> {
        self.fault().await?;
        self.model.outbox_sent(ids).await?;
        self.fault().await
    }

    async fn outbox_filled(&self) {
        self.model.outbox_filled().await;
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>, SaleError> {
        self.fault().await?;
        self.model.snapshots().await
    }

    async fn audit_counts(&self, activity: ActivityId) -> Result<Option<DatabaseCounts>, SaleError> {
        self.fault().await?;
        self.model.audit_counts(activity).await
    }
}

impl LeaseStore for SimStore {
    async fn lease(&self, name: LeaseName) -> Result<LeaseRow, SaleError> {
        self.fault().await?;
        self.model.lease(name).await
    }

    async fn move_lease(&self, name: LeaseName, from: LeaseRow, to: LeaseRow) -> Result<bool, SaleError> {
        self.fault().await?;
        let done = self.model.move_lease(name, from, to).await?;
        self.fault().await?;
        Ok(done)
    }

    async fn outbox_sent_by(&self, ids: &[i64], fencing_number: u64) -> Result<bool, SaleError> {
        self.fault().await?;
        let done = self.model.outbox_sent_by(ids, fencing_number).await?;
        self.fault().await?;
        Ok(done)
    }

    async fn repeat_latest(&self, since_ms: u64) -> Result<(), SaleError> {
        self.fault().await?;
        self.model.repeat_latest(since_ms).await
    }
}

impl SnapshotSource for SimStore {
    async fn snapshots(&self) -> Result<Vec<Snapshot>, String> {
        SaleStore::snapshots(self).await.map_err(|error| error.to_string())
    }
}

impl SimStore {
    async fn read(&self) -> Result<&ModelStore, String> {
        self.fault().await.map_err(|error| error.to_string())?;
        Ok(&self.model)
    }
}

impl RecoverySource for SimStore {
    async fn opened(&self) -> Result<Vec<ActivityId>, String> {
        Ok(self.read().await?.opened())
    }

    async fn to_open(&self) -> Result<Vec<Opening>, String> {
        let opened = self.read().await?.opened();
        let openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(openings.iter().filter(|opening| !opened.contains(&opening.activity)).copied().collect())
    }

    async fn next_term(&self, above: Term) -> Result<Term, String> {
        let drawn = self.read().await?.next_term(above);
        self.read().await?;
        Ok(if self.planted == Planted::RepeatedTerms { above.max(Term(1)) } else { drawn })
    }

    async fn decisions(&self, activity: ActivityId) -> Result<Vec<LedgerCommand>, String> {
        let decisions = self.read().await?.decisions(activity);
        Ok(if self.planted == Planted::NoDecisions { Vec::new() } else { decisions })
    }

    async fn promises(&self, activity: ActivityId) -> Result<Vec<Promise>, String> {
        let promises = self.read().await?.promises(activity);
        Ok(if self.planted == Planted::NoPromises { Vec::new() } else { promises })
    }
}
