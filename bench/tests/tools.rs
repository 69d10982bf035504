//! The same sale by JMeter and k6, the real ones, with the judge's verdict on what their clients saw.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

#[expect(dead_code, reason = "the tests of `sale` use all of it")]
mod fake;

use std::{fs, path::Path, process::Command};

use fake::{Mall, serve};
use serde_json::Value;

const STOCK: u64 = 30;
const USERS: u64 = 200;

/// Prepares a sale at a mall, has `load` run it, and judges the calls.
fn sell(mall: Mall, load: impl Fn(&Path) -> bool) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let url = serve(mall);
    let bench = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_bench")).args(args).output().unwrap();
    let at = dir.path().to_str().unwrap();
    let (stock, users) = (STOCK.to_string(), USERS.to_string());
    let sale = ["prepare", at, "--stock", &stock, "--users", &users];
    let access =
        ["--gateway", &url, "--order-core", &url, "--admin", &url, "--shopper-secret", "s", "--admin-password", "p"];
    let prepared = bench(&[&sale[..], &access].concat());
    assert!(prepared.status.success(), "{prepared:?}");
    assert!(load(dir.path()), "{}", fs::read_to_string(dir.path().join("tool.log")).unwrap_or_default());
    let history = dir.path().join("history.jsonl");
    let judged = bench(&["judge", "--json", history.to_str().unwrap()]);
    serde_json::from_slice(&judged.stdout).unwrap_or_else(|_| panic!("{judged:?}"))
}

/// Whether a command has succeeded; what it says goes to `tool.log`.
fn succeeds(command: &mut Command, dir: &Path) -> bool {
    let output = command.output().unwrap();
    fs::write(dir.join("tool.log"), [&output.stdout[..], &output.stderr].concat()).unwrap();
    output.status.success()
}

fn check(load: impl Fn(&Path) -> bool) {
    let verdict = sell(Mall::Honest, &load);
    assert_eq!(
        (&verdict["ok"], &verdict["calls"], &verdict["orders"]),
        (&true.into(), &USERS.into(), &STOCK.into()),
        "{verdict:#}"
    );
    let verdict = sell(Mall::Oversells, &load);
    assert_eq!(verdict["faults"]["oversell"], 1, "{verdict:#}");
}

#[test]
fn jmeter() {
    let Some(home) = services::jmeter_home() else { return };
    check(|dir| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("jmeter/run.sh");
        succeeds(Command::new("bash").arg(script).arg(dir).arg("10").env("JMETER_HOME", &home), dir)
    });
}

#[test]
fn k6() {
    let Some(k6) = services::k6() else { return };
    check(|dir| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("k6/sale.js");
        let variable = format!("DIR={}", dir.display());
        let calls = dir.join("calls.jsonl");
        let output = format!("file={}", calls.display());
        let args = [
            "run",
            "--quiet",
            "--no-usage-report",
            "--address",
            "127.0.0.1:0",
            "-e",
            &variable,
            "--log-format",
            "raw",
            "--log-output",
            &output,
        ];
        let ran = succeeds(Command::new(&k6).args(args).args(["-e", "P99_MS=60000"]).arg(script), dir);
        let history = dir.join("history.jsonl");
        let whole = fs::read_to_string(&history).unwrap() + &fs::read_to_string(&calls).unwrap_or_default();
        fs::write(history, whole).unwrap();
        ran
    });
}
