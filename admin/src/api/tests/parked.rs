use contract::{ActivityId, stock::Event};

use super::*;

#[tokio::test]
async fn parked_sales_are_listed_retried_and_dropped() {
    let app = TestApp::new().await;
    assert_eq!(app.get("/parked").await, (StatusCode::OK, json!({ "items": [], "next_cursor": null })));
    let event = Event::Released { order: OrderId::from_i64(1).unwrap(), quantity: 1 };
    for number in 1..=3 {
        let activity = ActivityId::from_i64(number).unwrap();
        let entry =
            contract::stock::Entry { activity, term: contract::stock::Term::FIRST, epoch: 1, seq: 9, at_ms: 1, event };
        app.store
            .park(activity, "a gap", &domain::Line::in_order(&[entry]), (START_MS, START_MS + 10_000))
            .await
            .unwrap();
    }
    let parked = |number: u64| {
        json!({
            "activity_id": number.to_string(), "reason": "a gap", "since": rfc3339::format(START_MS), "tries": 0,
            "next_try_at": rfc3339::format(START_MS + 10_000), "entries": 1, "dropped_reason": null,
        })
    };
    let (_, page) = app.get("/parked?limit=2").await;
    assert_eq!(page, json!({ "items": [parked(3), parked(2)], "next_cursor": "2" }));
    let (_, page) = app.get("/parked?limit=2&cursor=2").await;
    assert_eq!(page, json!({ "items": [parked(1)], "next_cursor": null }));

    let mut dropped = parked(2);
    dropped["dropped_reason"] = json!("茶");
    let answer = app.send("POST", "/parked/2/drop", &[], r#"{"reason":"茶"}"#).await;
    assert_eq!(answer, (StatusCode::OK, dropped));
    let mut retried = parked(2);
    retried["next_try_at"] = json!(rfc3339::format(START_MS));
    assert_eq!(app.send("POST", "/parked/2/retry", &[], "").await, (StatusCode::OK, retried));

    for (path, body, status) in [
        ("/parked/4/retry", "", StatusCode::NOT_FOUND),
        ("/parked/4/drop", r#"{"reason":"none"}"#, StatusCode::NOT_FOUND),
        ("/parked/2/drop", r#"{"reason":" "}"#, StatusCode::UNPROCESSABLE_ENTITY),
        ("/parked/2/drop", "{}", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(app.send("POST", path, &[], body).await.0, status, "{path} {body}");
    }
}
