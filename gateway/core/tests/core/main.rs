//! The core from outside: bytes in, bytes out, a ledger in memory behind it.
// Clippy takes helpers for a test's by this attribute.
#![cfg(test)]

mod admission;
mod after_log;
mod allocations;
mod browsers;
mod bytes;
mod caps;
mod corpus;
mod cuts;
mod desync;
mod entry;
mod finished;
#[path = "../http_table/cases.rs"]
mod http_table;
mod openapi;
mod orders;
mod sale;
mod table;
mod terms;
mod time;
mod traces;
mod wire;
mod world;
