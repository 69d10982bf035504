//! The report as Markdown, for RESULTS.md and pull requests.

use std::fmt::Write as _;

use super::{grouped, time};
use crate::record::Record;

pub(crate) fn markdown(record: &Record) -> String {
    let (figures, host) = (&record.figures, &record.host);
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").is_ok();
    let settings: Vec<String> = record.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    line(format!("`bench {}`, {}: {}.", record.command, record.started_at, settings.join("; ")));
    line(format!(
        "{}, {} cores, {}, load average {} before the run, commit {}.\n",
        host.cpu,
        host.cores,
        host.kernel,
        host.load_average.map_or("unknown".to_owned(), |load| format!("{load}")),
        record.commit.as_deref().unwrap_or("unknown")
    ));
    line(
        "| answers/s | reservations/s | durable orders/s | p50 | p99 | p99.9 | max |\n|---|---|---|---|---|---|---|"
            .to_owned(),
    );
    let latency = &record.latency.corrected;
    let quantiles = ["p50", "p99", "p99.9"].map(|name| time(latency.quantile_ns(name) as f64));
    line(format!(
        "| {} | {} | {} | {} | {} |",
        grouped(figures.answers_per_s),
        grouped(figures.reservations_per_s),
        figures.durable_orders_per_s.map_or("not measured".to_owned(), grouped),
        quantiles.join(" | "),
        time(latency.max_ns as f64)
    ));
    if record.interrupted {
        line("\nInterrupted by Ctrl-C: the figures are those of the part that was run.".to_owned());
    }
    for missing in &record.missing {
        line(format!("\nMissing: {missing}."));
    }
    for warning in &record.warnings {
        line(format!("\nWarning: {warning}."));
    }
    line("\n| check | | |\n|---|---|---|".to_owned());
    for check in &record.checks {
        line(format!(
            "| {} | {} | {} |",
            check.id,
            if check.ok { "pass" } else { "**FAIL**" },
            check.detail.replace('|', "\\|")
        ));
    }
    out
}
