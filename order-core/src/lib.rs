//! The mall: accounts, orders, and the workers that turn the log into orders.
#![forbid(unsafe_code)]

#[cfg(test)]
#[path = "../testing/mod.rs"]
mod testing;
pub mod workers;
