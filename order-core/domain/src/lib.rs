//! The sale's orders without a database: their states, what a batch of journal entries changes, and what a store must
//! offer.
//!
//! [`SaleStore`] has two implementations: SQL in the crate `store`, and [`model::ModelStore`] in memory. Both pass
//! `conformance`. Nothing here does IO or reads a clock, so the simulation runs it as it is.
#![forbid(unsafe_code)]

#[cfg(feature = "testing")]
pub mod conformance;
mod error;
mod lease;
mod line;
pub mod model;
pub mod order_state;
mod outgoing;
pub mod parked;
pub mod plan;
mod refund;
mod sale;

pub use error::{Outlook, SaleError, big};
pub use lease::{LeaseName, LeaseRow, LeaseStore};
pub use line::Line;
pub use outgoing::Outgoing;
pub use refund::{DueRefund, RefundStore};
pub use sale::{
    DatabaseCounts, HoldUnits, OutboxRow, PARKED_LISTED_MAX, PaidOutcome, Parked, REPEAT_ROWS_MAX, Retried, SaleStore,
    StatusUnits, TAKE_IN_MAX, TakenIn,
};
