//! Sends money back.

use std::future::Future;

use domain::{DueRefund, RefundStore};
use foundation::Clock;

use crate::{Worker, WorkerError};

/// Refunds of one step.
const BATCH_MAX: u32 = 20;
/// How often it is looked whether there is something to be sent back.
const LOOK_EVERY_MS: u64 = 500;

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

/// Has the platforms send back what the shop has decided to send back.
#[derive(Debug)]
pub struct Refunder<S, P, C> {
    store: S,
    platforms: P,
    clock: C,
}

impl<S: RefundStore, P: PayBack, C: Clock> Refunder<S, P, C> {
    pub const fn new(store: S, platforms: P, clock: C) -> Self {
        Self { store, platforms, clock }
    }

    async fn send(&self, due: &DueRefund) -> Result<(), WorkerError> {
        let now_ms = self.clock.now_ms();
        let unsent = |why: String| WorkerError::Platform(format!("refund {} by {}: {why}", due.refund, due.method));
        self.platforms.pay_back(due, now_ms).await.map_err(unsent)?;
        self.store.refund_done(due, now_ms).await.map_err(WorkerError::store)
    }
}

impl<S: RefundStore, P: PayBack, C: Clock> Worker for Refunder<S, P, C> {
    const NAME: &'static str = "refunder";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let methods = self.platforms.methods();
        let due = self.store.due_refunds(&methods, BATCH_MAX).await.map_err(WorkerError::store)?;
        let mut failed = None;
        for due in &due {
            // One that can't be sent keeps no other one waiting.
            if let Err(error) = self.send(due).await {
                failed = Some(error);
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if due.is_empty() {
            self.clock.sleep_until(self.clock.now_ms() + LOOK_EVERY_MS).await;
        }
        Ok(())
    }
}
