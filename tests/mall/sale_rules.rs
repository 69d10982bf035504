//! Sales with rules of their own: a draft, buyers who registered before a time, and a short time to pay.

use serde_json::{Value, json};

use crate::process::{Shop, agent, call, get, now_ms, token, until};

/// Walks through all of them.
pub(crate) fn sale_rules(shop: &Shop) {
    draft(shop);
    registered_before(shop);
    pay_within(shop);
}

/// Shoppers learn of a draft when it is published.
fn draft(shop: &Shop) {
    let like = get(&format!("{}/admin/api/v1/activities/{}", shop.admin, shop.sale(1)), Some(&shop.admin_token())).1;
    let at = |ms: u64| foundation::rfc3339::format(now_ms() + ms);
    let draft = shop.admin_post(
        "/activities",
        json!({ "title": "草稿", "sku_id": like["sku_id"], "price_cents": 100, "stock": 2, "per_user_limit": 1,
            "starts_at": at(0), "ends_at": at(3_600_000), "draft": true }),
    );
    assert_eq!((&draft["draft"], &draft["ledger_open"]), (&json!(true), &json!(false)), "{draft}");
    let id = draft["activity_id"].as_str().unwrap();
    let seen = || get(&format!("{}/api/v1/seckill/activities/{id}", shop.gateway), None);
    // A sale that is written after the draft has come, so the draft would have come, too.
    shop.sale(1);
    assert_eq!(seen().0, 404);
    assert_eq!(shop.buy(&agent(), id, 1, "k").unwrap().0, 404);
    let url = format!("{}/admin/api/v1/activities/{id}", shop.admin);
    let request = agent().patch(&url).header("If-Match", "\"1\"");
    let request = request.header("Authorization", &format!("Bearer {}", shop.admin_token()));
    let mut answer = request.send_json(json!({ "draft": false })).unwrap();
    let published: Value = answer.body_mut().read_json().unwrap();
    assert_eq!((answer.status().as_u16(), &published["draft"]), (200, &json!(false)), "{published}");
    until("the sale is open at the gateway", || seen().1["state"] == "open");
    until("it sells", || shop.buy(&agent(), id, 1, "k").unwrap().0 == 202);
}

/// The gateway sees in the id of a user when the user registered.
fn registered_before(shop: &Shop) {
    let before = foundation::rfc3339::format(now_ms() - 60_000);
    let activity = shop.sale_with(10, &json!({ "registered_before": before }));
    let credentials = json!({ "username": format!("new-{activity}"), "password": "correct horse" });
    let at = |path: &str| format!("{}/api/v1{path}", shop.order_core);
    let (status, user) = call("POST", &at("/users"), None, &credentials);
    assert_eq!(status, 201, "{user}");
    let session = call("POST", &at("/sessions"), None, &credentials).1;
    let fresh = session["access_token"].as_str().unwrap();
    let buy = |token: &str| {
        let order = json!({ "activity_id": activity, "quantity": 1 });
        call("POST", &format!("{}/api/v1/seckill/orders", shop.gateway), Some(token), &order)
    };
    let (status, refused) = buy(fresh);
    assert_eq!((status, &refused["code"]), (403, &json!("not_eligible")), "{refused}");
    assert_eq!(buy(&token(1)).0, 202, "this user's id is as old as ids can be");
    let allowed = json!({ "entry": "allowed", "user_ids": [user["user_id"]] });
    shop.admin_post(&format!("/activities/{activity}/entry-rules"), allowed);
    until("a user on the list may buy", || buy(fresh).0 == 202);
}

/// The orders of this sale are closed long before those of others, and their units are sold again.
fn pay_within(shop: &Shop) {
    let activity = shop.sale_with(1, &json!({ "pay_within_ms": 1_500 }));
    let (status, held) = shop.buy(&agent(), &activity, 1, "k").unwrap();
    assert_eq!(status, 202, "{held}");
    let order = held["order_id"].as_str().unwrap();
    until("the order is written", || shop.order(order, 1).0 == 200);
    let expires = shop.order(order, 1).1["expires_at"].as_str().and_then(foundation::rfc3339::parse).unwrap();
    let created = shop.order(order, 1).1["created_at"].as_str().and_then(foundation::rfc3339::parse).unwrap();
    assert_eq!(expires - created, 1_500);
    until("the order is closed", || shop.order(order, 1).1["status"] == "closed");
    until("its unit is sold again", || shop.buy(&agent(), &activity, 2, "k").unwrap().0 == 202);
}
