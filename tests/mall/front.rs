//! The front of the mall: a real nginx with the configuration that is deployed, and the shop's files.

use std::{io::Read as _, path::Path, process::Command};

use services::{Nginx, Upstreams};

use crate::process::{Mall, agent, call, token};

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
    let at = |url: &str| url.trim_start_matches("http://").to_owned();
    let (gateway, order_core, admin) = (at(&mall.gateway), at(&mall.order_core), at(&mall.admin));
    let upstreams = Upstreams { gateways: &[&gateway], order_core: &order_core, admin: &admin };
    Nginx::start_front(&upstreams, limits, |directory: &Path| {
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

#[test]
fn nginx_limits_a_client() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let Some(front) = start(&mall, "limits.conf") else { return };
    let statuses: Vec<u16> = (0..400).map(|_| fetch(&front, "/api/v1/time", &[]).0).collect();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused > 0 && refused < 400 && statuses[0] == 200, "{refused} of 400 are refused");
}
