//! A connection to Redis that leaves a server which has become a replica, and a check whether Redis can
//! be written.
//!
//! After a failover, a name that clients connect to leads to the new master, but connections stay open to
//! the demoted server, which answers every write with READONLY. A client that only reconnects after a loss
//! would stay there for ever.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use contract::stock::script::{info_field, is_replicas_error};

use ::redis::{
    Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
    cmd,
};
/// How long one command may take.
const RESPONSE_MAX: Duration = Duration::from_secs(1);
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Tries to connect again before a command fails, and the pauses between them.
const RECONNECTS: usize = 2;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// A connection is not dropped for leading to a replica before it is this old: while the address still
/// leads there, not every command makes a connection.
const REOPEN_MIN: Duration = Duration::from_millis(100);

/// The key that [`Connection::check`] writes, and how long Redis keeps it.
const PROBE: &str = "mall:probe";
const PROBE_KEPT_MS: u64 = 10_000;
/// How often a service checks whether Redis can be written.
pub const CHECK_EVERY: Duration = Duration::from_secs(1);

/// A shared connection, made when the first command is sent and again after every loss. It is dropped, and
/// the address looked up again, when the server answers that it is a replica. Clones share it.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    current: Mutex<Current>,
}

struct Current {
    manager: ConnectionManager,
    made: Instant,
    /// Grows with each connection that was dropped, so that several commands that fail on one connection drop
    /// only that one.
    number: u64,
}

/// Why Redis can't be written now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// The server is a replica: what is written there is refused, or lost.
    #[error("Redis is a replica and can't be written: {0}")]
    Replica(String),
    /// The server has reached its `maxmemory`.
    #[error("Redis is out of memory: {0}")]
    OutOfMemory(String),
    /// Any other reason, such as no server or a disk that is full.
    #[error("Redis can't be written: {0}")]
    Other(String),
}

impl Connection {
    /// A connection to the server at `url`. Needs a tokio runtime.
    ///
    /// # Errors
    /// Where `url` is not the address of a Redis server.
    pub fn new(url: impl IntoConnectionInfo) -> RedisResult<Self> {
        let client = Client::open(url)?;
        let manager = connect(&client)?;
        let current = Mutex::new(Current { manager, made: Instant::now(), number: 0 });
        Ok(Self { shared: Arc::new(Shared { client, current }) })
    }

    /// Writes a key that expires by itself.
    ///
    /// # Errors
    /// Why a write fails; the connection to a replica is dropped.
    pub async fn check(&self) -> Result<(), Unwritable> {
        let (_, number) = self.current();
        let info = info(self, "replication").await.map_err(|error| Unwritable::of(&error))?;
        // A replica that may be written loses what it is given at the next synchronisation.
        if info_field(&info, "role").is_some_and(|role| role != "master") {
            self.leave(number);
            let master = info_field(&info, "master_host").unwrap_or("unknown");
            return Err(Unwritable::Replica(format!("its master is {master}")));
        }
        let mut write = cmd("SET");
        write.arg(PROBE).arg(1).arg("PX").arg(PROBE_KEPT_MS);
        let written: RedisResult<()> = write.query_async(&mut self.clone()).await;
        written.map_err(|error| Unwritable::of(&error))
    }

    /// Logs a warning where the server deletes keys by itself once it is full.
    pub async fn warn_of_eviction(&self) {
        match info(self, "memory").await {
            Ok(info) => {
                if let Some(lost) = info_field(&info, "maxmemory_policy").and_then(lost_by_eviction) {
                    let policy = info_field(&info, "maxmemory_policy").unwrap_or_default();
                    tracing::warn!("Redis has maxmemory-policy {policy}: {lost}. Set maxmemory-policy noeviction.");
                }
            }
            Err(error) => tracing::warn!(%error, "Redis does not report its maxmemory-policy; it must be noeviction"),
        }
    }

    fn current(&self) -> (ConnectionManager, u64) {
        let current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.manager.clone(), current.number)
    }

    /// Drops connection `number`, unless that has happened already. Commands that wait for an answer on it
    /// still get it.
    fn leave(&self, number: u64) {
        let mut current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.number != number || current.made.elapsed() < REOPEN_MIN {
            return;
        }
        match connect(&self.shared.client) {
            Ok(manager) => {
                let address = self.shared.client.get_connection_info().addr();
                tracing::warn!(%address, "Redis has become a replica; its connection is dropped and opened again");
                *current = Current { manager, made: Instant::now(), number: number + 1 };
            }
            Err(error) => tracing::error!(%error, "a connection to Redis can't be opened again"),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redis::Connection")
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let (mut manager, number) = self.current();
            let answer = manager.send_packed_command(command).await;
            let refused = match &answer {
                Ok(value) => is_of_replica(value),
                Err(error) => error_is_of_replica(error),
            };
            if refused {
                self.leave(number);
            }
            answer
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let (mut manager, number) = self.current();
            let answers = manager.send_packed_commands(pipeline, offset, count).await;
            let refused = match &answers {
                Ok(values) => values.iter().any(is_of_replica),
                Err(error) => error_is_of_replica(error),
            };
            if refused {
                self.leave(number);
            }
            answers
        })
    }

    fn get_db(&self) -> i64 {
        self.shared.client.get_connection_info().redis_settings().db()
    }
}

impl Unwritable {
    fn of(error: &RedisError) -> Self {
        if error_is_of_replica(error) {
            Self::Replica(error.to_string())
        } else if error.code() == Some("OOM") {
            Self::OutOfMemory(error.to_string())
        } else {
            Self::Other(error.to_string())
        }
    }
}

fn is_of_replica(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if is_replicas_error(error.code(), error.details()))
}

fn error_is_of_replica(error: &RedisError) -> bool {
    if is_replicas_error(error.code().unwrap_or_default(), error.detail()) {
        return true;
    }
    // A pipeline or a transaction has the errors of its commands.
    let errors = error.clone().into_server_errors();
    errors.is_some_and(|errors| errors.iter().any(|(_, error)| is_replicas_error(error.code(), error.details())))
}

fn connect(client: &Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(RESPONSE_MAX))
        .set_connection_timeout(Some(CONNECT_MAX))
        .set_number_of_retries(RECONNECTS)
        .set_min_delay(PAUSE_MIN)
        .set_max_delay(PAUSE_MAX);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

async fn info(connection: &Connection, section: &str) -> RedisResult<String> {
    let answer: Value = cmd("INFO").arg(section).query_async(&mut connection.clone()).await?;
    let Value::BulkString(bytes) = answer else {
        return Err((ErrorKind::UnexpectedReturnType, "INFO has no text").into());
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a full server deletes under this policy; `None` where that is nothing.
fn lost_by_eviction(policy: &str) -> Option<&'static str> {
    if policy == "noeviction" {
        None
    } else if policy.starts_with("volatile-") {
        Some(
            "a full Redis would delete carts, request limits, the relay's lease and what gateways report after a \
             restart",
        )
    } else {
        Some("a full Redis would delete ledgers of running sales, orders that the journal does not have yet, and carts")
    }
}
