//! The way from a core to the ledger.

use contract::ledger::BatchReply;
use gateway_core::Batch;
use ledger::{house::Reply, local::LocalLedger};

/// Carries one batch to the ledger and its answer back. Does not block; `reply` is called once, on
/// any thread.
pub trait ReserveLink: Send + Sync + 'static {
    /// Asks the ledger of the batch's activity.
    fn reserve(&self, batch: Batch, reply: Reply<BatchReply>);
}

impl ReserveLink for LocalLedger {
    fn reserve(&self, batch: Batch, reply: Reply<BatchReply>) {
        Self::reserve(self, batch.activity, batch.reservations, reply);
    }
}
