//! The servers that a mall connects to: sections `redis`, `kafka` and `database`, and how connections are protected.

use std::{
    net::IpAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use contract::activity::AnswerAfter;

use super::{Check, Secret, raw};

/// The Redis that has the ledgers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS.
    pub url: Secret,
    /// Certificates in PEM that are trusted instead of those that browsers trust.
    pub ca_file: Option<PathBuf>,
    /// How long a batch of a gateway waits for its reply.
    pub reply_timeout: Duration,
    /// A gateway stops selling while this many orders that it has confirmed are not on the log.
    pub unconfirmed_max: NonZeroUsize,
    /// The same while the oldest of them has this age.
    pub unconfirmed_age_max: Duration,
    /// The server may delete keys once it is full.
    pub allow_eviction: bool,
    /// The server may have no append-only file.
    pub allow_no_aof: bool,
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
    /// How connections are protected.
    pub security: KafkaSecurity,
}

/// How connections to Kafka are protected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KafkaSecurity {
    /// Whether they are encrypted, and the brokers verified.
    pub tls: bool,
    /// Certificates in PEM that are trusted instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// The login; `None` where the brokers ask for none.
    pub sasl: Option<KafkaSasl>,
}

/// A login at Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// The mall's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// `sqlite://path` or `mysql://user:password@host:port/database`, with the parameters that say how the server is verified; a
    /// file in the data directory when absent.
    pub url: Option<Secret>,
    /// Connections that only read; there is one that writes.
    pub read_connections: NonZeroU32,
    /// How long a query waits for a connection.
    pub acquire_timeout: Duration,
}

/// Ways to sign in at Kafka.
const SASL_MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
/// The parameter of a MySQL URL that says whether the server is verified.
const SSL_MODE: &str = "ssl-mode=";
const VERIFIED: &str = "VERIFY_IDENTITY";

impl Check {
    pub(super) fn redis(&mut self, raw: raw::Redis, ledger: &raw::Ledger) -> Option<RedisConfig> {
        let reply_timeout = self.millis("redis.reply_timeout_ms", raw.reply_timeout_ms, 10..=60_000);
        let unconfirmed_max = self.count("ledger.unconfirmed_max", ledger.unconfirmed_max, 1..=10_000_000);
        let max_ms = ledger.unconfirmed_max_ms;
        let unconfirmed_age_max = self.millis("ledger.unconfirmed_max_ms", max_ms, 1_000..=24 * 3_600_000);
        let url = self.url("redis.url", raw.url, &["redis", "rediss"])?;
        let is_plain = url.expose().starts_with("redis://");
        if is_plain {
            self.plaintext("redis.url", host_of(url.expose()), raw.allow_plaintext, "rediss://");
        }
        if is_plain && raw.ca_file.is_some() {
            self.fault("redis.ca_file", "it needs a redis.url that begins with rediss://");
        }
        Some(RedisConfig {
            url,
            ca_file: raw.ca_file.map(PathBuf::from),
            reply_timeout,
            unconfirmed_max,
            unconfirmed_age_max,
            allow_eviction: raw.allow_eviction,
            allow_no_aof: raw.allow_no_aof,
        })
    }

    pub(super) fn answer_after(&mut self, text: &str) -> AnswerAfter {
        AnswerAfter::from_word(text).unwrap_or_else(|| {
            self.fault("ledger.answer_after", &format!("expected script or log, found {text:?}"));
            AnswerAfter::default()
        })
    }

    pub(super) fn kafka(&mut self, raw: raw::Kafka) -> Option<KafkaConfig> {
        let replication = self.within("kafka.replication", raw.replication, 0..=100);
        let topic_prefix = raw.topic_prefix;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if topic_prefix.len() > 100 || !topic_prefix.bytes().all(is_name) {
            self.fault("kafka.topic_prefix", "expected at most 100 letters, digits, '.', '_' and '-'");
        }
        let (tls, asks_login) = match raw.security_protocol.as_str() {
            "plaintext" => (false, false),
            "ssl" => (true, false),
            "sasl_plaintext" => (false, true),
            "sasl_ssl" => (true, true),
            other => {
                let expected = "expected plaintext, ssl, sasl_plaintext or sasl_ssl";
                self.fault("kafka.security_protocol", &format!("{expected}, found {other:?}"));
                (true, false)
            }
        };
        if raw.ca_file.is_some() && !tls {
            self.fault("kafka.ca_file", "it needs the kafka.security_protocol ssl or sasl_ssl");
        }
        let sasl = self.sasl(raw.sasl_mechanism, raw.sasl_username, raw.sasl_password, asks_login);
        let brokers = raw.brokers?;
        if brokers.is_empty() {
            self.fault("kafka.brokers", "expected host:port,host:port, found nothing");
        }
        if !tls {
            for broker in brokers.split(',') {
                let instead = "kafka.security_protocol: ssl or sasl_ssl";
                self.plaintext("kafka.brokers", host_of(broker), raw.allow_plaintext, instead);
            }
        }
        let security = KafkaSecurity { tls, ca_file: raw.ca_file.map(PathBuf::from), sasl };
        let replication = u16::try_from(replication).ok().filter(|of| *of > 0);
        Some(KafkaConfig { brokers, topic_prefix, replication, security })
    }

    fn sasl(
        &mut self,
        mechanism: String,
        username: Option<String>,
        password: Option<String>,
        is_asked: bool,
    ) -> Option<KafkaSasl> {
        if !SASL_MECHANISMS.contains(&mechanism.as_str()) {
            self.fault(
                "kafka.sasl_mechanism",
                &format!("expected {}, found {mechanism:?}", SASL_MECHANISMS.join(", ")),
            );
        }
        match (is_asked, username, password) {
            (true, Some(username), Some(password)) => {
                Some(KafkaSasl { mechanism, username, password: Secret::new(password) })
            }
            (true, _, _) => {
                let missing = "kafka.sasl_username and kafka.sasl_password are needed for it";
                self.fault("kafka.security_protocol", missing);
                None
            }
            (false, None, None) => None,
            (false, _, _) => {
                let unused = "it needs the kafka.security_protocol sasl_ssl or sasl_plaintext";
                self.fault("kafka.sasl_username", unused);
                None
            }
        }
    }

    pub(super) fn database(&mut self, raw: raw::Database) -> DatabaseConfig {
        let url = self.url("database.url", raw.url, &["sqlite", "mysql"]);
        let url = url.map(|url| self.database_url(url, raw.ca_file.as_deref(), raw.allow_plaintext));
        DatabaseConfig {
            url,
            read_connections: self.whole("database.read_connections", raw.read_connections, 1..=256),
            acquire_timeout: self.millis("database.acquire_timeout_ms", raw.acquire_timeout_ms, 10..=600_000),
        }
    }

    /// Adds the parameters that say how a MySQL server is verified.
    fn database_url(&mut self, url: Secret, ca_file: Option<&str>, allow_plaintext: bool) -> Secret {
        let text = url.expose();
        if !text.starts_with("mysql://") {
            if ca_file.is_some() {
                self.fault("database.ca_file", "it needs a database.url that begins with mysql://");
            }
            return url;
        }
        let host = host_of(text);
        if let Some((_, mode)) = text.split_once(SSL_MODE) {
            if !mode.starts_with(VERIFIED) {
                self.plaintext("database.url", host, allow_plaintext, &format!("{SSL_MODE}{VERIFIED}"));
            }
            if ca_file.is_some() {
                self.fault("database.ca_file", &format!("it needs a database.url without {SSL_MODE}"));
            }
            return url;
        }
        let separator = if text.contains('?') { '&' } else { '?' };
        let parameters = match ca_file {
            Some(path) => format!("{SSL_MODE}{VERIFIED}&ssl-ca={}", percent_encoded(path)),
            None if allow_plaintext || is_loopback(host) => format!("{SSL_MODE}DISABLED"),
            None => format!("{SSL_MODE}{VERIFIED}"),
        };
        Secret::new(format!("{text}{separator}{parameters}"))
    }

    /// Notes a fault where a connection to another host would be readable on the way, unless that is allowed.
    pub(super) fn plaintext(&mut self, key: &str, host: &str, is_allowed: bool, instead: &str) {
        if is_allowed || is_loopback(host) {
            return;
        }
        let section = key.split_once('.').map_or(key, |(section, _)| section);
        let problem = format!("the connection to {host} would not be encrypted and verified");
        self.fault(key, &format!("{problem}; use {instead}, or set {section}.allow_plaintext: true"));
    }

    /// An address whose scheme is one of `schemes`. It may hold a password, so no message shows it.
    pub(super) fn url(&mut self, key: &str, text: Option<String>, schemes: &[&str]) -> Option<Secret> {
        let text = text?;
        if !text.split_once("://").is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty()) {
            self.fault(key, &format!("expected an address that begins with {}://", schemes.join(":// or ")));
        }
        Some(Secret(text))
    }
}

/// The host of a URL, or of `host:port`.
pub(super) fn host_of(address: &str) -> &str {
    let address = address.trim();
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(ipv6) => ipv6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Whether what is sent to `host` stays on this machine. Without a host, clients connect to it as well.
pub(super) fn is_loopback(host: &str) -> bool {
    host.is_empty() || host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// A path as the value of a parameter.
fn percent_encoded(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
