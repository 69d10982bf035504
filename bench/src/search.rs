//! Searches at a constant rate, whatever the mall does, and how long they take.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::value_parser;
use hdrhistogram::Histogram;
use search::generator;
use serde::Deserialize;

use crate::{
    load::{self, Answer, Next, Ran, Script, Settings, Times},
    options::{base_url, duration, rate, resolve},
};

/// Bytes of a file of queries.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Products of the generated catalogue that generated queries are about.
const GENERATED_PRODUCTS: usize = 2_000;
/// Latencies are kept from 1 us to 10 minutes, to three digits, in nanoseconds.
const LATENCY_NS: (u64, u64, u8) = (1_000, 600_000_000_000, 3);
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
/// A request that is sent later than this after it was due counts as late.
const LATE_NS: u64 = 1_000_000;
/// How long the first search may take, which shows whether there is a mall.
const FIRST_MAX: Duration = Duration::from_secs(10);

/// What is searched for, and how often.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct SearchOptions {
    /// Base URL of order-core
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081", value_parser = base_url)]
    order_core: String,
    /// File of queries, one a line, in UTF-8 [default: generated ones]
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Seed of the generated queries
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Searches a second
    #[arg(long, value_name = "N", default_value = "200", value_parser = rate)]
    rate: f64,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Connections that are kept alive
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Ask for suggestions of what the queries begin with, instead of searching
    #[arg(long)]
    suggest: bool,
    /// Ask for facets too
    #[arg(long, conflicts_with = "suggest")]
    facets: bool,
}

/// Searches and reports; whether every search was answered with a page.
pub(crate) fn run(options: &SearchOptions, report: impl FnOnce(&str) -> Result<(), String>) -> Result<bool, String> {
    let queries = match &options.queries {
        Some(path) => read(path)?,
        None => generated(options.seed),
    };
    let requests = options.rate * options.duration.as_secs_f64();
    if !(1.0..f64::from(u32::MAX)).contains(&requests) {
        return Err(format!("--rate and --duration make {requests} searches; expected 1 to {}", u32::MAX));
    }
    let paths: Vec<String> = queries.iter().map(|query| path(options, query)).collect();
    try_first(&options.order_core, &paths[0])?;
    let address = resolve(&options.order_core)?;
    let host = options.order_core.trim_start_matches("http://");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and u32::MAX")]
    let mut searches = Searches::new(host, &paths, options.rate, requests as u32)?;
    let connections = usize::try_from(options.connections).unwrap_or(usize::MAX);
    let ran = load::run(Settings::new(vec![address], connections), &mut searches)
        .map_err(|error| format!("order-core {error}"))?;
    report(&searches.text(options, queries.len(), &ran))?;
    Ok(searches.is_good() && ran.not_http == 0)
}

fn read(path: &Path) -> Result<Vec<String>, String> {
    let fault = |what: String| format!("--queries {}: {what}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| fault(error.to_string()))?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| fault(error.to_string()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(fault(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    let mut queries = Vec::new();
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = str::from_utf8(line).map_err(|_| fault(format!("line {} is not UTF-8", at + 1)))?.trim();
        if !line.is_empty() {
            queries.push(line.to_owned());
        }
    }
    if queries.is_empty() { Err(fault("there is no query in it".to_owned())) } else { Ok(queries) }
}

fn generated(seed: u64) -> Vec<String> {
    let items = generator::products(seed, GENERATED_PRODUCTS);
    generator::queries(seed, &items).into_iter().map(|query| query.text).collect()
}

fn path(options: &SearchOptions, query: &str) -> String {
    let typed: String = query.chars().take(query.chars().count().div_ceil(2)).collect();
    let text = if options.suggest { &typed } else { query };
    let words: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    match (options.suggest, options.facets) {
        (true, _) => format!("/api/v1/search/suggest?q={words}"),
        (false, true) => format!("/api/v1/search?q={words}&facets=true"),
        (false, false) => format!("/api/v1/search?q={words}"),
    }
}

/// One search before the others: a wrong address is one line instead of a table of errors.
fn try_first(base: &str, path: &str) -> Result<(), String> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(FIRST_MAX));
    let agent: ureq::Agent = config.build().into();
    let mut answer = agent.get(format!("{base}{path}")).call().map_err(|error| format!("{base}: {error}"))?;
    let (status, body) = (answer.status().as_u16(), answer.body_mut().read_to_vec().unwrap_or_default());
    let reason = || {
        let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        problem.and_then(|problem| Some(format!(": {}", problem["detail"].as_str()?))).unwrap_or_default()
    };
    if status == 200 && serde_json::from_slice::<Page>(&body).is_err() {
        return Err(format!("{base}: the answer to a search is not a page of results; is this order-core?"));
    }
    // What a single query has against it is counted, so that a file may have such queries.
    if matches!(status, 200 | 422) {
        Ok(())
    } else {
        Err(format!("{base}: a search is answered with {status}{}", reason()))
    }
}

/// A page of results, or suggestions.
#[derive(Deserialize)]
struct Page {
    items: Vec<serde::de::IgnoredAny>,
    /// Suggestions have none.
    total: Option<u64>,
}

struct Searches {
    requests: Vec<Vec<u8>>,
    between_ns: f64,
    count: u32,
    next: u32,
    answered: u32,
    late: u64,
    lost: u64,
    /// Answers of status 200 that are no page.
    strange: u64,
    statuses: BTreeMap<u16, u64>,
    /// From when a search was due to its answer.
    latency: Histogram<u64>,
    /// From when it was sent.
    service: Histogram<u64>,
    results: Histogram<u64>,
    empty: u64,
}

impl Searches {
    fn new(host: &str, paths: &[String], rate: f64, count: u32) -> Result<Self, String> {
        let histogram = || {
            let (low, high, digits) = LATENCY_NS;
            Histogram::new_with_bounds(low, high, digits).map_err(|error| error.to_string())
        };
        let request = |path: &String| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
        Ok(Self {
            requests: paths.iter().map(request).collect(),
            between_ns: 1e9 / rate,
            count,
            next: 0,
            answered: 0,
            late: 0,
            lost: 0,
            strange: 0,
            statuses: BTreeMap::new(),
            latency: histogram()?,
            service: histogram()?,
            results: Histogram::new(3).map_err(|error| error.to_string())?,
            empty: 0,
        })
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time within the run")]
    fn due_ns(&self, number: u32) -> u64 {
        (f64::from(number) * self.between_ns) as u64
    }

    fn is_good(&self) -> bool {
        self.lost == 0 && self.strange == 0 && self.statuses.keys().all(|status| *status == 200)
    }

    fn text(&self, options: &SearchOptions, queries: usize, ran: &Ran) -> String {
        let mut out = String::new();
        let mut line = |text: String| writeln!(out, "{text}").is_ok();
        let what = if options.suggest { "suggestions" } else { "searches" };
        let (rate, connections) = (options.rate, options.connections);
        line(format!("search: {queries} queries, {} {what} at {rate} a second, {connections} connections", self.count));
        let per_s = f64::from(self.answered) / ran.wall.as_secs_f64();
        line(format!("answers/s         {per_s:>10.0}  ({} in {:.2} s)", self.answered, ran.wall.as_secs_f64()));
        let quantiles = |histogram: &Histogram<u64>| {
            let ms = |nanoseconds: u64| Duration::from_nanos(nanoseconds).as_secs_f64() * 1e3;
            let quantile = |(name, at): &(&str, f64)| format!("{name} {:.2}", ms(histogram.value_at_quantile(*at)));
            let parts: Vec<String> = QUANTILES.iter().map(quantile).collect();
            format!("{}, max {:.2} ms", parts.join(", "), ms(histogram.max()))
        };
        line(format!("latency           {}  (from when a search was due)", quantiles(&self.latency)));
        line(format!("service time      {}  (from when it was sent)", quantiles(&self.service)));
        line(format!("sent late         {:>10}  (more than 1 ms after it was due)", self.late));
        let results = |at: f64| self.results.value_at_quantile(at);
        line(format!(
            "results           {:>10}  median, {} at p90, {} at most, {} without any",
            results(0.5),
            results(0.9),
            self.results.max(),
            self.empty
        ));
        let statuses: Vec<String> = self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        line(format!("status            {}", statuses.join(", ")));
        if self.lost + self.strange + ran.not_http > 0 {
            let (lost, strange) = (self.lost, self.strange + ran.not_http);
            line(format!("without an answer {lost:>10}, not a page of results {strange}"));
        }
        out
    }
}

impl Script for Searches {
    fn next(&mut self, now_ns: u64) -> Next {
        if self.next == self.count {
            let open = u64::from(self.next) - u64::from(self.answered) - self.lost;
            return if open == 0 { Next::Done } else { Next::Idle };
        }
        let intended_ns = self.due_ns(self.next);
        if intended_ns > now_ns {
            return Next::Wait { until_ns: intended_ns };
        }
        let job = self.next;
        self.next += 1;
        Next::Ask { job, intended_ns }
    }

    fn write(&self, job: u32, out: &mut Vec<u8>) {
        let at = usize::try_from(job).unwrap_or_default() % self.requests.len();
        out.extend_from_slice(&self.requests[at]);
    }

    fn answered(&mut self, _job: u32, times: Times, answer: &Answer<'_>) {
        self.answered += 1;
        *self.statuses.entry(answer.status).or_default() += 1;
        self.late += u64::from(times.sent_ns > times.intended_ns + LATE_NS);
        self.latency.saturating_record(times.answered_ns.saturating_sub(times.intended_ns));
        self.service.saturating_record(times.answered_ns.saturating_sub(times.sent_ns));
        if answer.status != 200 {
            return;
        }
        match serde_json::from_slice::<Page>(answer.body) {
            Ok(page) => {
                let shown = u64::try_from(page.items.len()).unwrap_or(u64::MAX);
                let found = page.total.unwrap_or(shown);
                self.results.saturating_record(found);
                self.empty += u64::from(found == 0);
            }
            Err(_) => self.strange += 1,
        }
    }

    fn lost(&mut self, _job: u32, times: Times) {
        self.lost += 1;
        // A search without an answer is not a fast one.
        self.latency.saturating_record(times.answered_ns.saturating_sub(times.intended_ns));
    }

    fn tick(&mut self, _now_ns: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searches(count: u32) -> Searches {
        Searches::new("h", &["/a".to_owned(), "/b".to_owned()], 100.0, count).unwrap()
    }

    fn answered(
        searches: &mut Searches,
        (intended_ns, sent_ns, answered_ns): (u64, u64, u64),
        status: u16,
        body: &str,
    ) {
        let answer = Answer { status, body: body.as_bytes(), retry_after_s: None };
        searches.answered(0, Times { intended_ns, sent_ns, answered_ns }, &answer);
    }

    #[test]
    fn searches_are_due_at_the_rate_whatever_becomes_of_them() {
        let mut searches = searches(3);
        assert!(matches!(searches.next(0), Next::Ask { job: 0, intended_ns: 0 }));
        assert!(matches!(searches.next(1), Next::Wait { until_ns: 10_000_000 }));
        // The mall stopped for a second: the requests after it are late by what is left of that.
        assert!(matches!(searches.next(1_000_000_000), Next::Ask { job: 1, intended_ns: 10_000_000 }));
        assert!(matches!(searches.next(1_000_000_000), Next::Ask { job: 2, intended_ns: 20_000_000 }));
        assert!(matches!(searches.next(1_000_000_001), Next::Idle));
        let page = r#"{"items":[1,2],"total":7,"next_cursor":null}"#;
        answered(&mut searches, (10_000_000, 1_000_000_000, 1_002_000_000), 200, page);
        let near = |histogram: &Histogram<u64>, ms: u64| histogram.max().abs_diff(ms * 1_000_000) < ms * 2_000;
        assert!(near(&searches.latency, 992) && near(&searches.service, 2), "{}", searches.latency.max());
        assert_eq!((searches.late, searches.results.max(), searches.is_good()), (1, 7, true));
        searches.lost(2, Times { intended_ns: 20_000_000, sent_ns: 20_000_000, answered_ns: 30_000_000 });
        assert!(!searches.is_good());
        answered(&mut searches, (0, 0, 1), 503, "");
        assert!(matches!(searches.next(2_000_000_000), Next::Done));
    }

    #[test]
    fn answers_that_are_no_pages_are_faults() {
        let mut searches = searches(2);
        answered(&mut searches, (0, 0, 1), 200, r#"{"items":[]}"#);
        assert_eq!((searches.is_good(), searches.empty), (true, 1), "suggestions have no total");
        answered(&mut searches, (0, 0, 1), 200, "<html>");
        assert_eq!((searches.is_good(), searches.strange), (false, 1));
    }

    #[test]
    fn queries_are_read_from_a_file() {
        let directory = std::env::temp_dir().join(format!("bench-search-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("queries");
        let fault = |part: &str| {
            let error = read(&file).unwrap_err();
            assert!(error.contains(part) && error.contains("queries") && !error.contains('\n'), "{error}");
        };
        fault("No such file");
        std::fs::write(&file, "\n  \n").unwrap();
        fault("there is no query in it");
        std::fs::write(&file, b"a\n\xff\n").unwrap();
        fault("line 2 is not UTF-8");
        std::fs::write(&file, "手机 壳\r\n\nipad\n").unwrap();
        assert_eq!(read(&file).unwrap(), ["手机 壳", "ipad"]);
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(generated(1).len() >= 80);
    }
}
