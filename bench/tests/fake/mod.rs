//! A mall of one page, honest or not.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mall {
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
    /// Answers nobody for a second in the middle of the sale.
    StandsStill,
    /// Refuses each request once with 503, then closes the connection.
    Stumbles,
    /// After this many orders, buyers get no answer any more.
    FallsSilent(usize),
    /// From the first order on, audits are not what they should be.
    Audits(Bad),
    /// Buyers are answered with what they should not get.
    Answers(Bad),
}

/// What a server does wrong.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Bad {
    /// Closes the connection of one request without an answer.
    BreaksOnce,
    /// Closes every connection without an answer.
    Breaks,
    Html,
    Truncated,
    OtherApi,
    Slow,
}

const STAND_STILL: Duration = Duration::from_secs(1);
/// Longer than any test waits.
const SLOW: Duration = Duration::from_secs(600);

#[derive(Default)]
pub(crate) struct Books {
    stock: usize,
    pub orders: BTreeMap<String, usize>,
    stumbled: HashMap<String, bool>,
    stood_still: bool,
    broke: bool,
    /// Requests that got no answer.
    pub unanswered: usize,
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

/// Serves a mall on a port of its own; its base URL.
pub(crate) fn serve(mall: Mall) -> String {
    serve_watched(mall).0
}

/// Serves a mall whose books can be looked at.
pub(crate) fn serve_watched(mall: Mall) -> (String, Arc<Mutex<Books>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let books = Arc::new(Mutex::new(Books::default()));
    let served = Arc::clone(&books);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let books = Arc::clone(&served);
            thread::spawn(move || converse(mall, stream.unwrap(), &books));
        }
    });
    (url, books)
}

fn converse(mall: Mall, mut stream: TcpStream, books: &Mutex<Books>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read(&mut reader) {
        // Not in the condition: the lock would be held in its block.
        let bad = misdeed(mall, &request, &mut books.lock().unwrap());
        if let Some(bad) = bad {
            let text = match bad {
                Bad::Breaks | Bad::BreaksOnce => return,
                Bad::Slow => {
                    thread::sleep(SLOW);
                    return;
                }
                Bad::Html => "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n<html>Welcome!</html>\n",
                Bad::Truncated => "HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\n{\"order_id",
                Bad::OtherApi => "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"hello\":\"world\"}",
            };
            let text = if is_audit(&request) { text.replace("202 Accepted", "200 OK") } else { text.to_owned() };
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
            continue;
        }
        let (status, body) = answer(mall, &request, &mut books.lock().unwrap());
        let body = if body.is_string() { body.as_str().unwrap().to_owned() } else { body.to_string() };
        let close = if status == 503 { "Connection: close\r\n" } else { "" };
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n{close}\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).is_err() || status == 503 {
            return;
        }
    }
}

fn is_audit(request: &Request) -> bool {
    request.line.contains("/audit ")
}

/// What is done wrong with a request.
fn misdeed(mall: Mall, request: &Request, books: &mut Books) -> Option<Bad> {
    let is_buy = request.line.starts_with("POST /api/v1/seckill/orders ");
    let (is_audit, begun) = (is_audit(request), !books.orders.is_empty());
    let bad = if let Mall::FallsSilent(orders) = mall {
        (is_buy && books.orders.len() >= orders).then_some(Bad::Slow)
    } else if let Mall::Audits(bad) = mall {
        let again = bad != Bad::BreaksOnce || !books.broke;
        (is_audit && begun && again).then_some(bad)
    } else if let Mall::Answers(bad) = mall {
        is_buy.then_some(bad)
    } else {
        None
    }?;
    books.broke = true;
    books.unanswered += 1;
    Some(bad)
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
    if mall == Mall::StandsStill && books.orders.len() == 10 && !std::mem::replace(&mut books.stood_still, true) {
        thread::sleep(STAND_STILL);
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
    // The audit is asked while the sale runs too, before the first order.
    let stored = if mall == Mall::Loses { held.saturating_sub(1) } else { held };
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
