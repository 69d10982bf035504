//! Orders, money and accounts over HTTP: an address on a flash order, a refund of a part, a trade that is closed with its
//! order, a new password, a blocked shopper, the audit log, and a dead letter that is replayed.

use serde_json::{Value, json};

use crate::{
    process::{Shop, agent, call, get, until},
    walk::{pay, press},
};

/// A command that nobody can read, straight into the outbox, as a fault of an older version might have left it.
const UNREADABLE_COMMAND: &str =
    "INSERT INTO outbox (id, topic, record_key, record) VALUES (1, 'seckill.commands', x'31', x'00')";

/// Walks; `plant` runs an SQL statement in the mall's database.
pub(crate) fn money(shop: &Shop, plant: impl Fn(&str)) {
    let activity = shop.sale(20);
    let name = format!("mei-{activity}").chars().take(32).collect::<String>();
    let at = |path: &str| format!("{}/api/v1{path}", shop.order_core);
    let credentials = |password: &str| json!({ "username": name, "password": password });
    let (status, user) = call("POST", &at("/users"), None, &credentials("correct horse"));
    assert_eq!(status, 201, "{user}");
    let sign_in = |password: &str| call("POST", &at("/sessions"), None, &credentials(password));
    let token = sign_in("correct horse").1["access_token"].as_str().unwrap().to_owned();
    let ask = |method: &str, path: &str, body: Value| call(method, &at(path), Some(&token), &body);
    let address = |detail: &str, is_default: bool| {
        let address = json!({ "recipient": "王小明", "phone": "1", "region": "杭州", "detail": detail,
            "is_default": is_default });
        ask("POST", "/addresses", address).1["address_id"].clone()
    };
    let (_home, office) = (address("一号", true), address("二号", false));

    // An order of a flash sale goes to the default address, and elsewhere until it is sent.
    let unit = json!({ "activity_id": activity, "quantity": 1 });
    let (status, held) = call("POST", &format!("{}/api/v1/seckill/orders", shop.gateway), Some(&token), &unit);
    assert_eq!(status, 202, "{held}");
    let id = held["order_id"].as_str().unwrap().to_owned();
    let order = format!("/orders/{id}");
    until("the order is written", || ask("GET", &order, Value::Null).0 == 200);
    assert_eq!(ask("GET", &order, Value::Null).1["address"]["detail"], "一号");
    let (status, moved) = ask("PUT", &format!("{order}/address"), json!({ "address_id": office }));
    assert_eq!((status, &moved["address"]["detail"]), (200, &json!("二号")), "{moved}");

    // A part of the money goes back, once the admin approves this request and no other.
    pay(shop, &id, &token);
    let (status, checked) = ask("POST", &format!("{order}/payments/check"), Value::Null);
    assert_eq!((status, &checked["status"]), (200, &json!("paid")), "{checked}");
    let refund = ask("POST", &format!("{order}/refunds"), json!({ "reason": "划痕", "amount_cents": 40 }));
    assert_eq!(refund.0, 201, "{refund:?}");
    let refund = refund.1["refund_id"].as_str().unwrap().to_owned();
    let admin_token = shop.admin_token();
    let staff = |path: &str| get(&format!("{}/admin/api/v1{path}", shop.admin), Some(&admin_token)).1;
    let asked = staff(&order)["refund"].clone();
    assert_eq!((&asked["refund_id"], &asked["amount_cents"]), (&json!(refund), &json!(40)), "{asked}");
    shop.admin_post(&format!("{order}/refunds/approve?refund_id={refund}"), json!({}));
    until("a part of the money is back", || ask("GET", &order, Value::Null).1["refunded_cents"] == 40);
    assert_eq!(ask("GET", &order, Value::Null).1["status"], "paid");
    let log = staff(&format!("/audit-log?subject=order&subject_id={id}"));
    assert_eq!((&log["items"][0]["action"], &log["items"][0]["username"]), (&json!("decide_refund"), &json!("admin")));

    closed_trade(shop, &token, &office);

    // A new password ends the other session; a blocked shopper has none.
    let other = sign_in("correct horse").1["access_token"].as_str().unwrap().to_owned();
    let change = json!({ "old_password": "correct horse", "new_password": "a better horse" });
    assert_eq!(ask("POST", "/users/me/password", change).0, 204);
    assert_eq!(call("GET", &at("/users/me"), Some(&other), &Value::Null).0, 401);
    assert_eq!((sign_in("correct horse").0, sign_in("a better horse").0), (401, 200));
    shop.admin_post(&format!("/users/{}/block", user["user_id"].as_str().unwrap()), json!({}));
    assert_eq!((ask("GET", "/users/me", Value::Null).0, sign_in("a better horse").0), (401, 403));

    plant(UNREADABLE_COMMAND);
    let letter = || staff("/dead-letters")["items"][0].clone();
    until("the record is given up", || letter()["group"] == "order-core.keeper");
    let first = letter()["dead_letter_id"].as_str().unwrap().to_owned();
    let replayed = shop.admin_post(&format!("/dead-letters/{first}/replay"), json!({}));
    assert_eq!(replayed["decision"], "replayed", "{replayed}");
    until("the record is given up once more", || letter()["dead_letter_id"] != json!(first));
}

/// An order is cancelled while its buyer has the platform's page before them.
fn closed_trade(shop: &Shop, token: &str, address: &Value) {
    let at = |path: &str| format!("{}/api/v1{path}", shop.order_core);
    let sku = json!({ "attributes": {}, "price_cents": 500, "stock": 5 });
    let category = shop.admin_post("/categories", json!({ "name": "茶" }));
    let product = shop.admin_post("/products", json!({ "title": "龙井", "category_id": category["category_id"] }));
    let product = product["product_id"].as_str().unwrap();
    let sku = shop.admin_post(&format!("/products/{product}/skus"), sku);
    shop.admin_post(&format!("/products/{product}/shelve"), json!({}));
    let counted = json!({ "delta": -2, "reason": "counted" });
    let sku = shop.admin_post(&format!("/skus/{}/stock", sku["sku_id"].as_str().unwrap()), counted);
    assert_eq!(sku["stock"], 3, "{sku}");
    let order = json!({ "address_id": address, "items": [{ "sku_id": sku["sku_id"], "quantity": 1 }] });
    let (status, order) = call("POST", &at("/orders"), Some(token), &order);
    assert_eq!(status, 201, "{order}");
    let order = format!("/orders/{}", order["order_id"].as_str().unwrap());
    let (_, payment) = call("POST", &at(&format!("{order}/payments")), Some(token), &json!({ "method": "mock" }));
    let pay_url = payment["pay_url"].as_str().unwrap();
    assert_eq!(agent().get(pay_url).call().unwrap().status(), 200);
    assert_eq!(call("POST", &at(&format!("{order}/cancel")), Some(token), &Value::Null).0, 200);
    // The page of a trade that is closed takes no money. Until then it would be late money, which goes back.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(press(pay_url).status(), 409, "the trade is closed with its order");
}
