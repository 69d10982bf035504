//! What a core is made with. Every limit has a name and a unit; rates of 0 are off.

use std::time::Duration;

use contract::{
    client_address::TrustedProxies,
    ticket::TicketKey,
    token::{Audience, TokenKey},
};

use crate::{board::BoardLimits, http::Limits, limit::Rate};

/// A core's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Seeds hashes and trace ids; another one for every core and every run.
    pub seed: u64,
    /// The keys of shoppers' tokens and tickets.
    pub keys: Keys,
    /// ConnectionTable that may be open at once.
    pub connections_max: usize,
    /// Of one client address; trusted proxies may have any number.
    pub connections_per_client_max: usize,
    /// Event streams among them.
    pub streams_max: usize,
    /// Event streams of one user.
    pub streams_per_user_max: usize,
    /// Reservations that may wait for the ledger at once; beyond it 503.
    pub waiting_max: usize,
    /// Limits of a request's size.
    pub http: Limits,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Rate limits.
    pub gate: GateLimits,
    /// How much is remembered.
    pub board: BoardLimits,
    /// Captcha images that are kept ready while a sale needs them.
    pub captchas_max: usize,
    /// Where `GET /` leads; empty: there is nothing at that path.
    pub shop_url: String,
    /// Pages that may call from another origin.
    pub origins: Vec<Origin>,
    /// Reservations of a million that have a span though no sender records one; `None`: no spans at all.
    pub traced_per_million: Option<u32>,
}

/// An origin whose pages may call (the Fetch standard, section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    name: &'static str,
    /// The header lines of every answer to it.
    lines: &'static str,
}

impl Origin {
    /// The origin `name`, such as `https://shop.example`. Its text is never freed: answers of every core refer to it
    /// for as long as the process lives.
    pub fn new(name: &str) -> Self {
        let lines = format!(
            "access-control-allow-origin: {name}\r\nvary: origin\r\n\
             access-control-expose-headers: challenge, etag, location, retry-after\r\n"
        );
        Self { name: name.to_owned().leak(), lines: lines.leak() }
    }

    /// The header lines for the origin `name`, if it is one of `origins`.
    pub(crate) fn lines_for(origins: &[Self], name: &[u8]) -> Option<&'static str> {
        origins.iter().find(|known| known.name.as_bytes() == name).map(|known| known.lines)
    }
}

/// The keys that are derived from the shoppers' secret.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Verifies tokens.
    pub tokens: TokenKey,
    /// Seals and opens entry tickets and challenges.
    pub tickets: TicketKey,
}

impl Keys {
    /// The keys of all gateways that share `shopper_secret`.
    pub fn new(shopper_secret: &[u8]) -> Self {
        Self { tokens: TokenKey::new(shopper_secret, Audience::Shopper), tickets: TicketKey::new(shopper_secret) }
    }
}

impl Config {
    /// The defaults, for keys and a seed.
    pub fn new(keys: Keys, seed: u64) -> Self {
        Self {
            seed,
            keys,
            connections_max: 16 * 1024,
            connections_per_client_max: 256,
            streams_max: 4 * 1024,
            streams_per_user_max: 4,
            waiting_max: 16 * 1024,
            http: Limits::default(),
            timeouts: Timeouts::default(),
            gate: GateLimits::default(),
            board: BoardLimits::default(),
            captchas_max: 512,
            shop_url: String::new(),
            origins: Vec::new(),
            traced_per_million: None,
        }
    }
}

/// How long a client may take, and how long it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From a request's first byte to the end of its head.
    pub header: Duration,
    /// From the end of the head to the end of the body.
    pub body: Duration,
    /// From a connection's begin to its first request.
    pub first_request: Duration,
    /// Between two requests. Proxies close their idle connections after 60 seconds; the server must not be first.
    pub idle: Duration,
    /// For the client to take what was written to it; beyond it the connection is cut.
    pub write: Duration,
    /// For the ledger's reply; beyond it the answer is 503.
    pub reply: Duration,
    /// Between two signs of life on an event stream.
    pub heartbeat: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(5),
            body: Duration::from_secs(10),
            first_request: Duration::from_secs(5),
            idle: Duration::from_secs(75),
            write: Duration::from_secs(10),
            reply: Duration::from_secs(2),
            heartbeat: Duration::from_secs(15),
        }
    }
}

/// Rate limits, and how much is remembered for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateLimits {
    /// Per client address (an IPv6 client is its /64; its /56 and /48 have a multiple).
    pub client: Rate,
    /// Per user, after the token was verified.
    pub user: Rate,
    /// Addresses, and users, that are remembered for it.
    pub keys_max: usize,
    /// Verified tokens that are remembered.
    pub tokens_max: usize,
    /// The peers whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            client: Rate { per_second: 0, burst: 0 },
            user: Rate { per_second: 0, burst: 0 },
            keys_max: 64 * 1024,
            tokens_max: 16 * 1024,
            trusted_proxies: TrustedProxies::default(),
        }
    }
}
