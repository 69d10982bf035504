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
        Command::Sale(args) => run(&args.into()),
        Command::Fight(args) => run(&args.into()),
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
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(fault) => {
            progress::note(&format!("bench: {fault}"));
            ExitCode::from(2)
        }
    }
}

/// Whether every check passed.
fn run(options: &Options) -> Result<bool, String> {
    let record = sale::run(options)?;
    show(&report::text(&record))?;
    report::write(&record, options.json.as_deref(), options.html.as_deref(), options.hgrm.as_deref())?;
    Ok(record.ok)
}

fn show(text: &str) -> Result<(), String> {
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| format!("stdout: {error}"))
}
