//! Reports of a record: text for a terminal, JSON, Markdown, a page of HTML, the format of HdrHistogram.

mod charts;
mod hgrm;
mod html;
mod markdown;
mod svg;
mod text;

use std::path::{Path, PathBuf};

pub(crate) use hgrm::hgrm;
pub(crate) use html::html;
#[cfg(feature = "versus")]
pub(crate) use html::page_head;
pub(crate) use markdown::markdown;
#[cfg(feature = "versus")]
pub(crate) use svg::escape;
pub(crate) use text::text;

use crate::record::{self, Record};

/// What is made of a record.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct ReportOptions {
    /// A record that a command has written with --json
    #[arg(value_name = "FILE")]
    record: PathBuf,
    /// Write one HTML page to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the corrected latencies to this file, in the text format of HdrHistogram
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Print Markdown
    #[arg(long)]
    markdown: bool,
}

/// Shows a record in other forms.
pub(crate) fn run(options: &ReportOptions, show: impl Fn(&str) -> Result<(), String>) -> Result<bool, String> {
    let record = record::read(&options.record)?;
    write(&record, None, options.html.as_deref(), options.hgrm.as_deref())?;
    show(&if options.markdown { markdown(&record) } else { text(&record) })?;
    Ok(record.ok)
}

/// Writes the files that were asked for, also after one of them could not be written.
pub(crate) fn write(
    record: &Record,
    json: Option<&Path>,
    html_to: Option<&Path>,
    hgrm_to: Option<&Path>,
) -> Result<(), String> {
    let mut faults = Vec::new();
    let mut put = |option: &str, path: &Path, text: String| {
        if let Err(error) = std::fs::write(path, text) {
            faults.push(format!("{option} {}: {error}", path.display()));
        }
    };
    if let Some(path) = json {
        put("--json", path, serde_json::to_string(record).map_err(|error| error.to_string())? + "\n");
    }
    if let Some(path) = html_to {
        put("--html", path, html(record));
    }
    if let Some(path) = hgrm_to {
        put("--hgrm", path, hgrm(&record.latency.corrected));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// A time with a unit that suits it.
fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e6 => format!("{:.0} µs", ns / 1e3),
        ns if ns < 1e7 => format!("{:.2} ms", ns / 1e6),
        ns if ns < 1e9 => format!("{:.1} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}

/// A count with a comma after every third digit.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number <= -0.5 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- Generated from bench/runs by `UPDATE=1 cargo test -p bench results`. -->\n";
    const END: &str = "<!-- End of what is generated. -->\n";

    /// RESULTS.md shows every record of `bench/runs`, not the outputs of scripts beside them; `UPDATE=1 cargo test -p bench results`
    /// rewrites that part.
    #[test]
    fn results_are_made_of_the_records() {
        let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
        let runs = std::fs::read_dir(bench.join("runs")).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = runs.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect();
        files.sort_unstable();
        let mut made = String::from(BEGIN);
        for file in files {
            let name = file.file_name().unwrap().display();
            made += &format!("\n### [{name}](runs/{name})\n\n{}", markdown(&record::read(&file).unwrap()));
        }
        made.push('\n');
        let path = bench.join("RESULTS.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        let expect = format!("{before}{made}{END}{after}");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &expect).unwrap();
        } else {
            assert!(text == expect, "run again with UPDATE=1");
        }
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([0.0, 999.0, 1000.0, 1234567.0, -1234.0].map(grouped), ["0", "999", "1,000", "1,234,567", "-1,234"]);
        assert_eq!(
            [950.0, 412_300.0, 1_234_567.0, 45_678_901.0, 2.5e9].map(time),
            ["1 µs", "412 µs", "1.23 ms", "45.7 ms", "2.50 s"]
        );
    }
}
