use commit_log::{Log as _, NewRecord};
use contract::record::DeadLetter;

use super::*;
use crate::reader::TopicReader;

/// A record that a worker gave up, on the log.
async fn bury(app: &TestApp, value: &[u8]) {
    let (topic, group, reason) = (topic::ORDER_EVENTS.to_owned(), "journal".to_owned(), "茶".to_owned());
    let letter = DeadLetter { topic, partition: 1, offset: 9, group, reason, value: value.to_vec() };
    let record = NewRecord { topic: topic::DEAD_LETTERS.into(), key: b"key".to_vec(), value: letter.to_bytes() };
    app.log.append(vec![record]).await.unwrap();
}

#[tokio::test]
async fn dead_letters_are_listed_replayed_and_dropped() {
    let app = TestApp::new().await;
    for value in [[1_u8, 2], [3, 4], [5, 6]] {
        bury(&app, &value).await;
    }
    TopicReader::follow(&app.log, app.letters.clone()).await.unwrap().step().await.unwrap();
    let (_, page) = app.get("/dead-letters?limit=2").await;
    let ids: Vec<_> = page["items"].as_array().unwrap().iter().map(|item| item["dead_letter_id"].clone()).collect();
    assert_eq!((ids.len(), &page["items"][0]["start"]), (2, &json!("0506")), "{page}");
    let (_, rest) = app.get(&format!("/dead-letters?limit=2&cursor={}", page["next_cursor"].as_str().unwrap())).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));

    let path = format!("/dead-letters/{}", ids[0].as_str().unwrap());
    for _ in 0..2 {
        let (status, replayed) = app.send("POST", &format!("{path}/replay"), &[], "").await;
        assert_eq!((status, &replayed["decision"]), (StatusCode::OK, &json!("replayed")));
    }
    let sent = app.store.outbox(100).await.unwrap();
    let sent: Vec<_> = sent.iter().filter(|row| row.topic == topic::ORDER_EVENTS).collect();
    assert_eq!(sent.len(), 1, "it is sent once");
    assert_eq!((&*sent[0].key, &*sent[0].value), (&b"key"[..], &[5_u8, 6][..]));
    let drop = async |path: &str, body: &str| app.send("POST", &format!("{path}/drop"), &[], body).await;
    assert_eq!(drop(&path, r#"{"reason":"late"}"#).await.0, StatusCode::CONFLICT);

    let other = format!("/dead-letters/{}", ids[1].as_str().unwrap());
    assert_eq!(drop(&other, r#"{"reason":" "}"#).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let (_, dropped) = drop(&other, r#"{"reason":"茶"}"#).await;
    assert_eq!((&dropped["decision"], &dropped["decision_reason"]), (&json!("dropped"), &json!("茶")));
    assert_eq!(app.get(&other).await.1["decision"], "dropped");
    assert_eq!(app.get("/dead-letters/77").await.0, StatusCode::NOT_FOUND);
    let (_, log) = app.get("/audit-log?subject=dead_letter").await;
    let actions: Vec<_> =
        log["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["drop_letter", "replay_letter"]);
}
