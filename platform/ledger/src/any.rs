//! The ledger that the settings choose.

use contract::{
    ActivityId,
    activity::Rules,
    record::LedgerCommand,
    stock::{Counters, Outcome},
};

#[cfg(feature = "redis")]
use crate::redis::RedisLedger;
use crate::{LedgerClient, LedgerUnavailable, local::LocalLedger};

/// One of the backends that this program was built with.
#[derive(Debug, Clone)]
pub enum AnyLedger {
    /// In this process.
    Local(LocalLedger),
    /// In Redis.
    #[cfg(feature = "redis")]
    Redis(RedisLedger),
}

impl LedgerClient for AnyLedger {
    async fn open(&self, activity: ActivityId, stock: u64, rules: Rules) -> Result<Counters, LedgerUnavailable> {
        match self {
            Self::Local(ledger) => ledger.open(activity, stock, rules).await,
            #[cfg(feature = "redis")]
            Self::Redis(ledger) => ledger.open(activity, stock, rules).await,
        }
    }

    async fn act(&self, commands: Vec<LedgerCommand>) -> Result<Vec<Outcome>, LedgerUnavailable> {
        match self {
            Self::Local(ledger) => ledger.act(commands).await,
            #[cfg(feature = "redis")]
            Self::Redis(ledger) => ledger.act(commands).await,
        }
    }

    async fn counters(&self, activity: ActivityId) -> Result<Option<Counters>, LedgerUnavailable> {
        match self {
            Self::Local(ledger) => ledger.counters(activity).await,
            #[cfg(feature = "redis")]
            Self::Redis(ledger) => ledger.counters(activity).await,
        }
    }
}
