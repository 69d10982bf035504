//! `bench judge` on histories in the published format: clean ones of a simulated shop pass, and each planted fault is found.
//! The simulation shares no code with the judge; it only writes the format.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

#[path = "judge/model.rs"]
mod model;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

const CLEAN_HISTORIES: u64 = 1_000;

struct Judged {
    code: i32,
    verdicts: Vec<Value>,
    stderr: String,
}

fn judge(files: &[PathBuf]) -> Judged {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(["judge", "--json"]).args(files).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let verdicts = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Judged { code: output.status.code().unwrap(), verdicts, stderr: String::from_utf8(output.stderr).unwrap() }
}

fn write(dir: &Path, name: &str, lines: &[Value]) -> PathBuf {
    let path = dir.join(name);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_thousand_clean_histories_pass() {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> =
        (0..CLEAN_HISTORIES).map(|seed| write(dir.path(), &format!("{seed}.jsonl"), &model::history(seed))).collect();
    let mut seen = [0_u64; 3];
    let judged = judge(&files);
    for verdict in &judged.verdicts {
        assert_eq!(verdict["ok"], true, "{verdict:#}");
        for (sum, name) in seen.iter_mut().zip(["orders", "sold_out", "unanswered"]) {
            *sum += verdict[name].as_u64().unwrap();
        }
    }
    assert_eq!((judged.code, judged.verdicts.len() as u64), (0, CLEAN_HISTORIES), "{}", judged.stderr);
    // The histories have something in them to be wrong about.
    assert!(seen.iter().all(|sum| *sum > CLEAN_HISTORIES), "{seen:?}");
}

/// A sale of 6 units: users 0 to 5 get one each, users 6 to 11 are told sold out, and every order is read back.
/// Request n is sent at 100n and answered 50 later; the reads follow.
fn sale() -> Vec<Value> {
    let mut lines = vec![json!({ "format": "sale-history", "version": 1, "stock": 6, "per_user_limit": 1 })];
    for n in 0..12 {
        let (sent, answered) = (100 * n, 100 * n + 50);
        let mut line = json!({ "call": "buy", "user": format!("u{n}"), "key": format!("k{n}"), "sent_ns": sent,
            "answered_ns": answered, "answer": if n < 6 { "yes" } else { "sold_out" } });
        if n < 6 {
            line["order"] = format!("o{n}").into();
            line["body"] = format!("b{n}").into();
        }
        lines.push(line);
    }
    for n in 0..6 {
        lines.push(read(n, 2_000 + 100 * n));
    }
    lines
}

fn read(n: u64, sent: u64) -> Value {
    json!({ "call": "read", "user": format!("u{n}"), "order": format!("o{n}"), "sent_ns": sent, "answered_ns": sent + 50,
        "found": true, "owner": format!("u{n}"), "quantity": 1, "state": "pending" })
}

fn buy(user: &str, sent: u64, answer: &str) -> Value {
    json!({ "call": "buy", "user": user, "key": format!("{user}-k"), "sent_ns": sent, "answered_ns": sent + 50, "answer": answer })
}

fn granted(user: &str, sent: u64, order: &str) -> Value {
    let mut line = buy(user, sent, "yes");
    line["order"] = order.into();
    line
}

/// The repeat of granted request `n`, sent later.
fn repeat(n: usize, sent: u64) -> Value {
    let mut line = sale()[1 + n].clone();
    (line["sent_ns"], line["answered_ns"]) = (sent.into(), (sent + 50).into());
    line
}

type Plant = fn(&mut Vec<Value>, usize);

/// Each kind, and how to plant it at event `n` of 6: 0 is the first, 5 the last one.
fn plants() -> Vec<(&'static str, Plant)> {
    vec![
        // One order more than there are units, before, between or after the others.
        ("oversell", |lines, n| lines.push(granted("x", 200 * n as u64 + 20, "ox"))),
        // A unit that nobody got.
        ("undersell", |lines, n| {
            lines[1 + n] = buy(&format!("u{n}"), 100 * n as u64, "sold_out");
            lines.remove(13 + n);
        }),
        // A refusal before the last unit was asked for.
        ("false_sold_out", |lines, n| lines.push(buy("x", 80 * n as u64, "sold_out"))),
        ("false_limit", |lines, n| lines[7 + n]["answer"] = "limit".into()),
        ("lost_order", |lines, n| {
            let line = &mut lines[13 + n];
            *line = json!({ "call": "read", "user": line["user"], "order": line["order"], "sent_ns": line["sent_ns"],
                "answered_ns": line["answered_ns"], "found": false });
        }),
        ("twin_order", |lines, n| {
            let mut twin = repeat(n, 3_000);
            twin["order"] = "other".into();
            lines.push(twin);
        }),
        ("shared_order", |lines, n| {
            let other = if n == 0 { 5 } else { 0 };
            lines[1 + n]["order"] = format!("o{other}").into();
        }),
        ("wrong_owner", |lines, n| lines[13 + n]["owner"] = "somebody".into()),
        ("wrong_owner", |lines, n| lines[13 + n]["user"] = "somebody".into()),
        ("changed_answer", |lines, n| {
            let mut changed = repeat(n, 3_000);
            changed["body"] = "other".into();
            lines.push(changed);
        }),
        ("changed_answer", |lines, n| {
            let mut refused = buy(&format!("u{n}"), 3_000, "sold_out");
            refused["key"] = format!("k{n}").into();
            lines.push(refused);
        }),
        // Request n has no answer, so that the refusal of x can be true; then y gets the unit.
        ("unfair_order", |lines, n| {
            let line = &mut lines[1 + n];
            *line = json!({ "call": "buy", "user": line["user"], "key": line["key"], "sent_ns": line["sent_ns"], "answer": "none" });
            lines.remove(13 + n);
            lines.push(buy("x", 1_300, "sold_out"));
            lines.push(granted("y", 1_400, "oy"));
        }),
        ("stuck_order", |lines, n| lines[13 + n]["state"] = "queued".into()),
        ("over_limit", |lines, n| {
            let from = if n == 5 { 0 } else { n + 1 };
            lines[1 + n]["user"] = lines[1 + from]["user"].clone();
            lines.remove(13 + n);
        }),
        ("order_without_yes", |lines, n| {
            let mut read = read(6 + n as u64, 3_000);
            read["order"] = "unknown".into();
            lines.push(read);
        }),
        ("wrong_quantity", |lines, n| lines[13 + n]["quantity"] = 2.into()),
    ]
}

#[test]
fn planted_faults_are_found_at_the_first_a_middle_and_the_last_event() {
    let dir = tempfile::tempdir().unwrap();
    let clean = judge(&[write(dir.path(), "clean", &sale())]);
    assert_eq!((clean.code, &clean.verdicts[0]["faults"]), (0, &json!({})), "{:#}", clean.verdicts[0]);
    for (at, (kind, plant)) in plants().into_iter().enumerate() {
        for n in [0, 3, 5] {
            let mut lines = sale();
            plant(&mut lines, n);
            assert_ne!(lines, sale());
            let judged = judge(&[write(dir.path(), &format!("{at}-{kind}-{n}"), &lines)]);
            let verdict = &judged.verdicts[0];
            assert_eq!((judged.code, &verdict["ok"]), (1, &json!(false)), "{kind} {n}: {verdict:#}");
            assert!(verdict["faults"][kind].as_u64() >= Some(1), "{kind} {n}: {verdict:#}");
            assert!(verdict["examples"].as_array().unwrap().iter().all(|fault| fault["line"].as_u64() > Some(1)));
        }
    }
}

#[test]
fn an_unanswered_request_counts_either_way() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..6 {
        // A unit that may have been taken: neither undersold, nor a false "sold out".
        let mut lines = sale();
        let line = &mut lines[1 + n];
        *line = json!({ "call": "buy", "user": line["user"], "key": line["key"], "sent_ns": line["sent_ns"], "answer": "none" });
        lines.remove(13 + n);
        let taken = judge(&[write(dir.path(), &format!("taken-{n}"), &lines)]);
        assert_eq!(taken.code, 0, "{:#}", taken.verdicts[0]);
        // One request more, which may not have been carried out: no oversell.
        let mut lines = sale();
        lines.push(json!({ "call": "buy", "user": "x", "key": "x", "sent_ns": 10 * n, "answer": "none" }));
        assert_eq!(judge(&[write(dir.path(), &format!("not-{n}"), &lines)]).code, 0);
    }
}

#[test]
fn units_that_come_back_are_sold_again() {
    let dir = tempfile::tempdir().unwrap();
    let cancel = |sent: u64| json!({ "call": "cancel", "user": "u0", "order": "o0", "sent_ns": sent, "answered_ns": sent + 50, "done": true });
    let check = |name: &str, more: &[Value], code: i32| {
        let mut lines = sale();
        lines.remove(13);
        lines.extend_from_slice(more);
        let judged = judge(&[write(dir.path(), name, &lines)]);
        assert_eq!(judged.code, code, "{name}: {:#}", judged.verdicts[0]);
    };
    check("sold again", &[cancel(1_300), granted("x", 1_400, "ox")], 0);
    check("sold twice again", &[cancel(1_300), granted("x", 1_400, "ox"), granted("y", 1_500, "oy")], 1);
    check("sold before it came back", &[granted("x", 1_400, "ox"), cancel(1_500)], 1);
    check("refused although it came back", &[cancel(1_300), buy("x", 1_400, "sold_out")], 1);
    check("refused while it comes back", &[cancel(1_300), buy("x", 1_320, "sold_out")], 0);
    let closed = |sent: u64| {
        let mut line = read(0, sent);
        line["state"] = "closed".into();
        line
    };
    check("seen closed", &[granted("x", 1_400, "ox"), closed(1_500)], 0);
    check("seen open, then closed", &[read(0, 1_450), granted("x", 1_300, "ox"), closed(1_500)], 1);
}

#[test]
fn a_file_that_is_no_history_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad");
    let whole: String = sale().iter().map(|line| format!("{line}\n")).collect();
    let cut = |bytes: usize| whole[..whole.len() - bytes].to_owned();
    let header = |change: &str, to: &str| whole.replacen(change, to, 1);
    for (text, told) in [
        (String::new(), "the file is empty"),
        (cut(1), "line 19: torn"),
        (cut(40), "line 19: torn"),
        (
            header("\"version\":1", "\"version\":2"),
            "line 1: sale-history version 2; this program reads sale-history version 1",
        ),
        (header("sale-history", "sales"), "line 1: sales version 1"),
        ("<html>\n".to_owned(), "line 1: not a header"),
        (header("\"stock\":6", "\"stock\":-6"), "line 1: invalid value"),
        (whole.replacen("\"answered_ns\":50", "\"answered_ns\":-1", 1), "line 2: "),
        (whole.replacen("\"sent_ns\":100,", "\"sent_ns\":151,", 1), "line 3: answered before it was sent"),
        (whole.replacen("\"order\":\"o0\",", "", 1), "line 2: a yes has an order"),
        (whole.replacen("\"call\":\"buy\"", "\"call\":\"bye\"", 1), "line 2: unknown variant `bye`"),
        (whole.replacen("\"key\":\"k0\",", "", 1), "line 2: missing field `key`"),
        (whole.replacen("\"key\":\"k0\",", "\"key\":\"k0\",\"more\":1,", 1), "line 2: unknown field `more`"),
        (header("\"version\":1", "\"version\":1,\"has_end\":true"), "cut off after line 19"),
        (whole.clone() + "{\"call\":\"end\",\"lines\":7}\n", "line 20: the end says 7 lines"),
        (whole.clone() + "{\"call\":\"end\",\"lines\":20}\n" + &whole, "line 21: there is a line after the end"),
        (whole.clone() + "\u{0}\u{0}\n", "line 20: expected value"),
        (whole.clone() + &"x".repeat(70_000), "line 20: longer than 65536 bytes"),
    ] {
        fs::write(&path, &text).unwrap();
        let Judged { code, verdicts, stderr } = judge(std::slice::from_ref(&path));
        assert_eq!((code, verdicts.len(), stderr.lines().count()), (2, 0, 1), "{told}: {stderr}");
        assert!(
            stderr.starts_with(&format!("bench: {}: ", path.display())) && stderr.contains(told),
            "{told}: {stderr}"
        );
    }
    let nowhere = judge(&[PathBuf::from("/nowhere/history")]);
    assert_eq!((nowhere.code, nowhere.stderr.lines().count()), (2, 1), "{}", nowhere.stderr);
}

#[test]
fn the_text_names_line_and_fault() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines = sale();
    lines.push(granted("x", 500, "ox"));
    let path = write(dir.path(), "oversold", &lines);
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg("judge").arg(&path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("FAIL  ") && text.contains("13 calls, 7 orders for 6 units, 6 sold out"), "{text}");
    assert!(text.contains("oversell: 1\n    line 20: 7 units are held of 6"), "{text}");
}
