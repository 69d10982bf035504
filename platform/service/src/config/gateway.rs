//! Section `gateway`.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use contract::stock::Window;

use super::{Check, raw};

/// What the gateway's threads run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// io_uring, and epoll where that is refused.
    Monoio,
    /// io_uring.
    Glommio,
    /// may_minihttp: stackful coroutines, and an HTTP parser of its own with few limits.
    May,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Monoio, Self::Glommio, Self::May];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Monoio => "monoio",
            Self::Glommio => "glommio",
            Self::May => "may",
        }
    }
}

/// The flash-sale gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Where it listens; on may_minihttp a loopback address, or any address if the settings allow it explicitly.
    pub listen: SocketAddr,
    /// What its threads run on.
    pub runtime: Runtime,
    /// Threads; `None` (0 in the file) leaves it to the process: one for each processor where the gateway
    /// has the machine for itself.
    pub threads: Option<NonZeroUsize>,
    /// Open connections over all threads.
    pub connections_max: NonZeroUsize,
    /// Open connections of one client address, over all threads; a thread takes at most twice its share. Trusted proxies may have any number.
    pub connections_per_client_max: NonZeroUsize,
    /// A connection without a request for this long is closed.
    pub idle_timeout: Duration,
    /// Reservations of one thread that wait for the ledger; beyond it a request is refused.
    pub queue_max: NonZeroUsize,
    /// How long a request waits for the ledger before its answer is "unknown".
    pub reply_timeout: Duration,
    /// Of one client address; `None` (0 in the file) is no limit.
    pub client_rate: Option<RateLimit>,
    /// Of one user; `None` (0 in the file) is no limit.
    pub user_rate: Option<RateLimit>,
    /// Attempts at one activity of one user over all gateways, kept by the ledger; `max` 0 is no limit.
    pub user_window: Window,
    /// Pictures of challenges that are kept ready over all threads once a sale asks for them.
    pub captchas_max: NonZeroUsize,
}

/// Requests that one client or user may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Sustained.
    pub per_s: NonZeroU32,
    /// At once; 0 in the file is one second's worth.
    pub burst: NonZeroU32,
}

impl Check {
    pub(super) fn gateway(&mut self, raw: &raw::Gateway) -> GatewayConfig {
        let threads = self.within("gateway.threads", raw.threads, 0..=1024);
        let (listen, runtime) = (self.address("gateway.listen", &raw.listen), self.runtime(&raw.runtime));
        if runtime == Runtime::May && !listen.ip().is_loopback() && !raw.may_listens_anywhere_without_limits {
            let way = "gateway.may_listens_anywhere_without_limits: true lets it";
            self.fault("gateway.listen", &format!("on may the gateway listens on loopback only; {way}"));
        }
        GatewayConfig {
            listen,
            runtime,
            threads: usize::try_from(threads).ok().and_then(NonZeroUsize::new),
            connections_max: self.count("gateway.connections_max", raw.connections_max, 1..=10_000_000),
            connections_per_client_max: self.count(
                "gateway.connections_per_client_max",
                raw.connections_per_client_max,
                1..=10_000_000,
            ),
            idle_timeout: self.millis("gateway.idle_timeout_ms", raw.idle_timeout_ms, 1_000..=3_600_000),
            queue_max: self.count("gateway.queue_max", raw.queue_max, 1..=1_000_000),
            reply_timeout: self.millis("gateway.reply_timeout_ms", raw.reply_timeout_ms, 10..=60_000),
            client_rate: self.rate("gateway.client", raw.client_rate_per_s, raw.client_burst),
            user_rate: self.rate("gateway.user", raw.user_rate_per_s, raw.user_burst),
            user_window: Window {
                max: u32::try_from(self.within("gateway.user_window_max", raw.user_window_max, 0..=Window::MAX.into()))
                    .unwrap_or(Window::MAX),
                within_ms: self.within("gateway.user_window_ms", raw.user_window_ms, 1..=24 * 3_600_000),
            },
            captchas_max: self.count("gateway.captchas_max", raw.captchas_max, 1..=100_000),
        }
    }

    fn runtime(&mut self, text: &str) -> Runtime {
        let found = Runtime::ALL.into_iter().find(|runtime| runtime.as_str() == text);
        found.unwrap_or_else(|| {
            self.fault("gateway.runtime", &format!("expected monoio, glommio or may, found {text:?}"));
            Runtime::Monoio
        })
    }

    fn rate(&mut self, prefix: &str, per_s: u64, burst: u64) -> Option<RateLimit> {
        let per_s = self.within(&format!("{prefix}_rate_per_s"), per_s, 0..=1_000_000);
        let burst = self.within(&format!("{prefix}_burst"), burst, 0..=1_000_000);
        let per_s = u32::try_from(per_s).ok().and_then(NonZeroU32::new)?;
        let burst = u32::try_from(burst).ok().and_then(NonZeroU32::new).unwrap_or(per_s);
        Some(RateLimit { per_s, burst })
    }
}
