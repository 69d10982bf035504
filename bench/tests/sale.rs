//! The whole bench against a mall of one page, honest or not.
#![expect(clippy::unwrap_used, reason = "a test may end so, its helpers too")]

mod fake;

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use fake::{Bad, Mall, serve, serve_watched};
use serde_json::{Value, json};

/// Runs `bench` on a mall; its exit status, and all that it says.
fn bench(mall: Mall, args: &str) -> (Option<i32>, String) {
    let url = serve(mall);
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(args.split_whitespace())
        .args(["--gateway", &url, "--order-core", &url, "--admin", &url])
        .args(["--shopper-secret", "s", "--admin-password", "p"])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn check(mall: Mall, args: &str, status: i32, told: &[&str]) {
    let (found, said) = bench(mall, args);
    assert_eq!(found, Some(status), "{said}");
    for words in told {
        assert!(said.contains(words), "no {words:?} in:\n{said}");
    }
}

#[test]
fn an_honest_mall_passes() {
    let told =
        ["I1 PASS", "I2 PASS", "I3 PASS", "reservations/sync        1.0  (20 in 20 log syncs)", "409 sold_out: 19"];
    check(Mall::Honest, "sale --stock 20 --users 200 --connections 8", 0, &told);
    check(Mall::Honest, "sale --stock 500 --users 40 --connections 8 --requests-per-connection 3", 0, &["202: 44"]);
    check(Mall::Honest, "sale --stock 20 --users 200 --model open --rate 2000", 0, &["open model at 2000 a second"]);
    check(Mall::Honest, "fight --units 5 --users 40", 0, &["202: 10, 409 sold_out: 70"]);
    check(Mall::Stumbles, "sale --stock 20 --users 50 --connections 8", 0, &["503 unavailable: 50", "50 retries"]);
}

#[test]
fn every_kind_of_dishonesty_is_found() {
    // Every user repeats, so each user with a unit sends a second request.
    let sale = "sale --stock 20 --users 200 --connections 8 --repeat-every 1 --settle 300ms";
    check(Mall::Oversells, sale, 1, &["I1 FAIL  21 orders accepted of 20 that may be"]);
    check(Mall::Twins, sale, 1, &["I2 FAIL", "twins "]);
}

#[test]
fn what_never_comes_to_rest_is_found() {
    let sale = "sale --stock 20 --users 90 --settle 300ms";
    check(Mall::Undersells, sale, 1, &["I3 FAIL  19 of 20 that could be sold were"]);
    check(Mall::Loses, sale, 1, &["durable orders/s           -", "I2 FAIL  database 19 of 20 accepted"]);
}

#[test]
fn what_keeps_a_sale_from_being_run_is_one_line() {
    let sale = "sale --stock 1 --users 1";
    let password = "signing in as admin with the password from --admin-password or MALL_ADMIN_PASSWORD: 401";
    check(Mall::RefusesPassword, sale, 2, &[password, "; if it was changed, give the new one with --admin-password"]);
    check(Mall::RefusesTokens, sale, 2, &["it refuses tokens signed with the secret from --shopper-secret"]);
    let (status, said) = bench(Mall::Honest, "sale --stock x");
    assert_eq!(status, Some(2), "{said}");
    assert!(said.starts_with("error: invalid value 'x' for '--stock <N>'"), "{said}");
}

#[test]
fn nobody_there() {
    let args = ["sale", "--gateway", "http://127.0.0.1:1", "--shopper-secret", "s", "--admin-password", "p"];
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("bench: gateway http://127.0.0.1:1: can't reach it: "), "{said}");
    let args = ["sale", "--data-dir", "/nonexistent", "--admin-password", "p"];
    let output =
        Command::new(env!("CARGO_BIN_EXE_bench")).args(args).env_remove("MALL_AUTH__SHOPPER_SECRET").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("bench: no key of the shoppers' tokens: there is no /nonexistent/shopper-secret; "),
        "{said}"
    );
}

/// Runs a sale that passes and writes a record to a file; the record.
fn recorded(mall: Mall, args: &str, dir: &Path) -> Value {
    let path = dir.join("record.json");
    check(mall, &format!("{args} --json {}", path.display()), 0, &[]);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_server_that_stands_still_is_slow_in_the_corrected_latency_only() {
    let dir = tempfile::tempdir().unwrap();
    let sale = "sale --stock 20 --users 300 --connections 2 --repeat-every 0 --model open --rate 200";
    let latency = recorded(Mall::StandsStill, sale, dir.path())["latency"].take();
    let (corrected, raw) = (&latency["corrected"]["quantiles_ns"], &latency["raw"]["quantiles_ns"]);
    // Two requests were under way when the server stopped, and about 200 more were due before it went on.
    assert!(latency["raw"]["max_ns"].as_u64() >= Some(1_000_000_000), "{raw}");
    assert!(corrected["p90"].as_u64() >= Some(500_000_000), "{corrected}");
    assert!(raw["p90"].as_u64() < Some(250_000_000), "{raw}");
}

#[test]
fn a_run_leaves_a_record_a_page_and_a_history() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let files = format!("--html {} --hgrm {} --history {}", file("page.html"), file("latency.hgrm"), file("history"));
    let record = recorded(Mall::Honest, &format!("sale --stock 20 --users 200 {files}"), dir.path());
    assert_eq!(
        (&record["version"], &record["ok"], &record["figures"]["accepted"]),
        (&json!(1), &json!(true), &json!(20))
    );
    let slots = record["series"]["slots"].as_array().unwrap();
    let sum = |name: &str| slots.iter().map(|slot| slot[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("answers"), sum("reservations")), (220, 20));
    assert!(!record["looks"].as_array().unwrap().is_empty());

    let page = std::fs::read_to_string(file("page.html")).unwrap();
    assert!(page.contains(">PASS</span>") && page.matches("<svg ").count() == 6, "{page}");
    // The page asks for nothing else.
    assert!(
        !page.contains("http://www") && !page.contains("src=") && !page.contains("<script") && !page.contains("url(")
    );
    let hgrm = std::fs::read_to_string(file("latency.hgrm")).unwrap();
    assert!(
        hgrm.starts_with("       Value     Percentile") && hgrm.contains("Total count    =          220]"),
        "{hgrm}"
    );

    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(args).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let (status, said) = run(&["judge", &file("history")]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("220 calls, 20 orders for 20 units") && said.contains("20 orders read back"), "{said}");
    let (status, said) = run(&["report", &file("record.json"), "--markdown"]);
    assert!(status == Some(0) && said.contains("| I1 | pass |"), "{said}");
    let other = std::fs::read_to_string(file("record.json")).unwrap().replacen("\"version\":1", "\"version\":2", 1);
    std::fs::write(file("other.json"), other).unwrap();
    for args in [vec!["report", &file("other.json")], vec!["compare", &file("record.json"), &file("other.json")]] {
        let (status, said) = run(&args);
        assert!(status == Some(2) && said.contains("a record of version 2; this program reads version 1"), "{said}");
    }
}

#[test]
fn the_judge_sees_what_the_audit_sees() {
    let dir = tempfile::tempdir().unwrap();
    for (mall, kind) in
        [(Mall::Oversells, "oversell: 1"), (Mall::Twins, "twin_order: "), (Mall::Undersells, "undersell: 1")]
    {
        let history = dir.path().join("history").display().to_string();
        check(
            mall,
            &format!("sale --stock 20 --users 200 --repeat-every 1 --settle 300ms --history {history}"),
            1,
            &[],
        );
        let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(["judge", &history]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(kind), "{said}");
    }
}

#[test]
fn a_threshold_that_is_not_kept_fails_the_run() {
    let sale = "sale --stock 20 --users 50";
    check(Mall::Honest, &format!("{sale} --fail-if p99>60s --fail-if answers/s<0.5"), 0, &["fail-if p99>60s PASS"]);
    check(Mall::Honest, &format!("{sale} --fail-if p50>0ms"), 1, &["fail-if p50>0ms FAIL", "I1 PASS"]);
    let full = format!("{sale} --json /dev/full");
    check(Mall::Honest, &full, 2, &["bench: --json /dev/full: No space left on device"]);
    check(Mall::Honest, &format!("{sale} --history /dev/full"), 2, &["bench: --history /dev/full: No space left"]);
}

#[test]
fn runs_are_compared_in_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let record = recorded(Mall::Honest, "sale --stock 20 --users 50", dir.path());
    let compare = |name: &str, change: fn(&mut Value)| {
        let (a, b) = (dir.path().join("a"), dir.path().join(name));
        for (side, is_b) in [(&a, false), (&b, true)] {
            std::fs::create_dir_all(side).unwrap();
            for run in 0..6 {
                let mut record = record.clone();
                if is_b {
                    change(&mut record);
                }
                std::fs::write(side.join(format!("{run}.json")), record.to_string()).unwrap();
            }
        }
        let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg("compare").args([&a, &b]).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (status, said) = compare("same", |_| {});
    assert!(
        status == Some(0) && said.contains("answers/s            1.000  1.000 to 1.000     no difference shown"),
        "{said}"
    );
    let (status, said) = compare("slow", |record| {
        let rate = record["figures"]["answers_per_s"].as_f64().unwrap() / 2.0;
        record["figures"]["answers_per_s"] = rate.into();
    });
    assert!(status == Some(1) && said.contains("answers/s            0.500  0.500 to 0.500     worse"), "{said}");
    let (status, said) = compare("other", |record| record["settings"]["users"] = "51".into());
    assert!(status == Some(2) && said.contains("the runs differ in users: 50 and 51"), "{said}");
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The verdict of the judge on a history.
fn judged(history: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(["judge", "--json"]).arg(history).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
fn an_audit_that_fails_once_is_repeated() {
    let told = ["I1 PASS", "I2 PASS", "I3 PASS"];
    check(Mall::Audits(Bad::BreaksOnce), "sale --stock 20 --users 200 --connections 8", 0, &told);
}

#[test]
fn a_sale_without_an_audit_leaves_what_was_measured() {
    let check = |bad: Bad, fault: &str| {
        let dir = tempfile::tempdir().unwrap();
        let (json, history) = (dir.path().join("record.json"), dir.path().join("history"));
        let files = format!("--json {} --history {}", json.display(), history.display());
        let sale = format!("sale --stock 20 --users 200 --connections 8 --audit-retry 300ms {files}");
        let told = ["durable orders/s           -  (not measured)", "missing           the mall's audit: ", fault];
        check(Mall::Audits(bad), &sale, 2, &[&told[..], &["I1, clients only PASS", "I2, clients only PASS"]].concat());
        let record = read(&json);
        assert_eq!((&record["ok"], &record["figures"]["accepted"]), (&json!(false), &json!(20)));
        assert_eq!((&record["audit"], &record["figures"]["durable_orders_per_s"]), (&Value::Null, &Value::Null));
        let missing = record["missing"].as_array().unwrap();
        assert!(missing.iter().any(|text| text.as_str().unwrap().contains(fault)), "{missing:?}");
        let verdict = judged(&history);
        assert_eq!((&verdict["ok"], &verdict["orders"]), (&json!(true), &json!(20)), "{verdict:#}");
    };
    check(Bad::Breaks, "can't reach it: ");
    check(Bad::Html, "not an audit of the mall: expected value at line 1");
    check(Bad::Truncated, "not an audit of the mall: EOF while parsing");
    check(Bad::OtherApi, "not an audit of the mall: missing field `total`");
    check(Bad::Slow, "can't reach it: timeout");
}

#[test]
fn answers_of_another_program_are_no_orders() {
    for bad in [Bad::Html, Bad::Truncated, Bad::OtherApi] {
        let told = ["I2 FAIL", "answers without a reason 33 (user "];
        check(Mall::Answers(bad), "sale --stock 20 --users 30 --settle 300ms", 1, &told);
    }
}

#[test]
fn a_full_disk_for_one_file_leaves_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (page, history) = (dir.path().join("page.html"), dir.path().join("history"));
    let files = format!("--html {} --history {}", page.display(), history.display());
    let told = ["I1 PASS", "bench: --json /dev/full: No space left on device"];
    check(Mall::Honest, &format!("sale --stock 20 --users 50 --json /dev/full {files}"), 2, &told);
    assert!(std::fs::read_to_string(&page).unwrap().contains(">PASS</span>"));
    assert_eq!(judged(&history)["ok"], json!(true));
    let json = dir.path().join("record.json");
    let files = format!("--history /dev/full --json {}", json.display());
    check(Mall::Honest, &format!("sale --stock 20 --users 50 {files}"), 2, &["bench: --history /dev/full: No space"]);
    assert_eq!(read(&json)["ok"], json!(true));
}

#[test]
fn a_server_that_falls_silent_leaves_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("record.json");
    let sale = format!("sale --stock 20 --users 90 --connections 4 --settle 300ms --json {}", json.display());
    let told = ["missing           the rest of the load: no request was answered for 30 s", "I2 FAIL", "no 4"];
    check(Mall::FallsSilent(5), &sale, 1, &told);
    let record = read(&json);
    assert_eq!((&record["figures"]["accepted"], &record["client"]["gave_up"]), (&json!(5), &json!(4)));
}

/// Presses Ctrl-C once a mall's books are as they should be.
fn interrupted(mall: Mall, sale: &str, due: impl Fn(usize, usize) -> bool) {
    let dir = tempfile::tempdir().unwrap();
    let (json, history) = (dir.path().join("record.json"), dir.path().join("history"));
    let (url, books) = serve_watched(mall);
    let child = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(sale.split_whitespace())
        .args(["--gateway", &url, "--order-core", &url, "--admin", &url])
        .args(["--shopper-secret", "s", "--admin-password", "p"])
        .arg("--json")
        .arg(&json)
        .arg("--history")
        .arg(&history)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    loop {
        let (orders, unanswered) = {
            let books = books.lock().unwrap();
            (books.orders.len(), books.unanswered)
        };
        if due(orders, unanswered) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{orders} orders, {unanswered} unanswered");
        thread::sleep(Duration::from_millis(5));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(
        said.contains("\nINTERRUPTED ") && said.contains("missing           the mall's audit: interrupted"),
        "{said}"
    );
    let record = read(&json);
    let (orders, unanswered) = {
        let books = books.lock().unwrap();
        (books.orders.len(), books.unanswered)
    };
    assert_eq!((&record["interrupted"], &record["ok"]), (&json!(true), &json!(false)));
    // On a busy machine a request of the last second may have an order and no answer.
    let count = |part: &str, name: &str| usize::try_from(record[part][name].as_u64().unwrap()).unwrap();
    let (accepted, gave_up) = (count("figures", "accepted"), count("client", "gave_up"));
    assert!(accepted <= orders && orders <= accepted + gave_up, "{accepted}, {gave_up}, {orders}");
    assert!(gave_up >= unanswered, "{gave_up}, {unanswered}");
    let verdict = judged(&history);
    assert_eq!((&verdict["ok"], &verdict["orders"]), (&json!(true), &json!(accepted)), "{verdict:#}");
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg("compare").args([&json, &json]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("the run was interrupted"), "{said}");
}

#[test]
fn ctrl_c_leaves_what_was_measured() {
    let sale = "sale --stock 9000 --users 9000 --connections 4";
    interrupted(Mall::Honest, &format!("{sale} --model open --rate 50"), |orders, _| orders >= 5);
    interrupted(Mall::FallsSilent(5), sale, |_, unanswered| unanswered == 4);
    // All is sold, and the bench waits for a database that never has the last order.
    let sale = "sale --stock 20 --users 20 --repeat-every 0 --settle 10m";
    interrupted(Mall::Loses, sale, |orders, _| orders == 20);
}
