//! Raw requests and what they must get. `.` after the statuses: the connection closes.

use gateway_core::{Header, Next, Request};

use crate::world::{World, statuses};

/// A body that is right up to the missing token: 401 says that it was read as it was meant.
const GOOD: &str = r#"{"activity_id":"1","quantity":1}"#;

fn run(input: &[u8]) -> String {
    let mut world = World::new(10);
    let id = world.open();
    world.send(id, input);
    world.settle();
    let (out, next) = world.receive(id);
    let end = match next {
        Next::Close => ".",
        Next::Read | Next::Wait => "",
        Next::Write => unreachable!(),
    };
    statuses(&out).join(" ") + end
}

fn check(section: &str, input: impl AsRef<[u8]>, expect: &str) {
    let input = input.as_ref();
    assert_eq!(run(input), expect, "{section}: {:?}", String::from_utf8_lossy(input));
}

/// `GET /ping` with a line after the Host line.
fn ping(line: &str) -> String {
    format!("GET /ping HTTP/1.1\r\nHost: mall\r\n{line}\r\n")
}

/// A POST to the orders with these header lines and these bytes after them.
fn post(lines: &str, rest: &str) -> String {
    format!("POST /api/v1/seckill/orders HTTP/1.1\r\nHost: mall\r\n{lines}\r\n{rest}")
}

#[test]
fn request_lines() {
    let line = |line: &str| format!("{line}\r\nHost: mall\r\n\r\n");
    for (section, input, expect) in [
        ("9112 3", "GET /ping HTTP/1.1", "200"),
        ("9112 3", "GET  /ping HTTP/1.1", "400."),
        ("9112 3", "GET /ping  HTTP/1.1", "400."),
        ("9112 3", "GET /ping HTTP/1.1 ", "400."),
        ("9112 3", " GET /ping HTTP/1.1", "400."),
        ("9112 3", "GET\t/ping HTTP/1.1", "400."),
        ("9112 3", "GET /ping", "400."),
        ("9112 3", "GET", "400."),
        ("9112 3", "GET /pi\u{1}ng HTTP/1.1", "400."),
        ("9112 3", "GET /pïng HTTP/1.1", "400."),
        ("9112 3.2", "GET ping HTTP/1.1", "400."),
        ("9112 3.2", "GET /ping#x HTTP/1.1", "400."),
        ("9112 3.2", "GET /ping?a=%zz&b HTTP/1.1", "200"),
        ("9112 3.2.2", "GET http://mall/ping HTTP/1.1", "200"),
        ("9112 3.2.2", "GET HTTP://mall:80/ping HTTP/1.1", "200"),
        ("9112 3.2.2", "GET http://mall HTTP/1.1", "404"),
        ("9110 4.2.4", "GET http://user@mall/ping HTTP/1.1", "400."),
        ("9110 4.2.1", "GET http:///ping HTTP/1.1", "400."),
        ("9112 3.2.3", "CONNECT mall:80 HTTP/1.1", "400."),
        ("9112 3.2.4", "OPTIONS * HTTP/1.1", "204"),
        ("9112 3.2.4", "GET * HTTP/1.1", "400."),
        ("9110 9.1", "BREW /ping HTTP/1.1", "501."),
        ("9110 9.1", "get /ping HTTP/1.1", "501."),
        ("9110 9.1", "G(T /ping HTTP/1.1", "400."),
        ("9110 15.5.6", "DELETE /ping HTTP/1.1", "405"),
        ("9110 15.5.6", "PATCH /api/v1/seckill/orders HTTP/1.1", "405"),
        ("9110 15.5.6", "GET /api/v1/seckill/orders HTTP/1.1", "405"),
        ("9110 9.3.2", "HEAD /ping HTTP/1.1", "200"),
        ("9110 9.3.7", "OPTIONS /ping HTTP/1.1", "204"),
        ("9110 15.5.5", "OPTIONS /nothing HTTP/1.1", "404"),
        ("9110 15.6.6", "GET /ping HTTP/2.0", "505."),
        ("9110 15.6.6", "GET /ping HTTP/1.2", "505."),
        ("9113 3.4", "PRI * HTTP/2.0", "505."),
        ("9112 2.3", "GET /ping HTTP/1", "400."),
        ("9112 2.3", "GET /ping http/1.1", "400."),
        ("9112 2.3", "GET /ping HTTP/11.1", "400."),
    ] {
        check(section, line(input), expect);
    }
}

#[test]
fn line_ends_and_fields() {
    for (section, input, expect) in [
        ("9112 2.2", "GET /ping HTTP/1.1\nHost: mall\n\n".to_owned(), "400."),
        ("9112 2.2", "GET /ping HTTP/1.1\r\nHost: mall\r\n\n".to_owned(), "400."),
        ("9112 2.2", "GET /ping HTTP/1.1\rHost: mall\r\n\r\n".to_owned(), "400."),
        ("9112 2.2", "GET /ping HTTP/1.1\r\nHost: ma\rll\r\n\r\n".to_owned(), "400."),
        ("9112 2.2", format!("\r\n{}", ping("")), "200"),
        ("9112 2.2", format!("\r\n\r\n{}", ping("")), "400."),
        ("9112 2.2", format!("\n{}", ping("")), "400."),
        ("9112 2.2", format!("{}\r\n{}", ping(""), ping("")), "200 200"),
        ("9112 5.2", ping("A: b\r\n c\r\n"), "400."),
        ("9112 5.2", ping("A: b\r\n\tc\r\n"), "400."),
        ("9112 2.2", "GET /ping HTTP/1.1\r\n Host: mall\r\n\r\n".to_owned(), "400."),
        ("9112 5.1", ping("A : b\r\n"), "400."),
        ("9112 5.1", ping(": b\r\n"), "400."),
        ("9112 5.1", ping("A\r\n"), "400."),
        ("9112 5.1", ping("Ä: b\r\n"), "400."),
        ("9110 5.5", ping("A: b\0c\r\n"), "400."),
        ("9110 5.5", ping("A: b\u{7f}\r\n"), "400."),
        ("9110 5.5", ping("A:\r\nB: \t x \t\r\nC: ü\r\n"), "200"),
        ("9112 3.2", "GET /ping HTTP/1.1\r\n\r\n".to_owned(), "400."),
        ("9112 3.2", ping("Host: mall\r\n"), "400."),
        ("9112 3.2", ping("HOST: other\r\n"), "400."),
        ("9112 3.2", "GET /ping HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), "400."),
        ("9112 3.2", "GET /ping HTTP/1.1\r\nHost: a,b\r\n\r\n".to_owned(), "400."),
        ("9112 3.2", "GET /ping HTTP/1.1\r\nHost: a@b\r\n\r\n".to_owned(), "400."),
        ("9112 3.2", "GET /ping HTTP/1.1\r\nHost:\r\n\r\n".to_owned(), "400."),
        ("9112 3.2", "GET /ping HTTP/1.1\r\nHost: a:x\r\n\r\n".to_owned(), "400."),
        ("9112 3.2", "GET /ping HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n".to_owned(), "200"),
        ("9110 5.3", ping("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), "400."),
        ("9110 10.1.1", ping("Expect: 100-continue\r\n"), "200"),
        ("9110 10.1.1", ping("Expect: the-unexpected\r\n"), "417."),
        ("9112 9.6", ping("Connection: close\r\n") + &ping(""), "200."),
        ("9112 9.6", ping("Connection: Keep-Alive, CLOSE\r\n"), "200."),
        ("9112 9.3", ping("Connection: keep-alive\r\n") + &ping(""), "200 200"),
        ("9112 9.3", "GET /ping HTTP/1.0\r\n\r\n".to_owned(), "200."),
        ("9112 9.3", "GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(), "200"),
        ("9112 3.2", "GET /ping HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(), "400."),
    ] {
        check(section, input, expect);
    }
}

#[test]
fn framing() {
    let length = |value: &str| format!("Content-Length: {value}\r\n");
    for (section, lines, rest, expect) in [
        ("9112 6.3", length("32"), GOOD, "401"),
        ("9112 6.3", length("0"), "", "422"),
        ("9112 6.3", length("31"), GOOD, "422"),
        ("9112 6.3", length("33"), GOOD, ""),
        ("9110 8.6", String::new(), GOOD, "411."),
        ("9110 8.6", length("+32"), GOOD, "400."),
        ("9110 8.6", length("-32"), GOOD, "400."),
        ("9110 8.6", length("3 2"), GOOD, "400."),
        ("9110 8.6", length("32,32"), GOOD, "400."),
        ("9110 8.6", length("0x20"), GOOD, "400."),
        ("9110 8.6", length("32.0"), GOOD, "400."),
        ("9110 8.6", length(""), GOOD, "400."),
        ("9110 8.6", length("００"), GOOD, "400."),
        ("9110 8.6", length(" 032 "), GOOD, "401"),
        ("9112 6.3", length("32") + &length("32"), GOOD, "400."),
        ("9112 6.3", length("32") + &length("5"), GOOD, "400."),
        ("9110 15.5.14", length("16385"), "", "413."),
        ("9110 15.5.14", length("99999999999999999999999"), "", "413."),
        ("9112 6.1", length("32") + "Transfer-Encoding: chunked\r\n", GOOD, "400."),
        ("9112 6.1", "Transfer-Encoding: gzip, chunked\r\n".to_owned(), "", "501."),
        ("9112 6.1", "Transfer-Encoding: gzip\r\n".to_owned(), "", "501."),
        ("9112 6.1", "Transfer-Encoding: identity\r\n".to_owned(), "", "501."),
        ("9112 6.1", "Transfer-Encoding: xchunked\r\n".to_owned(), "", "501."),
        ("9112 6.1", "Transfer-Encoding: chunked;q=1\r\n".to_owned(), "", "501."),
        ("9112 6.1", "Transfer-Encoding: chunked, chunked\r\n".to_owned(), "", "400."),
        ("9112 6.3", "Transfer-Encoding: chunked, gzip\r\n".to_owned(), "", "400."),
        ("9112 6.1", "Transfer-Encoding:\r\n".to_owned(), "", "400."),
        ("9112 6.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n".to_owned(), "", "400."),
        ("9112 6.1", "Transfer-Encoding: \u{b}chunked\r\n".to_owned(), "", "400."),
        ("9112 6.1", "Transfer-Encoding : chunked\r\n".to_owned(), "", "400."),
        ("9110 10.1.1", length("32") + "Expect: 100-Continue\r\n", GOOD, "100 401"),
        ("9110 10.1.1", length("32") + "Expect: 100-continue\r\n", "", "100"),
        ("9110 10.1.1", length("0") + "Expect: 100-continue\r\n", "", "422"),
        ("9110 10.1.1", length("99999") + "Expect: 100-continue\r\n", "", "413."),
    ] {
        check(section, post(&lines, rest), expect);
    }
    check("9112 6.1", "POST /api/v1/seckill/orders HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400.");
    check("9112 6.3", "GET /ping HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /", "200");
}

#[test]
fn chunks() {
    for (section, rest, expect) in [
        ("9112 7.1", "20\r\n{GOOD}\r\n0\r\n\r\n", "401"),
        ("9112 7.1", "1\r\n{\r\n1F\r\n{TAIL}\r\n000\r\n\r\n", "401"),
        ("9112 7.1", "20\r\n{GOOD}\r\n0\r\n\r\nGET /ping HTTP/1.1\r\nHost: a\r\n\r\n", "401 200"),
        ("9112 7.1", "0\r\n\r\n", "422"),
        ("9112 7.1.1", "20;a=b;c=\"d\"\r\n{GOOD}\r\n0;x\r\n\r\n", "401"),
        ("9112 7.1.2", "20\r\n{GOOD}\r\n0\r\nA: b\r\nC:\r\n\r\n", "401"),
        ("9112 7.1.2", "20\r\n{GOOD}\r\n0\r\nA b\r\n\r\n", "400."),
        ("9112 7.1.2", "20\r\n{GOOD}\r\n0\r\n A: b\r\n\r\n", "400."),
        ("9112 7.1", "20\r\n{GOOD}\r\n0\r\n", ""),
        ("9112 7.1", "20\n{GOOD}\r\n0\r\n\r\n", "400."),
        ("9112 7.1", "20\r\n{GOOD}\n0\r\n\r\n", "400."),
        ("9112 7.1", "20\r\n{GOOD}0\r\n\r\n", "400."),
        ("9112 7.1", "20\r\n{GOOD}\r\n0\r\n\n", "400."),
        ("9112 7.1", "20\r\n{GOOD}\r\n0\r\nX", ""),
        ("9112 7.1", "0x20\r\n{GOOD}\r\n0\r\n\r\n", "400."),
        ("9112 7.1", "-1\r\n\r\n", "400."),
        ("9112 7.1", " 20\r\n{GOOD}\r\n0\r\n\r\n", "400."),
        ("9112 7.1", "20 \r\n{GOOD}\r\n0\r\n\r\n", "400."),
        ("9112 7.1", ";\r\n", "400."),
        ("9112 7.1", "\r\n", "400."),
        ("9112 7.1", "g\r\n", "400."),
        ("9112 7.1", "100000020\r\n", "400."),
        ("9112 7.1", "ffffffff\r\n", "413."),
        ("9112 7.1.1", "1;a\0\r\n", "400."),
        ("9112 7.1.1", "1;a\nb\r\n", "400."),
    ] {
        let rest = rest.replace("{GOOD}", GOOD).replace("{TAIL}", &GOOD[1..]);
        check(section, post("Transfer-Encoding: Chunked\r\n", &rest), expect);
    }
    let chunk = |len: usize| format!("{len:x}\r\n{}\r\n", "x".repeat(len));
    let chunked = |body: String| post("Transfer-Encoding: chunked\r\n", &body);
    check("9110 15.5.14", chunked(chunk(16 * 1024) + "0\r\n\r\n"), "422");
    check("9110 15.5.14", chunked(chunk(16 * 1024) + &chunk(1)), "413.");
    check("9112 7.1.1", chunked(format!("1;{}", "x".repeat(70_000))), "413.");
}

#[test]
fn limits() {
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len));
    let line_rest = "GET / HTTP/1.1\r\n".len();
    check("9110 15.5.15", target(8 * 1024 - line_rest), "404");
    check("9110 15.5.15", target(8 * 1024 - line_rest + 1), "414.");
    check("9110 15.5.15", "x".repeat(8 * 1024 - 1), "");
    check("9110 15.5.15", "x".repeat(8 * 1024), "414.");
    let filled = |len: usize| ping(&format!("A: {}\r\n", "x".repeat(len)));
    let empty = filled(0).len();
    check("6585 5", filled(16 * 1024 - empty), "200");
    check("6585 5", filled(16 * 1024 - empty + 1), "431.");
    check("6585 5", ping(&"A: b\r\n".repeat(63)), "200");
    check("6585 5", ping(&"A: b\r\n".repeat(64)), "431.");
}

#[test]
fn pipelines_are_answered_in_order_and_never_lost() {
    let mut world = World::new(10);
    let id = world.open();
    let many = 5_000;
    world.send(id, ping("").repeat(many));
    let mut out = Vec::new();
    assert_eq!(world.core.poll_client(id, &mut out), Next::Write);
    assert!(out.len() < 128 * 1024, "{} bytes at once", out.len());
    let (rest, next) = world.receive(id);
    out.extend(rest);
    assert_eq!(statuses(&out).len(), many);
    assert_eq!(next, Next::Read);
}

#[test]
fn what_head_and_options_say() {
    let mut world = World::new(10);
    let mut ask = |line: &str| world.ask(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let (get, head) = (ask("GET /ping"), ask("HEAD /ping"));
    assert_eq!((get.body.as_str(), head.body.as_str()), ("pong", ""));
    assert_eq!(get.headers, head.headers);
    assert_eq!(ask("OPTIONS /ping").header("allow"), "GET, HEAD, OPTIONS");
    assert_eq!(ask("PUT /ping").header("allow"), "GET, HEAD, OPTIONS");
    assert_eq!(ask("OPTIONS /api/v1/seckill/orders").header("allow"), "POST, OPTIONS");
    assert_eq!(ask("OPTIONS *").header("allow"), "GET, HEAD, POST, OPTIONS");
    assert_eq!(ask("GET /nothing").code(), "not_found");
}

/// The door of drivers that parse by themselves has the same policy behind it, to the byte.
#[test]
fn the_request_door_gives_the_same_bytes() {
    let requests = [
        ping(""),
        ping("Host: mall\r\n"),
        post("Content-Length: 32\r\n", GOOD),
        crate::world::buy(7, "a"),
        crate::world::get_as(7, "/api/v1/seckill/orders/1"),
        "BREW /ping HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        post("", GOOD),
        post("Transfer-Encoding: chunked\r\nContent-Length: 32\r\n", GOOD),
        "GET /ping HTTP/1.0\r\n\r\n".to_owned(),
    ];
    for text in requests {
        let (mut stream, mut door) = (World::new(1), World::new(1));
        let (a, b) = (stream.open(), door.open());
        stream.send(a, &text);
        let mut headers = [Header { name: "", value: b"" }; 16];
        let mut parsed = httparse::Request::new(&mut headers);
        let head_len = parsed.parse(text.as_bytes()).unwrap().unwrap();
        let request = Request {
            method: parsed.method.unwrap(),
            target: parsed.path.unwrap(),
            http_1_0: parsed.version == Some(0),
            headers: parsed.headers,
            body: &text.as_bytes()[head_len..],
        };
        door.core.handle_request(b, &request, door.now);
        stream.settle();
        door.settle();
        assert_eq!(door.receive(b), stream.receive(a), "{text}");
    }
    let mut world = World::new(1);
    let id = world.open();
    let headers = [Header { name: "Host", value: b"a" }, Header { name: "Content-Length", value: b"3" }];
    let request = Request { method: "POST", target: "/", http_1_0: false, headers: &headers, body: b"four" };
    world.core.handle_request(id, &request, world.now);
    assert_eq!(statuses(&world.receive(id).0), ["400"], "a body of another length");
}

#[test]
fn half_a_request_before_the_end_gets_no_answer_and_a_whole_one_gets_its() {
    let mut world = World::new(10);
    let id = world.open();
    world.send(id, ping("") + "GET /pi");
    world.core.handle_eof(id);
    let (out, next) = world.receive(id);
    assert_eq!((statuses(&out).len(), next), (1, Next::Close));
}
