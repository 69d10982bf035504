//! Sections `metrics` and `shutdown`.

use std::{net::SocketAddr, time::Duration};

use super::{Check, raw};

/// How long a process is not ready and serves on, where other hosts can reach it and `shutdown.drain_ms` is not set.
const DRAIN_DEFAULT: u64 = 5_000;
/// With the 10 seconds that running requests have at the gateway and then at order-core and admin, a process still ends
/// within 30 seconds.
const DRAIN_MAX_MS: u64 = 10_000;

/// Where the metrics are served, besides the port of each service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsListen {
    /// On loopback, at the port of the role.
    Default,
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownConfig {
    /// From SIGTERM until the process accepts no connection any more. `/readyz` is 503 meanwhile, so a balancer stops sending
    /// requests before they would be refused.
    pub drain: Duration,
}

impl Check {
    pub(super) fn metrics_listen(&mut self, text: Option<&str>) -> MetricsListen {
        match text {
            None => MetricsListen::Default,
            Some("off") => MetricsListen::Off,
            Some(address) => address.parse().map_or_else(
                |_| {
                    let expected = "expected off, or address:port such as 127.0.0.1:9464";
                    self.fault("metrics.listen", &format!("{expected}, found {address:?}"));
                    MetricsListen::Off
                },
                MetricsListen::At,
            ),
        }
    }

    pub(super) fn shutdown(&mut self, raw: &raw::Shutdown, listens: [SocketAddr; 3]) -> ShutdownConfig {
        let is_local = listens.iter().all(|address| address.ip().to_canonical().is_loopback());
        let default = if is_local { 0 } else { DRAIN_DEFAULT };
        ShutdownConfig { drain: self.millis("shutdown.drain_ms", raw.drain_ms.unwrap_or(default), 0..=DRAIN_MAX_MS) }
    }
}
