//! How long searches of the embedded index take, and what it needs.
//!
//! `cargo bench -p search` (or with `--profile quick`); products and searches a second can be given:
//! `-- 10000,100000 200`. Searches are sent at a steady rate whether or not earlier ones have been answered, so a slow one
//! delays the ones after it, and their waiting counts.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may end so, and prints what it measured")]

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use contract::money::Cents;
use search::{Analyzer, Change, Embedded, SearchIndex, SearchRequest, Sort, generator};

const SEED: u64 = 1;
const WARM_UP: usize = 200;
const MEASURED: usize = 4_000;
const THREADS: usize = 2;
/// Changes that are written at once and how often, while searches run.
const BATCH: usize = 50;
const BATCH_EVERY: Duration = Duration::from_millis(500);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let sizes = arguments.first().map_or("10000,100000", String::as_str);
    let rate: u32 = arguments.get(1).map_or(200, |rate| rate.parse().unwrap());
    for size in sizes.split(',') {
        measure(size.parse().unwrap(), rate);
    }
}

fn measure(size: usize, rate: u32) {
    let dir = tempfile::tempdir().unwrap();
    let items = generator::products(SEED, size);
    let before = resident_kib();
    let index = Embedded::open(dir.path(), Analyzer::shared().clone()).unwrap();
    let (_, built) = timed(|| {
        let mut rebuild = index.rebuild().unwrap();
        for chunk in items.chunks(5_000) {
            rebuild.add(chunk.iter().map(|item| item.product.clone()).collect()).unwrap();
        }
        rebuild.finish(None).unwrap();
    });
    let needs = index.size().unwrap();
    drop(index);
    let (index, opened) = timed(|| Embedded::open(dir.path(), Analyzer::shared().clone()).unwrap());
    println!(
        "{size} products: built in {built:.1?}, opened in {opened:.1?}; {} MiB on disk, {} MiB in memory by its own count, \
         resident {} MiB more",
        needs.disk_bytes >> 20,
        needs.memory_bytes >> 20,
        resident_kib().saturating_sub(before) >> 10,
    );
    let queries: Vec<String> = generator::queries(SEED, &items).into_iter().map(|query| query.text).collect();
    let search = |at: usize| {
        let sorts = [Sort::Relevance, Sort::Relevance, Sort::Relevance, Sort::PriceAsc, Sort::Sales];
        let request = SearchRequest {
            facets: true,
            sort: sorts[at % sorts.len()],
            price_bounds_cents: [5_000, 20_000, 100_000].map(Cents::new).to_vec(),
            ..SearchRequest::new(&queries[at % queries.len()])
        };
        index.search(&request).unwrap();
    };
    let typed = |at: usize| -> String {
        let query = &queries[at % queries.len()];
        query.chars().take(1 + at / queries.len() % query.chars().count()).collect()
    };
    let suggest = |at: usize| drop(index.suggest(&typed(at), 10).unwrap());
    report("search, one after the other", closed(&search));
    report("suggest, one after the other", closed(&suggest));
    report(&format!("search, {rate} a second"), open(&search, rate));
    let stop = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for version in 2_i64.. {
                let start = usize::try_from(version).unwrap() * BATCH % (size - BATCH);
                let changes = items[start..start + BATCH]
                    .iter()
                    .map(|item| Change::Put(Box::new(search::Product { version, ..item.product.clone() })));
                index.apply(&changes.collect::<Vec<_>>(), None).unwrap();
                if stop.load(Ordering::Relaxed) > 0 {
                    return;
                }
                std::thread::sleep(BATCH_EVERY);
            }
        });
        report(&format!("search, {rate} a second, with 100 changes a second"), open(&search, rate));
        stop.store(1, Ordering::Relaxed);
    });
    let extra =
        ["手", "a", "nothing matches xyz 手机", "华为手机 红色 智能 防摔 适用 小米 超薄 磁吸"].map(str::to_owned);
    println!("  the slowest searches");
    slowest(queries.iter().chain(&extra).cloned(), |q| {
        index.search(&SearchRequest { facets: true, ..SearchRequest::new(q) }).unwrap();
    });
    println!("  the slowest suggestions");
    slowest((0..MEASURED).map(typed), |q| drop(index.suggest(q, 10).unwrap()));
}

/// What takes longest of these.
fn slowest(queries: impl Iterator<Item = String>, ask: impl Fn(&str)) {
    let time = |q: String| ((0..3).map(|_| timed(|| ask(&q)).1).min().unwrap(), q);
    let mut times: Vec<(Duration, String)> = queries.collect::<BTreeSet<_>>().into_iter().map(time).collect();
    times.sort();
    for (time, query) in times.iter().rev().take(12) {
        println!("    {query:?}: {time:.1?}");
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

fn closed(work: &impl Fn(usize)) -> Vec<Duration> {
    (0..WARM_UP).for_each(work);
    let before = processor_time();
    let times = (0..MEASURED).map(|at| timed(|| work(at)).1).collect();
    let mean = (processor_time() - before) / u32::try_from(MEASURED).unwrap();
    println!("  processor time of each of the next: {mean:.2?} in the mean");
    times
}

/// What this process has had of the processors, in steps of 10 ms.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11);
    let ticks: u64 = fields.take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// From when each search was due to when it was answered.
fn open(work: &(impl Fn(usize) + Sync), rate: u32) -> Vec<Duration> {
    let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= MEASURED {
                        return;
                    }
                    let due = start + Duration::from_secs(1) * u32::try_from(at).unwrap() / rate;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    work(at);
                    times.lock().unwrap().push(due.elapsed());
                }
            });
        }
    });
    times.into_inner().unwrap()
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "counts"
        )]
        let at = (times.len() as f64 * percent / 100.0) as usize;
        times[at.min(times.len() - 1)]
    };
    println!("  {what}: p50 {:.2?}, p99 {:.2?}, p99.9 {:.2?}", at(50.0), at(99.0), at(99.9));
}

/// What the process has in memory.
fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
