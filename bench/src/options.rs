//! What a command is given, and how single values are read. Each command's own options are next to it.

use std::{num::ParseIntError, path::PathBuf, time::Duration};

use crate::cpu::Watched;

/// When requests are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Model {
    /// One after the other on each connection.
    Closed,
    /// At a constant rate.
    Open { rate_per_s: f64 },
}

/// Which users ask a second time, with the same idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repeats {
    /// One user in this many.
    pub every: u32,
    /// After this many requests of other users.
    pub distance: u32,
}

/// A sale or a fight.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    pub command: &'static str,
    pub stock: u32,
    pub users: u32,
    pub repeats: Repeats,
    pub connections: usize,
    pub requests_per_connection: u32,
    pub model: Model,
    pub gateways: Vec<String>,
    pub access: Access,
    pub pay_within: Option<Duration>,
    pub settle: Duration,
    pub json: Option<PathBuf>,
    pub cpu: Vec<Watched>,
}

/// The mall's services other than its gateways, and the secrets for them.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct Access {
    /// Base URL of order-core.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081", value_parser = base_url)]
    pub order_core: String,
    /// Base URL of admin.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8082", value_parser = base_url)]
    pub admin: String,
    /// The mall's data directory, where its secrets are.
    #[arg(long, value_name = "DIR", env = "MALL_DATA_DIR", default_value = "data")]
    pub data_dir: PathBuf,
    /// Key of the shoppers' tokens; the one in the data directory if absent.
    #[arg(long, value_name = "TEXT", env = "MALL_AUTH__SHOPPER_SECRET", hide_env_values = true)]
    pub shopper_secret: Option<String>,
    /// Password of the user admin; the one in the data directory if absent.
    #[arg(long, value_name = "TEXT", env = "MALL_ADMIN_PASSWORD", hide_env_values = true)]
    pub admin_password: Option<String>,
}

/// `http://host:port`, without a slash at its end.
pub(crate) fn base_url(text: &str) -> Result<String, String> {
    let base = text.trim_end_matches('/');
    match base.strip_prefix("http://") {
        Some(authority) if !authority.is_empty() && !authority.contains(['/', '?', '#', '@', ' ']) => {
            Ok(base.to_owned())
        }
        Some(_) | None => Err("expected http://host:port".to_owned()),
    }
}

/// `1500ms`, `5s` or `30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        _ => None,
    };
    let count = digits.parse::<u64>().ok();
    let millis = unit_ms.zip(count).and_then(|(unit_ms, count)| count.checked_mul(unit_ms));
    millis.map(Duration::from_millis).ok_or_else(|| "expected a time such as 1500ms, 5s or 30m".to_owned())
}

/// Requests a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.1..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| "expected requests a second, 0.1 to 10000000".to_owned())
}

/// `name=pid`.
pub(crate) fn watched(text: &str) -> Result<Watched, String> {
    let parsed = text.split_once('=').map(|(name, pid)| Ok((name, pid.parse()?)));
    match parsed.transpose() {
        Ok(Some((name, pid))) => Ok(Watched { name: name.to_owned(), pid }),
        Ok(None) | Err::<_, ParseIntError>(_) => Err("expected name=process-id".to_owned()),
    }
}
