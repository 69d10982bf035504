//! The ledgers in Redis, as the gateway uses them: each core's connection, and the thread of the relay to the log.

mod link;
pub(crate) mod relay;

use std::{sync::Arc, time::Duration};

use contract::stock::Window;
use foundation::redis::Server;
use gateway_core::{RedisConfig, RedisLogin};
use ledger::{confirmed::UnconfirmedLimits, redis::wire};

pub(crate) use link::{Link, run};

/// How a core reaches Redis.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) server: Arc<Server>,
    pub(crate) config: RedisConfig,
    pub(crate) unconfirmed: UnconfirmedLimits,
}

impl Settings {
    /// The ledgers on `server`. It keeps `window` for every user, and a batch waits `reply_timeout` for its reply.
    ///
    /// # Errors
    /// If the number of the database is invalid.
    pub fn new(server: &Server, window: Window, reply_timeout: Duration) -> anyhow::Result<Self> {
        let login = server.login();
        let login = RedisLogin {
            username: login.username().map(str::to_owned),
            password: login.password().map(str::to_owned),
            db: u32::try_from(login.db()).map_err(|_| anyhow::anyhow!("redis.url: invalid database number"))?,
        };
        let config = RedisConfig { login, script: wire::reserve_script(), window, reply_timeout };
        Ok(Self { server: Arc::new(server.clone()), config, unconfirmed: UnconfirmedLimits::default() })
    }

    /// Stops selling at these limits, which hold for all cores together.
    #[must_use]
    pub fn with_unconfirmed(self, unconfirmed: UnconfirmedLimits) -> Self {
        Self { unconfirmed, ..self }
    }
}
