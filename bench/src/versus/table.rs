//! The comparison as text and as a page.

use std::fmt::Write as _;

use foundation::{Clock, SystemClock, rfc3339};

use super::{AfterKills, Cells, Row, Versus};
use crate::{
    judge,
    report::{escape, page_head},
};

type Column = (&'static str, usize, fn(&Cells) -> f64);

const COLUMNS: [Column; 6] = [
    ("accepted, µs of CPU", 1, |cells| cells.accepted_cpu_us),
    ("accepted/s", 0, |cells| cells.accepted_per_s),
    ("sold out, µs of CPU", 1, |cells| cells.sold_out_cpu_us),
    ("sold out/s", 0, |cells| cells.sold_out_per_s),
    ("p50, ms", 2, |cells| cells.open_p50_ms),
    ("p99, ms", 2, |cells| cells.open_p99_ms),
];

pub(super) fn now() -> String {
    rfc3339::format(SystemClock.now_ms())
}

/// Median, least and most of the rounds.
fn spread(row: &Row, value: fn(&Cells) -> f64) -> (f64, f64, f64) {
    let mut values: Vec<f64> = row.rounds.iter().map(value).collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
    let count = values.len();
    let median = (at(count.saturating_sub(1) / 2) + at(count / 2)) / 2.0;
    (median, at(0), at(count.saturating_sub(1)))
}

fn kills(after: Option<&AfterKills>) -> String {
    let Some(after) = after else { return "not measured".to_owned() };
    if let Some(fault) = &after.failed {
        return format!("the sale did not end: {fault}");
    }
    let faults: Vec<String> =
        after.faults.iter().map(|(kind, count)| format!("{count} {}", judge::name(*kind).replace('_', " "))).collect();
    let verdict = if faults.is_empty() { "nothing lost, nothing oversold".to_owned() } else { faults.join(", ") };
    let AfterKills { accepted, stock, killed, .. } = after;
    format!("{verdict} ({accepted} orders for {stock} units; killed: {})", killed.join(", "))
}

fn notes(versus: &Versus) -> String {
    let host = &versus.host;
    let load = host.load_average.map_or("unknown".to_owned(), |load| load.to_string());
    format!(
        "{}: {}, {} cores, {}, load average {load} before, commit {}; {} requests a cell, {} connections, {} requests a second in the open model, {} in the sale with kills; took {:.0} s",
        versus.started_at,
        host.cpu,
        host.cores,
        host.kernel,
        versus.commit.as_deref().unwrap_or("unknown"),
        versus.requests,
        versus.connections,
        versus.rate_per_s,
        versus.kill_rate_per_s,
        versus.took_s
    )
}

/// A table in Markdown.
pub(super) fn text(versus: &Versus) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").is_ok();
    line(notes(versus) + "\n");
    let head: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
    line(format!("| median (least to most) | {} | after kill -9 in mid-sale, by the judge |", head.join(" | ")));
    line(format!("|---|{}---|", "---:|".repeat(COLUMNS.len())));
    for row in &versus.rows {
        let cells: Vec<String> = COLUMNS
            .iter()
            .map(|(_, digits, value)| {
                let (median, least, most) = spread(row, *value);
                format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
            })
            .collect();
        line(format!("| {} | {} | {} |", row.system, cells.join(" | "), kills(row.after_kills.as_ref())));
    }
    for skipped in &versus.skipped {
        line(format!("SKIPPED {skipped}"));
    }
    out
}

/// One page with a bar in each cell.
pub(super) fn html(versus: &Versus) -> String {
    let mut page = page_head("Ways to sell a limited stock");
    page += &format!(
        "<h1>Ways to sell a limited stock, on one machine</h1>\n<p class=\"soft\">{}</p>\n",
        escape(&notes(versus))
    );
    for (title, note, columns) in [
        ("Processor time of one answer", "Server and its stores, user and kernel. Less is better.", [0, 2]),
        ("Answers a second", "Server and its stores share one core. More is better.", [1, 3]),
        ("Latency in the open model", "From when a request was due. Less is better.", [4, 5]),
    ] {
        page += &format!(
            "<div class=\"pair\" style=\"margin:14px 0\">{}</div>",
            columns.map(|at| bars(versus, title, note, at)).join("\n")
        );
    }
    let row = |row: &Row| {
        let good = row.after_kills.as_ref().is_some_and(|after| after.faults.is_empty() && after.failed.is_none());
        let (class, word) = if good { ("ok", "pass") } else { ("bad", "FAIL") };
        format!(
            "<tr><td>{}</td><td class=\"{class}\">{word}</td><td>{}</td></tr>",
            row.system,
            escape(&kills(row.after_kills.as_ref()))
        )
    };
    let rows: Vec<String> = versus.rows.iter().map(row).collect();
    page += &format!(
        "<section><h2>After kill -9 in the middle of a sale</h2><p class=\"soft\">The server was killed three times, then its store; all started again at once. \
         Every order was read back, and <code>bench judge</code> compared that with what the buyers were told.</p><table>{}</table></section>",
        rows.join("\n")
    );
    let rows: Vec<String> = versus
        .rows
        .iter()
        .map(|row| format!("<tr><td>{}</td><td>{}</td></tr>", row.system, escape(row.description)))
        .collect();
    page += &format!(
        "<section><h2>What they are</h2><table>{}</table></section>\n</main>\n</body>\n</html>\n",
        rows.join("\n")
    );
    page
}

fn bars(versus: &Versus, title: &str, note: &str, at: usize) -> String {
    let (name, digits, value) = COLUMNS[at];
    let spreads: Vec<(f64, f64, f64)> = versus.rows.iter().map(|row| spread(row, value)).collect();
    let most = spreads.iter().map(|(median, ..)| *median).fold(f64::MIN_POSITIVE, f64::max);
    let bar = |(row, (median, least, most_of_row)): (&Row, &(f64, f64, f64))| {
        let width = 100.0 * median / most;
        let class = if row.system.starts_with("mall") { "ours" } else { "theirs" };
        format!(
            "<tr title=\"{least:.digits$} to {most_of_row:.digits$}\"><td>{}</td><td class=\"n\">{median:.digits$}</td>\
             <td style=\"width:45%\"><div class=\"bar {class}\" style=\"width:{width:.1}%\"></div></td></tr>",
            row.system
        )
    };
    let rows: Vec<String> = versus.rows.iter().zip(&spreads).map(bar).collect();
    format!("<section><h2>{title}: {name}</h2><p class=\"soft\">{note}</p><table>{}</table></section>", rows.join("\n"))
}
