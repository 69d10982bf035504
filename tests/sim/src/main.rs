//! `sim SEED [COUNT]` runs seeds one by one and says what came of each.
#![forbid(unsafe_code)]

use std::{io::Write, process::ExitCode};

use sim::run::{Mutant, run};

fn main() -> ExitCode {
    let numbers: Option<Vec<u64>> = std::env::args().skip(1).map(|argument| argument.parse().ok()).collect();
    let (seed, count) = match numbers.as_deref() {
        Some([seed]) => (*seed, 1),
        Some([seed, count]) => (*seed, *count),
        Some(_) | None => {
            eprintln!("usage: sim SEED [COUNT]");
            return ExitCode::from(2);
        }
    };
    let mut out = std::io::stdout().lock();
    for seed in seed..seed.saturating_add(count) {
        let report = run(seed, Mutant::None);
        if writeln!(out, "seed {seed}: {report:#?}").is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}
