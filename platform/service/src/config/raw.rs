//! The settings as they are written: every key with its default.
//!
//! The type of a default is the type of its key; `null` stands for text that may be absent, and for a switch or a number
//! that may be absent where [`super::layers`] says so. Numbers are whole and not negative.
//!
//! The comments are the text of `docs/settings.md`: see `reference.rs`.

use contract::activity::AnswerAfter;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Raw {
    /// Directory of databases, log, search index, pictures and secrets.
    pub data_dir: String,
    /// Password of the user `admin`, 1 to 72 bytes, when that user is created; at least 12 where a service listens beyond
    /// loopback. Without it one is made and kept in the data directory, and printed once if standard output is a terminal.
    pub admin_password: Option<String>,
    /// Where browsers and payment platforms reach order-core. Without it, where it listens.
    pub public_url: Option<String>,
    /// Networks of proxies whose `X-Forwarded-For` every service believes: `127.0.0.1,10.0.0.0/8`. Without it, none.
    pub trusted_proxies: Option<String>,
    pub gateway: Gateway,
    pub order_core: Server,
    pub admin: Server,
    pub auth: Auth,
    pub orders: Orders,
    pub payments: Payments,
    pub database: Database,
    pub redis: Redis,
    pub ledger: Ledger,
    pub search: Search,
    pub kafka: Kafka,
    pub images: Images,
    pub limits: Limits,
    pub web: Web,
    pub log: Log,
    pub metrics: Metrics,
    pub tracing: Tracing,
    pub shutdown: Shutdown,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Gateway {
    /// Address and port of the gateway.
    pub listen: String,
    /// What the gateway's threads run on: `monoio` (io_uring, or epoll where that is refused), `glommio` (io_uring) or `may`
    /// (stackful coroutines).
    pub runtime: String,
    /// Whether the runtime `may`, which has few limits, may listen beyond loopback.
    pub may_listens_anywhere_without_limits: bool,
    /// Threads, 1 to 1,024. 0: half of the processors in one process with the other services, otherwise all.
    pub threads: u64,
    /// Open connections over all threads.
    pub connections_max: u64,
    /// Open connections of one client address. Further ones are closed; trusted proxies have no limit.
    pub connections_per_client_max: u64,
    /// How long a connection without a request is kept.
    pub idle_timeout_ms: u64,
    /// Reservations of one thread that wait for the ledger. Further ones are refused with 503.
    pub queue_max: u64,
    /// How long a request waits for the ledger before it is answered with 503.
    pub reply_timeout_ms: u64,
    /// Requests a second of one client address. 0: no limit.
    pub client_rate_per_s: u64,
    /// Requests at once of one client address. 0: as many as in a second.
    pub client_burst: u64,
    /// Requests a second of one user. 0: no limit.
    pub user_rate_per_s: u64,
    /// Requests at once of one user. 0: as many as in a second.
    pub user_burst: u64,
    /// Attempts of one user at one sale in `gateway.user_window_ms`, over all gateways. 0: no limit.
    pub user_window_max: u64,
    /// The window of `gateway.user_window_max`.
    pub user_window_ms: u64,
    /// Captcha pictures that are kept ready once a sale asks for them.
    pub captchas_max: u64,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Search {
    /// An Elasticsearch or OpenSearch: `http://` or `https://`, with `user:password@` where it needs them. Without it, the
    /// index is in the data directory.
    pub url: Option<String>,
    /// Name of the alias under which the index is searched there.
    pub index: String,
    /// File of certificates in PEM that are trusted instead of those that browsers trust.
    pub ca_file: Option<String>,
    /// Whether the connection to a server on another host may be unencrypted (`http://`).
    pub allow_plaintext: bool,
    /// File of words that searches take for the same, one rule a line: `手机, cellphone` or `ipad => 平板电脑`. Without it, the
    /// rules of the program.
    pub synonyms_file: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Server {
    /// Address and port of the service.
    pub listen: String,
    /// Open connections. Further ones are answered with 503, but for health checks.
    pub connections_max: u64,
    /// Open connections of one client address. Further ones are answered with 429; trusted proxies have no limit.
    pub connections_per_client_max: u64,
    /// How long a connection without a request is kept.
    pub idle_timeout_ms: u64,
    /// Time from the head of a request to the head of its answer.
    pub request_timeout_ms: u64,
    /// Bytes of a request's body. Pictures have a limit of their own.
    pub body_bytes_max: u64,
    /// Whether the description of the API (`/openapi.json`) and Swagger UI (`/docs`) are served.
    pub docs: bool,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Auth {
    /// HS256 key of the shoppers' tokens, at least 32 bytes where a service listens beyond loopback. Without it one is made and
    /// kept in the data directory. All services of one mall need the same.
    pub shopper_secret: Option<String>,
    /// HS256 key of the admins' tokens, made and kept in the same way.
    pub admin_secret: Option<String>,
    /// Cost of a password's hash: 2^cost rounds.
    pub bcrypt_cost: u64,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Orders {
    /// An order that is not paid after this time is closed.
    pub pay_within_ms: u64,
    /// Orders of one user that wait for their payment at once, those of flash sales not counted. 0: no limit.
    pub unpaid_max: u64,
    /// Units in these orders together. 0: no limit.
    pub unpaid_units_max: u64,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Payments {
    /// Whether the mock platform is on, with which everybody pays without money. Without it: on, unless Alipay is set up or
    /// order-core listens beyond loopback.
    pub mock: Option<bool>,
    /// First gap between repeated notices of the mock platform. 0 turns the platform off.
    pub mock_retry_ms: u64,
    /// How long after its order was closed a payment may still buy, at the same price and if it is for sale. Later money goes back.
    pub late_hold_ms: u64,
    /// The app's number at Alipay. All `alipay_` settings are set together or not at all.
    pub alipay_app_id: Option<String>,
    /// The seller who receives the money.
    pub alipay_seller_id: Option<String>,
    /// Where Alipay takes requests: `https://`, or `http://` on loopback.
    pub alipay_gateway: Option<String>,
    /// File of the app's private key: PKCS #8, in base64 or PEM.
    pub alipay_private_key: Option<String>,
    /// File of Alipay's public key: X.509, in base64 or PEM.
    pub alipay_public_key: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Database {
    /// `mysql://user:password@host:port/database`, or `sqlite://path`. Without it, a SQLite file in the data directory. A MySQL on
    /// another host is reached over TLS, and its certificate must name that host.
    pub url: Option<String>,
    /// File of certificates in PEM that are trusted besides those that browsers trust. With it, a MySQL on loopback is reached
    /// over TLS too.
    pub ca_file: Option<String>,
    /// Whether the connection to a MySQL on another host may be unencrypted.
    pub allow_plaintext: bool,
    /// Connections that only read. One more writes.
    pub read_connections: u64,
    /// How long a query waits for a connection.
    pub acquire_timeout_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Redis {
    /// `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS. Without it, the ledgers are in the process.
    pub url: Option<String>,
    /// File of certificates in PEM that are trusted instead of those that browsers trust.
    pub ca_file: Option<String>,
    /// Whether the connection to a Redis on another host may be unencrypted.
    pub allow_plaintext: bool,
    /// How long a batch of a gateway waits for its reply.
    pub reply_timeout_ms: u64,
    /// Start also on a Redis that deletes keys once it is full. It may delete ledgers of running sales.
    pub allow_eviction: bool,
    /// Start also on a Redis without an append-only file. When it ends, it loses every order that the log does not have yet.
    pub allow_no_aof: bool,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Ledger {
    /// A gateway stops selling while this number of orders that it has confirmed are not on the log.
    pub unconfirmed_max: u64,
    /// A gateway stops selling while such an order is older than this.
    pub unconfirmed_max_ms: u64,
    /// When buyers of a new sale get their answer, unless the sale says otherwise: `script` (once the ledger has decided) or
    /// `log` (once the order is on the log). `docs/failures.md` says what an order survives with each. Admin reads it.
    pub answer_after: String,
}

impl Default for Ledger {
    fn default() -> Self {
        let answer_after = AnswerAfter::default().as_str().to_owned();
        Self { unconfirmed_max: 200_000, unconfirmed_max_ms: 60_000, answer_after }
    }
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Kafka {
    /// `host:port,host:port`. Needs Redis. Without it, the log is in the data directory.
    pub brokers: Option<String>,
    /// Prefix of the name of every topic and group, so that several malls can share a cluster.
    pub topic_prefix: String,
    /// Copies of each topic that is created. 0: the brokers' default.
    pub replication: u64,
    /// `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`, as the brokers' listener has it.
    pub security_protocol: String,
    /// How the mall signs in: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub sasl_mechanism: String,
    /// The user who signs in.
    pub sasl_username: Option<String>,
    /// The password of that user.
    pub sasl_password: Option<String>,
    /// File of certificates in PEM that are trusted instead of those of the system.
    pub ca_file: Option<String>,
    /// Whether connections to brokers on other hosts may be unencrypted.
    pub allow_plaintext: bool,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Images {
    /// Endpoint of Aliyun OSS: `https://`, or `http://` on loopback. All `oss_` settings are set together or not at all; without them, pictures are in
    /// the data directory.
    pub oss_endpoint: Option<String>,
    /// Bucket of the pictures.
    pub oss_bucket: Option<String>,
    /// Id of the access key.
    pub oss_access_key_id: Option<String>,
    /// The access key.
    pub oss_access_key_secret: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Limits {
    /// The window in which requests to order-core and admin are counted.
    pub window_ms: u64,
    /// Registrations and sign-ins of one client address in a window, each. 0: no limit.
    pub sign_in_max: u64,
    /// Requests of one user (or address without a token) in a window to one route that changes something. 0: no limit.
    pub write_max: u64,
    /// Requests of one user (or address without a token) in a window to one route that only reads. 0: no limit.
    pub read_max: u64,
    /// Sign-ins with a wrong password of one client address. Wrong tries at one account are limited by account and client
    /// too. 0: no limit.
    pub wrong_sign_ins_max: u64,
    /// The window of `limits.wrong_sign_ins_max`.
    pub wrong_sign_ins_window_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Web {
    /// Origins whose pages may call gateway and order-core: `https://shop.example,http://127.0.0.1:8081`. Without it, the
    /// shop's own.
    pub origins: Option<String>,
    /// Where browsers reach the gateway; `/` where it has the shop's address. Without it, where it listens.
    pub gateway_url: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Log {
    /// `pretty` or `json`.
    pub format: String,
    /// Filter of log lines, such as `info` or `info,order_core=debug`. SIGHUP reads it again.
    pub level: String,
    /// Directory of log files, written besides standard error. Without it, none.
    pub directory: Option<String>,
    /// Days for which log files are kept.
    pub keep_days: u64,
    /// Bytes of one log file. After it, another one is begun.
    pub file_bytes_max: u64,
    /// Log files that are kept.
    pub files_max: u64,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Metrics {
    /// Address and port of `/metrics`, besides the port of each service, which shows them to clients of its own host; `off` for none. Without it: `127.0.0.1:9464`, and
    /// `:9465` and `:9466` for order-core and admin as processes of their own.
    pub listen: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Tracing {
    /// Where spans are sent, such as `http://127.0.0.1:4318`: a collector that takes OTLP over HTTP as JSON, at the path
    /// `/v1/traces` below this address. Without it, there are no spans.
    pub otlp_url: Option<String>,
    /// Of a million requests, how many are traced. One whose `traceparent` has the sampled flag is always traced.
    pub sampled_per_million: u64,
    /// Whether spans may be sent to another host unencrypted.
    pub allow_plaintext: bool,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Shutdown {
    /// How long a process serves on after SIGTERM while `/readyz` is 503. Without it: 0, or 5,000 where a service listens
    /// beyond loopback.
    pub drain_ms: Option<u64>,
}

impl Default for Raw {
    fn default() -> Self {
        let server = |listen: &str| Server {
            listen: listen.to_owned(),
            connections_max: 1024,
            connections_per_client_max: 64,
            idle_timeout_ms: 75_000,
            request_timeout_ms: 15_000,
            body_bytes_max: 256 * 1024,
            docs: true,
        };
        Self {
            data_dir: "data".to_owned(),
            admin_password: None,
            public_url: None,
            trusted_proxies: None,
            gateway: Gateway {
                listen: "127.0.0.1:8080".to_owned(),
                runtime: "monoio".to_owned(),
                may_listens_anywhere_without_limits: false,
                threads: 0,
                connections_max: 20_000,
                connections_per_client_max: 256,
                idle_timeout_ms: 75_000,
                queue_max: 16_384,
                reply_timeout_ms: 5_000,
                client_rate_per_s: 0,
                client_burst: 0,
                user_rate_per_s: 100,
                user_burst: 200,
                user_window_max: 0,
                user_window_ms: 1_000,
                captchas_max: 1_024,
            },
            order_core: server("127.0.0.1:8081"),
            admin: server("127.0.0.1:8082"),
            auth: Auth { shopper_secret: None, admin_secret: None, bcrypt_cost: 12 },
            orders: Orders { pay_within_ms: 30 * 60 * 1000, unpaid_max: 5, unpaid_units_max: 1_000 },
            payments: Payments {
                mock: None,
                mock_retry_ms: 240,
                late_hold_ms: 600_000,
                alipay_app_id: None,
                alipay_seller_id: None,
                alipay_gateway: None,
                alipay_private_key: None,
                alipay_public_key: None,
            },
            database: Database {
                url: None,
                ca_file: None,
                allow_plaintext: false,
                read_connections: 4,
                acquire_timeout_ms: 5_000,
            },
            redis: Redis {
                url: None,
                ca_file: None,
                allow_plaintext: false,
                reply_timeout_ms: 1_000,
                allow_eviction: false,
                allow_no_aof: false,
            },
            ledger: Ledger::default(),
            search: Search {
                url: None,
                index: "mall-products".to_owned(),
                ca_file: None,
                allow_plaintext: false,
                synonyms_file: None,
            },
            kafka: Kafka::default(),
            images: Images {
                oss_endpoint: None,
                oss_bucket: None,
                oss_access_key_id: None,
                oss_access_key_secret: None,
            },
            limits: Limits {
                window_ms: 60_000,
                sign_in_max: 30,
                write_max: 120,
                read_max: 1_200,
                wrong_sign_ins_max: 50,
                wrong_sign_ins_window_ms: 15 * 60 * 1000,
            },
            web: Web { origins: None, gateway_url: None },
            log: Log {
                format: "pretty".to_owned(),
                level: "info".to_owned(),
                directory: None,
                keep_days: 14,
                file_bytes_max: 100 * 1024 * 1024,
                files_max: 50,
            },
            metrics: Metrics { listen: None },
            tracing: Tracing { otlp_url: None, sampled_per_million: 10_000, allow_plaintext: false },
            shutdown: Shutdown { drain_ms: None },
        }
    }
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: None,
            topic_prefix: String::new(),
            replication: 0,
            security_protocol: "plaintext".to_owned(),
            sasl_mechanism: "SCRAM-SHA-512".to_owned(),
            sasl_username: None,
            sasl_password: None,
            ca_file: None,
            allow_plaintext: false,
        }
    }
}
