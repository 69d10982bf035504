//! The layer around a service.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Request, StatusCode},
    response::Response,
    routing::{get, post},
};
use contract::{
    UserId,
    token::{Audience, TokenKey},
};
use foundation::{Clock, SystemClock, config, metrics::Registry, redis::Connection};
use limits::{Limits, LocalWindows, RedisWindows, Routes, Windows};
use serde_json::Value;
use tower::ServiceExt;
use web::harden;

const ROUTES: Routes = Routes { sign_in: &["/sessions"], free: &["/notify"] };

fn key() -> TokenKey {
    TokenKey::new(b"a secret of the test", Audience::Shopper)
}

struct Shop {
    router: Router,
    metrics: Registry,
}

impl Shop {
    fn new(windows: Windows) -> Self {
        let settings = "trusted_proxies: 10.0.0.1\nlimits:\n  sign_in_max: 2\n  write_max: 3\n  read_max: 4\n";
        let config = config::load(Some(("test", settings)), std::iter::empty()).unwrap();
        let metrics = Registry::default();
        let ok = || std::future::ready("ok");
        let routes = Router::new()
            .route("/orders", get(ok).post(ok))
            .route("/orders/{order_id}", get(ok).delete(ok))
            .route("/sessions", post(ok))
            .route("/notify", post(ok));
        let limits = Limits::new(windows, &config.limits, (key(), ROUTES), (&metrics, "shop"), SystemClock);
        Self { router: harden(limits.limit(routes), &config.order_core), metrics }
    }

    /// `who` asks `method path`: an address, or `user N` from one.
    async fn ask(&self, who: &str, method: &str, path: &str) -> Response {
        let (user, address) = match who.strip_prefix("user ") {
            Some(user) => (Some(user), "192.0.2.9"),
            None => (None, who),
        };
        let (peer, forwarded) = address.split_once(" for ").unwrap_or((address, ""));
        let peer = ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1));
        let mut request = Request::builder().method(method).uri(path).extension(peer);
        request = request.header("x-forwarded-for", forwarded);
        if let Some(user) = user {
            let user = UserId::from_i64(user.parse().unwrap()).unwrap();
            let token = key().sign(user, None, SystemClock.now_ms() / 1000, 60);
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    /// `who` is answered `times` times, and then no more.
    async fn check(&self, who: &str, method: &str, path: &str, times: usize) {
        for at in 0..times {
            let answer = self.ask(who, method, path).await;
            assert_eq!(answer.status(), StatusCode::OK, "{who} {method} {path}: {at}");
        }
        assert_eq!(self.ask(who, method, path).await.status(), StatusCode::TOO_MANY_REQUESTS, "{who} {method} {path}");
    }
}

#[tokio::test]
async fn each_may_ask_for_each_route_so_often() {
    let shop = Shop::new(Windows::Local(LocalWindows::default()));
    shop.check("192.0.2.1", "GET", "/orders", 4).await;
    shop.check("192.0.2.2", "GET", "/orders", 4).await;
    shop.check("user 1", "GET", "/orders", 4).await;
    shop.check("user 2", "GET", "/orders", 4).await;
    shop.check("user 1", "POST", "/orders", 3).await;
    shop.check("user 1", "GET", "/orders/7", 4).await;
    assert_eq!(shop.ask("user 1", "GET", "/orders/8").await.status(), 429, "one route, whichever order");
    shop.check("user 1", "DELETE", "/orders/7", 3).await;

    // A sign-in is counted by address, with a token too.
    shop.check("192.0.2.9", "POST", "/sessions", 2).await;
    assert_eq!(shop.ask("user 3", "POST", "/sessions").await.status(), 429);
    // A household, and whom a proxy names; nobody names himself.
    shop.check("2001:db8::1", "POST", "/sessions", 2).await;
    assert_eq!(shop.ask("2001:db8::2", "POST", "/sessions").await.status(), 429);
    shop.check("10.0.0.1 for 198.51.100.1", "POST", "/sessions", 2).await;
    assert_eq!(shop.ask("10.0.0.1 for 203.0.113.7, 198.51.100.1", "POST", "/sessions").await.status(), 429);
    shop.check("192.0.2.5 for 203.0.113.8", "POST", "/sessions", 2).await;
    assert_eq!(shop.ask("192.0.2.5 for 203.0.113.9", "POST", "/sessions").await.status(), 429);

    for _ in 0..9 {
        assert_eq!(shop.ask("192.0.2.1", "POST", "/notify").await.status(), 200);
        assert_eq!(shop.ask("192.0.2.1", "GET", "/nowhere").await.status(), 404);
    }
    assert!(shop.metrics.render().contains("mall_rate_limited_total{service=\"shop\"} 16\n"));
}

#[tokio::test]
async fn a_site_is_not_as_many_clients_as_it_has_networks() {
    let shop = Shop::new(Windows::Local(LocalWindows::default()));
    let mut answered = 0;
    for home in 0..9 {
        for network in 0..9 {
            for _ in 0..3 {
                let client = format!("2001:db8:7:{home:x}{network:02x}::1");
                answered += u32::from(shop.ask(&client, "POST", "/sessions").await.status() == 200);
            }
        }
    }
    // Two of each /64, eight of each /56, 32 of the /48.
    assert_eq!(answered, 32);
    assert_eq!(shop.ask("2001:db8:8:0::1", "POST", "/sessions").await.status(), 200, "another site");
    shop.check("2001:db8:9:1::1", "POST", "/sessions", 2).await;
    shop.check("2001:db8:9:2::1", "POST", "/sessions", 2).await;
}

#[tokio::test]
async fn what_is_left_is_told() {
    let shop = Shop::new(Windows::Local(LocalWindows::default()));
    for left in ["2", "1", "0"] {
        let answer = shop.ask("user 1", "POST", "/orders").await;
        let told = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| &answer.headers()[name]);
        assert_eq!(
            (answer.status(), told[0], told[1]),
            (StatusCode::OK, &"3".parse().unwrap(), &left.parse().unwrap())
        );
        assert!((1..=60).contains(&told[2].to_str().unwrap().parse::<u64>().unwrap()));
    }
    let refused = shop.ask("user 1", "POST", "/orders").await;
    let headers = refused.headers().clone();
    assert_eq!(
        (&headers["ratelimit-remaining"], &headers["content-type"]),
        (&"0".parse().unwrap(), &"application/problem+json".parse().unwrap())
    );
    assert_eq!(headers["retry-after"], headers["ratelimit-reset"]);
    let problem: Value = serde_json::from_slice(&to_bytes(refused.into_body(), 1 << 20).await.unwrap()).unwrap();
    assert_eq!(problem["code"], "rate_limited");
}

#[tokio::test]
async fn nobody_is_limited_while_the_windows_are_away() {
    let connection = Connection::new("redis://127.0.0.1:1").unwrap();
    let shop = Shop::new(Windows::Redis(RedisWindows::new(connection).unwrap()));
    for _ in 0..9 {
        assert_eq!(shop.ask("user 1", "POST", "/orders").await.status(), 200);
    }
    assert!(shop.metrics.render().contains("mall_limits_skipped_total{service=\"shop\"} 9\n"));
}
