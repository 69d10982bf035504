//! `bench versus`: this mall and other ways to sell, in turns on this machine: what an answer costs, how many there are, how long they take, and what
//! is lost when server and Redis are killed in the middle of a sale.

mod load;
mod system;
mod table;

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use clap::value_parser;
use serde::Serialize;

use crate::{
    buyers::random_run,
    judge::Kind,
    options::rate,
    progress::note,
    record::{self, Host},
};
use load::Sale;
use system::{Kind as Way, System};

/// What is compared, and how.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct VersusOptions {
    /// The program `mall`, with the runtimes that are compared
    #[arg(long, value_name = "FILE")]
    mall: PathBuf,
    /// The program `baseline`
    #[arg(long, value_name = "FILE")]
    baseline: PathBuf,
    /// The directory bench/baselines/nginx
    #[arg(long, value_name = "DIR", default_value = "bench/baselines/nginx")]
    nginx: PathBuf,
    /// Systems, in this order [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_enum)]
    only: Vec<Way>,
    /// Rounds; each asks every system every question
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Requests of a cell
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = value_parser!(u32).range(100..=1_000_000))]
    requests: u32,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Requests a second of the open model
    #[arg(long, value_name = "N", default_value = "500", value_parser = rate)]
    rate: f64,
    /// Requests a second of the sale with kills
    #[arg(long, value_name = "N", default_value = "2500", value_parser = rate)]
    kill_rate: f64,
    /// Write all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one HTML page to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Directory in which the histories of the sales with kills are kept
    #[arg(long, value_name = "DIR")]
    histories: Option<PathBuf>,
}

/// The figures of one system in one round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
struct Cells {
    /// Processor time of the server and its stores for one accepted answer, in microseconds.
    accepted_cpu_us: f64,
    accepted_per_s: f64,
    sold_out_cpu_us: f64,
    sold_out_per_s: f64,
    /// Corrected, of the open model.
    open_p50_ms: f64,
    open_p99_ms: f64,
}

/// What a sale with kills came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct AfterKills {
    accepted: u64,
    stock: u64,
    unanswered: u64,
    faults: BTreeMap<Kind, u64>,
    /// What was killed, in order.
    killed: Vec<&'static str>,
    /// Why there is no verdict.
    failed: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    system: &'static str,
    description: &'static str,
    rounds: Vec<Cells>,
    after_kills: Option<AfterKills>,
}

#[derive(Debug, Serialize)]
struct Versus {
    version: u32,
    started_at: String,
    host: Host,
    commit: Option<String>,
    requests: u32,
    connections: u32,
    rate_per_s: f64,
    kill_rate_per_s: f64,
    took_s: f64,
    rows: Vec<Row>,
    skipped: Vec<String>,
}

/// Runs everything; `false` if this mall has a fault. What the others do is reported, not judged.
pub(crate) fn run(options: &VersusOptions, show: impl Fn(&str) -> Result<(), String>) -> Result<bool, String> {
    let began = Instant::now();
    let ways = if options.only.is_empty() { Way::ALL.to_vec() } else { options.only.clone() };
    let mut versus = Versus {
        version: 1,
        started_at: table::now(),
        host: Host::this(),
        commit: record::commit(),
        requests: options.requests,
        connections: options.connections,
        rate_per_s: options.rate,
        kill_rate_per_s: options.kill_rate,
        took_s: 0.0,
        rows: Vec::new(),
        skipped: Vec::new(),
    };
    let mut systems = Vec::new();
    for way in ways {
        match System::start(way, options)? {
            Some(system) => {
                versus.rows.push(Row {
                    system: way.name(),
                    description: way.description(),
                    rounds: Vec::new(),
                    after_kills: None,
                });
                systems.push(system);
            }
            None => versus.skipped.push(format!("{}: a server that it needs is not installed", way.name())),
        }
    }
    for round in 1..=options.rounds {
        for (system, row) in systems.iter().zip(&mut versus.rows) {
            note(&format!("round {round}: {}", row.system));
            row.rounds.push(cells(options, system).map_err(|fault| format!("{}: {fault}", row.system))?);
        }
    }
    for (system, row) in systems.iter_mut().zip(&mut versus.rows) {
        note(&format!("kills: {}", row.system));
        row.after_kills = Some(load::sale_with_kills(options, system)?);
    }
    drop(systems);
    versus.took_s = began.elapsed().as_secs_f64();
    show(&table::text(&versus))?;
    let put = |path: &PathBuf, text: String| {
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    if let Some(path) = &options.json {
        put(path, serde_json::to_string(&versus).map_err(|error| error.to_string())? + "\n")?;
    }
    if let Some(path) = &options.html {
        put(path, table::html(&versus))?;
    }
    let mall_is_good = |row: &Row| {
        let good = |kills: &AfterKills| kills.faults.is_empty() && kills.failed.is_none();
        !row.system.starts_with("mall") || row.after_kills.as_ref().is_some_and(good)
    };
    Ok(versus.rows.iter().all(mall_is_good))
}

/// One round of one system.
fn cells(options: &VersusOptions, system: &System) -> Result<Cells, String> {
    let per_answer = |ns: u64, answers: u64| ns as f64 / 1e3 / answers.max(1) as f64;
    let sale = Sale::open(system, random_run()?, options.requests)?;
    let accepted = sale.closed(options, 0..options.requests)?;
    let refused = sale.closed(options, options.requests..2 * options.requests)?;
    if accepted.accepted != u64::from(options.requests) || refused.accepted != 0 {
        return Err(format!("{} and {} orders for {} units", accepted.accepted, refused.accepted, options.requests));
    }
    // Half of the requests of the open model are accepted.
    let sale = Sale::open(system, random_run()?, options.requests.div_ceil(2))?;
    let open = sale.open_model(options, options.requests)?;
    Ok(Cells {
        accepted_cpu_us: per_answer(accepted.cpu_ns, accepted.answers),
        accepted_per_s: accepted.per_s,
        sold_out_cpu_us: per_answer(refused.cpu_ns, refused.answers),
        sold_out_per_s: refused.per_s,
        open_p50_ms: open.p50_ms,
        open_p99_ms: open.p99_ms,
    })
}
