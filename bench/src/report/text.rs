//! The report for a terminal.

use std::fmt::Write as _;

use crate::{
    cpu::{self, Times},
    record::{Distribution, Record},
};

pub(crate) fn text(record: &Record) -> String {
    let figures = &record.figures;
    let setting = |name: &str| record.settings.get(name).map_or("?", String::as_str);
    let model = match setting("model").split_once(", ") {
        Some((model, plan)) => format!("{model} model at {plan}"),
        None => format!("{} model", setting("model")),
    };
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").is_ok();
    line(format!(
        "{}: {} units, {} users, {} connections, {model}, activity {}",
        record.command,
        setting("stock"),
        setting("users"),
        setting("connections"),
        record.activity_id
    ));
    if record.interrupted {
        line("INTERRUPTED       by Ctrl-C: the figures are those of the part that was run".to_owned());
    }
    let accepted = figures.accepted;
    line(format!("answers/s         {:>10.0}  ({} in {:.3} s)", figures.answers_per_s, figures.answers, record.wall_s));
    line(format!(
        "reservations/s    {:>10.0}  ({accepted} in {:.3} s)",
        figures.reservations_per_s, figures.reserved_in_s
    ));
    line(match figures.durable_after_s.zip(figures.durable_orders_per_s) {
        Some((after, rate)) => format!("durable orders/s  {rate:>10.0}  ({accepted} in {after:.3} s)"),
        None if record.missing.is_empty() => {
            "durable orders/s           -  (the database did not have them all in time)".to_owned()
        }
        None => "durable orders/s           -  (not measured)".to_owned(),
    });
    line(match figures.ledger_reservations.zip(figures.ledger_commits.filter(|commits| *commits > 0.0)) {
        Some((reservations, commits)) => {
            format!("reservations/sync {:>10.1}  ({reservations} in {commits} log syncs)", reservations / commits)
        }
        None => "reservations/sync          -  (the gateway does not tell)".to_owned(),
    });
    line(format!("latency, all      {}", latency(&record.latency.corrected)));
    line(format!("latency, accepted {}", latency(&record.latency.accepted)));
    let kinds: Vec<String> = record.answers_by_kind.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    line(format!("answers           {}", kinds.join(", ")));
    let client = &record.client;
    let busy = client.busy_share(record.wall_s).map_or("?".to_owned(), |share| format!("{:.0} %", 100.0 * share));
    line(format!(
        "client            busy {busy} of one core, {} connections broken, {} requests lost and asked again, {} retries, {} late, {} dropped",
        client.connections_broken, client.requests_lost, client.retries, client.late, client.dropped
    ));
    for text in cpu::lines(&times(record), accepted, "accepted reservation") {
        line(text);
    }
    let host = &record.host;
    line(format!("machine           {} cores, {}, {}", host.cores, host.cpu, host.kernel));
    for warning in &record.warnings {
        line(format!("warning           {warning}"));
    }
    for missing in &record.missing {
        line(format!("missing           {missing}"));
    }
    for check in &record.checks {
        let word = if check.ok { "PASS" } else { "FAIL" };
        line(format!("{} {word}  {}", check.id, check.detail));
    }
    out
}

fn times(record: &Record) -> Times {
    let threads = record.cpu_ns.iter().flat_map(|(process, threads)| {
        threads.iter().map(move |(thread, ns)| ((process.clone(), thread.clone()), *ns))
    });
    threads.collect()
}

fn latency(distribution: &Distribution) -> String {
    if distribution.count == 0 {
        return "-  (no answers)".to_owned();
    }
    let millis = |ns: u64| format!("{:.3} ms", ns as f64 / 1e6);
    let quantiles = ["p50", "p99", "p99.9"].map(|name| format!("{name} {}", millis(distribution.quantile_ns(name))));
    format!("{}  max {}", quantiles.join("  "), millis(distribution.max_ns))
}
