//! The record of a sale.

use std::{collections::BTreeMap, time::Duration};

use foundation::rfc3339;

use super::{Options, Outcome};
use crate::{
    arrivals::Model,
    record::{self, Client, Distribution, Figures, Latency, Record, VERSION},
};

/// A client that takes more than this share of a core is close to its own limit.
const CEILING: f64 = 0.8;
/// Requests of the open model that may be late before the record warns of it.
const LATE_SHARE_MAX: f64 = 0.01;

impl Outcome<'_> {
    pub(super) fn record(self, options: &Options) -> Record {
        let mut record = Record {
            version: VERSION,
            command: options.command.to_owned(),
            started_at: rfc3339::format(self.started_ms),
            host: self.host.clone(),
            commit: record::commit(),
            settings: settings(options),
            seed: self.run.into(),
            activity_id: self.activity.to_string(),
            wall_s: self.ran.wall.as_secs_f64(),
            figures: self.figures(),
            answers_by_kind: self.crowd.records.kinds().clone(),
            client: self.client(),
            latency: Latency {
                corrected: Distribution::from(&self.crowd.latency),
                raw: Distribution::from(&self.crowd.latency_raw),
                accepted: Distribution::from(&self.crowd.latency_accepted),
            },
            series: self.crowd.series.clone(),
            looks: self.looks,
            cpu_ns: by_process(self.cpu),
            audit: self.audit,
            checks: self.checks,
            warnings: Vec::new(),
            interrupted: self.interrupted,
            missing: self.missing,
            ok: false,
        };
        record.warnings = warnings(&record);
        let kept: Vec<_> = options.fail_if.iter().map(|threshold| threshold.check(&record)).collect();
        record.checks.extend(kept);
        let passed = record.checks.iter().all(|check| check.ok);
        record.ok = passed && record.missing.is_empty() && !record.interrupted;
        record
    }

    fn figures(&self) -> Figures {
        let accepted = self.crowd.records.accepted();
        let reserved_in = Duration::from_nanos(self.crowd.records.last_new_ns);
        Figures {
            answers: self.crowd.answers,
            answers_per_s: rate(self.crowd.answers, self.ran.wall),
            accepted,
            reservations_per_s: rate(accepted, reserved_in),
            reserved_in_s: reserved_in.as_secs_f64(),
            durable_orders_per_s: self.durable_after.map(|after| rate(accepted, after)),
            durable_after_s: self.durable_after.map(|after| after.as_secs_f64()),
            ledger_commits: self.ledger.map(|ledger| ledger.commits),
            ledger_reservations: self.ledger.map(|ledger| ledger.reservations),
            repeats_same: self.crowd.records.repeats_same,
        }
    }

    fn client(&self) -> Client {
        Client {
            busy_s: self.ran.busy.map(|busy| busy.as_secs_f64()),
            connections_broken: self.ran.broken,
            answers_not_http: self.ran.not_http,
            requests_lost: self.crowd.lost,
            retries: self.crowd.retried,
            gave_up: self.crowd.gave_up,
            late: self.crowd.late,
            dropped: self.crowd.dropped,
        }
    }
}

fn settings(options: &Options) -> BTreeMap<String, String> {
    let model = match &options.model {
        Model::Closed => "closed".to_owned(),
        Model::Open(arrivals) => format!("open, {arrivals} a second"),
    };
    let mut settings = BTreeMap::from([
        ("stock".to_owned(), options.stock.to_string()),
        ("users".to_owned(), options.users.to_string()),
        ("connections".to_owned(), options.connections.to_string()),
        ("model".to_owned(), model),
        ("gateways".to_owned(), options.gateways.join(", ")),
    ]);
    if let Some(note) = &options.note {
        settings.insert("note".to_owned(), note.clone());
    }
    if options.repeats.every < u32::MAX {
        settings.insert("one user in N repeats".to_owned(), options.repeats.every.to_string());
    }
    if options.requests_per_connection > 0 {
        settings.insert("requests per connection".to_owned(), options.requests_per_connection.to_string());
    }
    settings
}

/// Why the figures may be those of the client or of the machine.
fn warnings(record: &Record) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(share) = record.client.busy_share(record.wall_s).filter(|share| *share > CEILING) {
        warnings
            .push(format!("the load client took {:.0} % of a core: the server may be able to do more", 100.0 * share));
    }
    let late = record.client.late as f64 / record.figures.answers.max(1) as f64;
    if late > LATE_SHARE_MAX {
        warnings.push(format!(
            "{:.1} % of the requests were sent late, because every connection waited for an answer or the client was behind",
            100.0 * late
        ));
    }
    if record.client.dropped > 0 {
        warnings.push(format!("{} requests were never sent", record.client.dropped));
    }
    let cores = record.host.cores as f64;
    if let Some(load) = record.host.load_average.filter(|load| *load > cores / 2.0) {
        warnings.push(format!("the machine was busy before the run: load average {load} on {cores} cores"));
    }
    warnings
}

fn by_process(times: crate::cpu::Times) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut processes: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for ((process, thread), ns) in times {
        processes.entry(process).or_default().insert(thread, ns);
    }
    processes
}

fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}
