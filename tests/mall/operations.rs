//! What operators rely on: metrics, readiness while a process stops, how it ends.

use std::{
    io::Read as _,
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use services::{Prometheus, lint_metrics};

use crate::process::{Mall, Process, agent, command, get, until};

/// An address on loopback that nobody listened on a moment ago.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// The metrics at `http://{address}/metrics`.
pub(crate) fn metrics(address: &str) -> String {
    let address = address.trim_start_matches("http://");
    let mut answer = agent().get(format!("http://{address}/metrics")).call().unwrap();
    assert_eq!(answer.status(), 200, "{address}");
    answer.body_mut().read_to_string().unwrap()
}

/// Checks with promtool that the metrics of `address` follow the conventions of Prometheus.
pub(crate) fn assert_clean(address: &str) {
    let text = metrics(address);
    if let Some(findings) = lint_metrics(&text) {
        assert!(findings.is_empty(), "{findings}");
    }
}

/// The first value of the answer to a query.
fn value(prometheus: &Prometheus, expression: &str) -> Option<f64> {
    let answer: Value = serde_json::from_str(&prometheus.query(expression)?).unwrap();
    answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

#[test]
fn prometheus_scrapes_a_mall_during_a_sale() {
    let (data, address) = (tempfile::tempdir().unwrap(), free_address());
    let mall = Mall::start(data.path(), &[("MALL_METRICS__LISTEN", &address)]);
    let activity = mall.sale(3);
    for user in 1..=4 {
        let (status, answer) = mall.buy(&agent(), &activity, user, "k").unwrap();
        assert_eq!(status, if user <= 3 { 202 } else { 409 }, "{answer}");
    }
    assert_clean(&address);
    assert_clean(&mall.gateway);
    let Some(prometheus) = Prometheus::start(&[("mall", &address)]) else { return };
    until("the target is up", || value(&prometheus, "up") == Some(1.0));
    let is = |expression: &str, expect: f64| {
        until(expression, || value(&prometheus, expression) == Some(expect));
    };
    is("mall_build_info{service=\"mall\"}", 1.0);
    // A new mall sells out an example by itself.
    let accepted = "mall_gateway_answers_total{code=\"accepted\"}";
    until(accepted, || value(&prometheus, accepted) >= Some(3.0));
    is(&format!("sum(mall_order_write_delay_seconds_count) == sum({accepted})"), value(&prometheus, accepted).unwrap());
    is("mall_journal_lag_records", 0.0);
    is("mall_database_writable", 1.0);
    // The auditor's first round comes before the sale or 15 s later.
    until("the sale was audited", || value(&prometheus, "mall_audits_total") > Some(0.0));
    is("mall_audit_failed_sales", 0.0);
    for stage in ["batch", "log_append", "database"] {
        let count = format!("mall_stage_seconds_count{{stage=\"{stage}\"}}");
        until(&count, || value(&prometheus, &count) > Some(0.0));
    }
    let route = "mall_http_request_seconds_count{service=\"admin\",method=\"POST\",route=\"/admin/api/v1/activities\"}";
    is(route, 1.0);
    is("count(ALERTS) or vector(0)", 0.0);
}

/// The second mall says so in its log, and serves.
#[test]
fn a_taken_metrics_address_stops_nothing() {
    let (data, busy) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let logs = data.path().join("logs");
    let address = busy.local_addr().unwrap().to_string();
    let settings = [("MALL_METRICS__LISTEN", address.as_str()), ("MALL_LOG__DIRECTORY", logs.to_str().unwrap())];
    let mall = Mall::start(data.path(), &settings);
    assert_eq!(get(&format!("{}/readyz", mall.gateway), None).0, 200);
    assert!(mall.stop().success());
    let files = std::fs::read_dir(&logs).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let text: String = files.collect();
    let expect = format!("metrics.listen: can't listen on {address}");
    assert_eq!(text.lines().filter(|line| line.contains(&expect)).count(), 1, "{text}");
}

/// From SIGTERM on readiness fails, so that a balancer goes elsewhere, and requests that it still sends are answered.
#[test]
fn a_mall_that_drains_is_not_ready_and_serves_on() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[("MALL_SHUTDOWN__DRAIN_MS", "3000")]);
    let activity = mall.sale(5);
    let client = agent();
    let url = format!("{}/api/v1/categories", mall.order_core);
    let connection = |client: &ureq::Agent| {
        let answer = client.get(&url).call().unwrap();
        answer.headers().get("connection").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(connection(&client), None);
    let begun = Instant::now();
    mall.process().signal("TERM");
    for place in [&mall.gateway, &mall.order_core, &mall.admin] {
        until("it is not ready", || get(&format!("{place}/readyz"), None).0 == 503);
        assert_eq!(get(&format!("{place}/healthz"), None).0, 200, "{place}");
    }
    let (status, ready) = get(&format!("{}/readyz", mall.order_core), None);
    assert_eq!((status, &ready["reasons"][0]["part"]), (503, &"process".into()), "{ready}");
    assert_eq!(connection(&client).as_deref(), Some("close"));
    // On a connection that is new, too.
    let (status, held) = mall.buy(&agent(), &activity, 1, "k").unwrap();
    assert_eq!(status, 202, "{held}");
    let order = held["order_id"].as_str().unwrap();
    until("the order is written", || mall.order(order, 1).0 == 200);
    assert!(begun.elapsed() < Duration::from_millis(2_900), "the test was too slow for what it checks");
    assert!(mall.ended().success());
    assert!(begun.elapsed() >= Duration::from_secs(3), "it did not serve on for 3 s");
}

#[test]
fn a_second_sigterm_ends_a_mall_at_once() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[("MALL_SHUTDOWN__DRAIN_MS", "10000")]);
    let activity = mall.sale(5);
    let (status, held) = mall.buy(&agent(), &activity, 1, "k").unwrap();
    assert_eq!(status, 202, "{held}");
    let begun = Instant::now();
    mall.process().signal("TERM");
    until("it is not ready", || get(&format!("{}/readyz", mall.gateway), None).0 == 503);
    mall.process().signal("TERM");
    assert_eq!(mall.ended().code(), Some(143));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let mall = Mall::start(data.path(), &[]);
    let order = held["order_id"].as_str().unwrap();
    until("the order is written", || mall.order(order, 1).0 == 200);
}

/// The log level follows the settings file; a wrong file and other settings change nothing.
#[test]
fn sighup_changes_the_log_level() {
    let data = tempfile::tempdir().unwrap();
    let (file, logs) = (data.path().join("mall.yaml"), data.path().join("logs"));
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("log:\n  level: warn\n");
    let mut command = command(&data.path().join("data"), &[("MALL_LOG__DIRECTORY", logs.to_str().unwrap())]);
    command.env_remove("MALL_LOG__LEVEL").arg("--config").arg(&file);
    let mall = Mall::run(command);
    let logged = || -> String {
        let files = std::fs::read_dir(&logs).unwrap().map(|file| file.unwrap().path());
        files.map(|file| std::fs::read_to_string(file).unwrap()).collect()
    };
    let hang_up = |expect: &str| {
        mall.process().signal("HUP");
        until(expect, || logged().contains(expect));
    };
    assert!(!logged().contains(" INFO "), "{}", logged());
    write("log:\n  level: warn,foundation=info\n");
    hang_up("log.level is now warn,foundation=info");
    hang_up("log.level is warn,foundation=info, as before");
    write("log:\n  level: warn\n  levels: info\n");
    hang_up("there is no such setting; did you mean log.level?");
    write("log:\n  level: warn,foundation=info\ngateway:\n  threads: 7\n");
    hang_up("settings other than log.level have changed; they need a restart");
    assert_eq!(get(&format!("{}/readyz", mall.gateway), None).0, 200);
    assert!(mall.stop().success());
    // At the level info, which the file of the start did not have.
    assert!(logged().contains(" INFO ") && logged().contains("stopping"), "{}", logged());
}

/// A service that waits for servers that are away ends with 0; a mall that is still starting does, too.
#[test]
fn sigterm_during_the_start_ends_a_process() {
    let data = tempfile::tempdir().unwrap();
    let away = free_address();
    let (redis, database) = (format!("redis://{away}"), format!("mysql://mall:mall@{away}/mall"));
    let servers = [
        ("MALL_REDIS__URL", redis.as_str()),
        ("MALL_KAFKA__BROKERS", &away),
        ("MALL_DATABASE__URL", &database),
        ("MALL_LOG__LEVEL", "info"),
    ];
    let roles: &[&str] = if cfg!(feature = "kafka") { &["run", "gateway", "order-core", "admin"] } else { &["run"] };
    for role in roles {
        let settings: &[_] = if *role == "run" { &[] } else { &servers };
        let mut command = command(data.path(), settings);
        let process = Process::spawn(command.arg(role).stderr(Stdio::piped()));
        // The signal handlers are there once a process logs; before that a signal ends it with 143.
        until("its data directory is there", || {
            data.path().join("ids").exists() || data.path().join("mall.db").exists()
        });
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        process.signal("TERM");
        let (ended, mut text) = (process.ended(), String::new());
        process.take_stderr().read_to_string(&mut text).unwrap();
        assert!(ended.success(), "{role}: {ended}: {text}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{role}: {:?}", begun.elapsed());
    }
}
