//! The mall: accounts, orders, and the workers that turn the log into orders.
#![forbid(unsafe_code)]

pub mod api;
mod service;
mod snapshots;
#[cfg(test)]
#[path = "../testing/mod.rs"]
mod testing;
pub mod workers;

pub use service::{OrderCore, run};
pub use snapshots::Snapshots;
