//! A core sells only in the term that it has read as opened on the journal.

use std::sync::Arc;

use contract::stock::{Command, Entry, Event, Term};
use gateway_core::Control;

use crate::world::{World, buy};

/// The start of `term` reaches the core, with the ledger in that term.
fn start(world: &mut World, term: u64) {
    world.follow();
    world.ledger.start_term(Term(term));
    send(world, Event::TermStarted { nonce: 1 });
}

fn open(world: &mut World) {
    world.follow();
    let counts = world.ledger.term_counts();
    send(world, Event::TermOpened(counts));
}

fn send(world: &mut World, event: Event) {
    let counters = world.ledger.counters();
    let seq = if matches!(event, Event::TermStarted { .. }) { 0 } else { counters.seq };
    let (activity, term, epoch) = (world.ledger.activity(), counters.term, counters.epoch);
    let mark = Entry { activity, term, epoch, seq, at_ms: 0, event };
    world.control(Control::Entries(Arc::from([mark])));
}

#[test]
fn nothing_is_sold_between_the_start_and_the_opening_of_a_term() {
    let mut world = World::new(3);
    let first = world.ask(buy(1, "a")).order();
    start(&mut world, 4);
    let batches = world.core.stats().batches;
    for user in [1, 2] {
        let answer = world.ask(buy(user, "a"));
        assert_eq!(answer.code(), "frozen", "user {user}");
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(world.core.stats().batches, batches, "the ledger is not asked");
    open(&mut world);
    assert_eq!(world.ask(buy(1, "a")).order(), first);
    world.ask(buy(2, "a")).order();
    assert_eq!(world.ledger.counters().held, 2);
}

/// The ledger was closed, and perhaps rebuilt, while the batch was on its way: its reply is of a term that the core does
/// not sell in.
#[test]
fn a_reply_of_another_term_is_no_answer() {
    let mut world = World::new(3);
    let id = world.open();
    world.send(id, buy(1, "a"));
    let batch = world.core.poll_batch().unwrap();
    assert_eq!(batch.term, Term::FIRST);
    let reply = world.decide(&batch);
    world.follow();
    start(&mut world, 4);
    let now = world.now;
    world.core.handle_reply(batch.id, Ok(reply), now);
    let (bytes, _) = world.receive(id);
    assert!(String::from_utf8_lossy(&bytes).contains("\"code\":\"frozen\""), "a demoted server may have said it");
    open(&mut world);
    world.ask(buy(1, "a")).order();
    world.send(id, buy(2, "b"));
    assert_eq!(world.core.poll_batch().unwrap().term, Term(4), "batches name the term");
}

/// "Sold out" was said in the old term. In the new one there may be units in the same epoch.
#[test]
fn what_was_concluded_from_replies_falls_with_the_term() {
    let mut world = World::new(1);
    let order = world.ask(buy(1, "a")).order();
    assert_eq!(world.ask(buy(2, "b")).code(), "sold_out");
    world.follow();
    assert_eq!(world.ask(buy(2, "b")).code(), "sold_out");
    assert_eq!(world.core.stats().refused_locally, 1);
    world.follow();
    // The new term never had the order, whatever its epoch is.
    world.ledger.start_term(Term(9));
    send(&mut world, Event::TermStarted { nonce: 1 });
    world.command(Command::Release(order));
    open(&mut world);
    world.ask(buy(2, "b")).order();
}
