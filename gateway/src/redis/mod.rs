//! The ledgers in Redis, as the gateway uses them: each core's connection, and the relay to the log.

mod frame;
mod link;
mod pipe;
mod recent;
pub(crate) mod relay;

use std::time::Duration;

use contract::stock::Window;
use foundation::config::Secret;
use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

pub(crate) use link::{Link, run};
pub(crate) use recent::Recent;

/// How a core reaches Redis.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) url: Secret,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) login: RedisConnectionInfo,
    pub(crate) window: Window,
    pub(crate) reply_timeout: Duration,
}

impl Settings {
    /// The server at `url` (`redis://[user:password@]host[:port][/db]`), which is asked to keep `window`
    /// for every user, and abandoned with a batch after `reply_timeout`.
    ///
    /// # Errors
    /// Where the address is none, or needs TLS, which the gateway does not speak.
    pub fn new(url: &str, window: Window, reply_timeout: Duration) -> anyhow::Result<Self> {
        let info = url.into_connection_info().map_err(|error| anyhow::anyhow!("redis.url: {error}"))?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            anyhow::bail!("redis.url: the gateway reaches Redis by plain TCP (redis://host:port) only");
        };
        let login = info.redis_settings().clone();
        Ok(Self { url: Secret::new(url.to_owned()), host: host.clone(), port: *port, login, window, reply_timeout })
    }
}
