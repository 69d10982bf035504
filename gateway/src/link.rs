//! How a core reaches the ledgers.

use std::sync::Arc;

use contract::stock::BatchReply;
use gateway_core::Batch;
use ledger::{house::Reply, local::LocalLedger};

#[cfg(feature = "redis")]
use crate::redis;

/// Sends a batch to its ledger. Does not block; `reply` is called once, on any thread.
pub trait ReserveLink: Send + Sync + 'static {
    /// Asks the ledger of the batch's activity.
    fn reserve(&self, batch: Batch, reply: Reply<BatchReply>);
}

/// Where the ledgers are.
#[derive(Clone)]
pub enum Ledgers {
    /// Behind a link that all cores share.
    Shared(Arc<dyn ReserveLink>),
    /// In Redis: each core has a connection of its own, and the relay of one gateway carries what was held to the log.
    #[cfg(feature = "redis")]
    Redis(redis::Settings),
}

impl ReserveLink for LocalLedger {
    fn reserve(&self, batch: Batch, reply: Reply<BatchReply>) {
        Self::reserve(self, (batch.activity, batch.trace), batch.reservations, batch.repeats_only, reply);
    }
}
