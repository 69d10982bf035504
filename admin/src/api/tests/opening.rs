//! A ledger that was open and is lost is not opened again with units that are sold.

use contract::ActivityId;

use super::*;

async fn warm(app: &TestApp, activity: ActivityId) -> (StatusCode, Value) {
    app.send("POST", &format!("/activities/{activity}/warm"), &[], "").await
}

/// A sale of ten whose ledger is open, with one unit held.
async fn open_sale(app: &TestApp) -> ActivityId {
    let sku = app.sku().await;
    let made = app.make("/activities", app.activity(&sku, 10, 0)).await;
    let activity = made["activity_id"].as_str().unwrap().parse().unwrap();
    let (order, user) = (OrderId::from_i64(1001).unwrap(), UserId::from_i64(7).unwrap());
    app.ledgers.reserve(activity, Reservation { order, user, request: None, quantity: 1 }).await;
    activity
}

#[tokio::test]
async fn what_journal_or_database_know_is_not_opened_anew() {
    for knows_it in ["the journal", "the database"] {
        let app = TestApp::new().await;
        let activity = open_sale(&app).await;
        if knows_it == "the journal" {
            Follower::follow(&app.log, app.book.clone()).await.unwrap().step().await.unwrap();
        } else {
            app.store.take_in(&domain::Line::in_order(&app.log.journal()), app.clock.now_ms()).await.unwrap();
        }
        let (status, counters) = warm(&app, activity).await;
        assert_eq!((status, &counters["available"]), (StatusCode::OK, &json!(9)));
        let lost = app.ledgers.lose(activity);
        assert_eq!(warm(&app, activity).await.0, StatusCode::SERVICE_UNAVAILABLE, "{knows_it}");
        assert_eq!(app.ledgers.counters(activity).await, Ok(None), "{knows_it}");
        app.ledgers.find(lost);
        assert_eq!(warm(&app, activity).await.1["available"], 9);
    }
}

#[tokio::test]
async fn nothing_is_opened_before_the_journal_is_read() {
    let app = TestApp::new().await;
    let activity = open_sale(&app).await;
    app.ledgers.lose(activity);
    let mut follower = Follower::follow(&app.log, app.book.clone()).await.unwrap();
    let sku = app.sku().await;
    let later = app.make("/activities", app.activity(&sku, 10, HOUR_MS)).await;
    let later = later["activity_id"].as_str().unwrap().parse().unwrap();
    for activity in [activity, later] {
        assert_eq!(warm(&app, activity).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    follower.step().await.unwrap();
    assert_eq!(warm(&app, activity).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(warm(&app, later).await.0, StatusCode::OK);
}

/// The last record of the journal may have expired: nobody would ever read to its end.
#[tokio::test]
async fn a_journal_that_can_not_be_read_to_its_end_holds_nothing_up_for_long() {
    let app = TestApp::new().await;
    open_sale(&app).await;
    let sku = app.sku().await;
    let later = app.make("/activities", app.activity(&sku, 10, HOUR_MS)).await;
    let later = later["activity_id"].as_str().unwrap().parse().unwrap();
    let _unread = Follower::follow(&app.log, app.book.clone()).await.unwrap();
    assert_eq!(warm(&app, later).await.0, StatusCode::SERVICE_UNAVAILABLE);
    app.clock.advance(60_000);
    assert_eq!(warm(&app, later).await.0, StatusCode::OK);
}
