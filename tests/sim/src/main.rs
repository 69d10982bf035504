//! `sim [redis [BUG]] SEED [COUNT]` runs seeds one by one and prints what came of each; with more than one, a line every
//! thousand. With `BUG`, a name of `redis::Planted`, the run has this bug.
#![forbid(unsafe_code)]

use std::{io::Write, panic::catch_unwind, process::ExitCode};

use sim::{
    mutant::Mutant,
    redis_run::{self, Planted},
    run::run,
};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let on_redis = arguments.first().is_some_and(|first| first == "redis");
    if on_redis {
        arguments.remove(0);
    }
    let planted = arguments.first().and_then(|name| Planted::from_name(name)).filter(|_| on_redis);
    if planted.is_some() {
        arguments.remove(0);
    }
    let numbers: Option<Vec<u64>> = arguments.iter().map(|argument| argument.parse().ok()).collect();
    let (first, count) = match numbers.as_deref() {
        Some([seed]) => (*seed, 1),
        Some([seed, count]) => (*seed, *count),
        Some(_) | None => {
            eprintln!("usage: sim [redis [BUG]] SEED [COUNT]");
            return ExitCode::from(2);
        }
    };
    let mut out = std::io::stdout().lock();
    let mut broken = 0_u64;
    for seed in first..first.saturating_add(count) {
        let report = catch_unwind(|| {
            if on_redis {
                format!("{:#?}", redis_run::run(seed, planted.unwrap_or_default()))
            } else {
                format!("{:#?}", run(seed, Mutant::None))
            }
        });
        broken += u64::from(report.is_err());
        let done = seed - first + 1;
        let written = match (count, report) {
            (_, Err(_)) => writeln!(out, "seed {seed} does not hold"),
            (1, Ok(report)) => writeln!(out, "seed {seed}: {report}"),
            _ if done.is_multiple_of(1_000) => writeln!(out, "{} of {done} seeds hold", done - broken),
            _ => Ok(()),
        };
        if written.is_err() {
            break;
        }
    }
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
