//! The mall as its users have it: the real process, over HTTP, through kill -9.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod accounts;
mod backup;
mod deployed;
mod edges;
mod faults;
mod front;
#[cfg(feature = "kafka")]
mod full;
mod money;
mod operations;
mod platform;
mod process;
#[cfg(feature = "kafka")]
mod redis;
mod sale_rules;
mod search;
mod steer;
mod traces;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::TcpStream,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use process::{Mall, Shop, agent, call, command, get, until};
use serde_json::{Value, json};

/// Orders by the user who was given them; a user asks under one key.
type Accepted = BTreeMap<i64, String>;

/// Buys with several users at once until `mall` no longer answers or there were `enough`.
fn shop(mall: &Arc<Mall>, activity: &str, next_user: &Arc<AtomicI64>, enough: &Arc<AtomicBool>) -> Accepted {
    let accepted = Arc::new(Mutex::new(Accepted::new()));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (mall, activity, next_user) = (mall.clone(), activity.to_owned(), next_user.clone());
            let (enough, accepted) = (enough.clone(), accepted.clone());
            std::thread::spawn(move || {
                let agent = agent();
                while !enough.load(Ordering::Relaxed) {
                    let user = next_user.fetch_add(1, Ordering::Relaxed);
                    match mall.buy(&agent, &activity, user, &format!("k{user}")) {
                        Some((202, answer)) => {
                            let order = answer["order_id"].as_str().unwrap().to_owned();
                            accepted.lock().unwrap().insert(user, order);
                        }
                        Some((409, _)) => {}
                        Some((status, answer)) => panic!("{status} {answer}"),
                        None => return,
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    Arc::try_unwrap(accepted).unwrap().into_inner().unwrap()
}

fn assert_sound(mall: &Shop, activity: &str) -> serde_json::Value {
    let audit = mall.audit(activity);
    let units = |name: &str| audit[name].as_u64().unwrap();
    assert_eq!(units("total"), units("available") + units("held") + units("sold"), "{audit}");
    assert_eq!(audit["ok"], true, "{audit}");
    audit
}

/// Starts a mall on everything that its gateway can run on; what this build lacks is said loudly.
fn on_every_runtime(check: impl Fn(Mall)) {
    let runtimes = [("monoio", true), ("glommio", cfg!(feature = "glommio")), ("may", cfg!(feature = "may"))];
    for (runtime, is_built) in runtimes {
        if is_built {
            let data = tempfile::tempdir().unwrap();
            let mut command = command(data.path(), &[]);
            command.args(["--runtime", runtime]);
            check(Mall::run(command));
        } else {
            eprintln!("\nSKIPPED {runtime}: build with --features {runtime}");
        }
    }
}

#[test]
fn a_shopper_walks_through_the_mall() {
    on_every_runtime(|mall| walk::walk(&mall));
}

#[test]
fn money_orders_and_accounts_can_be_trusted() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let database = data.path().join("mall.db");
    money::money(&mall, |sql| {
        let database = rusqlite::Connection::open(&database).unwrap();
        database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        database.execute(sql, []).unwrap();
    });
}

#[test]
fn a_platform_that_errs_loses_no_money() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    platform::platform(&mall, data.path());
}

#[test]
fn a_sale_has_rules_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    sale_rules::sale_rules(&Mall::start(data.path(), &[]));
}

#[test]
fn a_token_that_was_cut_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("MALL_GATEWAY__THREADS", "2")];
    let mall = Mall::start(data.path(), &settings);
    let cut = accounts::accounts(&mall);
    mall.kill_now();
    drop(mall);
    accounts::is_still_refused(&Mall::start(data.path(), &settings), &cut);
}

#[test]
fn a_sale_is_steered_while_it_runs() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[("MALL_GATEWAY__THREADS", "2")]);
    steer::steer(&mall);
    steer::end_now(&mall);
    steer::captcha(&mall);
}

/// Ten times in mid-sale: every yes is an order, none is there twice, the equation holds.
#[test]
fn kill_9_loses_nothing() {
    const STOCK: u64 = 100_000;
    let data = tempfile::tempdir().unwrap();
    let mut mall = Arc::new(Mall::start(data.path(), &[]));
    let activity = mall.sale(STOCK);
    let (next_user, mut accepted) = (Arc::new(AtomicI64::new(1)), Accepted::new());
    for round in 0..10_u64 {
        let enough = Arc::new(AtomicBool::new(false));
        let shopping = {
            let (mall, activity, next_user, enough) =
                (mall.clone(), activity.clone(), next_user.clone(), enough.clone());
            std::thread::spawn(move || shop(&mall, &activity, &next_user, &enough))
        };
        std::thread::sleep(Duration::from_millis(60 + 53 * (round * 7 % 10)));
        mall.kill_now();
        enough.store(true, Ordering::Relaxed);
        let now = shopping.join().unwrap();
        assert!(!now.is_empty(), "round {round}: nothing was sold before the kill");
        mall = Arc::new(Mall::start(data.path(), &[]));
        let (user, order) = now.first_key_value().map(|(user, order)| (*user, order.clone())).unwrap();
        let again = mall.buy(&agent(), &activity, user, &format!("k{user}")).unwrap();
        assert_eq!((again.0, again.1["order_id"].as_str()), (202, Some(&*order)), "round {round}: the first answer");
        accepted.extend(now);
    }
    let distinct: BTreeSet<&String> = accepted.values().collect();
    assert_eq!(distinct.len(), accepted.len(), "two users have one order");
    for (user, order) in &accepted {
        until("an accepted order is written", || mall.order(order, *user).0 == 200);
    }
    let audit = assert_sound(&mall, &activity);
    let held = audit["held"].as_u64().unwrap();
    assert!(held >= accepted.len() as u64 && held <= STOCK, "{} accepted: {audit}", accepted.len());
}

/// 200 users, each twice at once, for 50 units.
#[test]
fn a_fight_has_fifty_winners() {
    on_every_runtime(|mall| {
        let mall = Arc::new(mall);
        let activity = mall.sale(50);
        let threads: Vec<_> = (0..400)
            .map(|index: i64| {
                let (mall, activity) = (mall.clone(), activity.clone());
                std::thread::spawn(move || {
                    let user = 1 + index / 2;
                    (user, mall.buy(&agent(), &activity, user, "same").unwrap())
                })
            })
            .collect();
        let mut won: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
        for thread in threads {
            let (user, (status, answer)) = thread.join().unwrap();
            match status {
                202 => drop(won.entry(user).or_default().insert(answer.to_string())),
                409 => assert_eq!(answer["code"], "sold_out"),
                other => panic!("{other} {answer}"),
            }
        }
        assert_eq!(won.len(), 50, "buyers");
        for (user, answers) in &won {
            assert_eq!(answers.len(), 1, "user {user} was told {answers:?}");
            let (status, answer) = mall.buy(&agent(), &activity, *user, "same").unwrap();
            assert_eq!((status, Some(&answer.to_string())), (202, answers.first()), "after it is sold out, too");
        }
        assert_sound(&mall, &activity);
    });
}

/// Unpaid in time: closed, the unit is back, and the gateway that had said sold out sells it.
#[test]
fn an_unpaid_order_gives_its_unit_back() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[("MALL_ORDERS__PAY_WITHIN_MS", "2000")]);
    let activity = mall.sale(1);
    let agent = agent();
    let (status, first) = mall.buy(&agent, &activity, 1, "a").unwrap();
    assert_eq!(status, 202, "{first}");
    let (status, refusal) = mall.buy(&agent, &activity, 2, "b").unwrap();
    assert_eq!((status, &refusal["code"]), (409, &"sold_out".into()));
    until("the next client can buy", || mall.buy(&agent, &activity, 3, "c").unwrap().0 == 202);
    let order = first["order_id"].as_str().unwrap();
    let (status, closed) = mall.order(order, 1);
    assert_eq!((status, &closed["status"]), (200, &"closed".into()));
    assert_eq!(mall.order(order, 2).0, 404, "a stranger's order");
    let at_gateway =
        |user| get(&format!("{}/api/v1/seckill/orders/{order}", mall.gateway), Some(&process::token(user)));
    assert_eq!(at_gateway(1).1["status"], "closed");
    assert_eq!(at_gateway(2).0, 404);
    let audit = assert_sound(&mall, &activity);
    assert_eq!(audit["database"]["closed"], 1, "{audit}");
}

/// Where Alipay is set up or order-core listens beyond loopback, the mock is on only if the setting says so.
#[test]
fn the_mock_is_off_beside_alipay_and_beyond_loopback() {
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key");
    std::fs::write(&key, pay::Signer::generate().unwrap()).unwrap();
    let key = key.to_str().unwrap();
    let alipay = [
        ("MALL_PAYMENTS__ALIPAY_APP_ID", "1"),
        ("MALL_PAYMENTS__ALIPAY_SELLER_ID", "2"),
        ("MALL_PAYMENTS__ALIPAY_GATEWAY", "http://127.0.0.1:1"),
        ("MALL_PAYMENTS__ALIPAY_PRIVATE_KEY", key),
        ("MALL_PAYMENTS__ALIPAY_PUBLIC_KEY", key),
        ("MALL_PUBLIC_URL", "http://shop.example"),
    ];
    let everywhere = ("MALL_ORDER_CORE__LISTEN", "0.0.0.0:0");
    let (on, off) = (("MALL_PAYMENTS__MOCK", "true"), ("MALL_PAYMENTS__MOCK", "false"));
    let (line, is_off) = ("payment methods:", "the mock is off because");
    check_mock(&[], true, &format!("{line} mock; the mock takes no real money"));
    check_mock(&alipay, false, &format!("{line} alipay; {is_off} Alipay is set up"));
    let reason = "order_core.listen is not a loopback address";
    check_mock(&[everywhere], false, &format!("{line} none, so no order can be paid; {is_off} {reason}"));
    check_mock(&[off], false, &format!("{line} none, so no order can be paid; {is_off} payments.mock is false"));
    check_mock(&[everywhere, on], true, &format!("{line} mock; the mock takes no real money"));
}

/// Starts a mall and tries to pay there with the mock.
fn check_mock(settings: &[(&str, &str)], is_on: bool, logged: &str) {
    let data = tempfile::tempdir().unwrap();
    let logs = data.path().join("logs");
    let log = [("MALL_LOG__LEVEL", "info"), ("MALL_LOG__DIRECTORY", logs.to_str().unwrap())];
    let mall = Mall::start(data.path(), &[settings, &log].concat());
    let order = walk::order(&mall);
    let (status, answer) = order.ask("POST", "/payments", &json!({ "method": "mock" }));
    let page = format!("{}/mock-pay", mall.order_core);
    let notify = format!("{}/api/v1/payments/mock/notify", mall.order_core);
    if is_on {
        assert_eq!(status, 201, "{settings:?}: {answer}");
        assert_eq!(walk::press(answer["pay_url"].as_str().unwrap()).status(), 303);
        until("the order is paid", || order.ask("GET", "", &Value::Null).1["status"] == "paid");
    } else {
        assert_eq!((status, &answer["code"]), (422, &json!("method_not_offered")), "{settings:?}: {answer}");
        for (method, url) in [("GET", &page), ("POST", &page), ("POST", &format!("{page}/pay")), ("POST", &notify)] {
            assert_eq!(call(method, url, None, &Value::Null).0, 404, "{settings:?}: {method} {url}");
        }
        assert_eq!(order.ask("GET", "", &Value::Null).1["status"], "pending_payment");
    }
    assert!(mall.stop().success());
    let files = std::fs::read_dir(&logs).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let text: String = files.collect();
    assert_eq!(text.matches(logged).count(), 1, "{settings:?}: {text}");
}

/// A head that never ends is refused on its own connection.
#[test]
fn a_slow_head_is_told_408() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let mut slow = TcpStream::connect(mall.gateway.trim_start_matches("http://")).unwrap();
    slow.write_all(b"GET /ping HTTP/1.1\r\nHost: ma").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
}

#[test]
fn sigterm_drains_and_exits_0() {
    on_every_runtime(|mall| {
        assert_eq!(get(&format!("{}/readyz", mall.gateway), None).0, 200);
        let stays_on = mall.processors("gateway-0").unwrap();
        assert!(stays_on.parse::<usize>().is_ok(), "one processor, not {stays_on}");
        assert!(mall.stop().success());
    });
}

/// One clear line, and not 0.
#[test]
fn what_cannot_start_says_why() {
    let data = tempfile::tempdir().unwrap();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = busy.local_addr().unwrap().to_string();
    let check = |name: &str, value: &str, expect: &str| {
        let output = command(data.path(), &[(name, value)]).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{name}={value}");
        let last = text.lines().last().unwrap_or_default();
        assert!(last.contains(expect), "{name}={value}: {text}");
    };
    check("MALL_GATEWAY__LISTEN", &taken, &taken);
    check("MALL_ORDER_CORE__LISTEN", &taken, &taken);
    check("MALL_ADMIN__LISTEN", &taken, &taken);
    check("MALL_GATEWAY__TREADS", "1", "MALL_GATEWAY__THREADS");
    check("MALL_ORDERS__PAY_WITHIN_MS", "soon", "MALL_ORDERS__PAY_WITHIN_MS");
    check("MALL_DATA_DIR", "/proc/mall", "/proc/mall");
    check("MALL_REDIS__URL", "http://127.0.0.1", "MALL_REDIS__URL");
    check("MALL_KAFKA__BROKERS", "127.0.0.1:9", "kafka.brokers: it needs redis.url");
    check("MALL_GATEWAY__RUNTIME", "tokio", "MALL_GATEWAY__RUNTIME: expected monoio, glommio or may");
    let running = Mall::start(data.path(), &[]);
    check("MALL_LOG__LEVEL", "warn", &data.path().display().to_string());
    drop(running);
}

/// The commands that do one thing and exit, on the embedded database.
#[test]
fn commands_do_one_thing_and_exit() {
    let data = tempfile::tempdir().unwrap();
    let ask = |args: &[&str], settings: &[(&str, &str)], input: &str| {
        let mut command = command(data.path(), settings);
        let mut child = command.args(args).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that reads nothing may have ended.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
    };
    let is = |(code, text): (i32, String), expect: i32, part: &str| {
        assert!(code == expect && text.contains(part), "exit {code}: {text}");
    };
    is(ask(&["--version"], &[], ""), 0, "mall ");
    is(ask(&["serve"], &[], ""), 2, "serve");
    is(ask(&["completions", "bash"], &[], ""), 0, "check-config");
    is(ask(&["check-config"], &[], ""), 0, "the settings are valid");
    is(ask(&["check-config"], &[("MALL_GATEWAY__TREADS", "1")], ""), 1, "MALL_GATEWAY__THREADS");
    is(ask(&["admin-password"], &[], "a longer password\n"), 1, "there is no database");
    is(ask(&["migrate"], &[], ""), 0, "up to date");

    let mall = Mall::start(data.path(), &[]);
    is(ask(&["migrate"], &[], ""), 1, "uses it already");
    let sign_in = |password: &str| {
        let url = format!("{}/admin/api/v1/sessions", mall.admin);
        call("POST", &url, None, &json!({ "username": "admin", "password": password })).0
    };
    is(ask(&["admin-password"], &[], "short\n"), 1, "at least 12");
    is(ask(&["admin-password", "--username", "nobody"], &[], "a longer password\n"), 1, "no admin");
    assert_eq!(sign_in("a longer password"), 401);
    is(ask(&["admin-password"], &[], "a longer password\n"), 0, "is set");
    assert_eq!(sign_in("a longer password"), 200);
}

/// glommio asks for memory that it may lock.
#[test]
#[cfg(feature = "glommio")]
fn glommio_says_which_limit_is_too_low() {
    let data = tempfile::tempdir().unwrap();
    let mall = command(data.path(), &[]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -l 64 && exec \"$0\" --runtime glommio"]).arg(mall.get_program()).env_clear();
    limited.envs(mall.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = limited.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("mall: ")).collect();
    assert!(lines.len() == 1 && lines[0].contains("RLIMIT_MEMLOCK of at least 512 KiB"), "{text}");
}
