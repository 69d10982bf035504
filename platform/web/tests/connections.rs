//! Connections of the accept loop: who is cut, who is refused, and who may go on.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::{num::NonZeroUsize, time::Duration};

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use foundation::{
    config::{Config, ServerConfig},
    health::Readiness,
    metrics::Registry,
};
use web::{Json, Problem, health_routes, serve};

/// Ten times what a loaded machine needs for one answer.
const LONG: Duration = Duration::from_secs(60);

fn router() -> Router {
    let unread =
        |status: u16| post(move || async move { Problem::new(StatusCode::from_u16(status).unwrap(), "unread", "") });
    Router::new()
        .route("/large", get(|| async { "x".repeat(256 * 1024) }))
        .route("/small", get(|| async { "small" }))
        .route("/json", post(|Json(value): Json<Value>| async move { value.to_string() }))
        .route("/unread/401", unread(401))
        .route("/unread/429", unread(429))
        .merge(health_routes(Readiness::default(), Registry::default()))
}

/// Serves on a free port, with `change`d settings, until the test ends.
async fn start(change: impl FnOnce(&mut ServerConfig)) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let Config { order_core: mut config, .. } = foundation::config::load(None, std::iter::empty()).unwrap();
    change(&mut config);
    tokio::spawn(async move { serve(listener, router(), &config, CancellationToken::new()).await });
    address
}

fn max(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Reads one answer with a `Content-Length`; empty where the connection ended.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return text.into_owned();
            }
        }
        match timeout(LONG, stream.read_buf(&mut bytes)).await.unwrap() {
            Ok(0) | Err(_) => return String::from_utf8(bytes).unwrap(),
            Ok(_) => {}
        }
    }
}

async fn get_small(stream: &mut TcpStream) -> String {
    send(stream, "GET /small HTTP/1.1\r\nHost: x\r\n\r\n").await;
    answer(stream).await
}

#[tokio::test]
async fn clients_that_do_not_read_are_cut() {
    let address = start(|config| config.connections_max = max(4)).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        send(&mut stream, &"GET /large HTTP/1.1\r\nHost: x\r\n\r\n".repeat(64)).await;
        silent.push(stream);
    }
    let begun = Instant::now();
    loop {
        let mut honest = TcpStream::connect(address).await.unwrap();
        if get_small(&mut honest).await.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(begun.elapsed() < LONG, "clients that do not read keep all connections");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(silent);
}

#[tokio::test]
async fn one_client_does_not_get_all_connections() {
    let address = start(|config| config.connections_per_client_max = max(3)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(get_small(&mut stream).await.starts_with("HTTP/1.1 200"));
        held.push(stream);
    }
    let mut fourth = TcpStream::connect(address).await.unwrap();
    let refusal = answer(&mut fourth).await;
    assert!(refusal.starts_with("HTTP/1.1 429 "), "{refusal}");
    assert!(refusal.contains("\r\nconnection: close\r\n") && refusal.contains("too_many_connections"), "{refusal}");
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(address).await.unwrap();
    assert!(get_small(&mut other).await.starts_with("HTTP/1.1 200"), "another client");
    drop(held);
    let begun = Instant::now();
    while !get_small(&mut TcpStream::connect(address).await.unwrap()).await.starts_with("HTTP/1.1 200") {
        assert!(begun.elapsed() < LONG, "closed connections still count");
    }
    let proxied = start(|config| {
        config.connections_per_client_max = max(1);
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
    });
    let proxied = proxied.await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(proxied).await.unwrap();
        assert!(get_small(&mut stream).await.starts_with("HTTP/1.1 200"), "a trusted proxy");
        held.push(stream);
    }
}

#[tokio::test]
async fn health_is_answered_while_all_connections_are_taken() {
    let address = start(|config| config.connections_max = max(1)).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    assert!(get_small(&mut first).await.starts_with("HTTP/1.1 200"));
    for path in ["/ping", "/readyz", "/metrics"] {
        let mut probe = TcpStream::connect(address).await.unwrap();
        send(&mut probe, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let answer = answer(&mut probe).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    let refusal = get_small(&mut TcpStream::connect(address).await.unwrap()).await;
    assert!(refusal.starts_with("HTTP/1.1 503") && refusal.contains("retry-after: 1"), "{refusal}");
}

#[tokio::test]
async fn idle_time_is_not_that_of_a_head() {
    let address = start(|config| config.idle_timeout = Duration::from_secs(30)).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    get_small(&mut idle).await;
    let mut late = TcpStream::connect(address).await.unwrap();
    get_small(&mut late).await;
    let (mut silent, begun) = (TcpStream::connect(address).await.unwrap(), Instant::now());
    send(&mut late, "GET /small HTTP/1.1\r\n").await;
    assert_eq!(answer(&mut late).await, "", "half a head on a connection that was used before");
    assert_eq!(answer(&mut silent).await, "", "no first request");
    let took = begun.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(25)).contains(&took), "{took:?}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(get_small(&mut idle).await.starts_with("HTTP/1.1 200"), "an idle connection was closed early");
}

#[tokio::test]
async fn two_lengths_are_refused() {
    let address = start(|_| {}).await;
    for lines in ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("POST /json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{lines}\r\n\r\n");
        send(&mut stream, &format!("{head}2\r\n{{}}\r\n0\r\n\r\n")).await;
        let refusal = answer(&mut stream).await;
        assert!(refusal.starts_with("HTTP/1.1 400") && refusal.contains("\r\nconnection: close\r\n"), "{refusal}");
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    send(&mut stream, &format!("{head}2\r\n{{}}\r\n0\r\n\r\n")).await;
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
}

/// After a refusal, the connection either serves the next request or was announced to end.
#[tokio::test]
async fn a_refusal_does_not_spoil_the_next_request() {
    let address = start(|config| config.body_bytes_max = 16 * 1024).await;
    let requests = [
        (401, "/unread/401"),
        (429, "/unread/429"),
        (415, "/json"),
        (404, "/nothing"),
        (405, "/small"),
        (413, "/json"),
    ];
    for (status, path) in requests {
        for size in [1, 1024, 16 * 1024 + 1, 64 * 1024, 64 * 1024 + 1, 1024 * 1024] {
            for segments in [1, 2] {
                if status == 413 && size <= 16 * 1024 {
                    continue;
                }
                let content_type = if status == 413 { "application/json" } else { "text/plain" };
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {size}\r\n\r\n"
                );
                let mut stream = TcpStream::connect(address).await.unwrap();
                let case = format!("{status}, {size} bytes in {segments} segments");
                let body = "9".repeat(size);
                if segments == 1 {
                    // A refusal may come before all was sent.
                    drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
                } else {
                    send(&mut stream, &head).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    drop(stream.write_all(body.as_bytes()).await);
                }
                let refusal = answer(&mut stream).await;
                assert!(refusal.starts_with(&format!("HTTP/1.1 {status} ")), "{case}: {refusal}");
                let closes = refusal.contains("\r\nconnection: close\r\n");
                assert!(closes || size <= 64 * 1024 || status == 413, "{case}: {refusal}");
                assert!(!closes || size > 64 * 1024, "{case}: closed although little was left: {refusal}");
                if !closes {
                    let next = get_small(&mut stream).await;
                    assert!(next.starts_with("HTTP/1.1 200"), "{case}: the next request got {next:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_answer_is_safe_in_a_browser() {
    let address = start(|_| {}).await;
    for path in ["/small", "/nothing", "/ping"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        send(&mut stream, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let answer = answer(&mut stream).await;
        assert!(answer.contains("\r\nx-content-type-options: nosniff\r\n"), "{answer}");
        assert!(answer.contains("\r\nreferrer-policy: same-origin\r\n"), "{answer}");
    }
}
