//! prometheus, and promtool.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    process::{Process, free_port, get, has, until},
    skipped,
};

const NOT_INSTALLED: &str = "not on the PATH; `deploy/services/services.sh install` installs it";

/// A Prometheus of its own, with the rules that are deployed. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    _dir: TempDir,
    port: u16,
}

impl Prometheus {
    /// A Prometheus that scrapes `targets` (role and `address:port`) every second. `None`, reported as skipped, where there
    /// is no prometheus.
    ///
    /// # Panics
    /// If it is installed and does not start.
    pub fn start(targets: &[(&str, &str)]) -> Option<Self> {
        if !has("prometheus") {
            skipped("prometheus", NOT_INSTALLED);
            return None;
        }
        let dir = match tempfile::tempdir() {
            Ok(dir) => dir,
            Err(error) => panic!("no temporary directory: {error}"),
        };
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../prometheus/rules.yml");
        let target =
            |(role, address): &(&str, &str)| format!("{{ targets: [\"{address}\"], labels: {{ role: {role} }} }}");
        let targets: Vec<String> = targets.iter().map(target).collect();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\n\
             scrape_configs: [{{ job_name: mall, static_configs: [{}] }}]\n",
            rules.display(),
            targets.join(", ")
        );
        let file = dir.path().join("prometheus.yml");
        if let Err(error) = std::fs::write(&file, config) {
            panic!("{}: {error}", file.display());
        }
        let (port, log) = (free_port(), dir.path().join("prometheus.log"));
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", dir.path().join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let process = match Process::start("prometheus", &arguments, &log) {
            Ok(process) => process,
            Err(error) => panic!("prometheus does not start: {error}"),
        };
        let started = Self { process, _dir: dir, port };
        until("Prometheus is ready", || {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(started.process.is_running(), "Prometheus ended: {}", said());
            get(port, "/-/ready").is_some()
        });
        Some(started)
    }

    /// The JSON with which it answers an instant query of `expression`; `None` if it refuses the expression.
    pub fn query(&self, expression: &str) -> Option<String> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        get(self.port, &format!("/api/v1/query?query={encoded}"))
    }
}

/// What `promtool check metrics` finds in `text`; empty if that is nothing. `None`, reported as skipped, where there is no
/// promtool.
///
/// # Panics
/// If promtool is installed and does not run.
pub fn lint_metrics(text: &str) -> Option<String> {
    if !has("promtool") {
        skipped("promtool", NOT_INSTALLED);
        return None;
    }
    let run = || -> std::io::Result<String> {
        let piped = Stdio::piped;
        let mut command = Command::new("promtool");
        let mut child = command.args(["check", "metrics"]).stdin(piped()).stdout(piped()).stderr(piped()).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(text.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        Ok(if output.status.success() { String::new() } else { format!("{}: {said}", output.status) })
    };
    match run() {
        Ok(findings) => Some(findings),
        Err(error) => panic!("promtool does not run: {error}"),
    }
}
