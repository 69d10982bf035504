//! Recoveries on a real Redis and a real log: what was promised is kept, or given up by an entry that says so, whatever Redis lost.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod dying;
mod losses;
mod races;
mod world;
