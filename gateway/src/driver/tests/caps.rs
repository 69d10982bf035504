//! What one client or user may hold at once, on every driver.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use contract::UserId;
use foundation::{Clock, SystemClock, config::Runtime};
use ledger::LedgerClient;
use tokio::runtime::Runtime as Tokio;

use super::{
    ANSWER_MAX, PING, Server, answer,
    clients::is_closed,
    key, on_every_driver, rules,
    sale::{activity, local_ledger, order, order_id},
    until,
};
use crate::link::Ledgers;

const STOCK: u64 = 10;

/// A connection of another client than 127.0.0.1.
fn connect_from(address: Ipv4Addr, server: &Server) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&server.address.into()).unwrap();
    socket.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    socket.into()
}

fn is_served(socket: &mut TcpStream) -> bool {
    socket.write_all(PING).is_ok() && answer(socket).ends_with("pong")
}

#[test]
fn one_client_has_so_many_connections_and_others_have_theirs() {
    on_every_driver(|driver| {
        let mut parts = driver.parts();
        parts.config.connections_per_client_max = 2;
        let server = parts.start();
        let mut kept: Vec<TcpStream> = Vec::new();
        // The connection that asked whether it is ready may not have ended yet.
        until("two are served", || {
            let mut socket = server.connect();
            if is_served(&mut socket) {
                kept.push(socket);
            }
            kept.len() == 2
        });
        assert!(is_closed(&mut server.connect()), "{}: a third one", driver.name());
        let mut other = connect_from(Ipv4Addr::new(127, 0, 0, 2), &server);
        assert!(is_served(&mut other), "{}: another client", driver.name());
        assert!(kept.iter_mut().all(is_served), "{}: those that are open go on", driver.name());
        kept.pop();
        until("there is room again", || is_served(&mut server.connect()));
    });
}

#[test]
fn a_trusted_proxy_has_any_number_of_connections() {
    on_every_driver(|driver| {
        let mut parts = driver.parts();
        parts.config.connections_per_client_max = 1;
        parts.config.gate.trusted_proxies = "127.0.0.1".parse().unwrap();
        let server = parts.start();
        let mut all: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
        assert!(all.iter_mut().all(is_served), "{}", driver.name());
    });
}

#[test]
fn a_connection_without_a_first_request_is_closed_early() {
    on_every_driver(|driver| {
        let mut parts = driver.parts();
        parts.config.timeouts.first_request = Duration::from_millis(300);
        let server = parts.start();
        let mut served = server.connect();
        assert!(is_served(&mut served));
        let begun = Instant::now();
        assert!(is_closed(&mut server.connect()), "{}", driver.name());
        assert!(begun.elapsed() >= Duration::from_millis(300), "{}: {:?}", driver.name(), begun.elapsed());
        assert!(is_served(&mut served), "{}: one that has asked is kept", driver.name());
    });
}

#[test]
fn one_user_has_so_many_event_streams_and_others_have_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let tokio = Tokio::new().unwrap();
    let (log, ledger) = tokio.block_on(local_ledger(directory.path()));
    on_every_driver(|driver| {
        let mut parts = driver.parts();
        parts.config.streams_per_user_max = 2;
        // How soon a stream that nobody reads is noticed.
        parts.config.timeouts.heartbeat = Duration::from_millis(200);
        parts.activity = activity(driver.runtime as usize);
        parts.ledgers = Ledgers::Shared(Arc::new(ledger.clone()));
        tokio.block_on(ledger.open(parts.activity, STOCK, rules(SystemClock.now_ms()))).unwrap();
        let activity = parts.activity;
        let server = parts.start();
        let follow = |user: i64| {
            let order = order_id(&server.ask(&order(activity, user)));
            let token = key().sign(UserId::from_i64(user).unwrap(), None, SystemClock.now_ms() / 1000, 3600);
            let mut socket = server.connect();
            let request = format!(
                "GET /api/v1/seckill/orders/{order}/events HTTP/1.1\r\nHost: mall\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            socket.write_all(request.as_bytes()).unwrap();
            // The head of a stream has no length, so this returns at its end.
            (answer(&mut socket), socket)
        };
        let status = |user| follow(user).0[..12].to_owned();
        let (one, two) = (follow(1), follow(1));
        if driver.runtime == Runtime::May {
            // may_minihttp writes an answer in one piece: there are no streams for anybody.
            assert!(one.0.starts_with("HTTP/1.1 503 ") && two.0.starts_with("HTTP/1.1 503 "), "{}", one.0);
            return;
        }
        assert!(one.0.starts_with("HTTP/1.1 200 ") && two.0.starts_with("HTTP/1.1 200 "), "{}", one.0);
        assert_eq!(status(1), "HTTP/1.1 429", "{}: a third one", driver.name());
        assert_eq!(status(2), "HTTP/1.1 200", "{}: another user", driver.name());
        drop(two);
        until("there is room again", || status(1) == "HTTP/1.1 200");
    });
    log.close();
}
