//! Closes unpaid orders by their rows. The deadlines of most orders are on the log, where the timeout worker waits for
//! them. Orders of a sale with a time of its own have no record there, and a record can be lost before it is due.

use foundation::Clock;
use store::Store;
use workers::{BeforeClosing, Worker, WorkerError};

/// Orders of one step.
const BATCH_MAX: u32 = 500;
/// How often orders are looked for.
const LOOK_EVERY_MS: u64 = 1_000;
/// How late an order is that should have been closed by its record on the log.
const LOST_AFTER_MS: u64 = 60_000;

/// Closes unpaid orders whose time is over and which no record on the log closes. Several do no harm.
#[derive(Debug)]
pub(crate) struct Overdue<C, B> {
    store: Store,
    clock: C,
    before: B,
}

impl<C: Clock, B: BeforeClosing> Overdue<C, B> {
    /// Asks `before` it closes orders.
    pub(crate) const fn new(store: Store, clock: C, before: B) -> Self {
        Self { store, clock, before }
    }
}

impl<C: Clock, B: BeforeClosing> Worker for Overdue<C, B> {
    const NAME: &'static str = "overdue";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let now_ms = self.clock.now_ms();
        let lost_ms = now_ms.saturating_sub(LOST_AFTER_MS);
        let orders =
            self.store.orders().overdue_orders(now_ms, lost_ms, BATCH_MAX).await.map_err(WorkerError::store)?;
        if orders.is_empty() {
            self.clock.sleep_until(now_ms + LOOK_EVERY_MS).await;
            return Ok(());
        }
        self.before.before_closing(&orders).await?;
        let closed = domain::SaleStore::close_unpaid(&self.store, &orders, self.clock.now_ms()).await;
        let closed = closed.map_err(WorkerError::store)?;
        tracing::debug!(orders = orders.len(), closed, "overdue orders are closed");
        Ok(())
    }
}
