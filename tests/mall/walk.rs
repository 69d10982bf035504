//! A shopper's way through the whole mall, over HTTP: register, browse, cart, order, pay, ship, receive, refund.

use serde_json::{Value, json};

use crate::process::{Shop, agent, call, until};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x02\x08\x06\0\0\0\0\0\0\0\0\0\0\0IEND\xaeB`\x82";

/// Walks; every step is one that a client could take.
pub(crate) fn walk(shop: &Shop) {
    let category = shop.admin_post("/categories", json!({ "name": "手机" }));
    let picture = shop.add_picture(PNG);
    let product = json!({ "title": "旗舰 🚀", "category_id": category["category_id"], "image_ids": [picture] });
    let product = shop.admin_post("/products", product);
    let product = product["product_id"].as_str().unwrap().to_owned();
    let sku = json!({ "attributes": { "颜色": "黑" }, "price_cents": 399_900, "stock": 10 });
    let sku = shop.admin_post(&format!("/products/{product}/skus"), sku)["sku_id"].as_str().unwrap().to_owned();
    shop.admin_post(&format!("/products/{product}/shelve"), json!({}));

    let name = format!("ada-{product}").chars().take(32).collect::<String>();
    let credentials = json!({ "username": name, "password": "correct horse" });
    let at = |path: &str| format!("{}/api/v1{path}", shop.order_core);
    let (status, _) = call("POST", &at("/users"), None, &credentials);
    assert_eq!(status, 201);
    let (_, session) = call("POST", &at("/sessions"), None, &credentials);
    let token = session["access_token"].as_str().unwrap().to_owned();
    let ask = |method: &str, path: &str, body: Value| call(method, &at(path), Some(&token), &body);
    let made = |path: &str, body: Value| {
        let (status, answer) = ask("POST", path, body);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    };

    until("the product is in the shop", || ask("GET", &format!("/products/{product}"), Value::Null).0 == 200);
    let words: String = "旗舰".bytes().map(|byte| format!("%{byte:02X}")).collect();
    let search = format!("/search?q={words}&category_id={}", category["category_id"].as_str().unwrap());
    until("the product is found", || ask("GET", &search, Value::Null).1["total"] == 1);
    let (_, listed) = ask("GET", &search, Value::Null);
    assert_eq!(listed["items"][0]["product_id"], product, "{listed}");
    assert_eq!(listed["items"][0]["price_cents"], 399_900, "{listed}");
    let mut shown = agent().get(listed["items"][0]["image_urls"][0].as_str().unwrap()).call().unwrap();
    assert_eq!((shown.status().as_u16(), &shown.headers()["content-type"]), (200, &"image/png".parse().unwrap()));
    assert_eq!(shown.body_mut().read_to_vec().unwrap(), PNG);
    let address =
        made("/addresses", json!({ "recipient": "王小明", "phone": "1", "region": "杭州", "detail": "一号" }));
    let cart = made("/cart/items", json!({ "sku_id": sku, "quantity": 2 }));
    assert_eq!((&cart["total_cents"], &cart["items"][0]["state"]), (&json!(799_800), &json!("ok")));
    let order = made("/orders", json!({ "address_id": address["address_id"], "from_cart": true }));
    assert_eq!(ask("GET", "/cart", Value::Null).1["items"], json!([]));
    let order = format!("/orders/{}", order["order_id"].as_str().unwrap());
    let stands = |status: &str| {
        let what = format!("the order is {status}");
        until(&what, || ask("GET", &order, Value::Null).1["status"] == status);
    };

    let payment = made(&format!("{order}/payments"), json!({ "method": "mock" }));
    let pay_url = payment["pay_url"].as_str().unwrap();
    let page = agent().get(pay_url).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(page.contains("¥ 7998.00") && page.contains("旗舰 🚀 黑"), "{page}");
    let pressed = press(pay_url);
    assert_eq!(pressed.status(), 303);
    let back = pressed.headers()["location"].to_str().unwrap();
    assert_eq!(agent().get(back).call().unwrap().status(), 200, "{back}");
    stands("paid");
    assert_eq!(press(&pay_url.replace("7998.00", "0.01")).status(), 422, "a request that was tampered with");

    assert_eq!(ask("POST", &format!("{order}/cancel"), Value::Null).0, 409);
    shop.admin_post(&format!("{order}/shipment"), json!({ "carrier": "顺丰", "tracking_no": "SF1" }));
    let (_, sent) = ask("GET", &order, Value::Null);
    assert_eq!(
        (&sent["shipment"]["tracking_no"], &sent["address"]["detail"]),
        (&json!("SF1"), &json!("一号")),
        "{sent}"
    );
    assert_eq!(made(&format!("{order}/receipt"), Value::Null)["status"], "completed");
    let refund = made(&format!("{order}/refunds"), json!({ "reason": "太大" }))["refund_id"].clone();
    shop.admin_post(&format!("{order}/refunds/approve?refund_id={}", refund.as_str().unwrap()), json!({}));
    stands("refunded");
}

/// An unpaid order of a new shopper for the first product of the shop.
pub(crate) struct UnpaidOrder {
    url: String,
    token: String,
}

impl UnpaidOrder {
    /// Sends a request about the order; `path` is relative to the order's path.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        call(method, &format!("{}{path}", self.url), Some(&self.token), body)
    }
}

/// Registers a shopper and places an order.
pub(crate) fn order(shop: &Shop) -> UnpaidOrder {
    let at = |path: &str| format!("{}/api/v1{path}", shop.order_core);
    let credentials = json!({ "username": "ada", "password": "correct horse" });
    assert_eq!(call("POST", &at("/users"), None, &credentials).0, 201);
    let (_, session) = call("POST", &at("/sessions"), None, &credentials);
    let token = session["access_token"].as_str().unwrap().to_owned();
    let ask = |method: &str, path: &str, body: Value| call(method, &at(path), Some(&token), &body).1;
    let address = json!({ "recipient": "王小明", "phone": "1", "region": "杭州", "detail": "一号" });
    let address = ask("POST", "/addresses", address)["address_id"].clone();
    let product = ask("GET", "/products", Value::Null)["items"][0]["product_id"].as_str().unwrap().to_owned();
    let sku = ask("GET", &format!("/products/{product}"), Value::Null)["skus"][0]["sku_id"].clone();
    let order = json!({ "address_id": address, "items": [{ "sku_id": sku, "quantity": 1 }] });
    let order = ask("POST", "/orders", order);
    let url = at(&format!("/orders/{}", order["order_id"].as_str().unwrap()));
    UnpaidOrder { url, token }
}

/// Pays `order` on the mock platform's page.
pub(crate) fn pay(shop: &Shop, order: &str, token: &str) {
    let at = format!("{}/api/v1/orders/{order}", shop.order_core);
    let (status, payment) = call("POST", &format!("{at}/payments"), Some(token), &json!({ "method": "mock" }));
    assert_eq!(status, 201, "{payment}");
    assert_eq!(press(payment["pay_url"].as_str().unwrap()).status(), 303);
    until("the order is paid", || call("GET", &at, Some(token), &Value::Null).1["status"] == "paid");
}

/// Presses the button of the mock platform's page.
pub(crate) fn press(pay_url: &str) -> ureq::http::Response<ureq::Body> {
    let (base, request) = pay_url.split_once('?').unwrap();
    let page = agent().post(&format!("{base}/pay")).config().max_redirects(0).build();
    page.send_form([("request", request)]).unwrap()
}
