//! Proves speed and correctness of a sale from outside.
#![forbid(unsafe_code)]

use std::{io::Write, process::ExitCode};

mod args;
mod audit;
mod buyers;
mod catalogue;
mod cost;
mod cpu;
mod crowd;
mod evalsha;
mod load;
mod mall;
mod options;
mod progress;
mod records;
mod report;
mod sale;
mod search;

use args::{Cli, Command};
use clap::CommandFactory;
use options::Options;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(text) => text.exit(),
    };
    let ran = match command {
        Command::Sale(args) => run(&args.into()),
        Command::Fight(args) => run(&args.into()),
        Command::Evalsha(options) => evalsha::run(&options).and_then(|text| show(&text)).map(|()| true),
        Command::Cost(options) => cost::run(&options).and_then(|text| show(&text)).map(|()| true),
        Command::Catalogue(options) => catalogue::run(&options).and_then(|text| show(&text)).map(|()| true),
        Command::Search(options) => search::run(&options, show),
        Command::Hello { listen } => cost::hello::run(listen).map(|()| true),
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
    sale::run(options, |outcome| {
        show(&report::text(options, outcome))?;
        if let Some(path) = &options.json {
            let text = format!("{:#}\n", report::record(options, outcome));
            std::fs::write(path, text).map_err(|error| format!("--json {}: {error}", path.display()))?;
        }
        Ok(outcome.checks.iter().all(|check| check.ok))
    })?
}

fn show(text: &str) -> Result<(), String> {
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| format!("stdout: {error}"))
}
