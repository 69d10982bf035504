//! Real servers on loopback for tests, each private to the process that starts it: a free port, data in
//! a temporary directory, gone with the process however it ends.
//!
//! A server that this machine does not have is a line that begins with `SKIPPED` and `None`; `make test`
//! counts those lines, and CI fails on any.
#![forbid(unsafe_code)]

mod authority;
mod disk;
mod elasticsearch;
mod forwarder;
mod jaeger;
mod jmeter;
mod k6;
mod kafka;
mod mariadb;
mod nginx;
mod process;
mod prometheus;
mod redis;

pub use authority::{Authority, Identity};
pub use disk::SmallDisk;
pub use elasticsearch::Elasticsearch;
pub use forwarder::Forwarder;
pub use jaeger::{Jaeger, TracedSpan};
pub use jmeter::jmeter_home;
pub use k6::k6;
pub use kafka::Kafka;
pub use mariadb::MariaDb;
pub use nginx::{Listen, Nginx, Upstreams};
pub use process::free_port;
pub use prometheus::{Prometheus, lint_metrics};
pub use redis::Redis;

/// Where `services.sh install-tools` puts programs.
fn tools() -> std::path::PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(std::path::PathBuf::from);
    let target = target.unwrap_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    target.join("services/tools")
}

/// Says that a test can't run here, and why, in the words that `make test` counts.
pub fn skipped(what: &str, why: &str) {
    // In one write: lines of tests that run side by side must not mix.
    let line = format!("\nSKIPPED {what}: {why}\n");
    drop(std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()));
}
