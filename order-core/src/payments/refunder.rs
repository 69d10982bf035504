//! Sends money back.

use foundation::Clock;
use store::{DueRefund, Store};

use super::Providers;
use crate::workers::{Worker, WorkerError};

/// Refunds of one step.
const BATCH_MAX: u32 = 20;
/// How often it is looked whether there is something to be sent back.
const LOOK_EVERY_MS: u64 = 500;

/// Has the platforms send back what the shop has decided to send back.
#[derive(Debug)]
pub struct Refunder<C> {
    store: Store,
    providers: Providers,
    clock: C,
}

impl<C: Clock> Refunder<C> {
    /// A refunder over a database and its ways to pay.
    pub fn new(store: Store, providers: Providers, clock: C) -> Self {
        Self { store, providers, clock }
    }

    async fn send(&self, due: &DueRefund) -> Result<(), WorkerError> {
        let now_ms = self.clock.now_ms();
        let unsent = |why: String| WorkerError::Platform(format!("refund {} by {}: {why}", due.refund, due.method));
        let provider = self.providers.get(&due.method);
        let provider = provider.ok_or_else(|| unsent("there is no such way to pay any more".to_owned()))?;
        self.providers.refund(provider, (due.refund, due.payment), due.amount, now_ms).await.map_err(unsent)?;
        Ok(self.store.refund_done(due, now_ms).await?)
    }
}

impl<C: Clock> Worker for Refunder<C> {
    const NAME: &'static str = "refunder";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let due = self.store.due_refunds(&self.providers.methods(), BATCH_MAX).await?;
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
