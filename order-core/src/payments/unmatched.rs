//! How much money waits for an admin who finds out where it belongs.

use foundation::{
    Clock,
    metrics::{Gauge, Registry},
};
use store::Store;
use workers::{Worker, WorkerError};

/// How often it is counted.
const COUNT_EVERY_MS: u64 = 10_000;

/// Shows the rows of unmatched money that no admin has resolved.
#[derive(Debug)]
pub(crate) struct UnmatchedFigure<C> {
    store: Store,
    clock: C,
    rows: Gauge,
}

impl<C: Clock> UnmatchedFigure<C> {
    pub(crate) fn new(store: Store, clock: C, metrics: &Registry) -> Self {
        let rows =
            metrics.gauge("mall_unmatched_money", "Money that fits no payment or refund and waits for an admin.");
        Self { store, clock, rows }
    }
}

impl<C: Clock> Worker for UnmatchedFigure<C> {
    const NAME: &'static str = "unmatched-figure";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let rows = self.store.money().unresolved_money().await.map_err(WorkerError::store)?;
        self.rows.set(i64::try_from(rows).unwrap_or(i64::MAX));
        self.clock.sleep_until(self.clock.now_ms() + COUNT_EVERY_MS).await;
        Ok(())
    }
}
