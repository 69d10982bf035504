//! The front of the mall: a real nginx with the configuration that is deployed, and the shop's files.

mod limits;
mod lost;
mod paths;
mod sale;
mod table;
mod tls;
mod words;

use std::{
    io::Read as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use services::{Listen, Nginx, Upstreams};

use crate::process::{Mall, Shop, agent, call, token};

/// A request to the front. Its status, its headers as lines in small letters, its body.
fn fetch(front: &Nginx, path: &str, headers: &[(&str, &str)]) -> (u16, String, Vec<u8>) {
    let mut request = agent().get(format!("http://{}{path}", front.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.call().unwrap();
    let lines = answer.headers().iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
    let (status, lines) = (answer.status().as_u16(), lines.collect());
    (status, lines, answer.body_mut().read_to_vec().unwrap())
}

fn start(mall: &Mall, limits: &str) -> Option<Nginx> {
    start_before(&[&mall.gateway], mall, limits, Listen::Plain)
}

/// nginx with these gateways and the other services of `shop` behind it.
pub(crate) fn start_before(gateways: &[&str], shop: &Shop, limits: &str, listen: Listen) -> Option<Nginx> {
    let at = |url: &'_ str| url.trim_start_matches("http://").to_owned();
    let gateways: Vec<String> = gateways.iter().map(|url| at(url)).collect();
    let gateways: Vec<&str> = gateways.iter().map(String::as_str).collect();
    let (order_core, admin) = (at(&shop.order_core), at(&shop.admin));
    let upstreams = Upstreams { gateways: &gateways, order_core: &order_core, admin: &admin };
    Nginx::start_front(&upstreams, limits, listen, |directory: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mall"));
        let written = command.env_clear().arg("shop-assets").arg(directory).status().unwrap();
        assert!(written.success());
    })
}

#[test]
fn nginx_serves_the_shop_and_passes_on_what_it_should() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[("MALL_WEB__GATEWAY_URL", "/")]);
    let Some(front) = start(&mall, "limits-off.conf") else { return };

    // The files are the same from nginx and from order-core, the page too.
    for path in ["/", "/sale/7", "/pay/return", "/orders"] {
        let (status, headers, page) = fetch(&front, path, &[]);
        let own = agent().get(format!("{}{path}", mall.order_core)).call().unwrap().body_mut().read_to_vec().unwrap();
        assert!(status == 200 && page == own, "{path}: {}", String::from_utf8_lossy(&own));
        assert!(headers.contains("content-security-policy: default-src 'none'; script-src 'self';"), "{headers}");
        assert!(headers.contains("x-content-type-options: nosniff"), "{headers}");
    }
    for asset in &shop::ASSETS {
        let path = format!("/assets/{}/{}", shop::HASH, asset.path);
        let (status, headers, body) = fetch(&front, &path, &[("accept-encoding", "identity")]);
        assert_eq!((status, body.as_slice()), (200, asset.plain), "{path}");
        assert!(
            headers.contains("cache-control: public, max-age=31536000, immutable") && headers.contains("etag: "),
            "{headers}"
        );
        assert!(headers.contains(&format!("content-type: {}", asset.content_type())), "{path}: {headers}");
    }

    // The catalogue is kept for a moment; what belongs to somebody is not.
    let (_, first, _) = fetch(&front, "/api/v1/categories", &[]);
    let (_, second, _) = fetch(&front, "/api/v1/categories", &[]);
    assert!(first.contains("x-cache: MISS") && second.contains("x-cache: HIT"), "{first}{second}");
    let bearer = format!("Bearer {}", token(7));
    let (_, own, _) = fetch(&front, "/api/v1/categories", &[("authorization", &bearer)]);
    assert!(own.contains("x-cache: BYPASS"), "{own}");

    for inside in ["/metrics", "/readyz", "/docs", "/openapi.json", "/admin/", "/admin/api/v1/orders", "/nothing"] {
        assert_eq!(fetch(&front, inside, &[]).0, 404, "{inside}");
    }
    let at = format!("http://{}", front.address());
    let big = serde_json::json!({ "activity_id": "1", "quantity": 1, "ticket": "x".repeat(20_000) });
    assert_eq!(call("POST", &format!("{at}/api/v1/seckill/orders"), Some(&token(7)), &big).0, 413);

    // A sale through it.
    let sale = mall.sale(3);
    let body = serde_json::json!({ "activity_id": sale, "quantity": 1 });
    let (status, held) = call("POST", &format!("{at}/api/v1/seckill/orders"), Some(&token(7)), &body);
    assert_eq!(status, 202, "{held}");
    let events = format!("/api/v1/seckill/orders/{}/events", held["order_id"].as_str().unwrap());
    // The first event is here while the stream is still open, so nothing holds it back.
    let url = format!("{at}{events}");
    let mut stream = agent().get(&url).header("Authorization", &bearer).call().unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut first = [0; 64];
    let length = stream.body_mut().as_reader().read(&mut first).unwrap();
    assert!(first[..length].starts_with(b"event: status\n"), "{}", String::from_utf8_lossy(&first));
}

/// The trace id of a refusal is the client's, or the request id of nginx, under which the access log has it.
#[test]
fn nginx_passes_a_trace_on_or_begins_one() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let Some(front) = start(&mall, "limits-off.conf") else { return };
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let good = format!("00-{trace}-00f067aa0ba902b7-01");
    // The one is refused by order-core, the other by a gateway.
    for path in ["/api/v1/nothing", "/api/v1/seckill/nothing"] {
        let trace_id = |headers: &[(&str, &str)]| {
            let (status, _, body) = fetch(&front, path, headers);
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(status, 404, "{path}: {problem}");
            problem["trace_id"].as_str().unwrap().to_owned()
        };
        assert_eq!(trace_id(&[("traceparent", &good)]), trace, "{path}");
        let begun = [
            trace_id(&[]),
            trace_id(&[("traceparent", &good[1..])]),
            trace_id(&[("traceparent", &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)))]),
            trace_id(&[("traceparent", &format!("00-{trace}-{}-01", "0".repeat(16)))]),
        ];
        let deadline = Instant::now() + Duration::from_secs(20);
        let is_logged = |id: &String| front.requests().contains(&format!("\"request_id\":\"{id}\""));
        while !begun.iter().all(is_logged) {
            assert!(Instant::now() < deadline, "{path}: {begun:?} in {}", front.requests());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
