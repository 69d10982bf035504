//! The spans of requests, which a process exports to one collector.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use axum::{Router, body::Body, http::Request, routing::get};
use foundation::{
    config,
    metrics::Registry,
    spans::{self, SpanKind},
};
use services::Jaeger;
use tower::ServiceExt as _;
use web::{Problem, count_requests, harden};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const NOT_RECORDED: &str = "4bf92f3577b34da6a3ce929d0e0e4737";

async fn fails() -> Problem {
    let _write = spans::child("write an item", SpanKind::Client);
    Problem::internal(&"planted")
}

fn settings(jaeger: &Jaeger) -> config::Config {
    let env = [
        ("MALL_TRACING__OTLP_URL", format!("http://127.0.0.1:{}", jaeger.otlp_port())),
        ("MALL_TRACING__SAMPLED_PER_MILLION", "1000000".to_owned()),
    ];
    config::load(None, env.into_iter().map(|(name, value)| (name.to_owned(), value))).unwrap()
}

/// The trace id of the problem that answers a request with this `traceparent`.
async fn answer(router: &Router, traceparent: Option<&str>) -> String {
    let mut request = Request::get("/items/7");
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    serde_json::from_slice::<serde_json::Value>(&body).unwrap()["trace_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_request_and_its_writes_are_one_trace() {
    let Some(jaeger) = Jaeger::start() else { return };
    let (config, metrics) = (settings(&jaeger), Registry::default());
    let exporter = spans::otlp::start(config.tracing.as_ref().unwrap(), &metrics).unwrap();
    let router = Router::new().route("/items/{id}", get(fails));
    let router = harden(count_requests(router, &metrics, "shop"), &config.order_core);

    assert_eq!(answer(&router, Some(&format!("00-{TRACE_ID}-00f067aa0ba902b7-01"))).await, TRACE_ID);
    assert_eq!(answer(&router, Some(&format!("00-{NOT_RECORDED}-00f067aa0ba902b7-00"))).await, NOT_RECORDED);
    let malformed = answer(&router, Some("00-nonsense")).await;
    let own = answer(&router, None).await;
    assert!(malformed != own && own != TRACE_ID, "{malformed} {own}");
    tokio::task::spawn_blocking(move || drop(exporter)).await.unwrap();

    for (trace_id, parent) in [(TRACE_ID, "00f067aa0ba902b7"), (NOT_RECORDED, ""), (&*malformed, ""), (&*own, "")] {
        let spans = jaeger.trace(trace_id, 2);
        let [request, write] = &spans[..] else { panic!("two spans, not {spans:?}") };
        assert_eq!((&*request.service, &*request.name, request.is_error), ("shop", "GET /items/{id}", true));
        assert_eq!(request.parent, parent);
        assert_eq!((&*write.service, &*write.name, &write.parent), ("shop", "write an item", &request.id));
    }
    let count = |what: &str| metrics.counter(&format!("mall_spans_{what}_total"), "").get();
    assert_eq!((count("exported"), count("dropped")), (8, 0));
}
