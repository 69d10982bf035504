//! Settings: defaults, then a YAML file, then the environment (`MALL_A__B` is the key `a.b`).
//!
//! The variable `MALL_A__B_FILE` names a file that holds the value, where `a.b` is a secret.
//!
//! A key that does not exist is refused by name, and so is a value of the wrong type or out of range.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use contract::client_address::TrustedProxies;
use tracing_subscriber::EnvFilter;

mod gateway;
mod images;
mod layers;
mod limits;
mod operations;
mod payments;
mod raw;
mod search;
mod secret_files;
#[cfg(test)]
mod tests;
mod web;

pub use gateway::{GatewayConfig, RateLimit, Runtime};
pub use images::{ImagesConfig, OssConfig};
use layers::{Layers, RUNTIME_ARGUMENT};
pub use limits::LimitsConfig;
pub use operations::{MetricsListen, ShutdownConfig};
pub use payments::{AlipayConfig, MockConfig, PaymentsConfig};
pub use search::SearchConfig;
pub use web::WebConfig;

/// Text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What is wrong with the settings: one line for each fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// The settings of every service, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where everything that lasts is kept. Key `data_dir`.
    pub data_dir: PathBuf,
    /// Password of the first admin. Key `admin_password`.
    pub admin_password: Option<Secret>,
    /// Whose `X-Forwarded-For` is believed. Key `trusted_proxies`.
    pub trusted_proxies: TrustedProxies,
    /// Section `gateway`.
    pub gateway: GatewayConfig,
    /// Section `order_core`.
    pub order_core: ServerConfig,
    /// Section `admin`.
    pub admin: ServerConfig,
    /// Section `auth`.
    pub auth: AuthConfig,
    /// Section `orders`.
    pub orders: OrdersConfig,
    /// Section `payments`.
    pub payments: PaymentsConfig,
    /// Section `redis`; `None` keeps the ledgers in the process.
    pub redis: Option<RedisConfig>,
    /// Section `kafka`; `None` keeps the log in the data directory.
    pub kafka: Option<KafkaConfig>,
    /// Section `database`.
    pub database: DatabaseConfig,
    /// Section `images`.
    pub images: ImagesConfig,
    /// Section `search`; `None` keeps the index in the data directory.
    pub search: Option<SearchConfig>,
    /// Synonyms of the words of searches; `None` for those that the program has. Key `search.synonyms_file`.
    pub synonyms_file: Option<PathBuf>,
    /// Section `limits`.
    pub limits: LimitsConfig,
    /// Section `web`.
    pub web: WebConfig,
    /// Section `log`.
    pub log: LogConfig,
    /// Key `metrics.listen`.
    pub metrics_listen: MetricsListen,
    /// Section `shutdown`.
    pub shutdown: ShutdownConfig,
    /// What is allowed and unwise, to be logged once logs are open.
    pub warnings: Vec<String>,
}

/// One of the services on HTTP that are not the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Open connections; more wait to be accepted.
    pub connections_max: NonZeroUsize,
    /// From the head of a request to the head of its answer.
    pub request_timeout: Duration,
    /// A longer body is refused.
    pub body_bytes_max: usize,
    /// As [`Config::trusted_proxies`].
    pub trusted_proxies: TrustedProxies,
}

/// Who is who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// Key of the shoppers' tokens; made and kept in the data directory when absent.
    pub shopper_secret: Option<Secret>,
    /// Key of the admins' tokens; made and kept in the data directory when absent.
    pub admin_secret: Option<Secret>,
    /// Cost of a password's hash: 2^cost rounds.
    pub bcrypt_cost: u32,
}

/// Orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrdersConfig {
    /// An order that is not paid by then is closed.
    pub pay_within: Duration,
}

/// The Redis that has the ledgers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/db]`.
    pub url: Secret,
    /// How long a batch of a gateway waits for its reply.
    pub reply_timeout: Duration,
    /// A gateway stops selling while so many orders that it has confirmed are not on the log.
    pub unconfirmed_max: NonZeroUsize,
    /// The same while the oldest of them has this age.
    pub unconfirmed_age_max: Duration,
}

/// The Kafka that has the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port,host:port`.
    pub brokers: String,
    /// Begins the name of every topic and group, so that several malls can share one cluster.
    pub topic_prefix: String,
    /// Copies of each topic that is made; `None` (0 in the file) leaves it to the brokers.
    pub replication: Option<u16>,
}

/// The mall's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// `sqlite://path` or `mysql://user:password@host:port/database`; a file in the data directory when absent.
    pub url: Option<Secret>,
    /// Connections that only read; there is one that writes.
    pub read_connections: NonZeroU32,
    /// How long a query waits for a connection.
    pub acquire_timeout: Duration,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What is logged, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// Filter directives, such as `info` or `info,order_core=debug`.
    pub level: String,
    /// Where files are written, besides stderr.
    pub directory: Option<PathBuf>,
    /// Files of so many days are kept.
    pub keep_days: NonZeroUsize,
    /// A file that would become longer is followed by another one.
    pub file_bytes_max: u64,
    /// Files that are kept at most.
    pub files_max: NonZeroUsize,
}

/// What a program's arguments say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    /// After `--config`: where the configuration is.
    pub config: Option<PathBuf>,
    /// After `--runtime`: the key `gateway.runtime`, before all else that sets it.
    pub runtime: Option<String>,
}

/// Reads the settings of this process: the file that its arguments name (or `MALL_CONFIG`), its environment,
/// and its other arguments.
///
/// # Errors
/// Where the file can't be read, and as [`load`].
pub fn read(args: Args) -> Result<Config, ConfigError> {
    let fault = |line: String| ConfigError(vec![line]);
    let named = std::env::var_os(layers::CONFIG_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let file = match args.config.or(named) {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| fault(format!("{}: can't read the configuration: {error}", path.display())))?;
            Some((path.display().to_string(), text))
        }
    };
    let mut env = Vec::new();
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        match value.into_string() {
            Ok(value) => env.push((name, value)),
            Err(_) if name.starts_with("MALL_") => return Err(fault(format!("{name}: the value is not UTF-8"))),
            Err(_) => {}
        }
    }
    env.extend(args.runtime.map(|runtime| (RUNTIME_ARGUMENT.to_owned(), runtime)));
    let (env, warnings) = secret_files::resolve(env).map_err(ConfigError)?;
    let mut config = load(file.as_ref().map(|(path, text)| (path.as_str(), text.as_str())), env.into_iter())?;
    config.warnings.extend(warnings);
    Ok(config)
}

/// The settings that a YAML file (its path and text) and environment variables come to.
///
/// # Errors
/// Every fault that was found, each with the key and who set it.
pub fn load(yaml: Option<(&str, &str)>, env: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let mut layers = Layers::new().map_err(|error| ConfigError(vec![error.to_string()]))?;
    if let Some((path, text)) = yaml {
        layers.merge_yaml(path, text);
    }
    for (name, text) in env {
        layers.merge_env(&name, &text);
    }
    let (raw, sources) = layers.finish().map_err(ConfigError)?;
    let mut check = Check { sources, errors: Vec::new(), warnings: Vec::new() };
    let config = check.config(raw);
    if check.errors.is_empty() { Ok(config) } else { Err(ConfigError(check.errors)) }
}

/// Turns what is written into what is meant. A fault is noted and a stand-in goes on, so that one
/// start tells all of them.
struct Check {
    sources: BTreeMap<String, String>,
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Check {
    fn config(&mut self, raw: raw::Raw) -> Config {
        let trusted_proxies = self.proxies(raw.trusted_proxies.as_deref().unwrap_or_default());
        if raw.data_dir.is_empty() {
            self.fault("data_dir", "expected a path, found nothing");
        }
        let order_core = self.server("order_core", &raw.order_core, &trusted_proxies);
        let admin = self.server("admin", &raw.admin, &trusted_proxies);
        let gateway = self.gateway(&raw.gateway);
        let shutdown = self.shutdown(&raw.shutdown, [gateway.listen, order_core.listen, admin.listen]);
        let bcrypt_cost = self.whole("auth.bcrypt_cost", raw.auth.bcrypt_cost, 4..=31);
        let config = Config {
            data_dir: raw.data_dir.into(),
            admin_password: self.password(raw.admin_password),
            gateway,
            admin,
            trusted_proxies,
            auth: AuthConfig {
                shopper_secret: self.key("auth.shopper_secret", raw.auth.shopper_secret),
                admin_secret: self.key("auth.admin_secret", raw.auth.admin_secret),
                bcrypt_cost: bcrypt_cost.get(),
            },
            orders: OrdersConfig {
                pay_within: self.millis("orders.pay_within_ms", raw.orders.pay_within_ms, 100..=30 * 24 * 3_600_000),
            },
            payments: self.payments(raw.payments, order_core.listen),
            order_core,
            redis: self.redis(raw.redis, &raw.ledger),
            kafka: self.kafka(raw.kafka),
            database: DatabaseConfig {
                url: self.url("database.url", raw.database.url, &["sqlite", "mysql"]),
                read_connections: self.whole("database.read_connections", raw.database.read_connections, 1..=256),
                acquire_timeout: self.millis(
                    "database.acquire_timeout_ms",
                    raw.database.acquire_timeout_ms,
                    10..=600_000,
                ),
            },
            images: self.images(raw.images),
            synonyms_file: raw.search.synonyms_file.clone().map(PathBuf::from),
            search: self.search(raw.search),
            limits: self.limits(&raw.limits),
            web: self.web(raw.web),
            log: self.log(raw.log),
            metrics_listen: self.metrics_listen(raw.metrics.listen.as_deref()),
            shutdown,
            warnings: Vec::new(),
        };
        if config.auth.shopper_secret.is_some() && config.auth.shopper_secret == config.auth.admin_secret {
            self.fault("auth.admin_secret", "it is the same as auth.shopper_secret; shoppers would be admins");
        }
        Config { warnings: std::mem::take(&mut self.warnings), ..config }
    }

    fn redis(&mut self, raw: raw::Redis, ledger: &raw::Ledger) -> Option<RedisConfig> {
        let reply_timeout = self.millis("redis.reply_timeout_ms", raw.reply_timeout_ms, 10..=60_000);
        let unconfirmed_max = self.count("ledger.unconfirmed_max", ledger.unconfirmed_max, 1..=10_000_000);
        let max_ms = ledger.unconfirmed_max_ms;
        let unconfirmed_age_max = self.millis("ledger.unconfirmed_max_ms", max_ms, 1_000..=24 * 3_600_000);
        let url = self.url("redis.url", raw.url, &["redis"])?;
        Some(RedisConfig { url, reply_timeout, unconfirmed_max, unconfirmed_age_max })
    }

    fn kafka(&mut self, raw: raw::Kafka) -> Option<KafkaConfig> {
        let replication = self.within("kafka.replication", raw.replication, 0..=100);
        let topic_prefix = raw.topic_prefix;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if topic_prefix.len() > 100 || !topic_prefix.bytes().all(is_name) {
            self.fault("kafka.topic_prefix", "expected at most 100 letters, digits, '.', '_' and '-'");
        }
        let brokers = raw.brokers?;
        if brokers.is_empty() {
            self.fault("kafka.brokers", "expected host:port,host:port, found nothing");
        }
        Some(KafkaConfig { brokers, topic_prefix, replication: u16::try_from(replication).ok().filter(|of| *of > 0) })
    }

    /// An address whose scheme is one of `schemes`. It may hold a password, so no message shows it.
    fn url(&mut self, key: &str, text: Option<String>, schemes: &[&str]) -> Option<Secret> {
        let text = text?;
        if !text.split_once("://").is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty()) {
            self.fault(key, &format!("expected an address that begins with {}://", schemes.join(":// or ")));
        }
        Some(Secret(text))
    }

    fn server(&mut self, section: &str, raw: &raw::Server, trusted_proxies: &TrustedProxies) -> ServerConfig {
        let key = |name: &str| format!("{section}.{name}");
        let bytes = self.count(&key("body_bytes_max"), raw.body_bytes_max, 1024..=1 << 30);
        ServerConfig {
            listen: self.address(&key("listen"), &raw.listen),
            connections_max: self.count(&key("connections_max"), raw.connections_max, 1..=1_000_000),
            request_timeout: self.millis(&key("request_timeout_ms"), raw.request_timeout_ms, 100..=600_000),
            body_bytes_max: bytes.get(),
            trusted_proxies: trusted_proxies.clone(),
        }
    }

    fn log(&mut self, raw: raw::Log) -> LogConfig {
        let format = match raw.format.as_str() {
            "pretty" => LogFormat::Pretty,
            "json" => LogFormat::Json,
            other => {
                self.fault("log.format", &format!("expected pretty or json, found {other:?}"));
                LogFormat::Pretty
            }
        };
        if let Err(error) = EnvFilter::try_new(&raw.level) {
            self.fault("log.level", &format!("expected a level such as info or info,order_core=debug: {error}"));
        }
        LogConfig {
            format,
            level: raw.level,
            directory: raw.directory.map(PathBuf::from),
            keep_days: self.count("log.keep_days", raw.keep_days, 1..=3_650),
            file_bytes_max: self.within("log.file_bytes_max", raw.file_bytes_max, 1_024..=1 << 40),
            files_max: self.count("log.files_max", raw.files_max, 2..=10_000),
        }
    }

    fn proxies(&mut self, text: &str) -> TrustedProxies {
        text.parse().unwrap_or_else(|_| {
            self.fault("trusted_proxies", &format!("expected networks such as 127.0.0.1,10.0.0.0/8, found {text:?}"));
            TrustedProxies::default()
        })
    }

    fn address(&mut self, key: &str, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.fault(key, &format!("expected address:port such as 127.0.0.1:8080, found {text:?}"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    /// RFC 7518 section 3.2 asks for 256 bits; a shorter key works, and is worth a warning.
    fn key(&mut self, key: &str, text: Option<String>) -> Option<Secret> {
        let text = text?;
        if text.is_empty() {
            self.fault(key, "expected a secret, found nothing; leave it out to have one made");
        } else if text.len() < 32 {
            let source = self.named(key);
            self.warnings.push(format!("{source}: shorter than 32 bytes; a token's key should not be guessable"));
        }
        Some(Secret(text))
    }

    fn password(&mut self, text: Option<String>) -> Option<Secret> {
        let text = text?;
        // bcrypt reads 72 bytes and would ignore the rest.
        if text.is_empty() || text.len() > 72 {
            self.fault("admin_password", "expected 1 to 72 bytes; leave it out to have one made");
        }
        Some(Secret(text))
    }

    fn within(&mut self, key: &str, value: u64, range: RangeInclusive<u64>) -> u64 {
        if range.contains(&value) {
            return value;
        }
        self.fault(key, &format!("expected {} to {}, found {value}", range.start(), range.end()));
        *range.end()
    }

    fn millis(&mut self, key: &str, value: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(key, value, range))
    }

    fn count(&mut self, key: &str, value: u64, range: RangeInclusive<u64>) -> NonZeroUsize {
        let value = self.within(key, value, range);
        usize::try_from(value).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN)
    }

    fn whole(&mut self, key: &str, value: u64, range: RangeInclusive<u64>) -> NonZeroU32 {
        let value = self.within(key, value, range);
        u32::try_from(value).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
    }

    fn fault(&mut self, key: &str, problem: &str) {
        let line = format!("{}: {problem}", self.named(key));
        self.errors.push(line);
    }

    /// The key as it was written.
    fn named(&self, key: &str) -> String {
        self.sources.get(key).cloned().unwrap_or_else(|| key.to_owned())
    }
}
