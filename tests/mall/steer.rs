//! What an admin does while a sale runs, as its shoppers notice it.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::process::{Shop, agent, call, token, until};

/// Within so much every core of a gateway knows of a change, and sells again after units came back.
const KNOWN_WITHIN: Duration = Duration::from_millis(200);
/// Changes whose way is timed. The quickest counts: a machine that is busy with other things delays some, a wait
/// that is built in delays all.
const ROUNDS: i64 = 5;

/// Steers a sale of one unit on two gateway cores or more.
pub(crate) fn steer(shop: &Shop) {
    let activity = shop.sale(1);
    let path = |verb: &str| format!("/activities/{activity}/{verb}");
    let next_user = AtomicI64::new(1_000);
    let buy = || {
        let user = next_user.fetch_add(1, Ordering::Relaxed);
        let (status, answer) = shop.buy(&agent(), &activity, user, "a").unwrap();
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(buy().0, 202);

    let (mut pauses, mut returns) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        shop.admin_post(&path("pause"), json!({}));
        pauses.push(since(begun, || shop.on_every_core(|| buy() == (503, "paused".to_owned()))));
        shop.admin_post(&path("resume"), json!({}));
        until("every core says sold out", || shop.on_every_core(|| buy() == (409, "sold_out".to_owned())));
        let begun = Instant::now();
        let restocked = shop.admin_post(&path("restock"), json!({ "delta": 1 }));
        assert_eq!(restocked["status"], "done", "{restocked}");
        returns.push(since(begun, || buy().0 == 202));
    }
    for (what, took) in [("a pause", pauses), ("units that came back", returns)] {
        let quickest = took.iter().min().unwrap();
        assert!(*quickest <= KNOWN_WITHIN, "{what} took {took:?}");
    }

    let blocked = json!({ "entry": "blocked", "user_ids": ["7"] });
    shop.admin_post(&path("entry-rules"), blocked);
    let refused = || shop.buy(&agent(), &activity, 7, "a").unwrap().1["code"] == "not_eligible";
    until("every core knows who is blocked", || shop.on_every_core(refused));
    shop.admin_post(&path("end"), json!({}));
    until("every core knows that it is over", || shop.on_every_core(|| shop.ticket(&activity, 8).1["code"] == "ended"));
}

/// A sale that is ended with units left sells none of them from the admin's answer on, on any core, and who has
/// bought keeps the order.
pub(crate) fn end_now(shop: &Shop) {
    let activity = shop.sale(50);
    let first = shop.buy(&agent(), &activity, 1, "a").unwrap();
    assert_eq!(first.0, 202);
    shop.admin_post(&format!("/activities/{activity}/end"), json!({}));
    for user in 2..=21 {
        let (status, answer) = shop.buy(&agent(), &activity, user, "a").unwrap();
        assert_eq!((status, answer["code"].as_str()), (403, Some("ended")), "{answer}");
        assert_eq!(shop.buy(&agent(), &activity, 1, "a").unwrap(), first, "the first answer again");
    }
    until("the units are the SKU's again", || {
        let counts = shop.audit(&activity);
        (&counts["available"], &counts["ok"]) == (&json!(0), &json!(true)) && counts["total"] != json!(50)
    });
}

/// A sale whose door is a captcha: a picture, and no entry for a guess.
pub(crate) fn captcha(shop: &Shop) {
    let activity = shop.sale_with(1, &json!({ "captcha": true }));
    assert_eq!(shop.buy(&agent(), &activity, 1, "a").unwrap().1["code"], "ticket_required");
    assert_eq!(shop.ticket(&activity, 1).1["code"], "challenge_required");
    let url = format!("{}/api/v1/seckill/activities/{activity}/challenge", shop.gateway);
    let ask = || agent().get(&url).header("Authorization", format!("Bearer {}", token(1))).call().unwrap();
    let given = RefCell::new(ask());
    until("there is a picture", || {
        if given.borrow().status() != 200 {
            given.replace(ask());
        }
        given.borrow().status() == 200
    });
    let mut picture = given.into_inner();
    let challenge = picture.headers()["challenge"].to_str().unwrap().to_owned();
    assert_eq!(picture.headers()["content-type"], "image/png");
    assert!(picture.body_mut().read_to_vec().unwrap().starts_with(b"\x89PNG"));
    let guess = json!({ "challenge": challenge, "answer": "?????" });
    assert_eq!(
        call("POST", &url.replace("challenge", "tickets"), Some(&token(1)), &guess).1["code"],
        "challenge_failed"
    );

    let activity = shop.sale_with(1, &json!({ "requires_ticket": true }));
    let (status, ticket) = shop.ticket(&activity, 1);
    assert_eq!(status, 201, "{ticket}");
    let body = json!({ "activity_id": activity, "quantity": 1, "ticket": ticket["ticket"] });
    let orders = format!("{}/api/v1/seckill/orders", shop.gateway);
    assert_eq!(call("POST", &orders, Some(&token(2)), &body).1["code"], "ticket_invalid");
    assert_eq!(call("POST", &orders, Some(&token(1)), &body).0, 202);
}

/// How long after `begun` it holds.
fn since(begun: Instant, holds: impl Fn() -> bool) -> Duration {
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it never came to be");
        std::thread::sleep(Duration::from_millis(2));
    }
    begun.elapsed()
}

impl Shop {
    /// Whether it is true of enough new connections that every core has had one, all but surely.
    fn on_every_core(&self, holds: impl Fn() -> bool) -> bool {
        (0..8).all(|_| holds())
    }

    fn ticket(&self, activity: &str, user: i64) -> (u16, Value) {
        let url = format!("{}/api/v1/seckill/activities/{activity}/tickets", self.gateway);
        call("POST", &url, Some(&token(user)), &json!({}))
    }
}
