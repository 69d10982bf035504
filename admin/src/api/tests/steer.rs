use contract::stock::Outcome;

use super::{pages::Browser, *};

#[tokio::test]
async fn a_sale_is_steered_while_it_runs() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let asks = |ticket: Option<bool>, captcha: Option<bool>| {
        let mut body = app.activity(&sku, 10, HOUR_MS);
        (body["requires_ticket"], body["captcha"]) = (json!(ticket), json!(captcha));
        body
    };
    for (ticket, captcha, expect) in [
        (None, None, (false, false)),
        (Some(true), None, (true, false)),
        (None, Some(true), (true, true)),
        (Some(true), Some(false), (true, false)),
    ] {
        let made = app.make("/activities", asks(ticket, captcha)).await;
        assert_eq!((&made["requires_ticket"], &made["captcha"]), (&json!(expect.0), &json!(expect.1)));
    }
    let refused = app.send("POST", "/activities", &[], &asks(Some(false), Some(true)).to_string()).await;
    assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY);

    let later = app.make("/activities", app.activity(&sku, 10, HOUR_MS)).await;
    let path = format!("/activities/{}", later["activity_id"].as_str().unwrap());
    assert_eq!(later["answer_after"], "script", "unless the admin says otherwise");
    let door = json!({ "captcha": true, "invited_only": true, "answer_after": "log" }).to_string();
    let (status, patched) = app.send("PATCH", &path, &[("if-match", "1")], &door).await;
    assert_eq!((status, &patched["captcha"], &patched["invited_only"]), (StatusCode::OK, &json!(true), &json!(true)));
    assert_eq!((&patched["answer_after"], app.get(&path).await.1), (&json!("log"), patched.clone()));
    let refused = app.send("PATCH", &path, &[("if-match", "2")], r#"{"answer_after":"never"}"#).await;
    assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY);
    let patched = app.send("PATCH", &path, &[("if-match", "2")], r#"{"title":"Other"}"#).await.1;
    assert_eq!(patched["answer_after"], "log", "what a change does not name stays");
    let patch = async |version: &str, body: &str| {
        let (status, sale) = app.send("PATCH", &path, &[("if-match", version)], body).await;
        (status.as_u16(), sale["pay_within_ms"].clone())
    };
    assert_eq!(patch("3", r#"{"pay_within_ms":60000}"#).await, (200, json!(60_000)));
    assert_eq!(patch("4", r#"{"stock":9}"#).await, (200, json!(60_000)), "what is absent stays");
    assert_eq!(patch("5", r#"{"pay_within_ms":null}"#).await, (200, Value::Null));
    for bad in ["99", "2592000001", "-1", "1.5", "\"60000\""] {
        assert_eq!(patch("6", &format!(r#"{{"pay_within_ms":{bad}}}"#)).await.0, 422, "{bad}");
    }
    let post = async |what: &str, body: &str| app.send("POST", &format!("{path}/{what}"), &[], body).await;
    assert_eq!(post("restock", r#"{"delta":1}"#).await.1["code"], "invalid_transition");

    let now = app.make("/activities", app.activity(&sku, 10, 0)).await;
    let (_, of) = app.get(&format!("/skus/{sku}")).await;
    let product = format!("/products/{}", of["product_id"].as_str().unwrap());
    app.send("POST", &format!("{product}/shelve"), &[], "").await;
    let (_, unshelved) = app.send("POST", &format!("{product}/unshelve"), &[], "").await;
    assert_eq!(unshelved["running_activities"], json!([now["activity_id"]]), "it goes on: {unshelved}");
    assert_eq!(unshelved["on_shelf"], false);
    let path = format!("/activities/{}", now["activity_id"].as_str().unwrap());
    let post = async |what: &str, body: &str| app.send("POST", &format!("{path}/{what}"), &[], body).await;
    assert_eq!(post("pause", "").await.1["paused"], true);
    assert_eq!(post("resume", "").await.1["paused"], false);
    let taken = post("restock", r#"{"delta":-4}"#).await;
    assert_eq!((taken.0, &taken.1["status"], &taken.1["available"]), (StatusCode::CREATED, &json!("done"), &json!(6)));
    let refused = post("restock", r#"{"delta":-7}"#).await;
    assert_eq!(
        (refused.0, &refused.1["code"], &refused.1["stock"]),
        (StatusCode::CONFLICT, &json!("insufficient_stock"), &json!(6))
    );
    for bad in ["{}", r#"{"delta":0}"#, r#"{"delta":1.5}"#, r#"{"delta":9223372036854775807}"#, r#"{"delta":"1"}"#] {
        assert_eq!(post("restock", bad).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    for (body, expect) in [
        (r#"{"entry":"blocked","user_ids":["7","8"]}"#, StatusCode::NO_CONTENT),
        (r#"{"entry":"friends","user_ids":["7"]}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"entry":"blocked","user_ids":[]}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"entry":"blocked","user_ids":[7]}"#, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let bearer = format!("Bearer {}", token("operator"));
        let headers = [("authorization", bearer.as_str())];
        assert_eq!(app.raw("POST", &format!("{path}/entry-rules"), &headers, body).await.status(), expect, "{body}");
    }
    let listed = app.get(&format!("{path}/entry-rules?entry=blocked&limit=1")).await.1;
    assert_eq!(listed, json!({ "items": [{ "user_id": "8" }], "next_cursor": "8" }));
    assert_eq!(post("end", "").await.1["ends_at"], rfc3339::format(app.clock.now_ms()));
    assert_eq!(post("pause", "").await.1["code"], "invalid_transition");
}

/// The journal is taken in late, so every end comes between the opening of a ledger and its mirror.
#[tokio::test]
async fn a_sale_that_is_ended_while_its_ledger_opens_loses_no_unit() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let mut sales = Vec::new();
    for round in 0..30 {
        let starts_in = if round % 2 == 0 { 0 } else { HOUR_MS };
        let made = app.make("/activities", app.activity(&sku, 2, starts_in)).await;
        let id = made["activity_id"].as_str().unwrap().to_owned();
        if starts_in > 0 {
            assert_eq!(app.send("POST", &format!("/activities/{id}/warm"), &[], "").await.0, StatusCode::OK);
            let patch = json!({ "stock": 1 }).to_string();
            let patched = app.send("PATCH", &format!("/activities/{id}"), &[("if-match", "1")], &patch).await;
            assert_eq!(patched.1["code"], "invalid_transition", "the ledger has the units");
        }
        let ended = app.send("POST", &format!("/activities/{id}/end"), &[], "").await;
        assert_eq!((ended.0, &ended.1["ends_at"]), (StatusCode::OK, &json!(rfc3339::format(app.clock.now_ms()))));
        sales.push(id);
    }
    for id in &sales {
        let asked = Reservation {
            order: OrderId::from_i64(id.parse::<i64>().unwrap() + 1_000_000).unwrap(),
            user: UserId::from_i64(1).unwrap(),
            request: None,
            quantity: 1,
        };
        assert_eq!(app.ledgers.reserve(id.parse().unwrap(), asked).await, Outcome::Ended);
    }
    app.catch_up().await;
    app.clock.advance(10_000);
    warm_once(&app).await;
    app.catch_up().await;
    assert_eq!(app.get(&format!("/skus/{sku}")).await.1["stock"], 100, "every unit came back, once");
    for id in &sales {
        let (status, audit) = app.get(&format!("/activities/{id}/audit")).await;
        assert_eq!((status, &audit["ok"], &audit["total"]), (StatusCode::OK, &json!(true), &json!(0)), "{audit}");
        let warm = app.send("POST", &format!("/activities/{id}/warm"), &[], "").await;
        assert_eq!((warm.0, &warm.1["total"]), (StatusCode::OK, &json!(0)), "it is not opened again");
    }
}

#[tokio::test]
async fn what_was_not_sold_is_the_skus_again() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let made = app.make("/activities", app.activity(&sku, 10, 0)).await;
    let id = made["activity_id"].as_str().unwrap().parse().unwrap();
    let asked = Reservation {
        order: OrderId::from_i64(1001).unwrap(),
        user: UserId::from_i64(1).unwrap(),
        request: None,
        quantity: 2,
    };
    app.ledgers.reserve(id, asked).await;
    app.catch_up().await;
    app.clock.advance(HOUR_MS + 10_000);
    warm_once(&app).await;
    app.catch_up().await;
    assert_eq!(app.get(&format!("/skus/{sku}")).await.1["stock"], 98);
    let counters = app.ledgers.counters(id).await.unwrap().unwrap();
    assert_eq!((counters.total, counters.available, counters.held), (2, 0, 2));
}

/// Gateways learn of a sale by the log; a draft is not on it, and its ledger stays closed.
#[tokio::test]
async fn a_draft_is_published_by_a_change() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let mut body = app.activity(&sku, 10, 0);
    (body["draft"], body["registered_before"]) = (json!(true), json!("2026-11-01T00:00:00.000Z"));
    let made = app.make("/activities", body).await;
    assert_eq!((&made["draft"], &made["ledger_open"]), (&json!(true), &json!(false)), "{made}");
    assert_eq!(made["registered_before"], "2026-11-01T00:00:00.000Z");
    let path = format!("/activities/{}", made["activity_id"].as_str().unwrap());
    let (status, refused) = app.send("POST", &format!("{path}/warm"), &[], "").await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("invalid_transition")), "{refused}");
    warm_once(&app).await;
    assert_eq!(app.get(&path).await.1["ledger_open"], false);
    let patch = async |version: &str, body: &str| app.send("PATCH", &path, &[("if-match", version)], body).await;
    let (status, changed) = patch("1", r#"{"stock":8,"registered_before":null}"#).await;
    assert_eq!(
        (status, &changed["draft"], &changed["registered_before"]),
        (StatusCode::OK, &json!(true), &Value::Null)
    );
    let past = rfc3339::format(app.clock.now_ms() - 1);
    let over = format!(r#"{{"draft":false,"starts_at":"{}","ends_at":"{past}"}}"#, rfc3339::format(START_MS - HOUR_MS));
    assert_eq!(patch("2", &over).await.0, StatusCode::UNPROCESSABLE_ENTITY, "it would be over at once");
    let (status, published) = patch("2", r#"{"draft":false}"#).await;
    assert_eq!((status, &published["draft"], &published["ledger_open"]), (StatusCode::OK, &json!(false), &json!(true)));
    let (_, logged) =
        app.get(&format!("/audit-log?subject=activity&subject_id={}", made["activity_id"].as_str().unwrap())).await;
    assert!(
        logged["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["before"]["draft"] == true && entry["after"]["draft"] == false),
        "{logged}"
    );
}

#[tokio::test]
async fn a_new_sale_answers_after_what_the_settings_say_unless_it_says_otherwise() {
    let app = TestApp::new().await.answering_after(AnswerAfter::Log);
    let sku = app.sku().await;
    for (asked, expect) in [(None, "log"), (Some("script"), "script"), (Some("log"), "log")] {
        let mut body = app.activity(&sku, 10, HOUR_MS);
        body["answer_after"] = json!(asked);
        assert_eq!(app.make("/activities", body).await["answer_after"], expect, "{asked:?}");
    }
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let form = browser.ask("GET", "/admin/sales/new", &[]).await.body;
    let select = form.split("name=\"answer_after\"").nth(1).unwrap().split("</select>").next().unwrap();
    let selected = select.split("<option").find(|option| option.contains("selected")).unwrap();
    assert!(selected.contains("value=\"log\""), "{select}");
}
