//! The way from a core to the ledger.

use std::sync::Arc;

use contract::stock::BatchReply;
use gateway_core::Batch;
use ledger::{house::Reply, local::LocalLedger};

use crate::redis;

/// Carries one batch to the ledger and its answer back. Does not block; `reply` is called once, on
/// any thread.
pub trait ReserveLink: Send + Sync + 'static {
    /// Asks the ledger of the batch's activity.
    fn reserve(&self, batch: Batch, reply: Reply<BatchReply>);
}

/// Where the ledgers live, as the gateway's cores reach them.
#[derive(Clone)]
pub enum Ledgers {
    /// By a way that all cores share.
    Shared(Arc<dyn ReserveLink>),
    /// In Redis: each core has a connection of its own, and one relay of all gateways carries what was
    /// held from there to the log.
    Redis(redis::Settings),
}

impl ReserveLink for LocalLedger {
    fn reserve(&self, batch: Batch, reply: Reply<BatchReply>) {
        Self::reserve(self, batch.activity, batch.reservations, batch.repeats_only, reply);
    }
}
