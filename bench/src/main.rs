//! Proves speed and correctness of a sale from outside.
#![forbid(unsafe_code)]

use std::{io::Write, process::ExitCode};

mod args;
mod audit;
mod buyers;
mod cost;
mod cpu;
mod crowd;
mod evalsha;
mod load;
mod mall;
mod progress;
mod records;
mod report;
mod sale;

use args::{Command, Options};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let ran = match args::parse(&args, &|name| std::env::var(name).ok()) {
        Ok(Command::Usage) => show(args::USAGE).map(|()| true),
        Ok(Command::Run(options)) => run(&options),
        Ok(Command::Evalsha(options)) => evalsha::run(&options).and_then(|text| show(&text)).map(|()| true),
        Ok(Command::Cost(options)) => cost::run(&options).and_then(|text| show(&text)).map(|()| true),
        Ok(Command::Hello(listen)) => cost::hello::run(listen).map(|()| true),
        Err(fault) => Err(fault),
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
