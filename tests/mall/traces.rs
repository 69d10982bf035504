//! One trace from the request to the order's row, as a real Jaeger shows it.

use serde_json::{Value, json};
use services::{Jaeger, TracedSpan};

use crate::process::{Mall, Shop, agent, now_ms, token, until};

/// The span of the client, which records it.
const CLIENT: &str = "00f067aa0ba902b7";
/// The spans of an order in the order of cause and effect, each the child of the one before it.
const EMBEDDED: [&str; 5] = ["reserve", "ledger batch", "log append", "journal", "take_in"];
/// The same where the ledger is in Redis.
#[cfg(feature = "kafka")]
pub(crate) const FULL: [&str; 6] = ["reserve", "ledger batch", "relay", "log append", "journal", "take_in"];

/// Settings that export all spans that a client records, and no others.
pub(crate) fn settings(jaeger: &Jaeger) -> [(&'static str, String); 3] {
    [
        ("MALL_TRACING__OTLP_URL", format!("http://127.0.0.1:{}", jaeger.otlp_port())),
        ("MALL_TRACING__SAMPLED_PER_MILLION", "0".to_owned()),
        ("MALL_TRACING__ALLOW_PLAINTEXT", "true".to_owned()),
    ]
}

fn buy(shop: &Shop, activity: &str, user: i64, traceparent: &str) -> (u16, Value) {
    let request = agent()
        .post(format!("{}/api/v1/seckill/orders", shop.gateway))
        .header("authorization", format!("Bearer {}", token(user)))
        .header("idempotency-key", format!("trace-{user}"))
        .header("traceparent", traceparent);
    let mut response = request.send_json(json!({ "activity_id": activity, "quantity": 1 })).unwrap();
    (response.status().as_u16(), response.body_mut().read_json().unwrap())
}

/// Buys in a trace, and checks that `names` are its spans, each the child of the one before it.
pub(crate) fn an_order_is_one_trace(shop: &Shop, jaeger: &Jaeger, names: &[&str]) {
    let activity = shop.sale(10);
    let trace_id = format!("{:032x}", u128::from(now_ms()) << 64 | 0x4736);
    until("the sale takes orders", || {
        // A refusal has a trace of its own: the sampled flag is not set.
        let (status, _) = buy(shop, &activity, 1, &format!("00-{:032x}-{CLIENT}-00", 1));
        status == 202
    });
    let (status, answer) = buy(shop, &activity, 2, &format!("00-{trace_id}-{CLIENT}-01"));
    assert_eq!(status, 202, "{answer}");
    let order = answer["order_id"].as_str().unwrap();
    until("the order is in the database", || shop.order(order, 2).0 == 200);
    let spans = jaeger.trace(&trace_id, names.len());
    let mut parent = CLIENT;
    for name in names {
        let child = |span: &&TracedSpan| span.name == *name && span.parent == parent;
        let Some(span) = spans.iter().find(child) else { panic!("no {name} below {parent}: {spans:#?}") };
        assert!(!span.is_error, "{span:?}");
        parent = &span.id;
    }

    let (status, problem) = buy(shop, "999", 2, "00-nonsense-01");
    assert_eq!(status, 404, "{problem}");
    let drawn = problem["trace_id"].as_str().unwrap();
    assert!(drawn.len() == 32 && drawn != trace_id, "{problem}");
}

#[test]
fn an_order_of_the_embedded_profile_is_one_trace() {
    let Some(jaeger) = Jaeger::start() else { return };
    let data = tempfile::tempdir().unwrap();
    let settings = settings(&jaeger);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mall = Mall::start(data.path(), &settings);
    an_order_is_one_trace(&mall, &jaeger, &EMBEDDED);
}
