use commit_log::{Log as _, NewRecord, ProcessReporter};
use contract::record::{ProcessReport, ProcessRole, Refusals};

use super::*;
use crate::reader::TopicReader;

#[tokio::test]
async fn the_newest_report_of_each_process_is_listed() {
    let app = TestApp::new().await;
    let mut numbers = Vec::new();
    for (role, answers) in [(ProcessRole::Gateway, 2), (ProcessRole::OrderCore, 1)] {
        let report = foundation::process::describe(role, vec![7], START_MS).unwrap();
        numbers.push(report.process);
        let fill = move |report: &mut ProcessReport| {
            (report.answers, report.accepted) = (report.answers + answers, 1);
            report.refusals = vec![Refusals { reason: "sold_out".to_owned(), count: 4 }];
            (report.latency.counts[0], report.latency.sum_us) = (3, 900);
        };
        let mut reporter = ProcessReporter::new(app.log.clone(), report, fill);
        reporter.step(START_MS + 1_000).await.unwrap();
        reporter.step(START_MS + 2_000).await.unwrap();
    }
    let unreadable = NewRecord { topic: topic::PROCESSES.into(), key: vec![1], value: vec![9, 9] };
    app.log.append(vec![unreadable]).await.unwrap();
    TopicReader::follow(&app.log, app.processes.clone()).await.unwrap().step().await.unwrap();

    let (status, page) = app.get("/processes").await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{page}");
    let gateway = items.iter().find(|item| item["process_id"].as_str() == Some(&*numbers[0].to_string())).unwrap();
    assert_eq!(
        (&gateway["role"], &gateway["answers"], &gateway["accepted"]),
        (&json!("gateway"), &json!(4), &json!(1))
    );
    assert_eq!((&gateway["worker_ids"], &gateway["refusals"]), (&json!([7]), &json!({ "sold_out": 4 })));
    assert_eq!(gateway["reported_at"], rfc3339::format(START_MS + 2_000));
    assert_eq!((&gateway["latency"]["count"], &gateway["latency"]["p50_us"]), (&json!(3), &json!(500)));
    assert_eq!(gateway["latency"]["buckets"].as_array().unwrap().len(), 15);
    assert_eq!(gateway["latency"]["buckets"][14]["at_most_us"], Value::Null);
    assert_eq!(gateway["is_alive"], true);

    let (_, first) = app.get("/processes?limit=1").await;
    let (_, second) = app.get(&format!("/processes?limit=1&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!((first["items"].as_array().unwrap().len(), &second["next_cursor"]), (1, &Value::Null));
    assert_ne!(first["items"][0]["process_id"], second["items"][0]["process_id"]);
    app.clock.advance(HOUR_MS);
    assert_eq!(app.get("/processes").await.1["items"][0]["is_alive"], false);
}
