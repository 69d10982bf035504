//! The core from outside: bytes in, bytes out, a ledger in memory behind it.
// Clippy takes helpers for a test's by this attribute.
#![cfg(test)]

mod admission;
mod bytes;
mod cuts;
mod orders;
mod sale;
mod time;
mod world;
