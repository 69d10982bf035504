//! The settings as they are written: every key with its default.
//!
//! The type of a default is the type of its key; `null` stands for text that may be absent, and for a switch or a number
//! that may be absent where [`super::layers`] says so. Numbers are whole and not negative.

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(super) struct Raw {
    pub data_dir: String,
    pub admin_password: Option<String>,
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
    pub shutdown: Shutdown,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Gateway {
    pub listen: String,
    pub runtime: String,
    pub may_listens_anywhere_without_limits: bool,
    pub threads: u64,
    pub connections_max: u64,
    pub queue_max: u64,
    pub reply_timeout_ms: u64,
    pub client_rate_per_s: u64,
    pub client_burst: u64,
    pub user_rate_per_s: u64,
    pub user_burst: u64,
    pub user_window_max: u64,
    pub user_window_ms: u64,
    pub captchas_max: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Search {
    pub url: Option<String>,
    pub index: String,
    pub ca_file: Option<String>,
    pub synonyms_file: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Server {
    pub listen: String,
    pub connections_max: u64,
    pub request_timeout_ms: u64,
    pub body_bytes_max: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Auth {
    pub shopper_secret: Option<String>,
    pub admin_secret: Option<String>,
    pub bcrypt_cost: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Orders {
    pub pay_within_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Payments {
    pub public_url: Option<String>,
    pub mock: Option<bool>,
    pub mock_retry_ms: u64,
    pub alipay_app_id: Option<String>,
    pub alipay_seller_id: Option<String>,
    pub alipay_gateway: Option<String>,
    pub alipay_private_key: Option<String>,
    pub alipay_public_key: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Database {
    pub url: Option<String>,
    pub read_connections: u64,
    pub acquire_timeout_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Redis {
    pub url: Option<String>,
    pub reply_timeout_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Ledger {
    pub unconfirmed_max: u64,
    pub unconfirmed_max_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Kafka {
    pub brokers: Option<String>,
    pub topic_prefix: String,
    pub replication: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Images {
    pub oss_endpoint: Option<String>,
    pub oss_bucket: Option<String>,
    pub oss_access_key_id: Option<String>,
    pub oss_access_key_secret: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Limits {
    pub window_ms: u64,
    pub sign_in_max: u64,
    pub write_max: u64,
    pub read_max: u64,
    pub wrong_sign_ins_max: u64,
    pub wrong_sign_ins_window_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Web {
    pub origins: Option<String>,
    pub gateway_url: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Log {
    pub format: String,
    pub level: String,
    pub directory: Option<String>,
    pub keep_days: u64,
    pub file_bytes_max: u64,
    pub files_max: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Metrics {
    pub listen: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Shutdown {
    pub drain_ms: Option<u64>,
}

impl Default for Raw {
    fn default() -> Self {
        let server = |listen: &str| Server {
            listen: listen.to_owned(),
            connections_max: 1024,
            request_timeout_ms: 15_000,
            body_bytes_max: 256 * 1024,
        };
        Self {
            data_dir: "data".to_owned(),
            admin_password: None,
            trusted_proxies: None,
            gateway: Gateway {
                listen: "127.0.0.1:8080".to_owned(),
                runtime: "monoio".to_owned(),
                may_listens_anywhere_without_limits: false,
                threads: 0,
                connections_max: 20_000,
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
            orders: Orders { pay_within_ms: 30 * 60 * 1000 },
            payments: Payments {
                public_url: None,
                mock: None,
                mock_retry_ms: 240,
                alipay_app_id: None,
                alipay_seller_id: None,
                alipay_gateway: None,
                alipay_private_key: None,
                alipay_public_key: None,
            },
            database: Database { url: None, read_connections: 4, acquire_timeout_ms: 5_000 },
            redis: Redis { url: None, reply_timeout_ms: 1_000 },
            ledger: Ledger { unconfirmed_max: 200_000, unconfirmed_max_ms: 60_000 },
            search: Search { url: None, index: "mall-products".to_owned(), ca_file: None, synonyms_file: None },
            kafka: Kafka { brokers: None, topic_prefix: String::new(), replication: 0 },
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
            shutdown: Shutdown { drain_ms: None },
        }
    }
}
