//! The ledger that the settings choose.

use contract::{
    ActivityId,
    activity::Rules,
    record::LedgerCommand,
    stock::{Counters, Outcome},
};

use crate::{LedgerClient, LedgerUnavailable, local::LocalLedger, redis::RedisLedger};

/// In this process, or in Redis.
#[derive(Debug, Clone)]
pub enum AnyLedger {
    /// See [`crate::local`].
    Local(LocalLedger),
    /// See [`crate::redis`].
    Redis(RedisLedger),
}

impl LedgerClient for AnyLedger {
    async fn open(&self, activity: ActivityId, stock: u64, rules: Rules) -> Result<Counters, LedgerUnavailable> {
        match self {
            Self::Local(ledger) => ledger.open(activity, stock, rules).await,
            Self::Redis(ledger) => ledger.open(activity, stock, rules).await,
        }
    }

    async fn act(&self, commands: Vec<LedgerCommand>) -> Result<Vec<Outcome>, LedgerUnavailable> {
        match self {
            Self::Local(ledger) => ledger.act(commands).await,
            Self::Redis(ledger) => ledger.act(commands).await,
        }
    }

    async fn counters(&self, activity: ActivityId) -> Result<Option<Counters>, LedgerUnavailable> {
        match self {
            Self::Local(ledger) => ledger.counters(activity).await,
            Self::Redis(ledger) => ledger.counters(activity).await,
        }
    }
}
