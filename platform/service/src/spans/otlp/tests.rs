use std::{borrow::Cow, net::TcpListener};

use contract::trace::TraceContext;

use super::{super::SpanKind, *};
use crate::config::Secret;

fn config(port: u16) -> TracingConfig {
    TracingConfig { otlp_url: Secret::new(format!("http://127.0.0.1:{port}")), sampled_per_million: 1_000_000 }
}

fn span() -> Span {
    Span {
        service: "shop".into(),
        name: Cow::Borrowed("GET /items/{id}"),
        kind: SpanKind::Server,
        context: TraceContext::new(0xabc, 0xdef, true).unwrap(),
        parent: None,
        began_ns: 1,
        ended_ns: 2,
        attributes: vec![("http.response.status_code", 500_i64.into())],
        links: vec![TraceContext::new(1, 2, true).unwrap()],
        is_error: true,
    }
}

fn count(metrics: &Registry, what: &str) -> u64 {
    metrics.counter(&format!("mall_spans_{what}_total"), "").get()
}

#[test]
fn a_span_as_json() {
    let body = request(&[span()]);
    let service = &body["resourceSpans"][0];
    assert_eq!(service["resource"]["attributes"][0]["value"]["stringValue"], "shop");
    let expect = json!({
        "traceId": "00000000000000000000000000000abc",
        "spanId": "0000000000000def",
        "parentSpanId": "",
        "name": "GET /items/{id}",
        "kind": 2,
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "2",
        "attributes": [{ "key": "http.response.status_code", "value": { "intValue": "500" } }],
        "links": [{ "traceId": "00000000000000000000000000000001", "spanId": "0000000000000002" }],
        "status": { "code": 2 },
    });
    assert_eq!(service["scopeSpans"][0]["spans"], json!([expect]));
}

/// A queue with a limit, dropped spans that are counted, and an end within its limit, although the collector accepts the
/// connection and never answers.
#[test]
fn a_silent_collector_stops_nobody() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = Registry::default();
    let (sink, exporter) = open(&config(silent.local_addr().unwrap().port()), &metrics).unwrap();
    let more = 100;
    let begun = Instant::now();
    for _ in 0..QUEUE_MAX + BATCH_MAX + more {
        sink.export(span());
    }
    assert!(begun.elapsed() < ANSWER_MAX, "export waited for the collector");
    assert!(count(&metrics, "dropped") >= u64::try_from(more).unwrap(), "{}", count(&metrics, "dropped"));
    let begun = Instant::now();
    drop(exporter);
    assert!(begun.elapsed() < FLUSH_MAX * 4, "{:?}", begun.elapsed());
    assert_eq!(count(&metrics, "exported"), 0);
}

#[test]
fn spans_that_the_collector_never_took_are_counted() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let metrics = Registry::default();
    let (sink, exporter) = open(&config(closed), &metrics).unwrap();
    let spans = 3 * BATCH_MAX;
    for _ in 0..spans {
        sink.export(span());
    }
    drop(exporter);
    assert_eq!((count(&metrics, "exported"), count(&metrics, "dropped")), (0, u64::try_from(spans).unwrap()));
}

#[test]
fn what_is_queued_when_the_process_ends_is_sent() {
    let Some(jaeger) = services::Jaeger::start() else { return };
    let metrics = Registry::default();
    let (sink, exporter) = open(&config(jaeger.otlp_port()), &metrics).unwrap();
    sink.export(span());
    drop(exporter);
    assert_eq!((count(&metrics, "exported"), count(&metrics, "dropped")), (1, 0));
    let trace = jaeger.trace("00000000000000000000000000000abc", 1);
    assert_eq!(trace[0].name, "GET /items/{id}");
    assert_eq!((trace[0].service.as_str(), trace[0].is_error), ("shop", true));
}
