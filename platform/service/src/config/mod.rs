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

use contract::{activity::AnswerAfter, client_address::TrustedProxies};
use tracing_subscriber::filter::Targets;

mod gateway;
mod images;
mod layers;
mod limits;
mod operations;
mod payments;
mod raw;
#[cfg(test)]
mod reference;
mod search;
mod secrecy;
mod secret_files;
mod servers;
#[cfg(test)]
mod tests;
mod web;

pub use gateway::{GatewayConfig, RateLimit, Runtime};
pub use images::{ImagesConfig, OssConfig};
use layers::{Layers, Merged, RUNTIME_ARGUMENT};
pub use limits::LimitsConfig;
pub use operations::{MetricsListen, ShutdownConfig, TracingConfig};
pub use payments::{AlipayConfig, MockConfig, PaymentsConfig};
pub use search::SearchConfig;
pub use servers::{DatabaseConfig, KafkaConfig, KafkaSasl, KafkaSecurity, RedisConfig};
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

/// A setting as staff may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownSetting {
    /// Its key, such as `admin.listen`.
    pub key: String,
    /// Its value; `None` where it has none. A secret's value is only `Some("")`.
    pub value: Option<String>,
    /// It holds a password or a key.
    pub is_secret: bool,
    /// The file and key, or the variable, that sets it; `None` where it has its default.
    pub source: Option<String>,
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
    /// When buyers of a new sale get their answer, unless the sale says otherwise. Key `ledger.answer_after`.
    pub answer_after: AnswerAfter,
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
    /// Section `tracing`; `None` exports no spans.
    pub tracing: Option<TracingConfig>,
    /// Section `shutdown`.
    pub shutdown: ShutdownConfig,
    /// What is allowed and unwise, to be logged once logs are open.
    pub warnings: Vec<String>,
    /// Every setting with its source, where [`read`] has read them.
    pub shown: Vec<ShownSetting>,
}

/// One of the services on HTTP that are not the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Open connections; more wait to be accepted.
    pub connections_max: NonZeroUsize,
    /// Open connections of one client address; trusted proxies may have any number.
    pub connections_per_client_max: NonZeroUsize,
    /// A connection without a request for this long is closed. Proxies close theirs after 60 seconds; a server that
    /// closes first answers some of their requests with a reset.
    pub idle_timeout: Duration,
    /// From the head of a request to the head of its answer.
    pub request_timeout: Duration,
    /// A longer body is refused.
    pub body_bytes_max: usize,
    /// As [`Config::trusted_proxies`].
    pub trusted_proxies: TrustedProxies,
    /// Whether it serves its document and Swagger UI.
    pub docs: bool,
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
    /// Orders of one user that wait for their payment at once; `None` (0 in the file) is no limit.
    pub unpaid_max: Option<NonZeroU32>,
    /// Units in these orders together; `None` (0 in the file) is no limit.
    pub unpaid_units_max: Option<NonZeroU32>,
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
    /// Days for which files are kept.
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
    let (mut config, shown) =
        load_and_show(file.as_ref().map(|(path, text)| (path.as_str(), text.as_str())), env.into_iter())?;
    config.warnings.extend(warnings);
    config.shown = shown;
    Ok(config)
}

/// The settings that a YAML file (its path and text) and environment variables come to.
///
/// # Errors
/// Every fault that was found, each with the key and who set it.
pub fn load(yaml: Option<(&str, &str)>, env: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    load_and_show(yaml, env).map(|(config, _)| config)
}

fn load_and_show(
    yaml: Option<(&str, &str)>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<(Config, Vec<ShownSetting>), ConfigError> {
    let mut layers = Layers::new().map_err(|error| ConfigError(vec![error.to_string()]))?;
    if let Some((path, text)) = yaml {
        layers.merge_yaml(path, text);
    }
    for (name, text) in env {
        layers.merge_env(&name, &text);
    }
    let shown = layers.shown();
    let Merged { raw, sources, warnings } = layers.finish().map_err(ConfigError)?;
    let mut check = Check { sources, errors: Vec::new(), warnings };
    let config = check.config(raw);
    if check.errors.is_empty() { Ok((config, shown)) } else { Err(ConfigError(check.errors)) }
}

/// An address to listen on. `localhost` is the IPv4 loopback address, and no host is every address, of IPv4 too.
fn listen_address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host {
        "" => "[::]",
        "localhost" => "127.0.0.1",
        other => other,
    };
    format!("{host}:{port}").parse().ok()
}

/// Turns what is written into what is meant. A fault is noted and a stand-in goes on, so that one
/// start tells all of them.
struct Check {
    sources: BTreeMap<String, String>,
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Check {
    /// Warns of services that listen on every address: on a host with several networks that is seldom what is meant.
    fn warn_of_every_address(&mut self, listens: [SocketAddr; 3], has_public_url: bool) {
        let keys = ["gateway.listen", "order_core.listen", "admin.listen"].map(|key| self.named(key));
        let is_every = |address: &SocketAddr| address.ip().to_canonical().is_unspecified();
        for (key, address) in keys.iter().zip(&listens).filter(|(_, address)| is_every(address)) {
            self.warnings
                .push(format!("{key}: {address} is every network of this host; name one address, or filter them"));
        }
        if is_every(&listens[1]) && !has_public_url {
            let key = &keys[1];
            self.warnings.push(format!("{key}: links to the shop would name it; set public_url"));
        }
    }

    fn config(&mut self, raw: raw::Raw) -> Config {
        let trusted_proxies = self.proxies(raw.trusted_proxies.as_deref().unwrap_or_default());
        if raw.data_dir.is_empty() {
            self.fault("data_dir", "expected a path, found nothing");
        }
        let order_core = self.server("order_core", &raw.order_core, &trusted_proxies);
        let admin = self.server("admin", &raw.admin, &trusted_proxies);
        let gateway = self.gateway(&raw.gateway);
        let listens = [gateway.listen, order_core.listen, admin.listen];
        let is_local = listens.iter().all(|address| address.ip().to_canonical().is_loopback());
        self.warn_of_every_address(listens, raw.public_url.is_some());
        let shutdown = self.shutdown(&raw.shutdown, is_local);
        let bcrypt_cost = self.whole("auth.bcrypt_cost", raw.auth.bcrypt_cost, 4..=31);
        let config = Config {
            data_dir: raw.data_dir.into(),
            admin_password: self.password(raw.admin_password, is_local),
            gateway,
            admin,
            trusted_proxies,
            auth: AuthConfig {
                shopper_secret: self.key("auth.shopper_secret", raw.auth.shopper_secret, is_local),
                admin_secret: self.key("auth.admin_secret", raw.auth.admin_secret, is_local),
                bcrypt_cost: bcrypt_cost.get(),
            },
            orders: OrdersConfig {
                pay_within: self.millis("orders.pay_within_ms", raw.orders.pay_within_ms, 100..=30 * 24 * 3_600_000),
                unpaid_max: self.bound("orders.unpaid_max", raw.orders.unpaid_max),
                unpaid_units_max: self.bound("orders.unpaid_units_max", raw.orders.unpaid_units_max),
            },
            payments: self.payments(raw.payments, raw.public_url, order_core.listen),
            order_core,
            redis: self.redis(raw.redis, &raw.ledger),
            answer_after: self.answer_after(&raw.ledger.answer_after),
            kafka: self.kafka(raw.kafka),
            database: self.database(raw.database),
            images: self.images(raw.images),
            synonyms_file: raw.search.synonyms_file.clone().map(PathBuf::from),
            search: self.search(raw.search),
            limits: self.limits(&raw.limits),
            web: self.web(raw.web),
            log: self.log(raw.log),
            metrics_listen: self.metrics_listen(raw.metrics.listen.as_deref()),
            tracing: self.tracing(raw.tracing),
            shutdown,
            warnings: Vec::new(),
            shown: Vec::new(),
        };
        if config.auth.shopper_secret.is_some() && config.auth.shopper_secret == config.auth.admin_secret {
            self.fault("auth.admin_secret", "it is the same as auth.shopper_secret; shoppers would be admins");
        }
        Config { warnings: std::mem::take(&mut self.warnings), ..config }
    }

    fn server(&mut self, section: &str, raw: &raw::Server, trusted_proxies: &TrustedProxies) -> ServerConfig {
        let key = |name: &str| format!("{section}.{name}");
        let bytes = self.count(&key("body_bytes_max"), raw.body_bytes_max, 1024..=1 << 30);
        ServerConfig {
            listen: self.address(&key("listen"), &raw.listen),
            connections_max: self.count(&key("connections_max"), raw.connections_max, 1..=1_000_000),
            connections_per_client_max: self.count(
                &key("connections_per_client_max"),
                raw.connections_per_client_max,
                1..=1_000_000,
            ),
            idle_timeout: self.millis(&key("idle_timeout_ms"), raw.idle_timeout_ms, 1_000..=3_600_000),
            request_timeout: self.millis(&key("request_timeout_ms"), raw.request_timeout_ms, 100..=600_000),
            body_bytes_max: bytes.get(),
            trusted_proxies: trusted_proxies.clone(),
            docs: raw.docs,
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
        if let Err(error) = raw.level.parse::<Targets>() {
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
        listen_address(text).unwrap_or_else(|| {
            self.fault(key, &format!("expected address:port such as 127.0.0.1:8080, found {text:?}"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
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

    /// A number of which 0 is no limit.
    fn bound(&mut self, key: &str, value: u64) -> Option<NonZeroU32> {
        NonZeroU32::new(u32::try_from(self.within(key, value, 0..=1_000_000)).unwrap_or(u32::MAX))
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
