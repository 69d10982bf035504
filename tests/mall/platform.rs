//! A payment platform that errs: notices that are lost, doubled, late, in another order and in GBK, refunds that say that no
//! money moved, answers that do not come, and a bill that finds what is left.

use std::path::Path;

use pay::{Form, Signer};
use serde_json::{Value, json};

use crate::{
    process::{Shop, agent, call, get, until},
    walk::press,
};

/// A shopper, and a product of which there is enough.
struct Buyer<'a> {
    shop: &'a Shop,
    token: String,
    order: Value,
}

impl<'a> Buyer<'a> {
    fn new(shop: &'a Shop) -> Self {
        let category = shop.admin_post("/categories", json!({ "name": "茶具" }));
        let product = shop.admin_post("/products", json!({ "title": "盖碗", "category_id": category["category_id"] }));
        let product = product["product_id"].as_str().unwrap();
        let sku = json!({ "attributes": {}, "price_cents": 500, "stock": 100 });
        let sku = shop.admin_post(&format!("/products/{product}/skus"), sku);
        shop.admin_post(&format!("/products/{product}/shelve"), json!({}));
        let credentials = json!({ "username": format!("tea-{product}"), "password": "correct horse" });
        let at = |path: &str| format!("{}/api/v1{path}", shop.order_core);
        assert_eq!(call("POST", &at("/users"), None, &credentials).0, 201);
        let token = call("POST", &at("/sessions"), None, &credentials).1["access_token"].as_str().unwrap().to_owned();
        let address = json!({ "recipient": "王小明", "phone": "1", "region": "杭州", "detail": "一号" });
        let address = call("POST", &at("/addresses"), Some(&token), &address).1;
        let items = json!([{ "sku_id": sku["sku_id"], "quantity": 1 }]);
        let order = json!({ "address_id": address["address_id"], "items": items });
        Self { shop, token, order }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}/api/v1{path}", self.shop.order_core);
        let (status, answer) = call(method, &url, Some(&self.token), body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    fn status(&self, order: &str) -> Value {
        self.ask("GET", order, &Value::Null)["status"].clone()
    }

    /// An order whose buyer has paid at the platform, and its payment.
    fn pays(&self) -> (String, String) {
        let order = self.ask("POST", "/orders", &self.order);
        let order = format!("/orders/{}", order["order_id"].as_str().unwrap());
        let payment = self.ask("POST", &format!("{order}/payments"), &json!({ "method": "mock" }));
        assert_eq!(press(payment["pay_url"].as_str().unwrap()).status(), 303);
        (order, payment["payment_id"].as_str().unwrap().to_owned())
    }
}

fn has(shop: &Shop, faults: &Value) {
    let (status, set) = call("PUT", &format!("{}/mock-pay/faults", shop.order_core), None, faults);
    assert_eq!(status, 200, "{set}");
}

/// What is left of the mistakes that were asked for.
fn left(shop: &Shop, fault: &str) -> Value {
    get(&format!("{}/mock-pay/faults", shop.order_core), None).1[fault].clone()
}

/// Pays while the platform errs; `data` is the data directory of order-core.
pub(crate) fn platform(shop: &Shop, data: &Path) {
    let buyer = Buyer::new(shop);
    let is_paid = |order: &str| until("the order is paid", || buyer.status(order) == "paid");

    has(shop, &json!({ "double_notices": 1, "gbk_notices": 2 }));
    is_paid(&buyer.pays().0);
    assert_eq!((left(shop, "double_notices"), left(shop, "gbk_notices")), (json!(0), json!(0)));

    has(shop, &json!({ "reorder_notices": 1 }));
    let orders = [buyer.pays().0, buyer.pays().0];
    orders.iter().for_each(|order| is_paid(order));

    has(shop, &json!({ "delay_notices": 1, "delay_ms": 2_000 }));
    let (order, _) = buyer.pays();
    until("the notice waits", || left(shop, "delay_notices") == 0);
    assert_eq!(buyer.status(&order), "pending_payment");
    is_paid(&order);
    refund_that_says_nothing_moved(&buyer, &order);

    // A lost notice is made up for by a question, which the buyer's return asks too.
    has(shop, &json!({ "lose_notices": 1 }));
    let (order, _) = buyer.pays();
    until("the notice is lost", || left(shop, "lose_notices") == 0);
    assert_eq!(buyer.ask("POST", &format!("{order}/payments/check"), &Value::Null)["status"], "paid");
    lost_money(&buyer, data);
    assert_eq!(call("PUT", &format!("{}/mock-pay/faults", shop.order_core), None, &json!({ "lose": 1 })).0, 422);
}

/// The first try is carried out and not answered in time; the second one says that no money moved, which is true.
fn refund_that_says_nothing_moved(buyer: &Buyer<'_>, order: &str) {
    has(buyer.shop, &json!({ "silent_after": 1, "unmoved_refunds": 2 }));
    let refund = buyer.ask("POST", &format!("{order}/refunds"), &json!({ "reason": "划痕", "amount_cents": 200 }));
    let refund = refund["refund_id"].as_str().unwrap();
    buyer.shop.admin_post(&format!("{order}/refunds/approve?refund_id={refund}"), json!({}));
    until("the request is carried out", || left(buyer.shop, "silent_after") == 0);
    until("the money is back", || buyer.ask("GET", order, &Value::Null)["refunded_cents"] == 200);
    has(buyer.shop, &json!({}));
}

/// The notice is lost and the platform's answer is wrong, so that nothing but the bill has the payment.
fn lost_money(buyer: &Buyer<'_>, data: &Path) {
    let shop = buyer.shop;
    has(shop, &json!({ "lose_notices": 1, "closed_queries": 1 }));
    let (order, payment) = buyer.pays();
    until("the notice is lost", || left(shop, "lose_notices") == 0);
    assert_eq!(buyer.ask("POST", &format!("{order}/payments/check"), &Value::Null)["status"], "pending_payment");
    assert_eq!(left(shop, "closed_queries"), 0);

    let now = foundation::rfc3339::format(crate::process::now_ms() + 8 * 3_600_000);
    let date = now.get(..10).unwrap();
    let bill = bill(shop, data, date);
    assert!(bill.contains(&payment), "{bill}");
    let url = format!("{}/admin/api/v1/payments/bill?method=mock&date={date}", shop.admin);
    let import = |bill: &str| {
        let request = agent().post(&url).header("Authorization", &format!("Bearer {}", shop.admin_token()));
        let mut answer = request.header("Content-Type", "text/csv").send(bill).unwrap();
        let compared: Value = answer.body_mut().read_json().unwrap();
        assert_eq!(answer.status(), 200, "{compared}");
        compared
    };
    let compared = import(&bill);
    assert_eq!(compared["waiting"], 1, "the lost payment alone is not known: {compared}");
    until("the order is paid", || buyer.status(&order) == "paid");
    let again = import(&bill);
    assert_eq!((&again["waiting"], &again["unmatched"]), (&json!(0), &json!(0)), "{again}");

    // Money that fits nothing is a row for an admin.
    let stranger = bill.lines().find(|line| line.contains(&payment)).unwrap().replace(&payment, "1");
    let compared = import(&bill.replace("#业务明细列表结束", &format!("{stranger}\n#业务明细列表结束")));
    assert_eq!(compared["unmatched"], 1, "{compared}");
    let metric = |rows: u64| {
        let metrics = crate::operations::metrics(&shop.order_core);
        metrics.lines().any(|line| line == format!("mall_unmatched_money {rows}"))
    };
    until("the metric shows it", || metric(1));
    let listed = format!("{}/admin/api/v1/payments/unmatched?resolved=false", shop.admin);
    let row = get(&listed, Some(&shop.admin_token())).1["items"][0].clone();
    assert_eq!(row["reason"], "unknown_payment", "{row}");
    let resolve = format!("/payments/unmatched/{}/resolve", row["unmatched_id"].as_str().unwrap());
    shop.admin_post(&resolve, json!({ "resolution": "另一家店的付款" }));
    until("the metric forgets it", || metric(0));
}

/// The bill of a day, which the platform gives to the shop's app.
fn bill(shop: &Shop, data: &Path, date: &str) -> String {
    let key = std::fs::read_to_string(data.join("mock-app-key")).unwrap();
    let mut form = Form::default();
    form.set("method", "alipay.data.dataservice.bill.downloadurl.query").set("sign_type", "RSA2");
    form.set("biz_content", json!({ "bill_type": "trade", "bill_date": date }).to_string());
    let form = form.request(&Signer::read(key.trim()).unwrap()).unwrap();
    let mut answer = agent().post(&format!("{}/mock-pay", shop.order_core)).send(form).unwrap();
    let answer: Value = answer.body_mut().read_json().unwrap();
    let url = &answer["alipay_data_dataservice_bill_downloadurl_query_response"]["bill_download_url"];
    let url = url.as_str().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(get(&url.replace(date, "2020-01-01"), None).0, 422, "an address that the platform did not give");
    agent().get(url).call().unwrap().body_mut().read_to_string().unwrap()
}
