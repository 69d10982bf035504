//! Paying through a platform, and what it may tell.

use domain::RefundStore as _;
use domain::order_state::OrderState;
use foundation::rfc3339;
use pay::{Form, Signer};
use store::Moved;

use super::{mall::Shopping, *};
use crate::payments::{MOCK, Provider, Transport, timestamp};

/// A notice of the mock platform about `payment`, as its default says it.
fn notice(payment: &str, amount: &str) -> Form {
    let mut form = Form::default();
    for (name, value) in [
        ("app_id", "mock-app"),
        ("seller_id", "mock-seller"),
        ("out_trade_no", payment),
        ("trade_no", "T1"),
        ("total_amount", amount),
        ("trade_status", "TRADE_SUCCESS"),
    ] {
        form.set(name, value);
    }
    form
}

impl Shopping {
    /// What the shop answers, exactly.
    async fn told_raw(&self, body: String) -> String {
        let request = Request::post("/api/v1/payments/mock/notify").body(Body::from(body)).unwrap();
        let response = self.app.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        String::from_utf8(to_bytes(response.into_body(), 100).await.unwrap().to_vec()).unwrap()
    }

    async fn told(&self, form: Form) -> String {
        self.told_raw(form.notice(&Signer::read(&KEYS[1]).unwrap()).unwrap()).await
    }

    /// A new order of one unit for 3999.00, and its payment.
    async fn to_be_paid(&self) -> (String, String) {
        let address = self.address().await;
        let (_, order) = self.ask("POST", "/orders", Some(self.order(&address, 1))).await;
        let id = order["order_id"].as_str().unwrap().to_owned();
        let path = format!("/orders/{id}/payments");
        let (status, payment) = self.ask("POST", &path, Some(json!({ "method": "mock" }))).await;
        assert_eq!(status, StatusCode::CREATED, "{payment}");
        assert!(payment["pay_url"].as_str().unwrap().starts_with("http://127.0.0.1:1/mock-pay?"), "{payment}");
        (id, payment["payment_id"].as_str().unwrap().to_owned())
    }

    async fn status(&self, order: &str) -> Value {
        self.get(&format!("/orders/{order}")).await["status"].clone()
    }
}

#[tokio::test]
async fn only_the_right_notice_pays() {
    let shop = Shopping::new().await;
    let (order, payment) = shop.to_be_paid().await;
    let with = |name: &str, value: &str| {
        let mut form = notice(&payment, "3999.00");
        form.set(name, value);
        form
    };
    for (name, value) in [
        ("total_amount", "3998.99"),
        ("total_amount", "3.999e3"),
        ("total_amount", "39.9900"),
        ("app_id", "another"),
        ("seller_id", "another"),
        ("out_trade_no", "1"),
        ("out_trade_no", "x"),
    ] {
        assert_eq!(shop.told(with(name, value)).await, "failure", "{name}={value}");
    }
    let signed = notice(&payment, "3999.00").notice(&Signer::read(&KEYS[1]).unwrap()).unwrap();
    let forged = notice(&payment, "3999.00").notice(&Signer::read(&KEYS[0]).unwrap()).unwrap();
    for body in [String::new(), forged, format!("{signed}&total_amount=3999.00"), signed.replace("sign=", "sgn=")] {
        assert_eq!(shop.told_raw(body).await, "failure");
    }
    // What is no payment is heard, and changes nothing.
    for (name, value) in [("trade_status", "WAIT_BUYER_PAY"), ("trade_status", "TRADE_CLOSED")] {
        assert_eq!(shop.told(with(name, value)).await, "success", "{name}={value}");
    }
    assert_eq!(shop.status(&order).await, "pending_payment");
    for _ in 0..100 {
        assert_eq!(shop.told(notice(&payment, "3999")).await, "success");
    }
    assert_eq!(shop.status(&order).await, "paid");
    assert_eq!(shop.told(with("trade_status", "WAIT_BUYER_PAY")).await, "success", "out of order");
    assert_eq!(shop.told(with("trade_no", "T2")).await, "failure", "other money under the same name");
    assert_eq!(shop.status(&order).await, "paid");
    let page = store::Page { before: i64::MAX, limit: 100 };
    let unmatched = shop.app.store.money().unmatched(Some(false), page).await.unwrap().items;
    let reasons: Vec<&str> = unmatched.iter().rev().map(|row| row.reason.as_str()).collect();
    assert_eq!(reasons, ["wrong_amount", "unknown_payment", "other_trade"], "an admin sees it");
    let again = format!("/orders/{order}/payments");
    shop.refused("POST", &again, Some(json!({ "method": "mock" })), (409, "invalid_transition")).await;
    shop.refused("POST", &again, Some(json!({ "method": "cash" })), (422, "invalid_body")).await;
    shop.refused("POST", "/orders/9/payments", Some(json!({ "method": "mock" })), (404, "not_found")).await;
    assert_eq!(shop.app.send("POST", "/api/v1/payments/cash/notify", None, None).await.0, StatusCode::NOT_FOUND);
}

/// The mock's key must not confirm payments that were begun with Alipay.
#[tokio::test]
async fn a_notice_must_match_the_method_of_its_payment() {
    let shop = Shopping::at(TestApp::that_offers(Offers::Both).await).await;
    let address = shop.address().await;
    let (_, order) = shop.ask("POST", "/orders", Some(shop.order(&address, 1))).await;
    let order = order["order_id"].as_str().unwrap();
    let begin = async |method: &str| {
        let path = format!("/orders/{order}/payments");
        let (status, payment) = shop.ask("POST", &path, Some(json!({ "method": method }))).await;
        assert_eq!(status, StatusCode::CREATED, "{payment}");
        payment["payment_id"].as_str().unwrap().to_owned()
    };
    let (alipay, mock) = (begin("alipay").await, begin("mock").await);
    assert_eq!(shop.told(notice(&alipay, "3999.00")).await, "failure");
    assert_eq!(shop.status(order).await, "pending_payment");
    assert_eq!(shop.told(notice(&mock, "3999.00")).await, "success");
    assert_eq!(shop.status(order).await, "paid");
}

#[tokio::test]
async fn a_method_that_is_off_is_refused() {
    let shop = Shopping::at(TestApp::that_offers(Offers::Alipay).await).await;
    let address = shop.address().await;
    let (_, order) = shop.ask("POST", "/orders", Some(shop.order(&address, 1))).await;
    let (_, offered) = shop.ask("GET", "/payments/methods", None).await;
    assert_eq!(offered["methods"], json!(["alipay"]), "{offered}");
    let path = format!("/orders/{}/payments", order["order_id"].as_str().unwrap());
    let problem = shop.refused("POST", &path, Some(json!({ "method": "mock" })), (422, "method_not_offered")).await;
    assert_eq!(problem["methods"], json!(["alipay"]), "{problem}");
    shop.refused("POST", &path, Some(json!({ "method": "cash" })), (422, "invalid_body")).await;
    shop.refused("POST", "/payments/mock/notify", None, (404, "not_found")).await;
    assert_eq!(shop.ask("POST", &path, Some(json!({ "method": "alipay" }))).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn money_is_asked_back_once() {
    let shop = Shopping::new().await;
    let (order, payment) = shop.to_be_paid().await;
    let path = format!("/orders/{order}/refunds");
    shop.refused("POST", &path, Some(json!({})), (409, "invalid_transition")).await;
    assert_eq!(shop.told(notice(&payment, "3999.00")).await, "success");
    shop.refused("POST", &path, Some(json!({ "reason": "长".repeat(201) })), (422, "invalid_body")).await;
    let (status, refund) = shop.ask("POST", &path, Some(json!({ "reason": "太大了 😢" }))).await;
    assert_eq!((status, &refund["status"]), (StatusCode::CREATED, &json!("requested")));
    assert_eq!(shop.status(&order).await, "refunding");
    shop.refused("POST", &path, Some(json!({})), (409, "invalid_transition")).await;
    let id = order.parse().unwrap();
    let moved = shop.app.store.money().decide_refund(id, true, START_MS).await.unwrap();
    assert!(matches!(moved, Moved::To(OrderState::Refunding(_))), "{moved:?}");
    let due = shop.app.store.due_refunds(&["mock"], 9).await.unwrap();
    assert_eq!((due.len(), due[0].trade_no.as_str()), (1, "T1"));
}

/// What a buyer has seen is what the order costs, or there is no order.
#[tokio::test]
async fn an_order_that_costs_something_else_is_refused_with_the_new_total() {
    let shop = Shopping::new().await;
    let address = shop.address().await;
    let item = json!({ "sku_id": shop.black.sku_id, "quantity": 2 });
    assert_eq!(shop.ask("POST", "/cart/items", Some(item)).await.0, StatusCode::OK);
    for mut order in [shop.order(&address, 2), json!({ "address_id": address, "from_cart": true })] {
        order["expected_total_cents"] = json!(799_799);
        let (status, refused) = shop.ask("POST", "/orders", Some(order.clone())).await;
        assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("price_changed")), "{refused}");
        assert_eq!(refused["total_cents"], 799_800, "{refused}");
        order["expected_total_cents"] = json!(799_800);
        let (status, placed) = shop.ask("POST", "/orders", Some(order)).await;
        assert_eq!((status, &placed["total_cents"]), (StatusCode::CREATED, &json!(799_800)), "{placed}");
    }
}

/// The buyer is back from the platform before its notice, which may be lost.
#[tokio::test]
async fn a_buyer_who_returns_has_the_platform_asked() {
    let app = pay::App {
        app_id: "app".to_owned(),
        seller_id: "seller".to_owned(),
        gateway: "http://127.0.0.1:1/mock-pay".to_owned(),
        signer: Signer::read(&KEYS[0]).unwrap(),
        platform: Signer::read(&KEYS[1]).unwrap().verifier().unwrap(),
    };
    let transport = Transport::new(|_, body| {
        let form = Form::parse(body.as_bytes()).unwrap();
        let biz: Value = serde_json::from_str(form.get("biz_content")).unwrap();
        let trade = json!({ "code": "10000", "msg": "Success", "out_trade_no": biz["out_trade_no"], "trade_no": "T1",
            "trade_status": "TRADE_SUCCESS", "total_amount": "3999.00" });
        let answer = pay::platform_answer(&Signer::read(&KEYS[1]).unwrap(), form.get("method"), &trade);
        Box::pin(std::future::ready(answer.map_err(|error| error.to_string())))
    });
    let provider =
        Provider { method: MOCK, app, notify_url: "http://shop/notify".into(), return_url: "http://shop/".into() };
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("mall.db"), ids(), Settings::new(60_000)).await.unwrap();
    let parts = (store.clone(), Carts::Database(store), Providers::over(vec![provider], transport));
    let shop = Shopping::at(TestApp::with(parts, directory).await).await;
    let (order, _) = shop.to_be_paid().await;
    assert_eq!(shop.status(&order).await, "pending_payment");
    let path = format!("/orders/{order}/payments/check");
    let stranger = TestApp::token(shop.user.as_i64() + 1);
    assert_eq!(shop.app.send("POST", &format!("/api/v1{path}"), Some(&stranger), None).await.0, StatusCode::NOT_FOUND);
    let (status, checked) = shop.ask("POST", &path, None).await;
    assert_eq!((status, &checked["status"]), (StatusCode::OK, &json!("paid")), "{checked}");
}

/// The platform takes no money once the order is closed.
#[tokio::test]
async fn a_page_to_pay_on_ends_with_its_order() {
    let shop = Shopping::new().await;
    let address = shop.address().await;
    let (_, order) = shop.ask("POST", "/orders", Some(shop.order(&address, 1))).await;
    let expires_at_ms = rfc3339::parse(order["expires_at"].as_str().unwrap()).unwrap();
    let path = format!("/orders/{}/payments", order["order_id"].as_str().unwrap());
    let (_, payment) = shop.ask("POST", &path, Some(json!({ "method": "mock" }))).await;
    let (_, query) = payment["pay_url"].as_str().unwrap().split_once('?').unwrap();
    let form = Form::parse(query.as_bytes()).unwrap();
    let biz: Value = serde_json::from_str(form.get("biz_content")).unwrap();
    assert_eq!(biz["time_expire"], timestamp(expires_at_ms));
}

/// Anybody can send a notice, and what is wrong with it is logged.
#[tokio::test]
async fn a_long_notice_is_not_even_read() {
    let shop = Shopping::new().await;
    let body = format!("{}=1", "n".repeat(16 * 1024));
    let request = Request::post("/api/v1/payments/mock/notify").body(Body::from(body)).unwrap();
    let response = shop.app.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}
