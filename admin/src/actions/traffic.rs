//! What the gateways answer, and how quickly, as each of them reports once a second on the log.

use std::collections::BTreeMap;

use contract::record::{Latency, ProcessReport};
use foundation::metrics::Registry;
use serde::Serialize;
use utoipa::ToSchema;

use crate::processes::{Processes, Reported};

/// Records that the journal worker has yet to take in.
const CONSUMER_LAG: &str = "mall_journal_lag_records";
/// Gateways of one board.
const GATEWAYS_MAX: usize = 64;
/// The code of answers that are no refusal.
const ACCEPTED: &str = "accepted";

/// All gateways that are alive, for all sales.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Traffic {
    /// Each gateway, at most 64.
    pub(crate) gateways: Vec<GatewayFigures>,
    /// The answers of all of them, by code.
    pub(crate) answers: BTreeMap<String, Answered>,
    /// Answers in the last second.
    pub(crate) answers_per_second: u64,
    /// Milliseconds within which ledgers answered half of the batches of the last second; null if there was none, or if it
    /// is above every bound.
    pub(crate) p50_ms: Option<f64>,
    /// The same for 99 % of the batches.
    pub(crate) p99_ms: Option<f64>,
    /// Records of the journal, of all sales, that the database has yet to take in; null where order-core runs in another
    /// process.
    pub(crate) consumer_lag: Option<u64>,
}

/// How often there was an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Answered {
    /// Since the start of the gateways.
    pub(crate) count: u64,
    /// In the last second.
    pub(crate) per_second: u64,
}

/// A gateway, between its last two reports.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct GatewayFigures {
    /// Another one after each start.
    pub(crate) process_id: String,
    pub(crate) host: String,
    #[schema(example = "0.1.0")]
    pub(crate) version: String,
    /// Null until it has reported twice.
    pub(crate) answers_per_second: Option<u64>,
    /// Reservations that it confirmed.
    pub(crate) accepted_per_second: Option<u64>,
    /// Milliseconds within which ledgers answered half of its batches.
    pub(crate) p50_ms: Option<f64>,
    /// The same of 99 in 100.
    pub(crate) p99_ms: Option<f64>,
}

impl Traffic {
    /// The gateways among `processes` at `now_ms`. `metrics` are those of this process.
    pub(crate) fn read(processes: &Processes, metrics: Option<&Registry>, now_ms: u64) -> Self {
        let reported = processes.gateways(now_ms, GATEWAYS_MAX);
        let mut traffic = Self { consumer_lag: metrics.and_then(consumer_lag), ..Self::default() };
        let mut latency = Latency::default();
        for gateway in &reported {
            traffic.answers_per_second += gateway.per_second(|report| report.answers).unwrap_or(0);
            latency.merge(&gateway.latency());
            traffic.count(ACCEPTED, gateway, |report| report.accepted);
            for refusals in &gateway.now.refusals {
                traffic.count(&refusals.reason, gateway, |report| {
                    report.refusals.iter().find(|one| one.reason == refusals.reason).map_or(0, |one| one.count)
                });
            }
        }
        traffic.answers.retain(|_, answered| answered.count > 0);
        (traffic.p50_ms, traffic.p99_ms) = (quantile_ms(&latency, 500), quantile_ms(&latency, 990));
        traffic.gateways = reported.iter().map(GatewayFigures::of).collect();
        traffic
    }

    fn count(&mut self, code: &str, gateway: &Reported, count: impl Fn(&ProcessReport) -> u64) {
        let answered = self.answers.entry(code.to_owned()).or_default();
        answered.count += count(&gateway.now);
        answered.per_second += gateway.per_second(count).unwrap_or(0);
    }
}

impl GatewayFigures {
    fn of(reported: &Reported) -> Self {
        let (report, latency) = (&reported.now, reported.latency());
        Self {
            process_id: report.process.to_string(),
            host: report.host.clone(),
            version: report.version.clone(),
            answers_per_second: reported.per_second(|report| report.answers),
            accepted_per_second: reported.per_second(|report| report.accepted),
            p50_ms: quantile_ms(&latency, 500),
            p99_ms: quantile_ms(&latency, 990),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the bounds are at most ten seconds")]
fn quantile_ms(latency: &Latency, per_mille: u64) -> Option<f64> {
    latency.quantile_us(per_mille).map(|us| us as f64 / 1e3)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the gauge is a whole number and not negative"
)]
fn consumer_lag(metrics: &Registry) -> Option<u64> {
    metrics.values(CONSUMER_LAG).first().map(|(_, records)| *records as u64)
}

#[cfg(test)]
mod tests {
    use contract::record::{ProcessRole, Refusals};

    use super::*;

    fn report(process: i64, at_ms: u64, [answers, accepted, sold_out]: [u64; 3]) -> ProcessReport {
        let mut report = foundation::process::describe(ProcessRole::Gateway, Vec::new(), 0).unwrap();
        report.host = format!("host-{process}");
        (report.process, report.started_at_ms, report.at_ms) = (process, process.unsigned_abs(), at_ms);
        (report.answers, report.accepted) = (answers, accepted);
        report.refusals = vec![Refusals { reason: "sold_out".to_owned(), count: sold_out }];
        report.latency.counts[1] = accepted;
        report
    }

    #[test]
    fn the_gateways_are_shown_one_by_one_and_together() {
        let (processes, metrics) = (Processes::default(), Registry::default());
        assert_eq!(Traffic::read(&processes, None, 1_000), Traffic::default());
        for (process, at_ms, counts) in [
            (1, 1_000, [10, 10, 0]),
            (2, 1_500, [5, 5, 0]),
            (1, 2_000, [110, 60, 50]),
            (2, 2_500, [25, 10, 15]),
            // Reported once so far.
            (3, 2_500, [7, 7, 0]),
        ] {
            processes.add(report(process, at_ms, counts));
        }
        metrics.gauge(CONSUMER_LAG, "Lag.").set(7);
        let traffic = Traffic::read(&processes, Some(&metrics), 3_000);
        let answered = |count, per_second| Answered { count, per_second };
        assert_eq!(traffic.answers["accepted"], answered(77, 55));
        assert_eq!(traffic.answers["sold_out"], answered(65, 65));
        assert_eq!((traffic.answers_per_second, traffic.consumer_lag), (120, Some(7)));
        assert_eq!((traffic.p50_ms, traffic.p99_ms), (Some(1.0), Some(1.0)));
        let each: Vec<_> =
            traffic.gateways.iter().map(|one| (&*one.host, one.answers_per_second, one.p99_ms)).collect();
        assert_eq!(each, [("host-1", Some(100), Some(1.0)), ("host-2", Some(20), Some(1.0)), ("host-3", None, None)]);
        assert_eq!(Traffic::read(&processes, None, 60_000).gateways, [], "they are silent");
    }
}
