//! The ledgers in Redis, as the gateway uses them: each core's connection, and the thread of the relay to the log.

mod link;
pub(crate) mod relay;

use std::time::Duration;

use contract::stock::Window;
use foundation::config::Secret;
use gateway_core::{RedisConfig, RedisLogin};
use ledger::redis::{UnconfirmedLimits, wire};
use redis::{ConnectionAddr, IntoConnectionInfo};

pub(crate) use link::{Link, run};

/// How a core reaches Redis.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) url: Secret,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) config: RedisConfig,
    pub(crate) unconfirmed: UnconfirmedLimits,
}

impl Settings {
    /// The server at `url` (`redis://[user:password@]host[:port][/db]`). It keeps `window` for every user, and a batch waits
    /// `reply_timeout` for its reply.
    ///
    /// # Errors
    /// If the URL is invalid, or needs TLS, which the gateway does not support.
    pub fn new(url: &str, window: Window, reply_timeout: Duration) -> anyhow::Result<Self> {
        let info = url.into_connection_info().map_err(|error| anyhow::anyhow!("redis.url: {error}"))?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            anyhow::bail!("redis.url: the gateway connects to Redis by plain TCP (redis://host:port) only");
        };
        let settings = info.redis_settings();
        let login = RedisLogin {
            username: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            db: u32::try_from(settings.db()).map_err(|_| anyhow::anyhow!("redis.url: invalid database number"))?,
        };
        let config = RedisConfig { login, script: wire::reserve_script(), window, reply_timeout };
        Ok(Self {
            url: Secret::new(url.to_owned()),
            host: host.clone(),
            port: *port,
            config,
            unconfirmed: UnconfirmedLimits::default(),
        })
    }

    /// Stops selling at these limits, which hold for all cores together.
    #[must_use]
    pub fn with_unconfirmed(self, unconfirmed: UnconfirmedLimits) -> Self {
        Self { unconfirmed, ..self }
    }
}
