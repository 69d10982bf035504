//! What a command is given, and how single values are read. Each command's own options are next to it.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    num::ParseIntError,
    path::PathBuf,
    time::Duration,
};

use crate::cpu::Watched;

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
#[cfg(any(feature = "search", feature = "versus"))]
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

/// The address of a base URL.
pub(crate) fn resolve(gateway: &str) -> Result<SocketAddr, String> {
    let authority = gateway.trim_start_matches("http://");
    let with_port = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let mut found = with_port.to_socket_addrs().map_err(|error| format!("gateway {gateway}: {error}"))?;
    found.next().ok_or_else(|| format!("gateway {gateway}: the name has no address"))
}
