mod boards;
mod document;
mod files;
mod forms;
mod images;
mod keys;
mod letters;
mod money;
mod office;
mod opening;
mod pages;
mod parked;
mod processes;
mod published;
mod staff;
mod steer;

use domain::RefundStore as _;
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicI64, Ordering},
};
use support::{HandClock, MemoryLedgers, MemoryLog, START_MS};

use ::images::Images;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
    response::Response,
};
use contract::{
    OrderId, UserId,
    activity::AnswerAfter,
    record::Record as _,
    stock::Reservation,
    token::{Audience, TokenKey},
    topic,
};
use domain::SaleStore;
use foundation::{Clock, config, rfc3339};
use limits::{LocalWindows, Windows, WrongTries};
use serde_json::{Value, json};
use store::{Ids, Passwords, Settings, Store};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use web::harden;

use super::*;
use crate::{
    OpenOnce,
    audit::{Book, Follower},
    ensure_first_admin,
    letters::Letters,
    processes::Processes,
    warmer::Warmer,
};

const SECRET: &[u8] = b"a secret of the test";
const PASSWORD: &str = "correct horse";

struct TestApp {
    router: Router,
    pages: Router,
    api: Api<OpenOnce<MemoryLedgers, HandClock>, HandClock>,
    store: Store,
    ledgers: MemoryLedgers,
    log: MemoryLog,
    book: Book,
    letters: Letters,
    processes: Processes,
    clock: HandClock,
    stop: CancellationToken,
    directory: tempfile::TempDir,
}

fn token(role: &str) -> String {
    let key = TokenKey::new(SECRET, Audience::Admin);
    key.sign(UserId::from_i64(1).unwrap(), Some(role), START_MS / 1000, 7 * 24 * 3600)
}

fn ids() -> Ids {
    let last = AtomicI64::new(0);
    Ids::new(move || Ok::<_, String>(last.fetch_add(1, Ordering::Relaxed) + 1))
}

impl TestApp {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("mall.db"), ids(), Settings::new(60_000)).await.unwrap();
        Self::over(store, directory).await
    }

    async fn over(store: Store, directory: tempfile::TempDir) -> Self {
        let clock = HandClock::new();
        let log = MemoryLog::with_topics(60_000).await;
        let ledgers = MemoryLedgers::new(log.clone(), clock.clone());
        let passwords = Passwords::new(4).unwrap();
        assert!(ensure_first_admin(&store, &passwords, (PASSWORD, false), &clock).await.unwrap());
        assert!(!ensure_first_admin(&store, &passwords, ("another one", true), &clock).await.unwrap());
        let book = Book::default();
        let config = config::load(None, std::iter::empty()).unwrap();
        let windows = Windows::Local(LocalWindows::default());
        let signing = (passwords, WrongTries::new(windows, &config.limits, "admins"));
        let images = Images::open(&config.images, &directory.path().join("images"), "http://shop").unwrap();
        let opened = OpenOnce::new(ledgers.clone(), store.clone(), book.clone(), clock.clone());
        let api = Api::new((store.clone(), opened, book.clone(), images), signing, SECRET, clock.clone());
        let letters = Letters::default();
        let processes = Processes::default();
        let stop = CancellationToken::new();
        let api = api.with_letters(letters.clone()).with_processes(processes.clone()).ending_with(stop.clone());
        let pages = harden(crate::pages::router(api.clone()), &config.admin);
        let router = harden(router(api.clone()), &config.admin);
        Self { router, pages, api, store, ledgers, log, book, letters, processes, clock, stop, directory }
    }

    /// This app with another value of the setting `ledger.answer_after`.
    fn answering_after(self, answer_after: AnswerAfter) -> Self {
        let server = config::load(None, std::iter::empty()).unwrap().admin;
        let api = self.api.answering_after(answer_after);
        let pages = harden(crate::pages::router(api.clone()), &server);
        let router = harden(super::router(api.clone()), &server);
        Self { api, pages, router, ..self }
    }

    async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let peer = ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 1)));
        let mut request = Request::builder().method(method).uri(format!("/admin/api/v1{path}")).extension(peer);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_owned()));
        self.router.clone().oneshot(request.unwrap()).await.unwrap()
    }

    /// Sends bytes as an admin.
    async fn send_bytes(&self, method: &str, path: &str, body: Vec<u8>) -> (StatusCode, Value) {
        let peer = ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 1)));
        let request = Request::builder().method(method).uri(format!("/admin/api/v1{path}")).extension(peer);
        let request = request.header("authorization", format!("Bearer {}", token("admin")));
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, Value) {
        let bearer = format!("Bearer {}", token("admin"));
        let mut headers = headers.to_vec();
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            headers.push(("authorization", &bearer));
        }
        let response = self.raw(method, path, &headers, body).await;
        let status = response.status();
        let kind = response.headers()[header::CONTENT_TYPE].clone();
        let expect = if status.is_success() { "application/json" } else { "application/problem+json" };
        assert_eq!(kind, expect, "{method} {path} {body:.100}");
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn make(&self, path: &str, body: Value) -> Value {
        let (status, made) = self.send("POST", path, &[], &body.to_string()).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        made
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send("GET", path, &[], "").await
    }

    /// The id of a new SKU with 100 units.
    async fn sku(&self) -> String {
        let category = self.make("/categories", json!({ "name": "手机 📱" })).await;
        let product = json!({ "title": "旗舰 🚀", "category_id": category["category_id"] });
        let product = self.make("/products", product).await;
        assert_eq!(product["on_shelf"], false);
        let path = format!("/products/{}/skus", product["product_id"].as_str().unwrap());
        let sku = json!({ "attributes": { "颜色": "黑" }, "price_cents": 399_900, "stock": 100 });
        self.make(&path, sku).await["sku_id"].as_str().unwrap().to_owned()
    }

    fn activity(&self, sku: &str, stock: u64, starts_in_ms: u64) -> Value {
        let starts_at = self.clock.now_ms() + starts_in_ms;
        json!({
            "title": "一元秒杀", "sku_id": sku, "price_cents": 100, "stock": stock, "per_user_limit": 2,
            "starts_at": rfc3339::format(starts_at), "ends_at": rfc3339::format(starts_at + 3_600_000),
        })
    }

    /// The journal reaches the book and the database.
    async fn catch_up(&self) {
        let entries = self.log.journal();
        self.store.take_in(&domain::Line::in_order(&entries), self.clock.now_ms()).await.unwrap();
        Follower::follow(&self.log, self.book.clone()).await.unwrap().step().await.unwrap();
    }
}

const HOUR_MS: u64 = 3_600_000;

/// One address tries names by turns, so that none of them locks.
#[tokio::test]
async fn many_wrong_tries_lock_an_address() {
    let app = TestApp::new().await;
    let try_as = async |name: &str, password: &str| {
        let body = json!({ "username": name, "password": password }).to_string();
        app.send("POST", "/sessions", &[], &body).await
    };
    for at in 0..config::load(None, std::iter::empty()).unwrap().limits.wrong_sign_ins_max {
        assert_eq!(try_as(&format!("name{at}"), "wrong horse").await.0, StatusCode::UNAUTHORIZED, "try {at}");
    }
    let (status, problem) = try_as("admin", PASSWORD).await;
    assert_eq!((status, &problem["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("locked")));
}

#[tokio::test]
async fn roles_decide() {
    let app = TestApp::new().await;
    let credentials = |password: &str| json!({ "username": "admin", "password": password }).to_string();
    let (status, session) = app.send("POST", "/sessions", &[], &credentials(PASSWORD)).await;
    assert_eq!((status, &session["expires_in"]), (StatusCode::OK, &json!(8 * 3600)));
    let signed_in = format!("Bearer {}", session["access_token"].as_str().unwrap());
    let (status, _) = app.send("POST", "/sessions", &[], &credentials("wrong horse")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    let body = json!({ "name": "食品" }).to_string();
    let shopper =
        TokenKey::new(SECRET, Audience::Shopper).sign(UserId::from_i64(1).unwrap(), None, START_MS / 1000, 60);
    let none = TokenKey::new(SECRET, Audience::Admin).sign(UserId::from_i64(1).unwrap(), None, START_MS / 1000, 60);
    let bearer = |token: &str| format!("Bearer {token}");
    let cases = [
        (signed_in, StatusCode::OK, StatusCode::CREATED),
        (bearer(&token("operator")), StatusCode::OK, StatusCode::CREATED),
        (bearer(&token("viewer")), StatusCode::OK, StatusCode::FORBIDDEN),
        (bearer(&token("emperor")), StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
        (bearer(&none), StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
        (bearer(&shopper), StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED),
        ("Basic YWRtaW46".to_owned(), StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED),
    ];
    for (authorization, looks, makes) in cases {
        let headers = [("authorization", authorization.as_str())];
        assert_eq!(app.send("GET", "/categories", &headers, "").await.0, looks, "{authorization}");
        assert_eq!(app.send("POST", "/categories", &headers, &body).await.0, makes, "{authorization}");
    }
}

#[tokio::test]
async fn the_catalogue_is_written_read_and_changed() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let (_, found) = app.get(&format!("/skus/{sku}")).await;
    let product = format!("/products/{}", found["product_id"].as_str().unwrap());
    assert_eq!((&found["attributes"], &found["stock"]), (&json!({ "颜色": "黑" }), &json!(100)));
    let (_, list) = app.get(&format!("{product}/skus")).await;
    assert_eq!(list, json!({ "items": [found], "next_cursor": null }));

    for (path, version) in [("shelve", 2), ("shelve", 2), ("unshelve", 3)] {
        let (status, shelved) = app.send("POST", &format!("{product}/{path}"), &[], "").await;
        assert_eq!((status, &shelved["version"]), (StatusCode::OK, &json!(version)));
    }
    let patch = json!({ "title": "新名字" }).to_string();
    let (status, _) = app.send("PATCH", &product, &[], &patch).await;
    assert_eq!(status, StatusCode::PRECONDITION_REQUIRED);
    let (status, problem) = app.send("PATCH", &product, &[("if-match", "\"2\"")], &patch).await;
    assert_eq!((status, &problem["version"]), (StatusCode::PRECONDITION_FAILED, &json!(3)));
    let (status, patched) = app.send("PATCH", &product, &[("if-match", "\"3\"")], &patch).await;
    assert_eq!((status, &patched["title"], &patched["version"]), (StatusCode::OK, &json!("新名字"), &json!(4)));
    let (status, _) =
        app.send("PATCH", &product, &[("if-match", "\"4\"")], &json!({ "category_id": "77" }).to_string()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let raw = app.raw("GET", &product, &[("authorization", &format!("Bearer {}", token("viewer")))], "").await;
    assert_eq!(raw.headers()[header::ETAG], "\"4\"");
    assert_eq!(app.get("/products/77").await.0, StatusCode::NOT_FOUND);

    // RFC 9110 section 13.1.1: any version, or one of a list.
    for (stated, expect) in [("*", 5), ("\"9\", W/\"5\" ,\"other\"", 6), ("\"6\"", 7)] {
        let (status, patched) = app.send("PATCH", &product, &[("if-match", stated)], &patch).await;
        assert_eq!((status, &patched["version"]), (StatusCode::OK, &json!(expect)), "{stated}");
    }
    for stated in ["\"1\", \"2\"", "\"other\"", "", "*, \"1\""] {
        let (status, _) = app.send("PATCH", &product, &[("if-match", stated)], &patch).await;
        assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{stated}");
    }

    app.make("/categories", json!({ "name": "二", "sort_order": 5 })).await;
    let (_, first) = app.get("/categories?limit=1").await;
    let (_, second) = app.get(&format!("/categories?limit=1&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!((&first["items"][0]["name"], &second["items"][0]["name"]), (&json!("二"), &json!("手机 📱")));
    assert_eq!(second["next_cursor"], Value::Null);
}

#[tokio::test]
async fn one_key_makes_one_thing() {
    let app = TestApp::new().await;
    let send = |key: &'static str, name: &'static str| {
        let app = &app;
        async move {
            app.send("POST", "/categories", &[("idempotency-key", key)], &json!({ "name": name }).to_string()).await
        }
    };
    let first = send("k1", "一").await;
    assert_eq!(first.0, StatusCode::CREATED);
    assert_eq!(send("k1", "一").await, first);
    let (status, problem) = send("k1", "二").await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency_key_reused")));
    assert_ne!(send("k2", "一").await.1["category_id"], first.1["category_id"]);
    assert_eq!(send("k3", "").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send("k3", "三").await.0, StatusCode::CREATED, "a refusal does not use the key up");
    assert_eq!(app.get("/categories").await.1["items"].as_array().unwrap().len(), 3);
    app.clock.advance(25 * HOUR_MS);
    assert_ne!(send("k1", "一").await.1["category_id"], first.1["category_id"]);
}

#[tokio::test]
async fn a_sale_takes_its_stock_from_the_sku() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let made = app.make("/activities", app.activity(&sku, 60, HOUR_MS)).await;
    assert_eq!((&made["ledger_open"], &made["original_price_cents"]), (&json!(false), &json!(399_900)));
    let (status, problem) = app.send("POST", "/activities", &[], &app.activity(&sku, 41, HOUR_MS).to_string()).await;
    assert_eq!(
        (status, &problem["code"], &problem["stock"]),
        (StatusCode::CONFLICT, &json!("insufficient_stock"), &json!(40))
    );

    let path = format!("/activities/{}", made["activity_id"].as_str().unwrap());
    let patch = |version: &'static str, body: Value| {
        let (app, path) = (&app, &path);
        async move { app.send("PATCH", path, &[("if-match", version)], &body.to_string()).await }
    };
    let (status, patched) = patch("1", json!({ "stock": 100, "per_user_limit": 1 })).await;
    assert_eq!((status, &patched["stock"], &patched["version"]), (StatusCode::OK, &json!(100), &json!(2)));
    assert_eq!(app.get(&format!("/skus/{sku}")).await.1["stock"], 0);
    assert_eq!(patch("2", json!({ "stock": 101 })).await.0, StatusCode::CONFLICT);
    assert_eq!(patch("2", json!({ "ends_at": "2027-01-15T08:00:00Z" })).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(patch("1", json!({ "stock": 1 })).await.0, StatusCode::PRECONDITION_FAILED);
    assert_eq!(patch("2", json!({ "stock": 30 })).await.1["stock"], 30);
    assert_eq!(app.get(&format!("/skus/{sku}")).await.1["stock"], 70);

    app.clock.advance(HOUR_MS - crate::warmer::LEAD_MS);
    let (status, problem) = patch("3", json!({ "stock": 31 })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("invalid_transition")));
    let rows = app.store.outbox(100).await.unwrap();
    let told = rows.iter().filter(|row| row.topic == topic::ACTIVITIES);
    let versions: Vec<u64> = told.map(|row| contract::Activity::decode(&row.value).unwrap().version).collect();
    assert_eq!(versions, [1, 2, 3]);
}

/// One step of the warmer, whose rest is passed over.
async fn warm_once(app: &TestApp) {
    let mut warmer = Warmer::new(app.store.clone(), app.ledgers.clone(), app.clock.clone());
    let beat = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            app.clock.advance(1_000);
        }
    };
    tokio::select! {
        stepped = warmer.step() => stepped.unwrap(),
        () = beat => unreachable!("it goes on"),
    }
}

#[tokio::test]
async fn ledgers_open_in_time_and_the_audit_agrees() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let later = app.make("/activities", app.activity(&sku, 10, HOUR_MS)).await;
    let now = app.make("/activities", app.activity(&sku, 10, 0)).await;
    assert_eq!(now["ledger_open"], true);
    let id = |made: &Value| made["activity_id"].as_str().unwrap().parse::<contract::ActivityId>().unwrap();
    assert!(app.ledgers.counters(id(&later)).await.unwrap().is_none());
    let (status, audit) = app.get(&format!("/activities/{}/audit", id(&later))).await;
    assert_eq!((status, &audit["ok"], &audit["total"]), (StatusCode::OK, &json!(true), &json!(0)));

    app.clock.advance(HOUR_MS - crate::warmer::LEAD_MS);
    warm_once(&app).await;
    assert_eq!(app.ledgers.counters(id(&later)).await.unwrap().unwrap().total, 10);

    let asked = |order: i64| Reservation {
        order: OrderId::from_i64(order).unwrap(),
        user: UserId::from_i64(order).unwrap(),
        request: None,
        quantity: 2,
    };
    for order in 1001..=1003 {
        app.ledgers.reserve(id(&now), asked(order)).await;
    }
    app.catch_up().await;
    let (status, warm) = app.send("POST", &format!("/activities/{}/warm", id(&now)), &[], "").await;
    assert_eq!((status, &warm["available"], &warm["held"]), (StatusCode::OK, &json!(4), &json!(6)));
    let (_, audit) = app.get(&format!("/activities/{}/audit", id(&now))).await;
    let expect = json!({
        "activity_id": now["activity_id"], "at": audit["at"], "term": 0, "epoch": 1, "seq": 4,
        "total": 10, "available": 4, "held": 6, "sold": 0,
        "log": { "held": 6, "settled": 0, "released": 0, "head_seq": 4 },
        "database": { "pending_payment": 6, "paid": 0, "closed": 0, "refunded": 0 },
        "checks": audit["checks"], "ok": true,
    });
    assert_eq!(audit, expect);
    assert_eq!(app.get("/activities/77/audit").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_not_right_is_refused_and_never_a_fault() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let good = app.activity(&sku, 10, HOUR_MS);
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    let bodies = [
        with("stock", json!(0)),
        with("stock", json!(-1)),
        with("stock", json!(1.5)),
        with("stock", json!("10")),
        with("stock", json!(9_223_372_036_854_775_808_u64)),
        with("stock", json!(u64::MAX)),
        with("per_user_limit", json!(0)),
        with("per_user_limit", json!(4_294_967_296_u64)),
        with("price_cents", json!(-1)),
        with("price_cents", json!(i64::MAX)),
        with("price_cents", json!(9_223_372_036_854_775_808_u64)),
        with("sku_id", json!(7)),
        with("sku_id", json!("007")),
        with("sku_id", json!("9223372036854775808")),
        with("sku_id", json!("1 OR 1=1")),
        with("sku_id", json!("9223372036854775807")),
        with("title", json!("")),
        with("title", json!(" \t")),
        with("title", json!("\u{0}")),
        with("title", json!("长".repeat(201))),
        with("starts_at", json!("tomorrow")),
        with("starts_at", json!("1969-12-31T23:59:59Z")),
        with("starts_at", json!(1_800_000_000)),
        with("ends_at", good["starts_at"].clone()),
        with("ends_at", json!("2020-01-01T00:00:00Z")),
        with("captcha", json!("yes")),
        with("discount", json!(1)),
        good.to_string().replacen('{', r#"{"stock":1,"#, 1),
        "".to_owned(),
        "[]".into(),
        "nul".into(),
    ];
    for body in &bodies {
        let (status, problem) = app.send("POST", "/activities", &[], body).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_body")),
            "{body:.100}"
        );
    }
    let titles = ["'); DROP TABLE activities; --", "\" OR \"\"=\"", "👨‍👩‍👧‍👦 家庭装 🎁", "<script>alert(1)</script>"];
    for title in titles {
        let made = app.make("/activities", serde_json::from_str(&with("title", json!(title))).unwrap()).await;
        let (_, found) = app.get(&format!("/activities/{}", made["activity_id"].as_str().unwrap())).await;
        assert_eq!(found["title"], title);
    }
    let key = [("idempotency-key", "")];
    assert_eq!(app.send("POST", "/activities", &key, &good.to_string()).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let huge = with("title", json!("a".repeat(3 << 20)));
    assert_eq!(app.send("POST", "/activities", &[], &huge).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    for path in ["/activities/x", "/activities/-1", "/activities/9223372036854775808", "/nothing", "/activities/1%00"] {
        assert_eq!(app.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(app.get("/activities?limit=1000").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(app.get("/activities?cursor=x'--").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(app.get(&format!("/skus/{sku}")).await.1["stock"], 60);
}

/// A paid order of a new shopper; both ids.
async fn paid_order(app: &TestApp) -> (UserId, OrderId) {
    let store = &app.store;
    let user = store.accounts().add_user("ada", "hash", None, START_MS).await.unwrap().unwrap().id;
    let fields = store::AddressFields {
        recipient: "王小明".to_owned(),
        phone: "1".to_owned(),
        region: "杭州".to_owned(),
        detail: "一号".to_owned(),
        is_default: true,
    };
    let store::AddedAddress::Added(address) = store.accounts().add_address(user, &fields, START_MS).await.unwrap()
    else {
        panic!("no address");
    };
    let new = store::NewCategory { parent: None, name: "手机".to_owned(), sort_order: 0 };
    let category = store.catalogue().add_category(new, START_MS).await.unwrap().unwrap().category_id;
    let (title, subtitle, description) = ("北辰 X1".to_owned(), String::new(), String::new());
    let new = store::NewProduct { category, title, subtitle, description, image_ids: Vec::new() };
    let product = store.catalogue().add_product(new, START_MS).await.unwrap().unwrap().product_id;
    store.catalogue().shelve(product, true).await.unwrap();
    let (attributes, price) = (store::Attributes::default(), contract::Cents::new(399_900));
    let new = store::NewSku { product, attributes, price, stock: 5 };
    let sku = store.catalogue().add_sku(new, START_MS).await.unwrap().unwrap().sku_id;
    let goods = store::Goods::Items(std::collections::BTreeMap::from([(sku, 2)]));
    let new = store::NewOrder { user, address: address.address_id, goods, request: None, expected_total: None };
    let store::Placed::Placed(order) = store.orders().place_order(&new, START_MS).await.unwrap() else {
        panic!("no order")
    };
    let begun = store.money().begin_payment((user, order.id), "mock", START_MS).await.unwrap();
    let store::Begun::Begun(payment) = begun else { panic!("{begun:?}") };
    let (trade_no, amount) = ("T".to_owned(), payment.amount);
    let notice = store::Notice { method: "mock", payment: payment.id, trade_no, amount };
    assert_eq!(store.money().payment_arrived(&notice, START_MS).await.unwrap(), store::Arrived::Paid);
    (user, order.id)
}

#[tokio::test]
async fn orders_are_sent_and_refunds_decided() {
    let app = TestApp::new().await;
    let (user, order) = paid_order(&app).await;
    let ask = async |method: &str, path: &str, body: Option<Value>| {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        app.send(method, path, &[], &body).await
    };
    let path = format!("/orders/{order}");
    let (_, listed) = ask("GET", &format!("/orders?status=paid&user_id={user}"), None).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["items"][0]["address"]["recipient"], "王小明");
    assert_eq!(ask("GET", "/orders?status=closed", None).await.1["items"], json!([]));
    assert_eq!(ask("GET", "/orders?status=lost", None).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let parcel = json!({ "carrier": "顺丰", "tracking_no": "SF1" });
    for bad in [
        json!({}),
        json!({ "carrier": "", "tracking_no": "1" }),
        json!({ "carrier": " ", "tracking_no": "1" }),
        json!({ "carrier": "a\nb", "tracking_no": "1" }),
    ] {
        let (status, _) = ask("POST", &format!("{path}/shipment"), Some(bad)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(ask("POST", "/orders/999999/shipment", Some(parcel.clone())).await.0, StatusCode::NOT_FOUND);
    let (status, sent) = ask("POST", &format!("{path}/shipment"), Some(parcel.clone())).await;
    assert_eq!((status, &sent["status"], &sent["shipment"]), (StatusCode::OK, &json!("shipped"), &parcel));
    let (status, again) = ask("POST", &format!("{path}/shipment"), Some(parcel)).await;
    assert_eq!((status, &again["code"]), (StatusCode::CONFLICT, &json!("invalid_transition")));
    let decide = async |what: &str, refund: &Value| {
        ask("POST", &format!("{path}/refunds/{what}?refund_id={}", refund.as_str().unwrap()), None).await
    };
    let (status, _) = ask("POST", &format!("{path}/refunds/approve"), None).await;
    assert_eq!(status, StatusCode::CONFLICT, "nobody has asked");
    assert_eq!(decide("approve", &json!("1")).await.0, StatusCode::CONFLICT, "nobody has asked");
    assert_eq!(decide("approve", &json!("x")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let part = store::RefundOf::Lines(std::collections::BTreeMap::from([(1, 1)]), None);
    app.store.money().ask_refund_of((user, order), &part, "坏了", START_MS).await.unwrap();
    let first = ask("GET", &path, None).await.1["refund"].clone();
    assert_eq!((&first["amount_cents"], &first["reason"]), (&json!(399_900), &json!("坏了")));
    assert_eq!(first["lines"], json!([{ "line_no": 1, "quantity": 1 }]));
    assert_eq!(decide("refuse", &first["refund_id"]).await.1["status"], "shipped");
    app.store.money().ask_refund((user, order), "", START_MS).await.unwrap();
    let (_, listed) = ask("GET", "/orders?status=refunding", None).await;
    let second = listed["items"][0]["refund"]["refund_id"].clone();
    let (status, stale) = decide("approve", &first["refund_id"]).await;
    assert_eq!((status, &stale["code"]), (StatusCode::CONFLICT, &json!("refund_changed")));
    assert_eq!(stale["refund_id"], second);
    assert_eq!(decide("approve", &second).await.1["status"], "refunding");
    assert_eq!(decide("refuse", &second).await.0, StatusCode::CONFLICT, "the money is on its way");
    assert_eq!(app.store.due_refunds(&["mock"], 9).await.unwrap().len(), 1);
    let viewer = format!("Bearer {}", token("viewer"));
    let viewer = [("authorization", viewer.as_str())];
    assert_eq!(app.send("GET", &path, &viewer, "").await.0, StatusCode::OK);
    let (status, _) = app.send("POST", &format!("{path}/refunds/approve?refund_id=1"), &viewer, "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let due = app.store.due_refunds(&["mock"], 9).await.unwrap().remove(0);
    app.store.refund_failed(&due, "no right", None).await.unwrap();
    assert_eq!(ask("GET", "/refunds?status=lost", None).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let (_, parked) = ask("GET", "/refunds?status=parked", None).await;
    let found = (&parked["items"][0]["refund_id"], &parked["items"][0]["last_error"]);
    assert_eq!(found, (&second, &json!("no right")), "{parked}");
    let retry = format!("/refunds/{}/retry", due.refund);
    assert_eq!(app.send("POST", &retry, &viewer, "").await.0, StatusCode::FORBIDDEN);
    assert_eq!(ask("POST", &retry, None).await.1["status"], "approved");
    assert_eq!(ask("GET", "/refunds?status=parked", None).await.1["items"], json!([]));
    app.store.refund_done(&due, START_MS).await.unwrap();
    assert_eq!(ask("POST", &retry, None).await.0, StatusCode::CONFLICT, "it is done");
    assert_eq!(ask("POST", "/refunds/9/retry", None).await.0, StatusCode::NOT_FOUND);

    let (_, users) = ask("GET", "/users", None).await;
    assert_eq!((&users["items"][0]["username"], &users["items"][0]["blocked"]), (&json!("ada"), &json!(false)));
    assert_eq!(ask("POST", &format!("/users/{user}/block"), None).await.1["blocked"], true);
    assert_eq!(ask("POST", &format!("/users/{user}/unblock"), None).await.1["blocked"], false);
    assert_eq!(ask("POST", "/users/9/block", None).await.0, StatusCode::NOT_FOUND);
}
