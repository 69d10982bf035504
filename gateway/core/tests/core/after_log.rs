//! Sales that answer a yes only once the core has read it on the journal.

use std::{sync::Arc, time::Duration};

use contract::{
    activity::{Admission, AnswerAfter},
    stock::{BatchReply, Entry, Event, Term},
};
use gateway_core::{ConnId, Control, Next};

use crate::world::{Answer, RULES, World, activity, buy, get_as};

fn world(stock: u64) -> World {
    let mut world = World::new(stock);
    let admission = Admission { answer_after: AnswerAfter::Log, ..Admission::default() };
    world.control(Control::Activity(contract::Activity { version: 2, admission, ..activity(1, RULES) }));
    world
}

/// Sends the request and has the ledger reply; the journal is not read.
fn ask(world: &mut World, user: i64) -> (ConnId, BatchReply) {
    let id = world.open();
    world.send(id, buy(user, "a"));
    let batch = world.core.poll_batch().unwrap();
    let reply = world.decide(&batch);
    let now = world.now;
    world.core.handle_reply(batch.id, Ok(reply.clone()), now);
    (id, reply)
}

fn heard(world: &mut World, id: ConnId) -> Option<Answer> {
    let (bytes, next) = world.receive(id);
    if bytes.is_empty() {
        assert_eq!(next, Next::Wait);
        return None;
    }
    Some(Answer::read(&bytes, next))
}

fn mark(world: &mut World, event: Event) {
    let counters = world.ledger.counters();
    let seq = if matches!(event, Event::TermStarted { .. }) { 0 } else { counters.seq };
    let (activity, term, epoch) = (world.ledger.activity(), counters.term, counters.epoch);
    world.control(Control::Entries(Arc::from([Entry { activity, term, epoch, seq, at_ms: 0, event }])));
}

#[test]
fn a_yes_is_answered_once_the_journal_was_read() {
    let mut world = world(2);
    let (first, _) = ask(&mut world, 1);
    let (second, _) = ask(&mut world, 2);
    assert!(heard(&mut world, first).is_none() && heard(&mut world, second).is_none());
    assert_eq!(world.core.waiting(), 2, "they still count against the limit of reservations that wait");
    let later = world.journal.split_off(1);
    world.follow();
    assert_eq!(world.core.poll_ready(), Some(first));
    let order = heard(&mut world, first).unwrap().order();
    assert!(heard(&mut world, second).is_none(), "its entry was not read");
    world.journal = later;
    world.follow();
    heard(&mut world, second).unwrap().order();
    assert_eq!(world.core.waiting(), 0);
    let shown = world.ask(get_as(1, &format!("/api/v1/seckill/orders/{order}")));
    assert_eq!(shown.json()["status"], "queued");
    // A refusal promises nothing and does not wait. A repeat of what was read does not wait either.
    let (third, _) = ask(&mut world, 3);
    assert_eq!(heard(&mut world, third).unwrap().code(), "sold_out");
    let (again, _) = ask(&mut world, 1);
    assert_eq!(heard(&mut world, again).unwrap().order(), order);
}

#[test]
fn a_yes_that_was_read_before_its_reply_is_answered_at_once() {
    let mut world = world(1);
    let id = world.open();
    world.send(id, buy(1, "a"));
    let batch = world.core.poll_batch().unwrap();
    let reply = world.decide(&batch);
    world.follow();
    let now = world.now;
    world.core.handle_reply(batch.id, Ok(reply), now);
    heard(&mut world, id).unwrap().order();
}

/// The order is on the journal, but in a term that does not count it; a number alone would have taken another entry for it.
#[test]
fn an_entry_of_the_same_number_in_another_term_is_no_yes() {
    let mut world = world(5);
    let (lost, _) = ask(&mut world, 1);
    // Redis lost the order. A new term starts, in which another buyer gets its number.
    let opened = contract::stock::Ledger::open(world.ledger.activity(), 5, RULES, 0).0;
    world.ledger = opened;
    world.journal.clear();
    world.ledger.start_term(Term(4));
    mark(&mut world, Event::TermStarted { nonce: 1 });
    assert_eq!(world.core.poll_ready(), Some(lost));
    assert_eq!(heard(&mut world, lost).unwrap().code(), "frozen");
    let counts = world.ledger.term_counts();
    mark(&mut world, Event::TermOpened(counts));
    let (other, _) = ask(&mut world, 2);
    world.follow();
    heard(&mut world, other).unwrap().order();
}

/// The ledger and the journal contradict each other, which must never be answered as a yes.
#[test]
fn another_order_under_the_number_of_a_yes_is_no_yes() {
    let mut world = world(5);
    let (id, _) = ask(&mut world, 1);
    for entry in &mut world.journal {
        if let Event::Held(reservation) = &mut entry.event {
            reservation.order = contract::OrderId::from_i64(9).unwrap();
        }
    }
    world.follow();
    assert_eq!(heard(&mut world, id).unwrap().code(), "unavailable");
}

#[test]
fn a_repeat_of_an_order_that_was_forgotten_waits_for_the_number() {
    let mut world = World::with(5, RULES, |config| config.board.orders_max = 1);
    let first = world.ask(buy(1, "a")).order();
    world.ask(buy(2, "a")).order();
    world.follow();
    let admission = Admission { answer_after: AnswerAfter::Log, ..Admission::default() };
    world.control(Control::Activity(contract::Activity { version: 2, admission, ..activity(1, RULES) }));
    let (again, _) = ask(&mut world, 1);
    assert_eq!(heard(&mut world, again).unwrap().order(), first);
}

#[test]
fn who_waits_too_long_gets_503_and_keeps_no_place() {
    let mut world = world(5);
    let (id, _) = ask(&mut world, 1);
    world.pass(2_001);
    assert_eq!(heard(&mut world, id).unwrap().code(), "unavailable");
    world.pass(100);
    assert_eq!(world.core.waiting(), 0);
    let (again, _) = ask(&mut world, 1);
    world.follow();
    heard(&mut world, again).unwrap().order();
    assert!(world.core.poll_timeout().is_none_or(|at| at > Duration::ZERO));
}
