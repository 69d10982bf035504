//! What one line of the table of raw bytes can't say.

use gateway_core::{Answer, HEADERS_MAX, Header, LINE_BYTES_MAX, Limits, Next, Request};

use crate::world::{World, statuses};

/// A body that is right up to the missing token: 401 says that it was read as it was meant.
const GOOD: &str = r#"{"activity_id":"1","quantity":1}"#;

/// `GET /ping` with a line after the Host line.
fn ping(line: &str) -> String {
    format!("GET /ping HTTP/1.1\r\nHost: mall\r\n{line}\r\n")
}

/// A POST to the orders with these header lines and these bytes after them.
fn post(lines: &str, rest: &str) -> String {
    format!("POST /api/v1/seckill/orders HTTP/1.1\r\nHost: mall\r\n{lines}\r\n{rest}")
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
fn the_request_door_has_the_same_limits() {
    let check = |method: &str, target: &str, fields: usize, expect: &str| {
        let mut world = World::new(1);
        let id = world.open();
        let mut headers = vec![Header { name: "Host", value: b"a" }];
        headers.resize(fields, Header { name: "A", value: b"b" });
        let request = Request { method, target, http_1_0: false, headers: &headers, body: b"" };
        world.core.handle_request(id, &request, world.now);
        let (out, next) = world.receive(id);
        assert_eq!((statuses(&out), next), (vec![expect.to_owned()], Next::Close), "{method} {}", target.len());
        let has_body = !out.ends_with(b"\r\n\r\n");
        assert_eq!(has_body, method != "HEAD");
    };
    check("GET", &format!("/{}", "x".repeat(LINE_BYTES_MAX)), 1, "414");
    check("GET", "/ping", HEADERS_MAX + 1, "431");
    check("HEAD", "/ping", HEADERS_MAX + 1, "431");
    check("CONNECT", "mall:80", 1, "501");
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

/// What a driver that owns the parser may read of a body, and what it leaves alone.
#[test]
fn a_body_is_measured_by_its_head() {
    let check = |method: &str, fields: &[(&str, &str)], expect: Result<usize, Answer>| {
        let mut headers = vec![Header { name: "Host", value: b"a" }];
        headers.extend(fields.iter().map(|(name, value)| Header { name, value: value.as_bytes() }));
        let request = Request { method, target: "/ping", http_1_0: false, headers: &headers, body: b"" };
        assert_eq!(request.body_len(&Limits::default()), expect, "{method} {fields:?}");
    };
    let length = |text| [("Content-Length", text)];
    check("GET", &[], Ok(0));
    check("GET", &length("5"), Ok(5));
    check("POST", &length("16384"), Ok(16_384));
    check("POST", &length("16385"), Err(Answer::BodyTooLarge));
    check("POST", &length("99999999999999999999"), Err(Answer::BodyTooLarge));
    check("POST", &[], Err(Answer::LengthRequired));
    for bad in ["", "+5", "-5", "abc", "5,5", "05", "\u{660}"] {
        check("POST", &length(bad), Err(Answer::BadRequest));
    }
    check("POST", &[length("5")[0], length("5")[0]], Err(Answer::BadRequest));
    let (chunked, expects) = (("Transfer-Encoding", "chunked"), ("Expect", "100-continue"));
    check("POST", &[chunked], Err(Answer::LengthRequired));
    check("POST", &[chunked, length("5")[0]], Err(Answer::BadRequest));
    check("POST", &[expects, length("5")[0]], Err(Answer::ExpectationFailed));
    check("GET", &[expects], Ok(0));
    let long = "x".repeat(LINE_BYTES_MAX);
    check("GET", &[("A", &long[..LINE_BYTES_MAX - 5])], Ok(0));
    check("GET", &[("A", &long)], Err(Answer::HeadTooLarge));
    let half = ("A", &long[..LINE_BYTES_MAX / 2]);
    check("GET", &[half; 3], Ok(0));
    check("GET", &[half; 4], Err(Answer::HeadTooLarge));
}
