//! `bench compare`: two sets of runs, pair by pair.

use std::{fmt::Write as _, path::PathBuf};

use crate::record::{self, Record};

/// Probability that the true median lies outside the interval.
const OUTSIDE: f64 = 0.05;
const RECORDS_MAX: usize = 1_000;

/// What is compared.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct CompareOptions {
    /// Records of one side, in the order in which they were made: a file, several with commas between them, or a directory
    #[arg(value_name = "A")]
    a: String,
    /// Records of the other side; its first run is compared with the first one of A, and so on
    #[arg(value_name = "B")]
    b: String,
}

/// A name, whether a larger value is better, and the value in a run if it was measured.
type Figure = (&'static str, bool, fn(&Record) -> Option<f64>);

const FIGURES: [Figure; 7] = [
    ("answers/s", true, |record| Some(record.figures.answers_per_s)),
    ("reservations/s", true, |record| Some(record.figures.reservations_per_s)),
    ("durable orders/s", true, |record| record.figures.durable_orders_per_s),
    ("p50", false, |record| Some(record.latency.corrected.quantile_ns("p50") as f64)),
    ("p99", false, |record| Some(record.latency.corrected.quantile_ns("p99") as f64)),
    ("p99.9", false, |record| Some(record.latency.corrected.quantile_ns("p99.9") as f64)),
    ("cpu/accepted", false, |record| {
        let ns: u64 = record.cpu_ns.values().flat_map(|threads| threads.values()).sum();
        (ns > 0 && record.figures.accepted > 0).then(|| ns as f64 / record.figures.accepted as f64)
    }),
];

/// Prints the table; `false` if the whole interval of a figure is on the worse side for B.
pub(crate) fn run(options: &CompareOptions, show: impl Fn(&str) -> Result<(), String>) -> Result<bool, String> {
    let (a, b) = (read(&options.a)?, read(&options.b)?);
    if a.len() != b.len() {
        return Err(format!("{} runs of A and {} of B: runs are compared in pairs", a.len(), b.len()));
    }
    for (a, b) in a.iter().zip(&b) {
        let names =
            a.settings.keys().chain(b.settings.keys()).filter(|name| !matches!(name.as_str(), "gateways" | "note"));
        let same = |name: &String| a.settings.get(name) == b.settings.get(name);
        if let Some(name) = names.into_iter().find(|name| !same(name)) {
            let value = |record: &Record| record.settings.get(name).cloned().unwrap_or_else(|| "absent".to_owned());
            return Err(format!("the runs differ in {name}: {} and {}", value(a), value(b)));
        }
        if (&a.command, &a.host.cpu, a.host.cores) != (&b.command, &b.host.cpu, b.host.cores) {
            return Err("the runs are of different commands or machines".to_owned());
        }
    }
    let mut out = format!("{:<17} {:>8}  {:<18} {}\n", "B / A", "median", "95 % interval", "verdict");
    let mut ok = true;
    for (name, more_is_better, figure) in FIGURES {
        let ratios: Option<Vec<f64>> = a.iter().zip(&b).map(|(a, b)| Some(figure(b)? / figure(a)?)).collect();
        let Some(ratios) = ratios.filter(|ratios| ratios.iter().all(|ratio| ratio.is_finite())) else { continue };
        let compared = Compared::new(ratios);
        let verdict = compared.verdict(more_is_better);
        ok &= verdict != "worse";
        writeln!(out, "{name:<17} {:>8.3}  {:<18} {verdict}", compared.median, compared.interval_text())
            .map_err(|error| error.to_string())?;
    }
    show(&out)?;
    Ok(ok)
}

fn read(list: &str) -> Result<Vec<Record>, String> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for part in list.split(',') {
        let path = PathBuf::from(part);
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).map_err(|error| format!("{part}: {error}"))?;
            let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
            files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
            files.sort_unstable();
            paths.extend(files);
        } else {
            paths.push(path);
        }
    }
    if paths.is_empty() || paths.len() > RECORDS_MAX {
        return Err(format!("{list}: {} records; expected 1 to {RECORDS_MAX}", paths.len()));
    }
    let read = |path: &PathBuf| {
        let record = record::read(path)?;
        if record.interrupted {
            return Err(format!("{}: the run was interrupted: its figures can't be compared", path.display()));
        }
        Ok(record)
    };
    paths.iter().map(read).collect()
}

/// Ratios of pairs.
struct Compared {
    median: f64,
    /// From the sign test, which assumes nothing about the distribution; `None` if there are too few pairs.
    interval: Option<(f64, f64)>,
}

impl Compared {
    fn new(mut ratios: Vec<f64>) -> Self {
        ratios.sort_unstable_by(f64::total_cmp);
        let count = ratios.len();
        let median = (ratios[(count - 1) / 2] + ratios[count / 2]) / 2.0;
        // The most values that can be left out at each end: their binomial tail stays below the chance.
        let (mut left_out, mut tail, mut term) = (0, 0.0, 0.5_f64.powf(count as f64));
        while left_out < count / 2 && tail + term <= OUTSIDE / 2.0 {
            tail += term;
            term *= (count - left_out) as f64 / (left_out + 1) as f64;
            left_out += 1;
        }
        let interval = (left_out > 0).then(|| (ratios[left_out - 1], ratios[count - left_out]));
        Self { median, interval }
    }

    fn interval_text(&self) -> String {
        self.interval.map_or("-".to_owned(), |(from, to)| format!("{from:.3} to {to:.3}"))
    }

    fn verdict(&self, more_is_better: bool) -> &'static str {
        match self.interval {
            None => "too few pairs: 6 or more are needed",
            Some((from, to)) if from <= 1.0 && to >= 1.0 => "no difference shown",
            Some((from, _)) if (from > 1.0) == more_is_better => "better",
            Some(_) => "worse",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_the_sign_test() {
        let check = |count: u32, expect: Option<(f64, f64)>| {
            let found = Compared::new((1..=count).map(f64::from).collect()).interval;
            assert_eq!(found, expect, "{count}");
        };
        // The ranks of the tables for 95 %.
        check(1, None);
        check(5, None);
        check(6, Some((1.0, 6.0)));
        check(9, Some((2.0, 8.0)));
        check(10, Some((2.0, 9.0)));
        check(20, Some((6.0, 15.0)));
        check(1_000, Some((469.0, 532.0)));
    }

    #[test]
    fn verdicts() {
        let verdict = |ratios: &[f64], more_is_better| Compared::new(ratios.to_vec()).verdict(more_is_better);
        assert_eq!(verdict(&[1.1; 6], true), "better");
        assert_eq!(verdict(&[1.1; 6], false), "worse");
        assert_eq!(verdict(&[0.9; 6], true), "worse");
        assert_eq!(verdict(&[0.9, 1.1, 1.2, 1.3, 1.4, 1.5], true), "no difference shown");
        assert_eq!(verdict(&[2.0; 5], true), "too few pairs: 6 or more are needed");
    }
}
