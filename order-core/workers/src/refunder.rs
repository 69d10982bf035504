//! Sends money back.

use std::future::Future;

use domain::{DueRefund, RefundStore};
use foundation::Clock;

use crate::{Worker, WorkerError};

/// Refunds of one step.
const BATCH_MAX: u32 = 20;
/// How often it is looked whether there is something to be sent back.
const LOOK_EVERY_MS: u64 = 500;
/// The pause after the first try that failed; it doubles with each further one.
const PAUSE_MS: u64 = 2_000;
/// The longest pause between two tries.
const PAUSE_MAX_MS: u64 = 3_600_000;
/// Tries of a refund, ten hours in all; after the last one it is parked.
const TRIES_MAX: u32 = 20;

/// Payment platforms that can send money back.
pub trait PayBack: Send + Sync + 'static {
    /// Names of the payment methods that can be asked.
    fn methods(&self) -> Vec<&'static str>;

    /// Has the platform of `due` send the money back; it does so once for each refund id.
    ///
    /// # Errors
    /// Why the money is not known to have gone back.
    fn pay_back(&self, due: &DueRefund, now_ms: u64) -> impl Future<Output = Result<(), String>> + Send;
}

/// How often parked refunds are counted.
const COUNT_EVERY_MS: u64 = 5_000;

/// Has the platforms send back what the shop has decided to send back.
pub struct Refunder<S, P, C> {
    store: S,
    platforms: P,
    clock: C,
    report: Box<dyn Fn(u64) + Send + Sync>,
    next_count_ms: u64,
}

impl<S: RefundStore, P: PayBack, C: Clock> Refunder<S, P, C> {
    pub fn new(store: S, platforms: P, clock: C) -> Self {
        Self { store, platforms, clock, report: Box::new(|_| ()), next_count_ms: 0 }
    }

    /// Calls `report` every few seconds with the number of parked refunds.
    #[must_use]
    pub fn reporting(mut self, report: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.report = Box::new(report);
        self
    }

    /// Sends one refund. A failure is noted with the time of the next try, and holds up no other refund.
    async fn send(&self, due: &DueRefund) -> Result<(), WorkerError> {
        let Err(reason) = self.platforms.pay_back(due, self.clock.now_ms()).await else {
            return self.store.refund_done(due, self.clock.now_ms()).await.map_err(WorkerError::store);
        };
        let DueRefund { refund, method, tries, .. } = due;
        let next_try_at_ms = pause_ms(*tries).map(|pause_ms| self.clock.now_ms().saturating_add(pause_ms));
        if next_try_at_ms.is_some() {
            tracing::warn!(%refund, method, tries, reason, "a refund was not sent and will be tried again");
        } else {
            tracing::error!(%refund, method, tries, reason, "a refund was not sent and is parked");
        }
        self.store.refund_failed(due, &reason, next_try_at_ms).await.map_err(WorkerError::store)
    }
}

/// The pause after one more failure; `None` after the last try.
fn pause_ms(failed_before: u32) -> Option<u64> {
    let again = failed_before + 1 < TRIES_MAX;
    again.then(|| PAUSE_MS.saturating_mul(1 << failed_before.min(32)).min(PAUSE_MAX_MS))
}

impl<S: RefundStore, P: PayBack, C: Clock> Worker for Refunder<S, P, C> {
    const NAME: &'static str = "refunder";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let methods = self.platforms.methods();
        let mut due = self.store.due_refunds(&methods, BATCH_MAX).await.map_err(WorkerError::store)?;
        due.retain(|due| due.next_try_at_ms <= self.clock.now_ms());
        for due in &due {
            self.send(due).await?;
        }
        if self.clock.now_ms() >= self.next_count_ms {
            let parked = self.store.parked_refunds().await.map_err(WorkerError::store)?;
            (self.report)(parked);
            self.next_count_ms = self.clock.now_ms() + COUNT_EVERY_MS;
        }
        if due.is_empty() {
            self.clock.sleep_until(self.clock.now_ms() + LOOK_EVERY_MS).await;
        }
        Ok(())
    }
}
