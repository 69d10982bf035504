//! The cores' counters, readable by every thread.

use std::sync::{Arc, Mutex, PoisonError};

use commit_log::{Log, ProcessReporter};
use contract::record::{ProcessReport, Refusals};
use foundation::{
    Clock, SystemClock,
    metrics::{Registry, stage},
};
use gateway_core::{Answer, Stats};
use ledger::confirmed::RecentHolds;
use tokio_util::sync::CancellationToken;

/// One core's counters as of its last tick.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    stats: Mutex<Stats>,
}

impl Figures {
    pub(crate) fn publish(&self, stats: Stats) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    pub(crate) fn read(&self, figure: impl Fn(&Stats) -> u64) -> u64 {
        figure(&self.stats.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Adds what the cores have confirmed and not read on the log.
pub(crate) fn register_unconfirmed(metrics: &Registry, recents: &[Arc<RecentHolds>]) {
    let cores = recents.to_vec();
    let help = "Orders that this gateway has confirmed and not read on the log yet.";
    metrics.read_gauge("mall_gateway_unconfirmed_orders", help, move || {
        cores.iter().map(|recent| recent.unconfirmed() as f64).sum()
    });
    let cores = recents.to_vec();
    let help = "The age of the oldest of these orders; 0 if there is none.";
    metrics.read_gauge("mall_gateway_unconfirmed_seconds", help, move || {
        let now_ms = SystemClock.now_ms();
        cores.iter().map(|recent| recent.oldest_ms(now_ms)).max().unwrap_or(0) as f64 / 1e3
    });
}

/// The stage of which reports have the latency: from a batch that is sent to the ledger's answer.
pub(crate) const BATCH_STAGE: &str = "batch";

/// Reports the sums over the cores on the log until `stop`.
pub(crate) async fn report_until<L: Log>(
    stop: CancellationToken,
    log: L,
    report: ProcessReport,
    (cores, metrics): (Vec<Arc<Figures>>, Registry),
) {
    let reporter = ProcessReporter::new(log, report, move |report| fill(&cores, &metrics, report));
    stop.run_until_cancelled(reporter.run(SystemClock)).await;
}

/// Puts the sums over `cores` into a report.
fn fill(cores: &[Arc<Figures>], metrics: &Registry, report: &mut ProcessReport) {
    let sum = |answer: Answer| cores.iter().map(|core| core.read(|stats| stats.answers(answer))).sum::<u64>();
    report.answers = Answer::ALL.iter().map(|answer| sum(*answer)).sum();
    report.accepted = sum(Answer::Accepted);
    let refusals = Answer::ALL.iter().filter(|answer| answer.status() >= 400);
    let refusals = refusals.map(|answer| Refusals { reason: answer.as_str().to_owned(), count: sum(*answer) });
    report.refusals = refusals.filter(|refusals| refusals.count > 0).collect();
    let name = stage(BATCH_STAGE);
    let (family, label) = name.split_once('{').unwrap_or((&name, ""));
    report.latency = metrics.latency(family, label.trim_end_matches('}'));
}

/// Adds the sums over `cores` to `metrics`.
pub(crate) fn register(metrics: &Registry, cores: &[Arc<Figures>]) {
    let counter = |name: &str, help, figure: fn(&Stats) -> u64| {
        let cores = cores.to_vec();
        metrics.read_counter(name, help, move || cores.iter().map(|core| core.read(figure) as f64).sum());
    };
    counter("mall_gateway_connections_opened_total", "Connections that were opened.", |stats| stats.connections_opened);
    counter("mall_gateway_connections_refused_total", "Connections beyond the limit.", |stats| {
        stats.connections_refused
    });
    counter("mall_gateway_connections_cut_total", "Connections closed because the client did not read.", |stats| {
        stats.connections_cut
    });
    counter("mall_gateway_batches_total", "Batches given to the ledger.", |stats| stats.batches);
    counter("mall_gateway_batched_reservations_total", "Reservations in those batches.", |stats| stats.reservations);
    counter("mall_gateway_batches_unavailable_total", "Batches to which the ledger gave no usable reply.", |stats| {
        stats.batches_unavailable
    });
    counter("mall_gateway_refused_locally_total", "Reservations refused without asking the ledger.", |stats| {
        stats.refused_locally
    });
    for answer in Answer::ALL {
        let cores = cores.to_vec();
        let name = format!("mall_gateway_answers_total{{code=\"{}\"}}", answer.as_str());
        let sum = move || cores.iter().map(|core| core.read(|stats| stats.answers(*answer)) as f64).sum();
        metrics.read_counter(&name, "Answers by their code.", sum);
    }
}
