//! The whole bench against a mall of one page, honest or not.
#![expect(clippy::unwrap_used, reason = "a test may end so, its helpers too")]

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

#[derive(Clone, Copy, PartialEq)]
enum Mall {
    Honest,
    /// Sells one unit more than there are.
    Oversells,
    /// Has a unit left when it says that it is sold out.
    Undersells,
    /// Answers a repeat with another order.
    Twins,
    /// The database never gets one order.
    Loses,
    RefusesTokens,
    RefusesPassword,
    /// Refuses each request once with 503, then closes the connection.
    Stumbles,
}

#[derive(Default)]
struct Books {
    stock: usize,
    orders: BTreeMap<String, usize>,
    stumbled: HashMap<String, bool>,
}

struct Request {
    line: String,
    headers: HashMap<String, String>,
    body: Value,
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let line = lines.next()?;
    let headers: HashMap<String, String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Some(Request { line, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

fn serve(mall: Mall) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let books = Arc::new(Mutex::new(Books::default()));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let books = Arc::clone(&books);
            thread::spawn(move || converse(mall, stream.unwrap(), &books));
        }
    });
    url
}

fn converse(mall: Mall, mut stream: TcpStream, books: &Mutex<Books>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read(&mut reader) {
        let (status, body) = answer(mall, &request, &mut books.lock().unwrap());
        let body = if body.is_string() { body.as_str().unwrap().to_owned() } else { body.to_string() };
        let close = if status == 503 { "Connection: close\r\n" } else { "" };
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n{close}\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).is_err() || status == 503 {
            return;
        }
    }
}

fn answer(mall: Mall, request: &Request, books: &mut Books) -> (u16, Value) {
    let problem = |status: u16, code: &str| (status, json!({ "status": status, "code": code, "detail": "no" }));
    let mut words = request.line.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let last = path.rsplit('/').next().unwrap();
    match (method, path) {
        ("GET", "/readyz") => (200, json!({})),
        ("GET", "/metrics") => (
            200,
            Value::from(format!(
                "mall_ledger_commits_total {0}\nmall_ledger_reservations_total {0}\n",
                books.orders.len()
            )),
        ),
        ("POST", "/admin/api/v1/sessions") if mall == Mall::RefusesPassword => problem(401, "invalid_credentials"),
        ("POST", "/admin/api/v1/sessions") => (200, json!({ "access_token": "t" })),
        ("POST", "/api/v1/seckill/orders") => buy(mall, request, books),
        ("POST", _) => {
            if last == "activities" {
                books.stock = usize::try_from(request.body["stock"].as_u64().unwrap()).unwrap();
            }
            (201, json!({ "category_id": "1", "product_id": "2", "sku_id": "3", "activity_id": "4" }))
        }
        ("GET", "/api/v1/seckill/activities/4") => (200, json!({ "state": "open" })),
        ("GET", "/admin/api/v1/activities/4/audit") => (200, audit(mall, books)),
        ("GET", path) if path.starts_with("/api/v1/orders/") => (200, json!({ "order_id": last })),
        _ => problem(404, "not_found"),
    }
}

fn buy(mall: Mall, request: &Request, books: &mut Books) -> (u16, Value) {
    let user = request.headers["authorization"].clone();
    let refused = |status: u16, code: &str| (status, json!({ "status": status, "code": code }));
    if mall == Mall::RefusesTokens {
        return refused(401, "invalid_token");
    }
    if mall == Mall::Stumbles && books.stumbled.insert(user.clone(), true).is_none() {
        return refused(503, "unavailable");
    }
    let for_sale = books.stock + usize::from(mall == Mall::Oversells) - usize::from(mall == Mall::Undersells);
    let repeated = books.orders.get(&user).copied();
    if repeated.is_none() && books.orders.len() == for_sale {
        return refused(409, "sold_out");
    }
    let order = repeated.unwrap_or(books.orders.len() + 100);
    let told = if mall == Mall::Twins && repeated.is_some() { order + 1_000_000 } else { order };
    books.orders.insert(user, order);
    (202, json!({ "order_id": told.to_string(), "status": "queued" }))
}

fn audit(mall: Mall, books: &Books) -> Value {
    let held = books.orders.len();
    let stored = if mall == Mall::Loses { held - 1 } else { held };
    json!({
        "activity_id": "4", "at": "", "epoch": 1, "seq": 1,
        "total": books.stock, "available": books.stock.saturating_sub(held), "held": held, "sold": 0,
        "log": { "held": held, "settled": 0, "released": 0, "head_seq": held },
        "database": { "pending_payment": stored, "paid": 0, "closed": 0, "refunded": 0 },
        "checks": [
            { "id": "I1", "ok": true, "detail": "" },
            { "id": "I2", "ok": true, "detail": "" },
            { "id": "I3", "ok": true, "detail": "" },
        ],
        "ok": true,
    })
}

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
    let sale = "sale --stock 20 --users 200 --connections 8";
    let sale = &format!("{sale} --settle 300ms");
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
    check(Mall::RefusesPassword, sale, 2, &[password]);
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
