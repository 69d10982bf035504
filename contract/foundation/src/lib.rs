//! What every service of the mall starts on: configuration, logs, ids, clock and health.
#![forbid(unsafe_code)]

pub mod clock;

pub use clock::{Clock, SystemClock};
