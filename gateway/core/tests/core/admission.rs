//! Who may ask: the checks, their order and what they answer.

use std::sync::Arc;

use gateway_core::{Answer, Control, PartReason, Rate, Readiness};

use crate::world::{HOUR_MS, RULES, START_MS, World, activity, buy, get, get_as, post, token, user};

const GOOD: &str = r#"{"activity_id":"1","quantity":1}"#;

#[test]
fn refusals_come_in_their_order() {
    let mut world = World::new(10);
    let mut check = |request: String, status: u16, code: &str| {
        let answer = world.ask(&request);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{request}");
    };
    let anonymous = |body: &str| {
        let len = body.len();
        format!("POST /api/v1/seckill/orders HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}")
    };
    check(anonymous("{"), 422, "invalid_body");
    check(anonymous(r#"{"activity_id":"2","quantity":1}"#), 404, "unknown_activity");
    check(anonymous(GOOD), 401, "invalid_token");
    check(anonymous(GOOD).replace("Host: a", "Host: a\r\nContent-Type: text/json"), 415, "unsupported_media_type");
    check(post(1, "Idempotency-Key: a b\r\n", GOOD), 422, "invalid_idempotency_key");
    check(post(1, "Idempotency-Key:\r\n", GOOD), 422, "invalid_idempotency_key");
    check(post(1, &format!("Idempotency-Key: {}\r\n", "k".repeat(256)), GOOD), 422, "invalid_idempotency_key");
    check(get("/api/v1/seckill/activities/x", ""), 404, "unknown_activity");
    check(get("/api/v1/seckill/orders/x", ""), 401, "invalid_token");
    check(get_as(1, "/api/v1/seckill/orders/x"), 404, "unknown_order");
    check(get("/api/v1/seckill/activities?limit=0", ""), 422, "invalid_query");
    check(get("/api/v1/seckill/activities?page=2", ""), 422, "invalid_query");
    let long_key = format!("Idempotency-Key: {}\r\n", "k".repeat(255));
    assert_eq!(world.ask(post(1, &long_key, GOOD)).status, 202);
}

#[test]
fn tokens_are_good_until_they_expire() {
    let mut world = World::new(10);
    let short = crate::world::key().sign(user(1), None, START_MS / 1000, 2);
    let ask = |token: &str| get("/api/v1/seckill/orders/1", &format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(world.ask(ask(&short)).code(), "unknown_order");
    // Until its end, and ten seconds more for clocks that differ.
    world.pass(11_000);
    assert_eq!(world.ask(ask(&short)).code(), "unknown_order");
    world.pass(1_000);
    let refused = world.ask(ask(&short));
    assert_eq!((refused.code().as_str(), refused.header("www-authenticate")), ("invalid_token", "Bearer"));
    assert_eq!(world.ask(ask(&token(1))).code(), "unknown_order");
    for bad in ["", "x", "a.b.c", &format!("{}x", token(1))] {
        assert_eq!(world.ask(ask(bad)).code(), "invalid_token");
    }
}

#[test]
fn clients_and_users_are_limited() {
    let mut world = World::with(10, RULES, |config| {
        config.gate.client = Rate { per_second: 2, burst: 4 };
        config.gate.user = Rate { per_second: 1, burst: 2 };
        config.gate.trusted_proxies = "127.0.0.1".parse().unwrap();
    });
    let read = get("/api/v1/time", "");
    for left in ["3", "2", "1", "0"] {
        let answer = world.ask(&read);
        assert_eq!((answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")), ("4", left));
    }
    let refused = world.ask(&read);
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit-reset")), ("1", "2"));
    assert_eq!(world.ask(get("/ping", "")).status, 200, "operators are not limited");
    let behind_proxy = |n: u8| format!("X-Forwarded-For: 9.9.9.{n}\r\n");
    assert_eq!(world.ask(get("/api/v1/time", &behind_proxy(1))).status, 200);

    let asks: Vec<_> = (2..5).map(|n| world.ask(post(7, &behind_proxy(n), GOOD))).collect();
    assert_eq!(asks.iter().map(|answer| answer.status).collect::<Vec<_>>(), [202, 202, 429]);
    assert_eq!(asks[0], asks[1], "a repeat is the same, headers too");
    assert_eq!(asks[0].header("ratelimit-limit"), "2");
    world.pass(1_000);
    assert_eq!(world.ask(post(7, &behind_proxy(6), GOOD)), asks[0]);
    assert_eq!(world.core.stats().answers(Answer::RateLimited), 2);
}

#[test]
fn nothing_is_sold_before_the_log_was_read() {
    let mut world = World::cold(10, RULES, |_| {});
    let ready = |world: &mut World| {
        let answer = world.ask(get("/readyz", ""));
        (answer.status, answer.json()["reasons"].as_array().unwrap().len())
    };
    assert_eq!(ready(&mut world), (503, 1));
    for request in [buy(1, "a"), get_as(1, "/api/v1/seckill/orders/1"), get("/api/v1/seckill/activities/1", "")] {
        let refused = world.ask(request);
        assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("unavailable", "1"));
    }
    assert_eq!(world.ask(get("/healthz", "")).status, 200);
    world.control(Control::Activity(activity(1, RULES)));
    world.control(Control::CaughtUp);
    assert_eq!(ready(&mut world), (200, 0));
    let part = |part: &str, reason: &str| PartReason { part: part.to_owned(), reason: reason.to_owned() };
    let reasons = Arc::from([part("order-core", "starting")]);
    let warnings = Arc::from([part("journal", "a sale is parked")]);
    world.control(Control::Readiness(Readiness { reasons, warnings, is_stopping: false }));
    assert_eq!(ready(&mut world), (503, 1));
    assert_eq!(
        world.ask(get("/readyz", "")).json(),
        serde_json::json!({
            "ready": false,
            "reasons": [{"part": "order-core", "reason": "starting"}],
            "warnings": [{"part": "journal", "reason": "a sale is parked"}],
        }),
        "the same members as the services have",
    );
    assert_eq!(world.ask(buy(1, "a")).status, 202, "what others lack does not stop the sale");
    world.control(Control::Readiness(Readiness::default()));
    assert!(world.core.is_ready());
}

#[test]
fn activities_as_shoppers_see_them() {
    let mut world = World::new(10);
    let detail = |world: &mut World| world.ask(get("/api/v1/seckill/activities/1", ""));
    let answer = detail(&mut world);
    assert_eq!(
        answer.body,
        r#"{"activity_id":"1","title":"Phone \"手机\"","sku_id":"1001","price_cents":100,"original_price_cents":900,"per_user_limit":1,"starts_at":"2027-01-15T08:00:00Z","ends_at":"2027-01-15T09:00:00Z","state":"open","stock_left_band":"plenty","requires_ticket":false}"#
    );
    assert_eq!(answer.header("cache-control"), "public, max-age=1");
    let again = format!("If-None-Match: \"x\", W/{}\r\n", answer.header("etag"));
    let same = world.ask(get("/api/v1/seckill/activities/1", &again));
    assert_eq!((same.status, same.body.as_str()), (304, ""));
    for buyer in 1..=10 {
        world.ask(buy(buyer, "a")).order();
    }
    let changed = world.ask(get("/api/v1/seckill/activities/1", &again));
    assert_eq!(
        (changed.json()["state"].as_str(), changed.json()["stock_left_band"].as_str()),
        (Some("sold_out"), Some("none"))
    );
    world.follow();
    assert_eq!(detail(&mut world), changed, "the journal says what the replies said");
    world.pass(HOUR_MS);
    assert_eq!(detail(&mut world).json()["state"], "ended");
}

#[test]
fn an_older_version_changes_nothing_and_lists_have_pages() {
    let mut world = World::new(10);
    let mut newer = activity(1, RULES);
    newer.version = 3;
    newer.title = "new".to_owned();
    world.control(Control::Activity(newer));
    world.control(Control::Activity(activity(1, RULES)));
    for id in 2..=5 {
        let mut rules = RULES;
        rules.starts_at_ms -= u64::try_from(id).unwrap();
        rules.ends_at_ms = if id == 4 { START_MS } else { rules.ends_at_ms };
        world.control(Control::Activity(activity(id, rules)));
    }
    let mut list = |query: &str| {
        let json = world.ask(get(&format!("/api/v1/seckill/activities{query}"), "")).json();
        let ids: Vec<_> = json["items"].as_array().unwrap().iter().map(|item| item["activity_id"].clone()).collect();
        (ids, json["next_cursor"].as_str().unwrap_or_default().to_owned(), json)
    };
    let (ids, cursor, json) = list("");
    assert_eq!((ids, cursor.as_str()), (vec!["5".into(), "3".into(), "2".into(), "1".into()], ""));
    assert_eq!(json["items"][3]["title"], "new");
    let (ids, cursor, _) = list("?limit=3");
    assert_eq!(ids.len(), 3);
    let (ids, cursor, _) = list(&format!("?limit=3&cursor={cursor}"));
    assert_eq!((ids, cursor.as_str()), (vec!["1".into()], ""));
    assert_eq!(list("?sku_id=1003").0, ["3"]);
    assert!(list("?sku_id=77").0.is_empty());
}

#[test]
fn trace_ids_are_the_clients_or_ours() {
    let mut world = World::new(10);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut ask = |value: &str| {
        let answer = world.ask(get("/nothing", &format!("traceparent: {value}\r\n")));
        answer.json()["trace_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(ask(&format!("00-{trace}-00f067aa0ba902b7-01")), trace);
    for bad in ["", "00-x", &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), &format!("01-{trace}-1-01")] {
        assert_ne!(ask(bad), trace);
    }
    assert_ne!(ask(""), ask(""));
}

#[test]
fn metrics_are_the_shells() {
    let mut world = World::new(10);
    let id = world.open();
    world.send(id, get("/metrics", "") + &get("/ping", ""));
    assert_eq!(world.receive(id).1, gateway_core::Next::Wait);
    assert_eq!(world.core.poll_metrics(), Some(id));
    world.core.handle_metrics(id, b"up 1\n", world.now);
    assert_eq!(world.core.poll_ready(), Some(id));
    let text = String::from_utf8(world.receive(id).0).unwrap();
    assert!(text.contains("\r\n\r\nup 1\nHTTP/1.1 200 OK\r\n"), "{text}");
}

/// They show how much of a sale is left, which its API does not.
#[test]
fn clients_of_other_hosts_see_no_metrics() {
    let mut world = World::with(10, RULES, |config| config.gate.trusted_proxies = "127.0.0.1".parse().unwrap());
    let answer = world.ask(get("/metrics", "X-Forwarded-For: 203.0.113.9\r\n"));
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    let id = world.open();
    world.send(id, get("/metrics", "X-Forwarded-For: 127.0.0.1\r\n"));
    assert_eq!(world.receive(id).1, gateway_core::Next::Wait, "a client of this host");
    assert_eq!(world.core.poll_metrics(), Some(id));
}
