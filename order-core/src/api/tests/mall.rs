//! A shopper's way through the mall, from looking to receiving.

use contract::{Cents, ProductId, SkuId};
use domain::order_state::Happening;
use store::{Category, Product, Sku, SkuPatch};

use super::*;

/// The user whose token is asked with, registered.
pub(super) struct Shopping {
    pub(super) app: TestApp,
    pub(super) token: String,
    pub(super) user: UserId,
    phones: Category,
    product: Product,
    pub(super) black: Sku,
    pub(super) white: Sku,
}

impl Shopping {
    pub(super) async fn new() -> Self {
        Self::at(TestApp::new().await).await
    }

    pub(super) async fn at(app: TestApp) -> Self {
        let category = async |parent, name: &str| {
            let new = NewCategory { parent, name: name.to_owned(), sort_order: 0 };
            app.store.catalogue().add_category(new, START_MS).await.unwrap().unwrap()
        };
        let digital = category(None, "数码").await;
        let phones = category(Some(digital.category_id), "手机").await;
        category(None, "食品").await;
        let new = NewProduct {
            category: phones.category_id,
            title: "旗舰手机 📱".to_owned(),
            subtitle: String::new(),
            description: "'; DROP TABLE orders; --".to_owned(),
            image_ids: Vec::new(),
        };
        let product = app.store.catalogue().add_product(new, START_MS).await.unwrap().unwrap();
        let sku = async |colour: &str, price| {
            let attributes = Attributes::from([("颜色".to_owned(), colour.to_owned())]);
            let new = NewSku { product: product.product_id, attributes, price: Cents::new(price), stock: 10 };
            app.store.catalogue().add_sku(new, START_MS).await.unwrap().unwrap()
        };
        let (black, white) = (sku("黑", 399_900).await, sku("白", 419_900).await);
        app.store.catalogue().shelve(product.product_id, true).await.unwrap();
        app.shelf.changed(product.product_id).await.unwrap();
        let hash = bcrypt::hash("correct horse", COST).unwrap();
        let user = app.store.accounts().add_user("ada", &hash, None, START_MS).await.unwrap().unwrap().id;
        let token = TestApp::token(user.as_i64());
        Self { app, token, user, phones, product, black, white }
    }

    pub(super) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let body = body.map(|body| body.to_string());
        self.app.send(method, &format!("/api/v1{path}"), Some(&self.token), body.as_deref()).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None).await;
        assert_eq!(status, StatusCode::OK, "{path} {body}");
        body
    }

    pub(super) async fn refused(&self, method: &str, path: &str, body: Option<Value>, expected: (u16, &str)) -> Value {
        let (status, problem) = self.ask(method, path, body).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (expected.0, Some(expected.1)), "{path} {problem}");
        problem
    }

    pub(super) async fn address(&self) -> String {
        let body = json!({ "recipient": "王小明", "phone": "13800138000", "region": "杭州", "detail": "一号 🏠" });
        let (status, address) = self.ask("POST", "/addresses", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{address}");
        address["address_id"].as_str().unwrap().to_owned()
    }

    pub(super) fn order(&self, address: &str, quantity: u32) -> Value {
        json!({ "address_id": address, "items": [{ "sku_id": self.black.sku_id, "quantity": quantity }] })
    }

    pub(super) async fn keyed(&self, body: &Value, key: &str) -> (StatusCode, Value) {
        self.keyed_text(&body.to_string(), key).await
    }

    async fn keyed_text(&self, body: &str, key: &str) -> (StatusCode, Value) {
        let request = Request::post("/api/v1/orders")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = self.app.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }
}

#[tokio::test]
async fn what_there_is_to_buy_is_found() {
    let shop = Shopping::new().await;
    let tree = shop.get("/categories").await;
    assert_eq!(tree["items"].as_array().unwrap().len(), 2);
    assert_eq!(tree["items"][0]["children"][0]["name"], "手机");
    let parent = tree["items"][0]["category_id"].as_str().unwrap();
    let (phones, other) = (shop.phones.category_id, tree["items"][1]["category_id"].as_str().unwrap());
    for (query, found) in [
        (String::new(), 1),
        (format!("?category_id={phones}"), 1),
        (format!("?category_id={parent}"), 1),
        (format!("?category_id={other}"), 0),
        ("?category_id=987654321".to_owned(), 0),
        ("?sort=price_asc&limit=1".to_owned(), 1),
    ] {
        let page = shop.get(&format!("/products{query}")).await;
        assert_eq!(page["items"].as_array().unwrap().len(), found, "{query}");
        assert_eq!(page["next_cursor"], Value::Null);
    }
    let shown = &shop.get("/products").await["items"][0];
    assert_eq!((&shown["title"], &shown["price_cents"]), (&json!("旗舰手机 📱"), &json!(399_900)));
    let detail = shop.get(&format!("/products/{}", shop.product.product_id)).await;
    assert_eq!(detail["description"], "'; DROP TABLE orders; --");
    assert_eq!(detail["skus"][1]["attributes"]["颜色"], "白");
    for query in ["?sort=best", "?limit=0", "?limit=101", "?cursor=x", "?category_id=-1", "?page=2"] {
        shop.refused("GET", &format!("/products{query}"), None, (422, "invalid_query")).await;
    }
    shop.app.store.catalogue().shelve(shop.product.product_id, false).await.unwrap();
    shop.app.shelf.changed(shop.product.product_id).await.unwrap();
    shop.refused("GET", &format!("/products/{}", shop.product.product_id), None, (404, "not_found")).await;
    assert_eq!(shop.get("/products").await["items"], json!([]));
}

#[tokio::test]
async fn pages_follow_each_other_in_every_order() {
    let shop = Shopping::new().await;
    for price in [300, 100, 300, 200, 300] {
        let new = NewProduct {
            category: shop.phones.category_id,
            title: format!("{price}"),
            subtitle: String::new(),
            description: String::new(),
            image_ids: Vec::new(),
        };
        let product = shop.app.store.catalogue().add_product(new, START_MS).await.unwrap().unwrap().product_id;
        let new = NewSku { product, attributes: Attributes::new(), price: Cents::new(price), stock: 0 };
        shop.app.store.catalogue().add_sku(new, START_MS).await.unwrap();
        shop.app.store.catalogue().shelve(product, true).await.unwrap();
    }
    for sort in ["newest", "price_asc", "price_desc"] {
        let whole = shop.get(&format!("/products?sort={sort}")).await["items"].as_array().unwrap().clone();
        assert_eq!(whole.len(), 6);
        let prices: Vec<i64> = whole.iter().map(|item| item["price_cents"].as_i64().unwrap()).collect();
        assert!(sort != "price_asc" || prices.is_sorted(), "{prices:?}");
        assert!(sort != "price_desc" || prices.iter().rev().is_sorted(), "{prices:?}");
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = shop.get(&format!("/products?sort={sort}&limit=2{cursor}")).await;
            pages.extend(page["items"].as_array().unwrap().clone());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(pages, whole, "{sort}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_costs_one_read_and_what_never_was_costs_none() {
    let shop = Shopping::new().await;
    let product = shop.product.product_id;
    let before = shop.app.shelf.reads();
    let mut looking = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let shelf = shop.app.shelf.clone();
        looking.spawn(async move { shelf.detail(product).await.unwrap().is_some() });
    }
    assert!(looking.join_all().await.into_iter().all(|found| found));
    assert_eq!(shop.app.shelf.reads() - before, 1);
    let mut passed = 0;
    for id in 1_000_000..1_001_000 {
        passed += u32::from(shop.app.shelf.may_exist(ProductId::from_i64(id).unwrap()));
        assert!(shop.app.shelf.detail(ProductId::from_i64(id).unwrap()).await.unwrap().is_none());
    }
    // The filter lets one in a thousand through.
    assert_eq!(shop.app.shelf.reads() - before, 1 + u64::from(passed));
    assert!(passed < 20, "{passed}");
}

#[tokio::test]
async fn an_address_is_its_owners() {
    let shop = Shopping::new().await;
    let id = shop.address().await;
    let stranger = TestApp::token(shop.user.as_i64() + 1);
    let path = format!("/api/v1/addresses/{id}");
    for method in ["GET", "DELETE"] {
        assert_eq!(shop.app.send(method, &path, Some(&stranger), None).await.0, StatusCode::NOT_FOUND);
    }
    let body = json!({ "recipient": "李雷", "phone": "1", "region": "上海", "detail": "二号", "is_default": true });
    assert_eq!(shop.app.send("PUT", &path, Some(&stranger), Some(&body.to_string())).await.0, StatusCode::NOT_FOUND);
    let (status, put) = shop.ask("PUT", &format!("/addresses/{id}"), Some(body.clone())).await;
    assert_eq!((status, &put["detail"], &put["is_default"]), (StatusCode::OK, &json!("二号"), &json!(true)));
    assert_eq!(shop.get("/addresses").await["items"], json!([put]));
    for (field, value) in [
        ("recipient", json!("")),
        ("phone", json!("1\n2")),
        ("detail", json!("长".repeat(256))),
        ("region", json!(7)),
        ("user_id", json!("1")),
    ] {
        let mut body = body.clone();
        body[field] = value;
        shop.refused("POST", "/addresses", Some(body), (422, "invalid_body")).await;
    }
    assert_eq!(shop.app.send("POST", "/api/v1/addresses", Some(&stranger), Some(&body.to_string())).await.0, 404);
    assert_eq!(shop.ask("DELETE", &format!("/addresses/{id}"), None).await.0, StatusCode::NO_CONTENT);
    shop.refused("GET", &format!("/addresses/{id}"), None, (404, "not_found")).await;
    let (_, me) = shop.ask("PATCH", "/users/me", Some(json!({ "phone": "123456" }))).await;
    assert_eq!(me["phone"], "123456");
    assert_eq!(shop.ask("PATCH", "/users/me", Some(json!({}))).await.1["phone"], "123456");
    for phone in [
        "(021) 6234-5678",
        "021-62345678转12",
        "+86 21 6234 5678 ext. 007",
        "（０２１）６２３４－５６７８",
        "021.6234.5678x9",
    ] {
        let (_, me) = shop.ask("PATCH", "/users/me", Some(json!({ "phone": phone }))).await;
        assert_eq!(me["phone"], phone, "{me}");
    }
    for phone in [
        "1234",
        "123456789012345678901",
        "call me",
        "62345678 ext",
        "62345678 ext 1234567",
        "62345678转a",
        "62345678x...1",
    ] {
        let (status, problem) = shop.ask("PATCH", "/users/me", Some(json!({ "phone": phone }))).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{phone}: {problem}");
    }
    assert_eq!(shop.ask("PATCH", "/users/me", Some(json!({ "phone": null }))).await.1["phone"], Value::Null);
}

#[tokio::test]
async fn a_cart_tells_what_has_changed() {
    let shop = Shopping::new().await;
    let add = async |sku: SkuId, quantity: u64| {
        shop.ask("POST", "/cart/items", Some(json!({ "sku_id": sku, "quantity": quantity }))).await
    };
    assert_eq!(shop.get("/cart").await, json!({ "items": [], "total_cents": 0 }));
    add(shop.black.sku_id, 2).await;
    let (status, cart) = add(shop.white.sku_id, 1).await;
    assert_eq!((status, &cart["total_cents"]), (StatusCode::OK, &json!(2 * 399_900 + 419_900)));
    assert_eq!(cart["items"][0]["state"], "ok");
    let patch = SkuPatch { attributes: None, price_cents: Some(Cents::new(1)) };
    shop.app.store.catalogue().patch_sku(shop.black.sku_id, 1, patch).await.unwrap();
    let cart = shop.get("/cart").await;
    let line = &cart["items"][0];
    assert_eq!((&line["state"], &line["price_was_cents"]), (&json!("price_changed"), &json!(399_900)));
    let path = format!("/cart/items/{}", shop.black.sku_id);
    let (_, cart) = shop.ask("PUT", &path, Some(json!({ "quantity": 11 }))).await;
    assert_eq!(cart["items"][0]["state"], "insufficient_stock");
    assert_eq!(cart["total_cents"], 419_900);
    shop.app.store.catalogue().shelve(shop.product.product_id, false).await.unwrap();
    let cart = shop.get("/cart").await;
    assert_eq!((&cart["items"][1]["state"], &cart["total_cents"]), (&json!("gone"), &json!(0)));
    assert_eq!(add(shop.black.sku_id, 1).await.0, StatusCode::NOT_FOUND);
    shop.app.store.catalogue().shelve(shop.product.product_id, true).await.unwrap();
    assert_eq!(add(shop.black.sku_id, 999).await.1["code"], "too_many_units");
    for quantity in [0, 1000, 1 << 63] {
        assert_eq!(add(shop.black.sku_id, quantity).await.1["code"], "invalid_body", "{quantity}");
    }
    assert_eq!(shop.ask("DELETE", &path, None).await.0, StatusCode::NO_CONTENT);
    shop.refused("PUT", &path, Some(json!({ "quantity": 1 })), (404, "not_found")).await;
    assert_eq!(shop.ask("DELETE", "/cart", None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(shop.get("/cart").await["items"], json!([]));
}

#[tokio::test]
async fn an_order_goes_its_way() {
    let shop = Shopping::new().await;
    let address = shop.address().await;
    let (status, order) = shop.ask("POST", "/orders", Some(shop.order(&address, 2))).await;
    assert_eq!(status, StatusCode::CREATED, "{order}");
    assert_eq!((&order["status"], &order["total_cents"]), (&json!("pending_payment"), &json!(799_800)));
    assert_eq!(order["items"][0]["title"], "旗舰手机 📱 黑");
    let path = format!("/orders/{}", order["order_id"].as_str().unwrap());
    assert_eq!(shop.get(&path).await, order);
    assert_eq!(shop.get("/orders?status=pending_payment").await["items"], json!([order]));
    shop.refused("POST", &format!("{path}/receipt"), None, (409, "invalid_transition")).await;
    let stranger = TestApp::token(shop.user.as_i64() + 1);
    for (method, what) in [("GET", ""), ("POST", "/cancel"), ("POST", "/receipt")] {
        let (status, _) = shop.app.send(method, &format!("/api/v1{path}{what}"), Some(&stranger), None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{method} {what}");
    }
    let id: OrderId = order["order_id"].as_str().unwrap().parse().unwrap();
    for what in [Happening::Pay, Happening::Ship] {
        shop.app.store.move_order(id, None, what, START_MS).await.unwrap();
    }
    shop.refused("POST", &format!("{path}/cancel"), None, (409, "invalid_transition")).await;
    let (status, received) = shop.ask("POST", &format!("{path}/receipt"), None).await;
    assert_eq!((status, &received["status"]), (StatusCode::OK, &json!("completed")));

    let (_, second) = shop.ask("POST", "/orders", Some(shop.order(&address, 8))).await;
    let problem = shop.refused("POST", "/orders", Some(shop.order(&address, 1)), (409, "insufficient_stock")).await;
    assert_eq!(problem["items"], json!([{ "sku_id": shop.black.sku_id, "stock": 0 }]));
    let (_, closed) = shop.ask("POST", &format!("/orders/{}/cancel", second["order_id"].as_str().unwrap()), None).await;
    assert_eq!(closed["status"], "closed");
    assert_eq!(shop.ask("POST", "/orders", Some(shop.order(&address, 8))).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn an_order_is_made_once_and_empties_the_cart() {
    let shop = Shopping::new().await;
    let address = shop.address().await;
    let from_cart = json!({ "address_id": address, "from_cart": true });
    shop.refused("POST", "/orders", Some(from_cart.clone()), (409, "cart_empty")).await;
    assert_eq!(shop.keyed(&from_cart, "k").await.1["code"], "cart_empty");
    shop.ask("POST", "/cart/items", Some(json!({ "sku_id": shop.black.sku_id, "quantity": 3 }))).await;
    let (status, order) = shop.keyed(&from_cart, "k").await;
    assert_eq!((status, &order["items"][0]["quantity"]), (StatusCode::CREATED, &json!(3)), "{order}");
    assert_eq!(shop.get("/cart").await["items"], json!([]));
    assert_eq!(shop.keyed(&from_cart, "k").await, (StatusCode::CREATED, order), "the first answer");
    assert_eq!(shop.keyed(&shop.order(&address, 1), "k").await.1["code"], "idempotency_key_reused");
    assert_eq!(shop.keyed(&shop.order(&address, 1), &"k".repeat(256)).await.1["code"], "invalid_idempotency_key");
    // 255 characters, and the same meaning in other bytes.
    let long = "k".repeat(255);
    let turned =
        format!(r#"{{"items": [{{"quantity": 1, "sku_id": "{}"}}], "address_id": "{address}"}}"#, shop.black.sku_id);
    let (status, order) = shop.keyed(&shop.order(&address, 1), &long).await;
    assert_eq!(status, StatusCode::CREATED, "{order}");
    assert_eq!(shop.keyed_text(&turned, &long).await, (StatusCode::CREATED, order));
    let (status, another) = shop.keyed(&shop.order(&address, 1), &format!("{}j", "k".repeat(254))).await;
    assert_eq!(status, StatusCode::CREATED, "another long key is another request: {another}");

    let item = |sku: Value, quantity: Value| json!({ "sku_id": sku, "quantity": quantity });
    let black = json!(shop.black.sku_id);
    let many: Vec<Value> = (1..=101).map(|id| item(json!(id.to_string()), json!(1))).collect();
    let with = |items: Value| json!({ "address_id": address, "items": items });
    for body in [
        json!({}),
        json!({ "address_id": address }),
        json!({ "address_id": address, "from_cart": true, "items": [] }),
        with(json!([])),
        with(json!(many)),
        with(json!([item(black.clone(), json!(0))])),
        with(json!([item(black.clone(), json!(-1))])),
        with(json!([item(black.clone(), json!(9_223_372_036_854_775_808_u64))])),
        with(json!([item(black.clone(), json!(999)), item(black.clone(), json!(1))])),
        with(json!([item(json!("' OR 1=1 --"), json!(1))])),
        with(json!([item(black.clone(), json!(1.5))])),
    ] {
        shop.refused("POST", "/orders", Some(body), (422, "invalid_body")).await;
    }
    let unknown = with(json!([item(json!("42"), json!(1)), item(black, json!(1))]));
    let problem = shop.refused("POST", "/orders", Some(unknown), (422, "unknown_sku")).await;
    assert_eq!(problem["sku_ids"], json!(["42"]));
    let mut nowhere = shop.order(&address, 1);
    nowhere["address_id"] = json!("9");
    shop.refused("POST", "/orders", Some(nowhere), (422, "unknown_address")).await;
}
