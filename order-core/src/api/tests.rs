mod accounts;
mod browsers;
mod document;
mod images;
mod mall;
mod money;
mod one_order;
mod published;
mod search;

use std::{net::SocketAddr, sync::LazyLock};

use ::search::SearchIndex as _;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use contract::{
    ActivityId, OrderId, UserId,
    activity::Rules,
    stock::{Command, Ledger, Reservation},
};
use domain::SaleStore;
use foundation::{Config, config};
use limits::{LocalWindows, Windows};
use serde_json::{Value, json};
use store::{AddedSale, Attributes, Ids, NewCategory, NewProduct, NewSale, NewSku, Passwords, Settings, Store};
use tower::ServiceExt;
use web::harden;

use super::*;
use crate::MockPlatform;
use support::{HandClock, START_MS};

const SECRET: &[u8] = b"a secret of the test";
const COST: u32 = 4;

/// Of the shop's app, and of the platform.
static KEYS: LazyLock<[String; 2]> = LazyLock::new(|| [(); 2].map(|()| pay::Signer::generate().unwrap()));

struct TestApp {
    router: Router,
    store: Store,
    shelf: Shelf,
    images: Images,
    clock: HandClock,
    _directory: tempfile::TempDir,
}

fn config() -> Config {
    config::load(None, std::iter::empty()).unwrap()
}

fn ids() -> Ids {
    let last = std::sync::atomic::AtomicI64::new(0);
    Ids::new(move || Ok::<_, String>(last.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1))
}

/// The payment methods of an app.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offers {
    Mock,
    Alipay,
    Both,
}

fn providers(offers: Offers) -> Providers {
    let keys = KEYS.each_ref().map(String::as_str);
    let mock = MockPlatform::new(keys[0], keys[1], std::time::Duration::from_millis(240)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let key = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut payments = config().payments;
    payments.alipay = (offers != Offers::Mock).then(|| config::AlipayConfig {
        app_id: "alipay-app".to_owned(),
        seller_id: "alipay-seller".to_owned(),
        gateway: "http://127.0.0.1:1/alipay".to_owned(),
        private_key: key("private", keys[0]),
        // A key that signed nothing: no test sends notices of Alipay.
        public_key: key("public", "bm9ib2R5"),
    });
    Providers::new(&payments, "http://127.0.0.1:1", (offers != Offers::Alipay).then_some(&mock)).unwrap()
}

impl TestApp {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("mall.db"), ids(), Settings::new(60_000)).await.unwrap();
        Self::over(store, directory).await
    }

    async fn over(store: Store, directory: tempfile::TempDir) -> Self {
        let carts = Carts::Database(store.clone());
        Self::with((store, carts, providers(Offers::Mock)), directory).await
    }

    /// An app whose passwords take 2^`cost` rounds.
    async fn with_cost(cost: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("mall.db"), ids(), Settings::new(60_000)).await.unwrap();
        let carts = Carts::Database(store.clone());
        Self::hashing(cost, (store, carts, providers(Offers::Mock)), directory).await
    }

    /// An app with these payment methods.
    async fn that_offers(offers: Offers) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("mall.db"), ids(), Settings::new(60_000)).await.unwrap();
        let carts = Carts::Database(store.clone());
        Self::with((store, carts, providers(offers)), directory).await
    }

    async fn with(parts: (Store, Carts, Providers), directory: tempfile::TempDir) -> Self {
        Self::hashing(COST, parts, directory).await
    }

    async fn hashing(
        cost: u32,
        (store, carts, providers): (Store, Carts, Providers),
        directory: tempfile::TempDir,
    ) -> Self {
        let clock = HandClock::new();
        let shelf = Shelf::new(store.clone()).await.unwrap();
        let images = Images::open(&config().images, &directory.path().join("images"), "http://shop").unwrap();
        let path = directory.path().join("search");
        // A test that brings an index has the state of that one.
        let is_new = !path.exists();
        let index = ::search::Embedded::open(&path, ::search::Analyzer::new(::search::Synonyms::default())).unwrap();
        if is_new {
            index.rebuild().unwrap().finish(None).unwrap();
        }
        let parts = ((store.clone(), carts, shelf.clone(), Search::new(index)), providers, images.clone());
        let windows = Windows::Local(LocalWindows::default());
        let signing =
            (Passwords::new(cost).unwrap(), WrongTries::new(windows.clone(), &config().limits, "shoppers"), &windows);
        let api = Api::new(parts, signing, SECRET, clock.clone());
        let router = harden(router(api), &config().order_core);
        Self { router, store, shelf, images, clock, _directory: directory }
    }

    async fn send(&self, method: &str, path: &str, token: Option<&str>, body: Option<&str>) -> (StatusCode, Value) {
        self.send_from("192.0.2.1", (method, path), token, body).await
    }

    async fn send_from(
        &self,
        peer: &str,
        (method, path): (&str, &str),
        token: Option<&str>,
        body: Option<&str>,
    ) -> (StatusCode, Value) {
        let peer = ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1));
        let mut request = Request::builder().method(method).uri(path).extension(peer);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Body::from(body.unwrap_or_default().to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE).cloned();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        if !status.is_success() {
            assert_eq!(kind.unwrap(), "application/problem+json", "{method} {path} {body:?}");
        }
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send("POST", path, None, Some(&body.to_string())).await
    }

    async fn sign_in(&self, username: &str, password: &str) -> (StatusCode, Value) {
        self.post("/api/v1/sessions", json!({ "username": username, "password": password })).await
    }

    fn token(user: i64) -> String {
        let key = TokenKey::new(SECRET, Audience::Shopper);
        key.sign(UserId::from_i64(user).unwrap(), None, START_MS / 1000, 3600)
    }

    /// Orders of users 1, 1 and 2 through the journal; their ids.
    async fn orders(&self) -> (ActivityId, [i64; 3]) {
        let new = NewCategory { parent: None, name: "数码".into(), sort_order: 0 };
        let category = self.store.catalogue().add_category(new, 0).await.unwrap().unwrap().category_id;
        let new = NewProduct {
            category,
            title: "手机".into(),
            subtitle: String::new(),
            description: String::new(),
            image_ids: vec![],
        };
        let product = self.store.catalogue().add_product(new, 0).await.unwrap().unwrap().product_id;
        let new = NewSku { product, attributes: Attributes::new(), price: contract::Cents::new(500), stock: 10 };
        let sku = self.store.catalogue().add_sku(new, 0).await.unwrap().unwrap().sku_id;
        let rules = Rules { per_user_limit: 5, starts_at_ms: START_MS, ends_at_ms: START_MS + 1000 };
        let new = NewSale {
            title: "秒杀 🎉".into(),
            sku,
            price: contract::Cents::new(199),
            stock: 10,
            rules,
            admission: contract::activity::Admission::default(),
            pay_within_ms: None,
            is_draft: false,
        };
        let AddedSale::Added(sale) = self.store.sales().add_sale(new, START_MS).await.unwrap() else {
            panic!("no sale")
        };
        let activity = sale.activity.id;
        let (mut ledger, opened) = Ledger::open(activity, 10, rules, START_MS);
        let mut journal = vec![opened];
        let ids = [9001, 9002, 9003];
        for (id, user) in ids.into_iter().zip([1, 1, 2]) {
            let (order, user) = (OrderId::from_i64(id).unwrap(), UserId::from_i64(user).unwrap());
            let asked = Reservation { order, user, request: None, quantity: 2 };
            ledger.apply(Command::Reserve(asked), START_MS, &mut journal);
        }
        self.store.take_in(&domain::Line::in_order(&journal), START_MS).await.unwrap();
        (activity, ids)
    }
}

#[tokio::test]
async fn register_sign_in_refresh_sign_out() {
    let app = TestApp::new().await;
    let body = json!({ "username": "小明_01", "password": "correct horse", "phone": "+86 138-0000" });
    let (status, user) = app.post("/api/v1/users", body.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{user}");
    assert_eq!(user["created_at"], "2027-01-15T08:00:00.000Z");
    let (status, problem) = app.post("/api/v1/users", body).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("username_taken")));

    let (status, session) = app.sign_in("小明_01", "correct horse").await;
    assert_eq!((status, &session["expires_in"]), (StatusCode::OK, &json!(3600)));
    let access = session["access_token"].as_str().unwrap();
    let (status, me) = app.send("GET", "/api/v1/users/me", Some(access), None).await;
    assert_eq!((status, me), (StatusCode::OK, user));

    let refresh = |token: &Value| app.post("/api/v1/sessions/refresh", json!({ "refresh_token": token }));
    let first = &session["refresh_token"];
    let (status, second) = refresh(first).await;
    assert_eq!(status, StatusCode::OK);
    let (status, third) = refresh(&second["refresh_token"]).await;
    assert_eq!(status, StatusCode::OK);
    // A token that was replaced comes back: a copy is about, and the session ends for both.
    app.clock.advance(store::GRACE_MS);
    assert_eq!(refresh(&second["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh(&third["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(app.send("GET", "/api/v1/users/me", Some(access), None).await.0, StatusCode::UNAUTHORIZED);

    let (_, session) = app.sign_in("小明_01", "correct horse").await;
    let access = session["access_token"].as_str().unwrap();
    let (status, _) = app.send("DELETE", "/api/v1/sessions/current", Some(access), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(refresh(&session["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
    app.clock.advance(3600 * 1000);
    assert_eq!(app.send("GET", "/api/v1/users/me", Some(access), None).await.0, StatusCode::UNAUTHORIZED);
}

/// One address tries names by turns, so that none of them locks.
#[tokio::test]
async fn many_wrong_tries_lock_an_address() {
    let app = TestApp::new().await;
    for name in ["known", "new-here"] {
        app.post("/api/v1/users", json!({ "username": name, "password": "correct horse" })).await;
    }
    let try_from = async |peer: &str, name: &str, password: &str| {
        let body = json!({ "username": name, "password": password }).to_string();
        app.send_from(peer, ("POST", "/api/v1/sessions"), None, Some(&body)).await
    };
    let max = config().limits.wrong_sign_ins_max;
    for at in 0..max {
        assert_eq!(try_from("2001:db8::1", "known", "correct horse").await.0, StatusCode::OK, "it does not count");
        let (status, _) = try_from("2001:db8::1", &format!("name{at}"), "wrong horse").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "try {at}");
    }
    for peer in ["2001:db8::1", "2001:db8::2"] {
        let (status, problem) = try_from(peer, "new-here", "correct horse").await;
        assert_eq!((status, &problem["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("locked")));
    }
    assert_eq!(try_from("2001:db8::1", "known", "correct horse").await.0, StatusCode::OK, "known from there");
    assert_eq!(try_from("2001:db8:0:1::1", "new-here", "correct horse").await.0, StatusCode::OK, "another household");
    app.clock.advance(u64::try_from(config().limits.wrong_sign_ins_window.as_millis()).unwrap());
    assert_eq!(try_from("2001:db8::1", "new-here", "correct horse").await.0, StatusCode::OK);
}

#[tokio::test]
async fn five_wrong_tries_lock_a_name_whether_it_exists_or_not() {
    let app = TestApp::new().await;
    app.post("/api/v1/users", json!({ "username": "known", "password": "correct horse" })).await;
    let mut told = Vec::new();
    for name in ["known", "UNKNOWN"] {
        let mut answers = Vec::new();
        for _ in 0..6 {
            let (status, problem) = app.sign_in(name, "wrong horse").await;
            answers.push((status, problem["code"].clone(), problem["detail"].clone()));
        }
        assert_eq!(answers[4].0, StatusCode::UNAUTHORIZED);
        assert_eq!(answers[5].0, StatusCode::TOO_MANY_REQUESTS);
        told.push(answers);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(app.sign_in("KNOWN", "correct horse").await.0, StatusCode::TOO_MANY_REQUESTS);
    app.clock.advance(5 * 60_000);
    assert_eq!(app.sign_in("Known", "correct horse").await.0, StatusCode::OK);
    for _ in 0..4 {
        app.sign_in("known", "wrong horse").await;
    }
    assert_eq!(app.sign_in("known", "correct horse").await.0, StatusCode::OK, "the fifth try was right");
    assert_eq!(app.sign_in("known", "wrong horse").await.0, StatusCode::UNAUTHORIZED, "and forgave the four");
}

#[tokio::test]
async fn orders_are_their_owners() {
    let app = TestApp::new().await;
    let (activity, ids) = app.orders().await;
    let token = TestApp::token(1);
    let get = |path: String| {
        let (app, token) = (&app, &token);
        async move { app.send("GET", &path, Some(token), None).await }
    };

    let (status, order) = get(format!("/api/v1/orders/{}", ids[0])).await;
    assert_eq!(status, StatusCode::OK);
    let expect = json!({
        "order_id": "9001",
        "status": "pending_payment",
        "activity_id": activity.to_string(),
        "total_cents": 398,
        "created_at": "2027-01-15T08:00:00.000Z",
        "expires_at": "2027-01-15T08:01:00.000Z",
        "refunded_cents": 0,
        "items": [{
            "line_no": 1, "sku_id": "3", "title": "秒杀 🎉", "quantity": 2, "price_cents": 199, "refunded_quantity": 0,
        }],
    });
    assert_eq!(order, expect);
    assert_eq!(get(format!("/api/v1/orders/{}", ids[2])).await.0, StatusCode::NOT_FOUND);
    assert_eq!(get("/api/v1/orders/77".into()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(get("/api/v1/orders/x".into()).await.0, StatusCode::NOT_FOUND);

    let (_, page) = get("/api/v1/orders?limit=1".into()).await;
    assert_eq!(page["items"][0]["order_id"], "9002");
    let cursor = page["next_cursor"].as_str().unwrap();
    let (_, page) = get(format!("/api/v1/orders?limit=1&cursor={cursor}&status=pending_payment")).await;
    assert_eq!((&page["items"], &page["next_cursor"]), (&json!([expect]), &Value::Null));
    let (_, none) = get("/api/v1/orders?status=closed".into()).await;
    assert_eq!(none, json!({ "items": [], "next_cursor": null }));
    for bad in ["limit=0", "limit=101", "limit=x", "cursor=-1", "cursor=a", "status=lost", "page=2", "limit=1&limit=2"]
    {
        let (status, problem) = get(format!("/api/v1/orders?{bad}")).await;
        assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_query")), "{bad}");
    }
    assert_eq!(app.send("GET", "/api/v1/orders", None, None).await.0, StatusCode::UNAUTHORIZED);
    let admin = TokenKey::new(SECRET, Audience::Admin).sign(UserId::from_i64(1).unwrap(), None, START_MS / 1000, 60);
    assert_eq!(app.send("GET", "/api/v1/orders", Some(&admin), None).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_not_right_is_refused_and_never_a_fault() {
    let app = TestApp::new().await;
    let long = |count| "长".repeat(count);
    let name_and = |password: &str| json!({ "username": "somebody", "password": password }).to_string();
    let named = |name: &str| json!({ "username": name, "password": "correct horse" }).to_string();
    let bodies = [
        "".to_owned(),
        "null".into(),
        "[]".into(),
        "{".into(),
        "{}".into(),
        "\u{feff}{}".into(),
        r#"{"username":"abc","username":"abcd","password":"correct horse"}"#.into(),
        r#"{"username":"abc","password":"correct horse","role":"admin"}"#.into(),
        r#"{"username":9223372036854775808,"password":"correct horse"}"#.into(),
        r#"{"username":"abc","password":null}"#.into(),
        r#"{"username":"\ud800bc","password":"correct horse"}"#.into(),
        named("ab"),
        named("a b c"),
        named("'; DROP TABLE users; --"),
        named("name\u{0}"),
        named("emoji😀name"),
        named("аdmin"),
        named(&long(33)),
        name_and("seven77"),
        name_and(&long(25)),
        name_and("with\u{0}nul in it"),
        json!({ "username": "abc", "password": "correct horse", "phone": "call me" }).to_string(),
        format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)),
    ];
    for body in &bodies {
        let (status, problem) = app.send("POST", "/api/v1/users", None, Some(body)).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_body")),
            "{body:.80}"
        );
        assert!(problem["trace_id"].is_string());
        let (status, _) = app.send("POST", "/api/v1/sessions", None, Some(body)).await;
        assert!(status.is_client_error(), "{body:.80} {status}");
    }
    let huge = named(&"a".repeat(3 << 20));
    assert_eq!(app.send("POST", "/api/v1/users", None, Some(&huge)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let notice = "/api/v1/payments/mock/notify";
    assert_eq!(app.send("POST", notice, None, Some(&huge)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let peer = ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 1)));
    let unread = Request::post("/api/v1/users").extension(peer).body(Body::from(name_and("correct horse"))).unwrap();
    let response = app.router.clone().oneshot(unread).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(app.send("PUT", "/api/v1/users", None, None).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(app.send("GET", "/api/v1/nothing", None, None).await.0, StatusCode::NOT_FOUND);
    // 72 bytes are read whole: the 72nd counts.
    let password = "p".repeat(72);
    assert_eq!(app.send("POST", "/api/v1/users", None, Some(&name_and(&password))).await.0, StatusCode::CREATED);
    // The bodies above were tried as passwords of this name as well.
    app.clock.advance(5 * 60_000);
    assert_eq!(app.sign_in("somebody", &"p".repeat(71)).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(app.sign_in("somebody", &"p".repeat(73)).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(app.sign_in("somebody", &password).await.0, StatusCode::OK);
}
