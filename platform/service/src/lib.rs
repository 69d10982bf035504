//! What every service of the mall starts on: configuration, logs, ids, clock and health.
#![forbid(unsafe_code)]

pub mod clock;
pub mod config;
pub mod data_dir;
pub mod health;
pub mod ids;
pub mod logs;
pub mod metrics;
pub mod process;
#[cfg(feature = "redis")]
pub mod redis;
pub mod rfc3339;
pub mod shutdown;
pub mod spans;
#[cfg(test)]
mod testing;
#[cfg(feature = "tls")]
pub mod tls;

pub use clock::{Clock, SystemClock};
pub use config::{Config, Secret};
pub use data_dir::{DataDir, random_hex};
pub use health::Readiness;
pub use ids::IdMaker;
