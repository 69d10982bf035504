//! The record of a run: what every report is made of. `bench/record.schema.json` is its JSON Schema.

use std::{collections::BTreeMap, path::Path, process::Command};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    audit::{Audit, Check},
    series::{Look, Series},
};

pub(crate) const VERSION: u32 = 1;
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];
/// Points of a percentile curve for each halving of the distance to 100 %.
const CURVE_TICKS: u32 = 5;
/// A record is at most this long.
const BYTES_MAX: u64 = 64 << 20;

/// One run of one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Record {
    pub version: u32,
    pub command: String,
    /// RFC 3339.
    pub started_at: String,
    pub host: Host,
    /// Commit of the working directory in which bench ran, with `-dirty` if it had changes.
    pub commit: Option<String>,
    pub settings: BTreeMap<String, String>,
    /// Tells this run's users and goods from every other run's.
    pub seed: u64,
    pub activity_id: String,
    pub wall_s: f64,
    pub figures: Figures,
    pub answers_by_kind: BTreeMap<String, u64>,
    pub client: Client,
    pub latency: Latency,
    pub series: Series,
    /// Stock and orders over time, from the mall's audit.
    pub looks: Vec<Look>,
    /// Processor time by process and kind of thread.
    pub cpu_ns: BTreeMap<String, BTreeMap<String, u64>>,
    pub audit: Option<Audit>,
    pub checks: Vec<Check>,
    /// Why figures may be worse or better than the server.
    pub warnings: Vec<String>,
    /// Ctrl-C ended the run: the figures are those of its beginning.
    #[serde(default)]
    pub interrupted: bool,
    /// What could not be measured or checked, and why.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Every check passed and nothing is missing.
    pub ok: bool,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Host {
    pub cpu: String,
    pub cores: u64,
    pub kernel: String,
    /// Load average of the last minute when the run began.
    pub load_average: Option<f64>,
}

/// What was done, each rate over its own time. What was not measured is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Figures {
    pub answers: u64,
    pub answers_per_s: f64,
    pub accepted: u64,
    pub reservations_per_s: f64,
    pub reserved_in_s: f64,
    pub durable_orders_per_s: Option<f64>,
    pub durable_after_s: Option<f64>,
    pub ledger_commits: Option<f64>,
    pub ledger_reservations: Option<f64>,
    pub repeats_same: u64,
}

/// The load client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Client {
    pub busy_s: Option<f64>,
    pub connections_broken: u64,
    pub answers_not_http: u64,
    pub requests_lost: u64,
    pub retries: u64,
    pub gave_up: u64,
    /// Requests of the open model that were sent more than 1 ms after they were due.
    pub late: u64,
    /// Requests of the open model that were never sent.
    pub dropped: u64,
}

impl Client {
    /// The share of one core that the client took.
    pub(crate) fn busy_share(&self, wall_s: f64) -> Option<f64> {
        self.busy_s.filter(|_| wall_s > 0.0).map(|busy_s| busy_s / wall_s)
    }
}

/// Latencies of the answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Latency {
    /// From when a request was due: the wait behind a server that stalls counts.
    pub corrected: Distribution,
    /// From when a request was sent.
    pub raw: Distribution,
    /// Corrected, of accepted requests.
    pub accepted: Distribution,
}

/// A distribution of times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Distribution {
    pub count: u64,
    pub mean_ns: f64,
    pub deviation_ns: f64,
    pub max_ns: u64,
    pub quantiles_ns: BTreeMap<String, u64>,
    pub curve: Vec<Point>,
}

/// A point of a percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Point {
    pub quantile: f64,
    pub value_ns: u64,
    /// Values up to this one.
    pub count: u64,
}

impl From<&Histogram<u64>> for Distribution {
    fn from(histogram: &Histogram<u64>) -> Self {
        let quantile = |(name, quantile): &(&str, f64)| ((*name).to_owned(), histogram.value_at_quantile(*quantile));
        let mut count = 0;
        let curve = histogram.iter_quantiles(CURVE_TICKS).map(|value| {
            count += value.count_since_last_iteration();
            Point { quantile: value.quantile_iterated_to(), value_ns: value.value_iterated_to(), count }
        });
        Self {
            count: histogram.len(),
            curve: curve.collect(),
            mean_ns: histogram.mean(),
            deviation_ns: histogram.stdev(),
            max_ns: histogram.max(),
            quantiles_ns: QUANTILES.iter().map(quantile).collect(),
        }
    }
}

impl Distribution {
    pub(crate) fn quantile_ns(&self, name: &str) -> u64 {
        self.quantiles_ns.get(name).copied().unwrap_or(0)
    }
}

impl Host {
    pub(crate) fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let model =
            cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
        Self {
            cpu: model.unwrap_or("unknown processor").to_owned(),
            // All of them, also if this process may use only some.
            cores: cpus.lines().filter(|line| line.starts_with("processor")).count() as u64,
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            load_average: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()),
        }
    }
}

/// The commit of the working directory, if it is one of git.
pub(crate) fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.trim().to_owned())
}

/// Reads a record.
///
/// # Errors
/// One line that names the file and the fault.
pub(crate) fn read(path: &Path) -> Result<Record, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let fault = |what: String| format!("{}: {what}", path.display());
    let length = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?.len();
    if length > BYTES_MAX {
        return Err(fault(format!("longer than {BYTES_MAX} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
    let Version { version } =
        serde_json::from_slice(&bytes).map_err(|error| fault(format!("not a record of bench: {error}")))?;
    if version != u64::from(VERSION) {
        return Err(fault(format!("a record of version {version}; this program reads version {VERSION}")));
    }
    serde_json::from_slice(&bytes).map_err(|error| fault(format!("not a record of bench: {error}")))
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema as _;

    use super::*;
    use crate::{audit, judge, series};

    /// The schema of a record and of the judge's verdict, with everything that they refer to.
    fn schema() -> String {
        #[derive(utoipa::OpenApi)]
        #[openapi(components(schemas(
            Record,
            Host,
            Figures,
            Client,
            Latency,
            Distribution,
            Point,
            series::Series,
            series::Slot,
            series::Look,
            audit::Audit,
            audit::LogCounts,
            audit::DatabaseCounts,
            audit::Check,
            judge::Verdict,
            judge::Fault,
            judge::Kind
        )))]
        struct Parts;
        let document = serde_json::to_string(&<Parts as utoipa::OpenApi>::openapi()).unwrap();
        let document: serde_json::Value =
            serde_json::from_str(&document.replace("#/components/schemas/", "#/$defs/")).unwrap();
        let schema = serde_json::json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "A run of bench, version 1",
            "$ref": "#/$defs/Record",
            "$defs": document["components"]["schemas"],
        });
        assert!(serde_json::to_string(&Record::schema()).is_ok());
        format!("{schema:#}\n")
    }

    /// `UPDATE=1 cargo test` rewrites the file.
    #[test]
    fn the_published_schema_is_the_one_of_the_code() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("record.schema.json");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, schema()).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap_or_default() == schema(), "run again with UPDATE=1");
    }

    #[test]
    fn a_curve_counts_every_value() {
        let mut histogram = Histogram::new(3).unwrap();
        (1..=1000).for_each(|value| histogram.record(value * 1000).unwrap());
        let distribution = Distribution::from(&histogram);
        assert_eq!(distribution.curve.last().map(|point| point.count), Some(1000));
        assert!(distribution.curve.is_sorted_by_key(|point| point.value_ns));
        assert_eq!(distribution.quantile_ns("p50") / 1000, 500);
        assert_eq!(Distribution::from(&Histogram::new(3).unwrap()).count, 0);
    }
}
