//! The whole path of a sale under one seed: clients, gateway cores, ledger, log, relay and order
//! workers, in virtual time, without threads and without sockets.
//!
//! The parts are the very ones that run in production; only what they stand on (clock, log, database,
//! wire) is the simulation's, and each of those can fail in the ways that the real one can.
#![forbid(unsafe_code)]

mod check;
mod client;
mod gateway;
mod ledger;
mod link;
pub mod log;
pub mod mutant;
pub mod redis;
pub mod redis_run;
pub mod run;
mod store;
pub mod world;
