//! Clients, good and bad.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use foundation::config::Runtime;

use super::{ANSWER_MAX, PING, answer, on_every_driver, until};

/// Requests of one connection.
const REQUESTS: usize = 1000;

#[test]
fn a_connection_is_kept_and_its_answers_come_in_order() {
    on_every_driver(|driver| {
        let server = driver.start();
        let mut socket = server.connect();
        for _ in 0..REQUESTS {
            socket.write_all(PING).unwrap();
            assert!(answer(&mut socket).ends_with("pong"), "{}", driver.name());
        }
        // In one go, and more than a socket holds.
        let mut sender = socket.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            for at in 0..REQUESTS {
                let path = if at % 2 == 0 { "ping" } else { "nothing" };
                let request = format!("GET /{path} HTTP/1.1\r\nHost: mall\r\nA: {}\r\n\r\n", "a".repeat(1000));
                sender.write_all(request.as_bytes()).unwrap();
            }
        });
        for at in 0..REQUESTS {
            let expect = if at % 2 == 0 { "HTTP/1.1 200 " } else { "HTTP/1.1 404 " };
            let told = answer(&mut socket);
            assert!(told.starts_with(expect), "{}: answer {at}: {told}", driver.name());
        }
        writer.join().unwrap();
        drop(socket);
        assert!(server.ask(PING).ends_with("pong"));
        until("opened", || server.figures.read(|stats| stats.connections_opened) >= 3);
    });
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    on_every_driver(|driver| {
        let mut parts = driver.parts();
        parts.config.timeouts.write = Duration::from_millis(200);
        let server = parts.start();
        let mut socket = server.connect();
        socket.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        let request = b"GET /api/v1/seckill/activities HTTP/1.1\r\nHost: mall\r\n\r\n".repeat(100);
        let begun = Instant::now();
        // Until the socket is full both ways, and then until it is closed.
        loop {
            match socket.write_all(&request) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{}: it was not cut", driver.name());
        }
        // may_minihttp does not report that a write has stalled; only what it has written counts.
        let expect = u64::from(driver.runtime != Runtime::May);
        assert_eq!(server.figures.read(|stats| stats.connections_cut), expect, "{}", driver.name());
    });
}

#[test]
fn a_silent_client_is_closed() {
    on_every_driver(|driver| {
        let mut parts = driver.parts();
        parts.config.timeouts.idle = Duration::from_millis(300);
        parts.config.timeouts.header = Duration::from_millis(300);
        // On may the core does not see half a head, so a connection that begins with one waits for its first request.
        parts.config.timeouts.first_request = Duration::from_millis(300);
        let server = parts.start();
        for sent in [PING, b"GET /ping HT"] {
            let mut socket = server.connect();
            socket.write_all(sent).unwrap();
            let mut text = String::new();
            socket.read_to_string(&mut text).unwrap();
            let expect = match (sent, driver.runtime) {
                (PING, _) => "HTTP/1.1 200 ",
                // The core does not see half a head.
                (_, Runtime::May) => "",
                (_, Runtime::Monoio | Runtime::Glommio) => "HTTP/1.1 408 ",
            };
            assert!(text.starts_with(expect) && text.is_empty() == expect.is_empty(), "{}: {text}", driver.name());
        }
    });
}

/// Whether the server has closed it.
pub(super) fn is_closed(socket: &mut TcpStream) -> bool {
    socket.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    match socket.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    on_every_driver(|driver| {
        let mut parts = driver.parts();
        parts.config.connections_max = 2;
        let server = parts.start();
        let mut kept: Vec<TcpStream> = Vec::new();
        // The one that asked whether it is ready may not have gone yet.
        until("two are taken", || {
            let mut socket = server.connect();
            if socket.write_all(PING).is_ok() && answer(&mut socket).ends_with("pong") {
                kept.push(socket);
            }
            kept.len() == 2
        });
        assert!(is_closed(&mut server.connect()), "{}", driver.name());
        for socket in &mut kept {
            socket.write_all(PING).unwrap();
            assert!(answer(socket).ends_with("pong"), "{}: those that are open go on", driver.name());
        }
        kept.pop();
        until("another one is taken", || {
            let mut socket = server.connect();
            socket.write_all(PING).is_ok() && answer(&mut socket).ends_with("pong")
        });
        until("it is counted", || server.figures.read(|stats| stats.connections_refused) > 0);
    });
}

#[test]
fn a_gateway_that_stops_closes_what_is_idle_and_takes_nobody() {
    on_every_driver(|driver| {
        let server = driver.start();
        let mut idle = server.connect();
        idle.write_all(PING).unwrap();
        assert!(answer(&mut idle).ends_with("pong"));
        let address = server.address;
        let begun = Instant::now();
        server.join().unwrap();
        assert!(begun.elapsed() < crate::thread::DRAIN_MAX, "{}: it waited for nobody", driver.name());
        assert!(is_closed(&mut idle), "{}", driver.name());
        TcpStream::connect(address).expect_err(driver.name());
    });
}

/// More than a driver would bear that waits after each of them.
const GONE: usize = 300;

#[test]
fn who_is_gone_before_being_accepted_holds_nobody_up() {
    on_every_driver(|driver| {
        let server = driver.start();
        for _ in 0..GONE {
            let socket = server.connect();
            // Closing it sends a reset.
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        }
        assert!(server.ask(PING).ends_with("pong"), "{}", driver.name());
    });
}

#[test]
fn what_follows_the_last_request_does_not_cost_its_answer() {
    let post = |connection: &str| {
        format!(
            "POST /api/v1/seckill/orders HTTP/1.1\r\nHost: mall\r\n{connection}Content-Length: 13\r\n\r\n{{\"quantity\":1"
        )
    };
    let requests = [post("Connection: close\r\n"), post(""), post("")].concat();
    on_every_driver(|driver| {
        let server = driver.start();
        let mut socket = server.connect();
        socket.write_all(requests.as_bytes()).unwrap();
        let told = answer(&mut socket);
        assert!(told.starts_with("HTTP/1.1 422 "), "{}: {told:?}", driver.name());
    });
}
