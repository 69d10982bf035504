use std::{collections::BTreeMap, num::NonZeroUsize, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
    routing::{get, post},
};
use contract::{
    UserId,
    token::{Audience, TokenKey},
};
use foundation::{
    config::{Config, ServerConfig},
    health::Readiness,
    metrics::Registry,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;

fn config() -> ServerConfig {
    let Config { order_core, .. } = foundation::config::load(None, std::iter::empty()).unwrap();
    let trusted_proxies = "127.0.0.1".parse().unwrap();
    ServerConfig { request_timeout: Duration::from_millis(200), body_bytes_max: 64, trusted_proxies, ..order_core }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    quantity: u32,
}

fn router() -> Router {
    let readiness = Readiness::default();
    readiness.part("database", "opening").ready();
    readiness.part("log", "replaying");
    let routes = Router::new()
        .route("/items", post(|Json(item): Json<Item>| std::future::ready(item.quantity.to_string())))
        .route("/items/{id}", get(|Path(id): Path<UserId>| std::future::ready(id.to_string())))
        .route("/list", get(|Query(item): Query<Item>| std::future::ready(item.quantity.to_string())))
        .route("/client", get(|ClientAddress(client): ClientAddress| std::future::ready(client.to_string())))
        .route("/panic", get(|| async { panic!("secret detail") as String }))
        .route("/slow", get(|| tokio::time::sleep(Duration::from_secs(60))))
        .route(
            "/short",
            get(|| async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                "done"
            }),
        );
    routes.merge(health_routes(readiness, Registry::default()))
}

async fn ask(request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let response = harden(router(), &config()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, to_bytes(body, 1 << 20).await.unwrap())
}

/// Asks, and expects a problem of that status and code.
async fn refused(request: Request<Body>, status: u16, code: &str) -> (HeaderMap, String) {
    let (found, headers, body) = ask(request).await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(found, status, "{text}");
    assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
    let problem: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> = problem.keys().map(String::as_str).collect();
    assert_eq!(names, ["code", "detail", "status", "title", "trace_id", "type"]);
    assert_eq!((&problem["code"], &problem["status"]), (&Value::from(code), &Value::from(status)));
    assert_eq!(problem["trace_id"].as_str().map(str::len), Some(32));
    (headers, text)
}

fn get_request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn post_request(content_type: &str, body: &str) -> Request<Body> {
    Request::post("/items").header(header::CONTENT_TYPE, content_type).body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn bodies() {
    for content_type in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
        let (status, _, body) = ask(post_request(content_type, r#"{"quantity":3}"#)).await;
        assert_eq!((status, body.as_ref()), (StatusCode::OK, b"3".as_slice()));
    }
    for content_type in ["", "text/plain", "application/x-www-form-urlencoded"] {
        refused(post_request(content_type, r#"{"quantity":3}"#), 415, "unsupported_media_type").await;
    }
    for body in [
        "",
        "{",
        r#"{"quantity":"3"}"#,
        r#"{"quantity":-3}"#,
        r#"{"quantity":3,"quantity":3}"#,
        r#"{"quantity":3,"more":1}"#,
        r#"{"quantity":3} 4"#,
        "{}",
    ] {
        refused(post_request("application/json", body), 422, "invalid_body").await;
    }
    refused(post_request("application/json", &" ".repeat(65)), 413, "body_too_large").await;
}

#[tokio::test]
async fn paths_and_queries() {
    assert_eq!(ask(get_request("/items/7")).await.2, "7");
    refused(get_request("/items/07"), 404, "not_found").await;
    refused(get_request("/items/%ff"), 404, "not_found").await;
    assert_eq!(ask(get_request("/list?quantity=7")).await.2, "7");
    for query in ["", "quantity=x", "quantity=1&quantity=2", "quantity=1&more=2"] {
        refused(get_request(&format!("/list?{query}")), 422, "invalid_query").await;
    }
    for (query, detail) in [
        ("quantity=x", "quantity: not a whole number"),
        ("quantity=", "quantity: not a whole number"),
        ("quantity=99999999999", "quantity: too large"),
        ("", "missing field `quantity`"),
    ] {
        let (_, problem) = refused(get_request(&format!("/list?{query}")), 422, "invalid_query").await;
        let problem: serde_json::Value = serde_json::from_str(&problem).unwrap();
        assert_eq!(problem["detail"], detail, "{query}");
    }
    refused(get_request("/nowhere"), 404, "not_found").await;
    let (headers, _) = refused(get_request("/items"), 405, "method_not_allowed").await;
    assert_eq!(headers[header::ALLOW], "POST");
}

#[tokio::test]
async fn the_document_and_the_page_that_shows_it() {
    let document = openapi::document("Shop", "A shop.", "http://127.0.0.1:1", ("shopper", "Signed in."));
    let router = openapi::with_document(Router::new(), document, &[]);
    let router = router.merge(openapi::other_document("cellar", "{\"openapi\":\"3.1.0\"}"));
    for (path, kind, encoding, begins) in [
        ("/openapi.json", "application/json", None, b"{\"" as &[u8]),
        ("/openapi/cellar.json", "application/json", None, b"{\"openapi\":\"3.1.0\"}"),
        ("/docs/cellar", "text/html; charset=utf-8", None, b"<!doctype html>"),
        ("/docs/cellar.js", "text/javascript; charset=utf-8", None, b"SwaggerUIBundle({ url: '/openapi/cellar.json'"),
        ("/docs", "text/html; charset=utf-8", None, b"<!doctype html>"),
        ("/docs/start.js", "text/javascript; charset=utf-8", None, b"SwaggerUIBundle"),
        ("/docs/swagger-ui.css", "text/css; charset=utf-8", Some("gzip"), b"\x1f\x8b\x08"),
        ("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8", Some("gzip"), b"\x1f\x8b\x08"),
    ] {
        let response = router.clone().oneshot(get_request(path)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], kind, "{path}");
        let found = response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap());
        assert_eq!(found, encoding, "{path}");
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        assert!(body.starts_with(begins), "{path}");
    }
}

#[tokio::test]
async fn handlers_that_fail() {
    let (_, text) = refused(get_request("/panic"), 500, "internal").await;
    assert!(!text.contains("secret detail"));
    let (headers, _) = refused(get_request("/slow"), 503, "timeout").await;
    assert_eq!(headers[header::RETRY_AFTER], "1");
}

/// Whatever refuses it: the router, an extractor, a handler that panics, or the deadline.
#[tokio::test]
async fn a_problem_has_the_trace_id_of_its_request() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let check = async |path: &str, headers: &[&str], status: u16, code: &str, is_the_clients: bool| {
        let mut request = get_request(path);
        for value in headers {
            request.headers_mut().append("traceparent", value.parse().unwrap());
        }
        let (_, text) = refused(request, status, code).await;
        assert_eq!(text.contains(trace), is_the_clients, "{path} {headers:?}: {text}");
    };
    let good = format!("00-{trace}-00f067aa0ba902b7-01");
    check("/nowhere", &[&good], 404, "not_found", true).await;
    check("/items", &[&good], 405, "method_not_allowed", true).await;
    check("/list", &[&good], 422, "invalid_query", true).await;
    check("/panic", &[&good], 500, "internal", true).await;
    check("/slow", &[&good], 503, "timeout", true).await;
    check("/nowhere", &[], 404, "not_found", false).await;
    check("/nowhere", &[&good, &good], 404, "not_found", false).await;
    for malformed in ["", "x", &good[..54], &format!("{good}0"), &format!("00-{trace}-0000000000000000-01")] {
        check("/nowhere", &[malformed], 404, "not_found", false).await;
    }
}

#[tokio::test]
async fn health() {
    assert_eq!(ask(get_request("/ping")).await.2, "pong");
    assert_eq!(ask(get_request("/healthz")).await.0, StatusCode::OK);
    let (status, _, body) = ask(get_request("/readyz")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, r#"{"ready":false,"reasons":[{"part":"log","reason":"replaying"}]}"#);
    let warned = Readiness::default();
    warned.set_warnings("journal", vec!["sale 1 is parked".to_owned()]);
    let answer =
        health_routes::<()>(warned.clone(), Registry::default()).oneshot(get_request("/readyz")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "a warning takes nobody out of the balancer");
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    assert_eq!(body, r#"{"ready":true,"reasons":[],"warnings":[{"part":"journal","reason":"sale 1 is parked"}]}"#);
    warned.set_warnings("journal", Vec::new());
    assert!(warned.warnings().is_empty());
    let registry = Registry::default();
    let counted = count_requests(health_routes(Readiness::default(), registry.clone()), &registry, "shop");
    assert_eq!(counted.clone().oneshot(get_request("/readyz")).await.unwrap().status(), StatusCode::OK);
    let body = counted.oneshot(get_request("/metrics")).await.unwrap().into_body();
    let text = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    assert!(text.contains("mall_http_requests_total{service=\"shop\",class=\"2xx\"} 1\n"), "{text}");
}

#[test]
fn idempotency_keys() {
    let check = |values: &[&[u8]], expect: Result<Option<&str>, u16>| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("idempotency-key", header::HeaderValue::from_bytes(value).unwrap());
        }
        assert_eq!(idempotency_key(&headers).map_err(|problem| problem.status().as_u16()), expect, "{values:?}");
    };
    check(&[], Ok(None));
    check(&[b"a-1~!"], Ok(Some("a-1~!")));
    check(&[&[b'k'; 255]], Ok(Some(&"k".repeat(255))));
    for bad in [&[b'k'; 256] as &[u8], b"", b"two words", b"tab\there", "键".as_bytes()] {
        check(&[bad], Err(422));
    }
    check(&[b"a", b"a"], Err(422));
}

#[test]
fn bearer_tokens() {
    let key = TokenKey::new(b"a secret of the test", Audience::Shopper);
    let token = key.sign(UserId::from_i64(42).unwrap(), None, 1_800_000_000, 60);
    let check = |values: &[&str], good: bool| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        match bearer(&headers, &key, 1_800_000_001_000) {
            Ok(claims) => assert!(good && claims.subject.as_i64() == 42, "{values:?}"),
            Err(problem) => assert!(!good && problem.status() == StatusCode::UNAUTHORIZED, "{values:?}"),
        }
    };
    check(&[&format!("Bearer {token}")], true);
    check(&[&format!("bearer  {token}")], true);
    check(&[], false);
    check(&[&token], false);
    check(&[&format!("Basic {token}")], false);
    check(&[&format!("Bearer {token}x")], false);
    check(&[&format!("Bearer {token}"), &format!("Bearer {token}")], false);
}

struct Server {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
}

async fn start(connections_max: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = ServerConfig { connections_max: NonZeroUsize::new(connections_max).unwrap(), ..config() };
    let stop = CancellationToken::new();
    let token = stop.clone();
    let ended = tokio::spawn(async move { serve(listener, router(), &config, token).await });
    Server { address, stop, ended }
}

async fn send(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let count = stream.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

async fn first_line(stream: &mut TcpStream) -> String {
    answer(stream).await.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_stop_lets_running_requests_finish() {
    let server = start(8).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    send(&mut idle, "/ping").await;
    assert_eq!(first_line(&mut idle).await, "HTTP/1.1 200 OK");
    let mut running = TcpStream::connect(server.address).await.unwrap();
    send(&mut running, "/short").await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    server.stop.cancel();
    assert_eq!(first_line(&mut running).await, "HTTP/1.1 200 OK");
    assert_eq!(first_line(&mut idle).await, "", "an idle connection is closed");
    tokio::time::timeout(Duration::from_secs(2), server.ended).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn handlers_see_who_is_behind_a_proxy() {
    let server = start(1).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for (lines, expect) in [
        ("", "127.0.0.1"),
        ("X-Forwarded-For: 8.8.8.8, 1.1.1.1\r\n", "1.1.1.1"),
        ("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 127.0.0.1\r\n", "1.1.1.1"),
        ("X-Forwarded-For: x\r\n", "127.0.0.1"),
    ] {
        let request = format!("GET /client HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = answer(&mut stream).await;
        assert_eq!(answer.rsplit("\r\n").next(), Some(expect), "{lines:?}");
    }
}

/// A head that does not end, and a body that does not.
#[tokio::test]
async fn clients_that_dawdle_are_cut() {
    let server = start(8).await;
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /items HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    stalled.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(first_line(&mut stalled).await, "HTTP/1.1 503 Service Unavailable");
    for stream in [&mut half, &mut silent] {
        let closed = tokio::time::timeout(Duration::from_secs(60), async { while !answer(stream).await.is_empty() {} });
        closed.await.unwrap();
    }
}

#[test]
fn bodies_that_mean_the_same_are_the_same_request() {
    let one = meaning(r#"{"quantity": 1, "items": [{"sku_id": "1", "name": "\u952e"}]}"#.as_bytes());
    assert_eq!(one, meaning("{\"items\":[{\"name\":\"键\",\"sku_id\":\"1\"}],\n\"quantity\":1}".as_bytes()));
    assert_ne!(one, meaning(r#"{"quantity": 2, "items": [{"sku_id": "1", "name": "键"}]}"#.as_bytes()));
    assert_eq!(meaning(b"a=b"), b"a=b");
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let asked = |id: &str| Request::get("/ping").header("x-request-id", id).body(Body::empty()).unwrap();
    let given = ask(asked("a-client's/request.1")).await.1;
    assert_eq!(given["x-request-id"], "a-client's/request.1");
    for bad in ["", "two words", &"x".repeat(129)] {
        let made = ask(asked(bad)).await.1;
        assert_eq!(made["x-request-id"].len(), 32, "{bad}");
    }
    // One that is made is the trace id, which problems and the log have.
    let (headers, text) = refused(get_request("/nothing"), 404, "not_found").await;
    assert!(text.contains(headers["x-request-id"].to_str().unwrap()), "{text}");
}

#[tokio::test]
async fn documents_can_be_off() {
    let document = openapi::document("test", "", "http://127.0.0.1:1", ("shopper", ""));
    let routes = openapi::with_document(router(), document, &[]).merge(openapi::other_document("gateway", "{}"));
    for (docs, expect) in [(true, StatusCode::OK), (false, StatusCode::NOT_FOUND)] {
        let routes = harden(routes.clone(), &ServerConfig { docs, ..config() });
        for path in ["/docs", "/docs/start.js", "/docs/gateway", "/openapi.json", "/openapi/gateway.json"] {
            let answer = routes.clone().oneshot(get_request(path)).await.unwrap();
            assert_eq!(answer.status(), expect, "{path}");
        }
        let answer = routes.clone().oneshot(get_request("/ping")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}
