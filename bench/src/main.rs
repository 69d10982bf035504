//! Proves speed and correctness of a sale from outside.
#![forbid(unsafe_code)]

use std::{io::Write, process::ExitCode};

mod args;
mod arrivals;
mod audit;
mod buyers;
#[cfg(feature = "search")]
mod catalogue;
mod compare;
#[cfg(feature = "figures")]
mod cost;
mod cpu;
mod crowd;
mod history;
mod interrupt;
mod judge;
mod load;
mod mall;
mod options;
mod prepare;
mod progress;
mod record;
mod records;
mod report;
mod sale;
#[cfg(feature = "search")]
mod search;
mod secrets;
mod series;
mod thresholds;
#[cfg(feature = "versus")]
mod versus;

use args::{Cli, Command};
use clap::CommandFactory;
use sale::Options;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(text) => text.exit(),
    };
    let ran = match command {
        Command::Sale(args) => return exit(run(&args.into())),
        Command::Fight(args) => return exit(run(&args.into())),
        #[cfg(feature = "figures")]
        Command::Evalsha(options) => cost::evalsha::run(&options).and_then(|text| show(&text)).map(|()| true),
        #[cfg(feature = "figures")]
        Command::Cost(options) => cost::run(&options).and_then(|text| show(&text)).map(|()| true),
        #[cfg(feature = "search")]
        Command::Catalogue(options) => catalogue::run(&options).and_then(|text| show(&text)).map(|()| true),
        #[cfg(feature = "search")]
        Command::Search(options) => search::run(&options, show),
        #[cfg(feature = "figures")]
        Command::Hello { listen } => cost::hello::run(listen).map(|()| true),
        Command::Judge(options) => judge::run(&options, show),
        Command::Report(options) => report::run(&options, show),
        Command::Compare(options) => compare::run(&options, show),
        #[cfg(feature = "versus")]
        Command::Versus(options) => versus::run(&options, show),
        Command::Prepare(options) => prepare::run(&options).and_then(|text| show(&text)).map(|()| true),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "bench", &mut std::io::stdout());
            Ok(true)
        }
    };
    exit(ran.map(|passed| u8::from(!passed)))
}

fn exit(status: Result<u8, String>) -> ExitCode {
    match status {
        Ok(status) => ExitCode::from(status),
        Err(fault) => {
            progress::note(&format!("bench: {fault}"));
            ExitCode::from(2)
        }
    }
}

/// Runs a sale, and writes what was measured; the exit status.
fn run(options: &Options) -> Result<u8, String> {
    let sold = sale::run(options)?;
    let record = &sold.record;
    let shown = show(&report::text(record));
    let written = report::write(record, options.json.as_deref(), options.html.as_deref(), options.hgrm.as_deref());
    let faults: Vec<String> = [shown.err(), written.err(), sold.fault.clone()].into_iter().flatten().collect();
    if faults.is_empty() { Ok(sold.status()) } else { Err(faults.join("; ")) }
}

fn show(text: &str) -> Result<(), String> {
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| format!("stdout: {error}"))
}
