//! Boards while a side of the sale does not answer, and at the stop of the process.

use std::time::Duration;

use crate::actions::boards::{HISTORY_MAX, Tick, watch};

use super::{
    pages::{Browser, location},
    *,
};

/// How long a stream may take to end in real time: ten times what it should on a loaded machine.
const END_MAX: Duration = Duration::from_secs(10);

/// The id of a sale whose ledger is open.
async fn open_sale(app: &TestApp) -> String {
    let sku = app.sku().await;
    let sale = app.make("/activities", app.activity(&sku, 5, 0)).await;
    let id = sale["activity_id"].as_str().unwrap().to_owned();
    app.catch_up().await;
    let warmed = app.send("POST", &format!("/activities/{id}/warm"), &[], "").await;
    assert_eq!(warmed.0, StatusCode::OK, "{}", warmed.1);
    app.catch_up().await;
    id
}

#[tokio::test]
async fn a_failed_look_counts_for_all_viewers_until_the_next_tick() {
    let app = TestApp::new().await;
    let id = open_sale(&app).await;
    app.ledgers.set_away(true);
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let path = format!("/admin/sales/{id}");
    let before = app.ledgers.reads();
    for _ in 0..5 {
        assert_eq!(browser.ask("GET", &path, &[]).await.status, StatusCode::OK, "the buttons are there");
    }
    assert_eq!(app.ledgers.reads() - before, 1, "one look for five viewers");
    app.clock.advance(1_000);
    browser.ask("GET", &path, &[]).await;
    assert_eq!(app.ledgers.reads() - before, 2, "and another one a second later");
    app.ledgers.set_away(false);
    app.clock.advance(1_000);
    let page = browser.ask("GET", &path, &[]).await.body;
    assert!(page.contains(r#"data-light="green""#), "{page}");
}

#[tokio::test]
async fn a_public_audit_stays_a_public_page_while_a_side_does_not_answer() {
    let app = TestApp::new().await;
    let id = open_sale(&app).await;
    let mut browser = Browser::new(&app);
    assert_eq!(location(&browser.sign_in("admin", PASSWORD).await), "/admin/");
    let form = [("csrf", &*browser.csrf().await), ("on", "on")];
    browser.ask("POST", &format!("/admin/sales/{id}/publish"), &form).await;
    let stranger = Browser::new(&app);
    let path = format!("/audit/{id}");
    assert_eq!(stranger.ask("GET", &path, &[]).await.status, StatusCode::OK);
    app.ledgers.set_away(true);
    app.clock.advance(1_000);
    for side in ["the ledger", "the database"] {
        let page = stranger.ask("GET", &path, &[]).await;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{side}");
        assert!(page.body.contains(r#"http-equiv="refresh""#), "the browser tries again: {}", page.body);
        assert!(!page.body.contains("\"/admin"), "a stranger can reach nothing there: {}", page.body);
        app.store.close().await;
        app.clock.advance(1_000);
    }
}

#[tokio::test]
async fn a_stream_passes_proxies_and_ends_with_the_process() {
    let app = TestApp::new().await;
    let id = open_sale(&app).await;
    let bearer = format!("Bearer {}", token("viewer"));
    let response = app.raw("GET", &format!("/activities/{id}/live"), &[("authorization", &bearer)], "").await;
    assert_eq!(response.headers()["x-accel-buffering"], "no", "nginx would hold ticks back");
    let body = tokio::spawn(to_bytes(response.into_body(), 1 << 20));
    app.stop.cancel();
    let body = tokio::time::timeout(END_MAX, body).await.expect("the stream ends").unwrap().unwrap();
    assert!(body.starts_with(b"event: ticks"), "{body:?}");
}

#[tokio::test]
async fn a_parked_sale_that_was_given_up_needs_nobody() {
    let app = TestApp::new().await;
    let event = contract::stock::Event::Released { order: OrderId::from_i64(1).unwrap(), quantity: 1 };
    let activity = contract::ActivityId::from_i64(1).unwrap();
    let term = contract::stock::Term::FIRST;
    let entry = contract::stock::Entry { activity, term, epoch: 1, seq: 9, at_ms: 1, event };
    let lines = domain::Line::in_order(&[entry]);
    app.store.park(activity, "a gap", &lines, (START_MS, START_MS + 10_000)).await.unwrap();
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let is_bad = async || browser.ask("GET", "/admin/", &[]).await.body.contains(r#"<li class="bad">"#);
    assert!(is_bad().await);
    let answer = app.send("POST", "/parked/1/drop", &[], r#"{"reason":"test data"}"#).await;
    assert_eq!(answer.0, StatusCode::OK);
    assert!(!is_bad().await);
}

#[tokio::test]
async fn a_board_that_is_watched_for_hours_does_not_grow() {
    let app = TestApp::new().await;
    let id = open_sale(&app).await.parse().unwrap();
    let mut sizes = Vec::new();
    for second in 0..2 * HISTORY_MAX {
        app.clock.advance(1_000);
        let ticks = watch(&app.api, id).await.unwrap();
        assert_eq!(ticks.len(), HISTORY_MAX.min(second + 1));
        if second % 500 == 499 {
            sizes.push(
                serde_json::to_string(&ticks.iter().map(|tick| Tick::clone(tick)).collect::<Vec<_>>()).unwrap().len(),
            );
        }
    }
    let [at_500, at_1000] = sizes[..] else { panic!("{sizes:?}") };
    assert!(at_1000 <= at_500 * HISTORY_MAX / 500, "{sizes:?}");
}
