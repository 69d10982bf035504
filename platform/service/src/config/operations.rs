//! Sections `metrics`, `tracing` and `shutdown`.

use std::{net::SocketAddr, time::Duration};

use super::{Check, Secret, raw, servers::host_of};

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

/// Where spans are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracingConfig {
    /// The collector's address, below which the path is `/v1/traces`. It may hold a password.
    pub otlp_url: Secret,
    /// Of a million requests whose sender does not record them, how many are traced.
    pub sampled_per_million: u32,
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

    pub(super) fn tracing(&mut self, raw: raw::Tracing) -> Option<TracingConfig> {
        let rate = self.within("tracing.sampled_per_million", raw.sampled_per_million, 0..=1_000_000);
        let otlp_url = self.url("tracing.otlp_url", raw.otlp_url, &["http"])?;
        if !cfg!(feature = "trace") {
            self.fault("tracing.otlp_url", "this program was built without the cargo feature trace");
        }
        self.plaintext("tracing.otlp_url", host_of(otlp_url.expose()), raw.allow_plaintext, "a collector on this host");
        Some(TracingConfig { otlp_url, sampled_per_million: u32::try_from(rate).unwrap_or(u32::MAX) })
    }

    pub(super) fn shutdown(&mut self, raw: &raw::Shutdown, is_local: bool) -> ShutdownConfig {
        let default = if is_local { 0 } else { DRAIN_DEFAULT };
        ShutdownConfig { drain: self.millis("shutdown.drain_ms", raw.drain_ms.unwrap_or(default), 0..=DRAIN_MAX_MS) }
    }
}
