//! What a run has to tell: text for people, JSON for programs.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{
    cpu,
    options::{Model, Options},
    sale::Outcome,
};

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// The figures of a run, each over its own time.
struct Figures {
    accepted: u64,
    answers_per_s: f64,
    reservations_per_s: f64,
    durable_per_s: Option<f64>,
    per_sync: Option<f64>,
}

fn figures(outcome: &Outcome<'_>) -> Figures {
    let accepted = outcome.crowd.records.accepted();
    let reserved_in = Duration::from_nanos(outcome.crowd.records.last_new_ns);
    Figures {
        accepted,
        answers_per_s: rate(outcome.crowd.answers, outcome.ran.wall),
        reservations_per_s: rate(accepted, reserved_in),
        durable_per_s: outcome.durable_after.map(|after| rate(accepted, after)),
        per_sync: outcome
            .ledger
            .filter(|ledger| ledger.commits > 0.0)
            .map(|ledger| ledger.reservations / ledger.commits),
    }
}

fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// The report for people.
pub(crate) fn text(options: &Options, outcome: &Outcome<'_>) -> String {
    let (crowd, ran, figures) = (&outcome.crowd, &outcome.ran, figures(outcome));
    let model = match options.model {
        Model::Closed => "closed model".to_owned(),
        Model::Open { rate_per_s } => format!("open model at {rate_per_s} a second"),
    };
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").is_ok();
    line(format!(
        "{}: {} units, {} users, {} connections, {model}, activity {}",
        options.command, options.stock, options.users, options.connections, outcome.activity
    ));
    line(format!("answers/s         {:>10.0}  ({} in {})", figures.answers_per_s, crowd.answers, seconds(ran.wall)));
    let reserved_in = Duration::from_nanos(crowd.records.last_new_ns);
    let accepted = figures.accepted;
    line(format!("reservations/s    {:>10.0}  ({accepted} in {})", figures.reservations_per_s, seconds(reserved_in)));
    line(match outcome.durable_after.zip(figures.durable_per_s) {
        Some((after, rate)) => format!("durable orders/s  {rate:>10.0}  ({accepted} in {})", seconds(after)),
        None => "durable orders/s           -  (the database did not have them all in time)".to_owned(),
    });
    line(match (figures.per_sync, outcome.ledger) {
        (Some(per_sync), Some(ledger)) => {
            format!("reservations/sync {per_sync:>10.1}  ({} in {} log syncs)", ledger.reservations, ledger.commits)
        }
        _ => "reservations/sync          -  (the gateway does not tell)".to_owned(),
    });
    line(format!("latency, all      {}", latency(&crowd.latency)));
    line(format!("latency, accepted {}", latency(&crowd.latency_accepted)));
    let kinds: Vec<String> = crowd.records.kinds().iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    line(format!("answers           {}", kinds.join(", ")));
    let busy =
        ran.busy.map_or("?".to_owned(), |busy| format!("{:.0} %", 100.0 * busy.as_secs_f64() / ran.wall.as_secs_f64()));
    line(format!(
        "client            busy {busy} of one core, {} connections broken, {} requests lost and asked again, {} retries, {} late, {} dropped",
        ran.broken, crowd.lost, crowd.retried, crowd.late, crowd.dropped
    ));
    for text in cpu::lines(&outcome.cpu, accepted, "accepted reservation") {
        line(text);
    }
    line(format!("machine           {}", machine()));
    for check in &outcome.checks {
        let word = if check.ok { "PASS" } else { "FAIL" };
        line(format!("{} {word}  {}", check.id, check.detail));
    }
    out
}

/// The whole record.
pub(crate) fn record(options: &Options, outcome: &Outcome<'_>) -> Value {
    let (crowd, ran, figures) = (&outcome.crowd, &outcome.ran, figures(outcome));
    let (model, rate_per_s) = match options.model {
        Model::Closed => ("closed", None),
        Model::Open { rate_per_s } => ("open", Some(rate_per_s)),
    };
    json!({
        "command": options.command,
        "activity_id": outcome.activity,
        "stock": options.stock,
        "users": options.users,
        "connections": options.connections,
        "requests_per_connection": options.requests_per_connection,
        "model": model,
        "rate_per_s": rate_per_s,
        "machine": machine(),
        "wall_s": ran.wall.as_secs_f64(),
        "client_busy_s": ran.busy.map(|busy| busy.as_secs_f64()),
        "answers": crowd.answers,
        "answers_per_s": figures.answers_per_s,
        "answers_by_kind": crowd.records.kinds(),
        "accepted": figures.accepted,
        "reservations_per_s": figures.reservations_per_s,
        "reserved_in_s": Duration::from_nanos(crowd.records.last_new_ns).as_secs_f64(),
        "durable_orders_per_s": figures.durable_per_s,
        "durable_after_s": outcome.durable_after.map(|after| after.as_secs_f64()),
        "ledger_commits": outcome.ledger.map(|ledger| ledger.commits),
        "ledger_reservations": outcome.ledger.map(|ledger| ledger.reservations),
        "reservations_per_sync": figures.per_sync,
        "latency_ns": quantiles(&crowd.latency),
        "latency_accepted_ns": quantiles(&crowd.latency_accepted),
        "repeats_same": crowd.records.repeats_same,
        "connections_broken": ran.broken,
        "answers_not_http": ran.not_http,
        "requests_lost": crowd.lost,
        "retries": crowd.retried,
        "gave_up": crowd.gave_up,
        "late": crowd.late,
        "dropped": crowd.dropped,
        "cpu_ns": outcome.cpu.iter().map(|((process, thread), ns)| (format!("{process} {thread}"), ns)).collect::<BTreeMap<_, _>>(),
        "audit": outcome.audit,
        "checks": outcome.checks,
        "ok": outcome.checks.iter().all(|check| check.ok),
    })
}

fn quantiles(histogram: &Histogram<u64>) -> Value {
    let mut value: serde_json::Map<String, Value> = QUANTILES
        .iter()
        .map(|(name, quantile)| ((*name).to_owned(), histogram.value_at_quantile(*quantile).into()))
        .collect();
    value.insert("max".to_owned(), histogram.max().into());
    Value::Object(value)
}

fn latency(histogram: &Histogram<u64>) -> String {
    let mut parts: Vec<String> = QUANTILES
        .iter()
        .map(|(name, quantile)| format!("{name} {}", millis(histogram.value_at_quantile(*quantile))))
        .collect();
    parts.push(format!("max {}", millis(histogram.max())));
    parts.join("  ")
}

fn millis(nanos: u64) -> String {
    format!("{:.3} ms", Duration::from_nanos(nanos).as_secs_f64() * 1e3)
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    format!("{cores} cores, {}, Linux {}", model.unwrap_or("unknown processor"), kernel.trim())
}
