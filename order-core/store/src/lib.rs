//! The mall's database: domain types, state machines, SQL and migrations.
//!
//! [`SaleStore`] is the sale's part of it, with two implementations: [`Store`] in SQL and
//! [`model::ModelStore`] in memory. [`conformance`] is the suite that both pass.
#![forbid(unsafe_code)]

pub mod conformance;
mod db;
mod error;
pub mod model;
pub mod order_state;
mod outgoing;
mod plan;
mod sale;
mod sale_sql;
mod take_in;

pub use db::{Ids, Settings, Store};
pub use error::StoreError;
pub use sale::{DatabaseCounts, HoldUnits, OutboxRow, PaidOutcome, SaleStore, StatusUnits, TAKE_IN_MAX, TakenIn};

#[cfg(test)]
mod tests;
