//! `bench judge`: whether the answers of a sale can be true, from the clients' records alone.

mod checks;
pub(crate) mod format;
mod read;
mod units;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub(crate) use checks::{Fault, Kind};
use format::Answer;
use read::History;

/// Faults of one kind that are listed; the rest are counted.
const EXAMPLES_MAX: usize = 10;

/// What is judged.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct JudgeOptions {
    /// Histories, in the format of docs/judge.md
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write the verdicts as JSON lines instead of text
    #[arg(long)]
    json: bool,
}

/// The verdict on one history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Verdict {
    pub file: String,
    pub system: Option<String>,
    pub ok: bool,
    pub stock: u64,
    pub calls: u64,
    /// Distinct orders that were granted.
    pub orders: u64,
    pub sold_out: u64,
    /// Calls without an answer; either outcome is accepted.
    pub unanswered: u64,
    /// Orders that were read back.
    pub read_back: u64,
    /// Pairs of a refused and a granted request of which the refused one was sent first, and all pairs.
    pub inversions: u64,
    pub pairs: u64,
    pub faults: BTreeMap<Kind, u64>,
    pub examples: Vec<Fault>,
}

/// Judges every file; whether all of them are free of faults.
pub(crate) fn run(options: &JudgeOptions, show: impl Fn(&str) -> Result<(), String>) -> Result<bool, String> {
    let mut ok = true;
    for path in &options.files {
        let verdict = judge(path)?;
        ok &= verdict.ok;
        show(&if options.json {
            serde_json::to_string(&verdict).map_err(|error| error.to_string())? + "\n"
        } else {
            text(&verdict)
        })?;
    }
    Ok(ok)
}

/// Judges one file.
pub(crate) fn judge(path: &Path) -> Result<Verdict, String> {
    let history = read::read(path)?;
    let found = checks::faults(&history);
    Ok(verdict(path, &history, found))
}

fn verdict(path: &Path, history: &History, found: Vec<Fault>) -> Verdict {
    let count = |answer: Answer| history.buys.iter().filter(|buy| buy.answer == answer).count() as u64;
    let distinct = |mut orders: Vec<u32>| {
        orders.sort_unstable();
        orders.dedup();
        orders.len() as u64
    };
    let mut faults = BTreeMap::new();
    let mut examples = Vec::new();
    for fault in found {
        let count = faults.entry(fault.kind).or_insert(0);
        *count += 1;
        if *count <= EXAMPLES_MAX as u64 {
            examples.push(fault);
        }
    }
    let (inversions, pairs) = checks::inversions(history);
    Verdict {
        file: path.display().to_string(),
        system: history.header.system.clone(),
        ok: faults.is_empty(),
        stock: history.header.stock,
        calls: history.buys.len() as u64,
        orders: distinct(history.buys.iter().filter_map(|buy| buy.order).collect()),
        sold_out: count(Answer::SoldOut),
        unanswered: count(Answer::None),
        read_back: distinct(history.reads.iter().map(|read| read.order).collect()),
        inversions,
        pairs,
        faults,
        examples,
    }
}

fn text(verdict: &Verdict) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").is_ok();
    let Verdict { calls, orders, stock, sold_out, unanswered, read_back, .. } = verdict;
    let word = if verdict.ok { "PASS" } else { "FAIL" };
    line(format!(
        "{word}  {}: {calls} calls, {orders} orders for {stock} units, {sold_out} sold out, {unanswered} unanswered, {read_back} orders read back",
        verdict.file
    ));
    line(match verdict.pairs {
        0 => "fairness: nobody was refused while another was granted".to_owned(),
        pairs => {
            let share = 100.0 * verdict.inversions as f64 / pairs as f64;
            format!("fairness: in {share:.2} % of {pairs} pairs the refused request was sent before the granted one")
        }
    });
    for kind in Kind::ALL {
        let Some(count) = verdict.faults.get(&kind) else { continue };
        line(format!("{}: {count}", name(kind)));
        for fault in verdict.examples.iter().filter(|fault| fault.kind == kind) {
            line(format!("    line {}: {}", fault.line, fault.detail));
        }
    }
    out
}

/// The name of a kind, as JSON has it.
pub(crate) fn name(kind: Kind) -> String {
    serde_json::to_value(kind).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
