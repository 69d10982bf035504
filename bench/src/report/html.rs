//! The report as one page of HTML that needs nothing else: no scripts, no fonts, no network.

use super::{charts, grouped, svg::escape, time};
use crate::record::{Distribution, Record};

const STYLE: &str = include_str!("page.css");

pub(crate) fn html(record: &Record) -> String {
    let mut page = Page(page_head(&format!("bench {}, {}", record.command, record.started_at)));
    page.head(record);
    page.tiles(record);
    page.checks(record);
    page.latency(record);
    page.over_time(record);
    page.answers(record);
    page.run(record);
    page.put("</main>\n</body>\n</html>");
    page.0
}

/// A page up to its content.
pub(crate) fn page_head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(title)
    )
}

/// A page that is being written.
struct Page(String);

impl Page {
    fn put(&mut self, text: &str) {
        self.0 += text;
        self.0.push('\n');
    }

    fn section(&mut self, title: &str, note: &str, body: &str) {
        self.put(&format!(
            "<section tabindex=\"0\">\n<h2>{title}</h2>\n<p class=\"soft\">{note}</p>\n{body}\n</section>"
        ));
    }

    fn head(&mut self, record: &Record) {
        let setting = |name: &str| record.settings.get(name).map_or("?", String::as_str);
        let number = |name: &str| setting(name).parse().map_or_else(|_| escape(setting(name)), grouped);
        let (class, word) = if record.ok { ("pass", "PASS") } else { ("fail", "FAIL") };
        self.put(&format!(
            "<h1><span class=\"verdict {class}\">{word}</span>{} units, {} users, {} connections</h1>",
            number("stock"),
            number("users"),
            number("connections")
        ));
        let host = &record.host;
        self.put(&format!(
            "<p class=\"soft\"><code>bench {}</code>, {} model &middot; {} &middot; {}, {} cores, {} &middot; commit {}</p>",
            escape(&record.command),
            escape(setting("model")),
            escape(&record.started_at),
            escape(&host.cpu),
            host.cores,
            escape(&host.kernel),
            escape(record.commit.as_deref().unwrap_or("unknown"))
        ));
        if let Some(note) = record.settings.get("note") {
            self.put(&format!("<p class=\"soft\">{}</p>", escape(note)));
        }
        if record.interrupted {
            self.put("<p class=\"warning\">Interrupted by Ctrl-C: the figures are those of the part that was run.</p>");
        }
        for missing in &record.missing {
            self.put(&format!("<p class=\"warning\">Missing: {}.</p>", escape(missing)));
        }
        for warning in &record.warnings {
            self.put(&format!("<p class=\"warning\">Caution: {}.</p>", escape(warning)));
        }
    }

    fn tiles(&mut self, record: &Record) {
        let (figures, latency) = (&record.figures, &record.latency.corrected);
        let tiles = [
            (
                "answers/s",
                grouped(figures.answers_per_s),
                format!("{} in {:.2} s, refusals included", grouped(figures.answers as f64), record.wall_s),
            ),
            (
                "reservations/s",
                grouped(figures.reservations_per_s),
                format!("{} in {:.2} s", grouped(figures.accepted as f64), figures.reserved_in_s),
            ),
            match figures.durable_orders_per_s.zip(figures.durable_after_s) {
                Some((rate, after)) => {
                    ("durable orders/s", grouped(rate), format!("all in the database after {after:.2} s"))
                }
                None => (
                    "durable orders/s",
                    "&ndash;".to_owned(),
                    if record.missing.is_empty() {
                        "not measured: not all were in the database in time".to_owned()
                    } else {
                        "not measured".to_owned()
                    },
                ),
            },
            ("p50", time(latency.quantile_ns("p50") as f64), "half of the answers".to_owned()),
            ("p99", time(latency.quantile_ns("p99") as f64), "99 of 100 answers".to_owned()),
            ("max", time(latency.max_ns as f64), "the slowest answer".to_owned()),
        ];
        let tile = |(name, value, note): &(&str, String, String)| {
            format!(
                "<div class=\"tile\"><span class=\"soft\">{name}</span><b>{value}</b><span class=\"soft\">{note}</span></div>"
            )
        };
        let tiles: Vec<String> = tiles.iter().map(tile).collect();
        self.put(&format!("<div class=\"tiles\">{}</div>", tiles.join("\n")));
    }

    fn checks(&mut self, record: &Record) {
        let row = |check: &crate::audit::Check| {
            let (class, word) = if check.ok { ("ok", "pass") } else { ("bad", "FAIL") };
            format!(
                "<tr><td>{}</td><td class=\"{class}\">{word}</td><td>{}</td></tr>",
                escape(&check.id),
                escape(&check.detail)
            )
        };
        let rows: Vec<String> = record.checks.iter().map(row).collect();
        let note = "What the clients saw, compared with the mall's ledger, log and database.";
        self.section("Audit", note, &format!("<table>{}</table>", rows.join("\n")));
    }

    fn latency(&mut self, record: &Record) {
        let keys = "<p><span class=\"key c1\">corrected: from when a request was due</span>\
                    <span class=\"key c2\">raw: from when it was sent</span><span class=\"key c3\">accepted requests, corrected</span></p>";
        let latency = &record.latency;
        let names = ["p50", "p90", "p99", "p99.9", "p99.99"];
        let row = |(name, distribution): &(&str, &Distribution)| {
            let cells: Vec<String> = names
                .iter()
                .map(|name| format!("<td class=\"n\">{}</td>", time(distribution.quantile_ns(name) as f64)))
                .collect();
            let (count, max) = (grouped(distribution.count as f64), time(distribution.max_ns as f64));
            format!("<tr><td>{name}</td><td class=\"n\">{count}</td>{}<td class=\"n\">{max}</td></tr>", cells.join(""))
        };
        let rows: Vec<String> =
            [("corrected", &latency.corrected), ("raw", &latency.raw), ("accepted", &latency.accepted)]
                .iter()
                .map(row)
                .collect();
        let head: Vec<String> = names.iter().map(|name| format!("<th class=\"n\">{name}</th>")).collect();
        let table = format!(
            "<table><tr><td></td><th class=\"n\">answers</th>{}<th class=\"n\">max</th></tr>{}</table>",
            head.join(""),
            rows.join("\n")
        );
        let note = "Both scales are logarithmic: each further nine takes the same width.";
        self.section("Latency by percentile", note, &format!("{keys}{}{table}", charts::percentiles(record)));
        let note = "Darker cells have more answers, on a logarithmic scale. The latency is the corrected one.";
        self.section("Latency over time", note, &charts::heat(record));
    }

    fn over_time(&mut self, record: &Record) {
        self.section("Answers/s", "Every answer counts, yes or no.", &charts::answers(record));
        self.section("Reservations/s", "Buyers who got a yes and had none before.", &charts::reservations(record));
        let unknown = || "<p>Not measured: the run was too short for a look at the database.</p>".to_owned();
        let durable = charts::durable(record).unwrap_or_else(unknown);
        self.section(
            "Durable orders/s",
            "New orders in the database, from the mall's audit, until it had every one.",
            &durable,
        );
        let keys = "<p><span class=\"key c1\">units left in the ledger</span><span class=\"key c4\">orders in the database</span></p>";
        let stock = charts::stock(record).unwrap_or_else(unknown);
        self.section(
            "Stock over time",
            "From the mall's audit, until the database had every order.",
            &format!("{keys}{stock}"),
        );
    }

    fn answers(&mut self, record: &Record) {
        let total = record.figures.answers.max(1) as f64;
        let row = |(kind, count): (&String, &u64)| {
            let share = 100.0 * *count as f64 / total;
            format!(
                "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{share:.2} %</td></tr>",
                escape(kind),
                grouped(*count as f64)
            )
        };
        let kinds: Vec<String> = record.answers_by_kind.iter().map(row).collect();
        let client = &record.client;
        let busy = client
            .busy_share(record.wall_s)
            .map_or("unknown".to_owned(), |share| format!("{:.0} % of a core", 100.0 * share));
        let counts = [
            ("processor time", busy),
            ("requests sent late", grouped(client.late as f64)),
            ("requests never sent", grouped(client.dropped as f64)),
            ("retries", grouped(client.retries as f64)),
            ("requests without an answer", grouped(client.requests_lost as f64)),
            ("connections broken", grouped(client.connections_broken as f64)),
        ];
        let counts: Vec<String> = counts
            .iter()
            .map(|(name, value)| format!("<tr><td>{name}</td><td class=\"n\">{value}</td></tr>"))
            .collect();
        self.put(&format!(
            "<div class=\"pair\"><section><h2>Answers</h2><table>{}</table></section>\n<section><h2>Load client</h2><table>{}</table></section></div>",
            kinds.join("\n"),
            counts.join("\n")
        ));
    }

    fn run(&mut self, record: &Record) {
        let seed = format!("{:08x}", record.seed);
        let load = record.host.load_average.map_or("unknown".to_owned(), |load| load.to_string());
        let more = [("activity", &record.activity_id), ("run", &seed), ("load average before the run", &load)];
        let settings = record.settings.iter().map(|(name, value)| (name.as_str(), value)).chain(more);
        let rows: Vec<String> = settings
            .map(|(name, value)| format!("<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(value)))
            .collect();
        let mut body = format!("<table>{}</table>", rows.join("\n"));
        for (process, threads) in &record.cpu_ns {
            let each = |ns: u64| ns as f64 / 1e3 / record.figures.accepted.max(1) as f64;
            let sum = each(threads.values().sum());
            let parts: Vec<String> =
                threads.iter().map(|(thread, ns)| format!("{} {:.2}", escape(thread), each(*ns))).collect();
            body += &format!(
                "<p class=\"soft\">{}: {sum:.2} µs per accepted reservation ({})</p>",
                escape(process),
                parts.join(", ")
            );
        }
        self.section("This run", "", &body);
    }
}
