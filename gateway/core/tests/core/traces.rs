//! Spans of reservations and of their batches.

use contract::{stock::Term, trace::TraceContext};
use gateway_core::{CoreSpan, Spanned, Unavailable};

use crate::world::{RULES, World, post};

const TRACE_ID: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

fn world(traced_per_million: Option<u32>) -> World {
    World::with(9, RULES, |config| config.traced_per_million = traced_per_million)
}

/// One unit for the user, with this `traceparent`.
fn buy(user: i64, traceparent: &str) -> String {
    post(user, &format!("traceparent: {traceparent}\r\n"), r#"{"activity_id":"1","quantity":1}"#)
}

fn traceparent(span_id: u64, is_sampled: bool) -> String {
    TraceContext::new(TRACE_ID, span_id, is_sampled).unwrap().to_string()
}

fn spans(world: &mut World) -> Vec<CoreSpan> {
    std::iter::from_fn(|| world.core.poll_span()).collect()
}

#[test]
fn a_batch_is_a_child_of_its_first_sampled_request_and_links_the_others() {
    let mut world = world(Some(0));
    for (user, is_sampled) in [(1, false), (2, true), (3, true)] {
        let id = world.open();
        world.send(id, buy(user, &traceparent(user.unsigned_abs(), is_sampled)));
    }
    let batch = world.core.poll_batch().unwrap();
    assert_eq!(batch.reservations.len(), 3);
    let reply = world.decide(&batch);
    world.core.handle_reply(batch.id, Ok(reply), world.now);
    let found = spans(&mut world);
    let [of_batch, first, second] = &found[..] else { panic!("three spans, not {found:?}") };
    assert_eq!((of_batch.of, Some(of_batch.context)), (Spanned::Batch, batch.trace));
    assert_eq!((of_batch.parent, &of_batch.links), (Some(first.context.span_id()), &vec![second.context]));
    for (span, sender, asked) in [(first, 2, &batch.reservations[1]), (second, 3, &batch.reservations[2])] {
        assert_eq!((span.of, span.parent, span.outcome), (Spanned::Request(asked.order), Some(sender), "held"));
        assert!(span.context.trace_id() == TRACE_ID && span.context.is_sampled());
    }
}

#[test]
fn a_malformed_traceparent_starts_a_new_trace() {
    let mut world = world(Some(1_000_000));
    assert_eq!(world.ask(buy(1, "00-nonsense-01")).status, 202);
    let found = spans(&mut world);
    let [batch, request] = &found[..] else { panic!("two spans, not {found:?}") };
    assert!(request.parent.is_none() && request.context.trace_id() != TRACE_ID, "{request:?}");
    assert_eq!(batch.context.trace_id(), request.context.trace_id());
}

#[test]
fn what_is_not_sampled_has_no_span() {
    for rate in [None, Some(0)] {
        let mut world = world(rate);
        let id = world.open();
        world.send(id, buy(1, &traceparent(1, rate.is_none())));
        let batch = world.core.poll_batch().unwrap();
        assert_eq!((batch.trace, batch.term), (None, Term::FIRST));
        world.core.handle_reply(batch.id, Err(Unavailable::Unknown), world.now);
        assert_eq!(spans(&mut world), []);
    }
}

/// A client that leaves before its batch is sent gets no answer, and its span still ends.
#[test]
fn an_abandoned_request_ends() {
    let mut world = world(Some(0));
    let id = world.open();
    world.send(id, buy(1, &traceparent(1, true)));
    world.core.close(id);
    assert!(world.core.poll_batch().is_none());
    world.pass(30_000);
    assert_eq!(spans(&mut world), []);
    world.pass(31_000);
    let found = spans(&mut world);
    assert!(matches!(&found[..], [CoreSpan { outcome: "abandoned", .. }]), "{found:?}");
}
