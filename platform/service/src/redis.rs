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

mod server;

pub use server::{InvalidServer, Server};

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

/// Carries commands to a server without a socket: the simulation's servers are in its own process.
pub trait Transport: Send + Sync {
    /// Sends commands in RESP2 and returns their replies, `replies` of them. A server's error is a value.
    fn ask(&self, commands: Vec<u8>, replies: usize) -> RedisFuture<'_, Vec<Value>>;

    /// Drops the connection; the next command looks the address up again.
    fn leave(&self);
}

enum Shared {
    Socket(Box<Socket>),
    Transport(Box<dyn Transport>),
}

struct Socket {
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

/// A setting under which a Redis loses what ledgers promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hazard {
    /// It deletes keys by itself, by this policy.
    Eviction(String),
    /// What it has is lost when its process ends.
    NoAppendOnlyFile,
}

impl std::fmt::Display for Hazard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Eviction(policy) => write!(
                f,
                "it has maxmemory-policy {policy} and deletes keys once it is full; set noeviction, or allow it with \
                 redis.allow_eviction"
            ),
            Self::NoAppendOnlyFile => {
                f.write_str("it has no append-only file; set appendonly yes, or allow it with redis.allow_no_aof")
            }
        }
    }
}

impl Connection {
    /// A connection to the server at `url`. Needs a tokio runtime.
    ///
    /// # Errors
    /// If `url` is not the address of a Redis server.
    pub fn new(url: impl IntoConnectionInfo) -> RedisResult<Self> {
        Self::of(Client::open(url)?)
    }

    fn of(client: Client) -> RedisResult<Self> {
        let manager = connect(&client)?;
        let current = Mutex::new(Current { manager, made: Instant::now(), number: 0 });
        Ok(Self { shared: Arc::new(Shared::Socket(Box::new(Socket { client, current }))) })
    }

    /// A connection over `transport`. Needs no runtime.
    pub fn over(transport: impl Transport + 'static) -> Self {
        Self { shared: Arc::new(Shared::Transport(Box::new(transport))) }
    }

    /// Writes a key that expires by itself.
    ///
    /// # Errors
    /// Why a write fails; the connection to a replica is dropped.
    pub async fn check(&self) -> Result<(), Unwritable> {
        let number = self.shared.number();
        let info = info(self, "replication").await.map_err(|error| Unwritable::of(&error))?;
        // A replica that may be written loses what it is given at the next synchronisation.
        if info_field(&info, "role").is_some_and(|role| role != "master") {
            self.shared.leave(number);
            let master = info_field(&info, "master_host").unwrap_or("unknown");
            return Err(Unwritable::Replica(format!("its master is {master}")));
        }
        let mut write = cmd("SET");
        write.arg(PROBE).arg(1).arg("PX").arg(PROBE_KEPT_MS);
        let written: RedisResult<()> = write.query_async(&mut self.clone()).await;
        written.map_err(|error| Unwritable::of(&error))
    }

    /// Why the server can't keep what ledgers promise: it deletes keys once it is full, or forgets all writes when it ends.
    /// Empty if it can.
    ///
    /// # Errors
    /// If it does not answer, or does not report its settings.
    pub async fn hazards(&self) -> RedisResult<Vec<Hazard>> {
        let (memory, persistence) = (info(self, "memory").await?, info(self, "persistence").await?);
        let policy = info_field(&memory, "maxmemory_policy").filter(|policy| *policy != "noeviction");
        let mut hazards: Vec<Hazard> = policy.map(|policy| Hazard::Eviction(policy.to_owned())).into_iter().collect();
        if info_field(&persistence, "aof_enabled") == Some("0") {
            hazards.push(Hazard::NoAppendOnlyFile);
        }
        Ok(hazards)
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
}

impl Socket {
    fn current(&self) -> (ConnectionManager, u64) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.manager.clone(), current.number)
    }

    /// Drops connection `number`, unless that has happened already. Commands that wait for an answer on it
    /// still get it.
    fn leave(&self, number: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.number != number || current.made.elapsed() < REOPEN_MIN {
            return;
        }
        match connect(&self.client) {
            Ok(manager) => {
                let address = self.client.get_connection_info().addr();
                tracing::warn!(%address, "Redis has become a replica; its connection is dropped and opened again");
                *current = Current { manager, made: Instant::now(), number: number + 1 };
            }
            Err(error) => tracing::error!(%error, "a connection to Redis can't be opened again"),
        }
    }
}

impl Shared {
    /// Names the connection that is open now.
    fn number(&self) -> u64 {
        match self {
            Self::Socket(socket) => socket.current().1,
            Self::Transport(_) => 0,
        }
    }

    fn leave(&self, number: u64) {
        match self {
            Self::Socket(socket) => socket.leave(number),
            Self::Transport(transport) => transport.leave(),
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
            let (answer, number) = match &*self.shared {
                Shared::Socket(socket) => {
                    let (mut manager, number) = socket.current();
                    (manager.send_packed_command(command).await, number)
                }
                Shared::Transport(transport) => {
                    let answers = transport.ask(command.get_packed_command(), 1).await;
                    (answers.map(|mut answers| answers.pop().unwrap_or(Value::Nil)), 0)
                }
            };
            let refused = match &answer {
                Ok(value) => is_of_replica(value),
                Err(error) => error_is_of_replica(error),
            };
            if refused {
                self.shared.leave(number);
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
            let (answers, number) = match &*self.shared {
                Shared::Socket(socket) => {
                    let (mut manager, number) = socket.current();
                    (manager.send_packed_commands(pipeline, offset, count).await, number)
                }
                Shared::Transport(transport) => {
                    let answers = transport.ask(pipeline.get_packed_pipeline(), offset + count).await;
                    (answers.map(|answers| answers.into_iter().skip(offset).collect()), 0)
                }
            };
            let refused = match &answers {
                Ok(values) => values.iter().any(is_of_replica),
                Err(error) => error_is_of_replica(error),
            };
            if refused {
                self.shared.leave(number);
            }
            answers
        })
    }

    fn get_db(&self) -> i64 {
        match &*self.shared {
            Shared::Socket(socket) => socket.client.get_connection_info().redis_settings().db(),
            Shared::Transport(_) => 0,
        }
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
