//! The seam to the stock ledger: how the mall asks it, wherever it lives.
#![forbid(unsafe_code)]

mod any;
pub mod confirmed;
#[cfg(feature = "testing")]
pub mod conformance;
pub mod house;
pub mod journal;
pub mod local;
#[cfg(feature = "redis")]
pub mod redis;
pub mod restore;

use std::future::Future;

pub use any::AnyLedger;

use contract::{
    ActivityId,
    activity::Rules,
    record::LedgerCommand,
    stock::{Counters, Outcome},
};

/// The ledger did not answer. The command may have been carried out: repeat it, which is safe for every command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ledger is unavailable: {0}")]
pub struct LedgerUnavailable(pub String);

/// What order-core and admin ask of the ledgers. Gateways reserve by a shorter way.
pub trait LedgerClient: Clone + Send + Sync + 'static {
    /// Opens the ledger of `activity` unless it is open; its counters either way.
    fn open(
        &self,
        activity: ActivityId,
        stock: u64,
        rules: Rules,
    ) -> impl Future<Output = Result<Counters, LedgerUnavailable>> + Send;

    /// Carries out `commands` in order; one answer for each. An activity whose ledger is not open
    /// answers [`Outcome::UnknownOrder`].
    fn act(&self, commands: Vec<LedgerCommand>)
    -> impl Future<Output = Result<Vec<Outcome>, LedgerUnavailable>> + Send;

    /// The counters at one instant; `None` where the ledger is not open.
    fn counters(
        &self,
        activity: ActivityId,
    ) -> impl Future<Output = Result<Option<Counters>, LedgerUnavailable>> + Send;
}
