//! What a core forgets first when it has no room, and what it answers about it.

use contract::{
    ActivityId,
    activity::{Entry, EntryRule, Rules},
    stock::{Command, Ledger},
};
use gateway_core::{Config, Control};

use crate::world::{HOUR_MS, RULES, START_MS, World, activity, buy, get_as, user};

const OVER: Rules = Rules { per_user_limit: 1, starts_at_ms: START_MS - 2 * HOUR_MS, ends_at_ms: START_MS - HOUR_MS };

fn block(world: &mut World, sale: i64, buyer: i64) {
    let activity = ActivityId::from_i64(sale).unwrap();
    let rule = EntryRule { activity, user: user(buyer), version: 1, entry: Entry::Blocked };
    world.control(Control::EntryRules([rule].into()));
}

#[test]
fn rules_of_a_sale_that_is_over_make_room_for_those_of_a_running_one() {
    let mut world = World::with(10, RULES, |config: &mut Config| config.board.rules_max = 2);
    world.control(Control::Activity(activity(2, OVER)));
    for buyer in [50, 51] {
        block(&mut world, 2, buyer);
    }
    block(&mut world, 1, 7);
    world.ask(buy(1, "a")).order();
    assert_eq!(world.ask(buy(7, "a")).code(), "not_eligible", "the rule of the running sale was kept");
    // The finished sale keeps no more of them, so they do not crowd out those of the running sale a second time.
    for buyer in 52..60 {
        block(&mut world, 2, buyer);
    }
    block(&mut world, 1, 8);
    world.ask(buy(2, "a")).order();
}

#[test]
fn buyers_of_a_sale_that_is_over_make_room_for_those_of_a_running_one() {
    let mut world = World::with(1, RULES, |config: &mut Config| config.board.buyers_max = 2);
    world.control(Control::Activity(activity(2, OVER)));
    let (mut finished, opened) = Ledger::open(ActivityId::from_i64(2).unwrap(), 2, OVER, START_MS - 3 * HOUR_MS);
    let mut journal = vec![opened];
    for buyer in [50, 51] {
        let order = contract::OrderId::from_i64(buyer).unwrap();
        let reservation = contract::stock::Reservation { order, user: user(buyer), request: None, quantity: 1 };
        finished.apply(Command::Reserve(reservation), OVER.starts_at_ms, &mut journal);
    }
    world.control(Control::Entries(journal.into()));
    world.ask(buy(1, "a")).order();
    world.follow();
    assert_eq!(world.ask(buy(2, "a")).code(), "sold_out");
    let asked = world.core.stats().batches;
    assert_eq!(world.ask(buy(3, "a")).code(), "sold_out");
    assert_eq!(world.core.stats().batches, asked, "the running sale still refuses without its ledger");
}

/// Order events are kept for a day and the journal for a week.
#[test]
fn the_journal_alone_says_what_became_of_an_order() {
    let mut world = World::cold(10, RULES, |_| {});
    let mut other = World::new(10);
    let (paid, closed, waits) =
        (other.ask(buy(1, "a")).order(), other.ask(buy(2, "a")).order(), other.ask(buy(3, "a")).order());
    other.command(Command::Settle(paid));
    other.command(Command::Release(closed));
    world.control(Control::Activity(activity(1, RULES)));
    world.follow();
    world.journal = other.journal;
    world.follow();
    world.control(Control::CaughtUp);
    for (buyer, order, status) in [(1, paid, "paid"), (2, closed, "closed"), (3, waits, "queued")] {
        let shown = world.ask(get_as(buyer, &format!("/api/v1/seckill/orders/{order}")));
        assert_eq!(shown.json()["status"], status);
    }
    // Of an order that failed, the release of its units comes first where the two topics are read apart.
    world.event(closed, 2, contract::record::OrderStatus::Failed);
    let shown = world.ask(get_as(2, &format!("/api/v1/seckill/orders/{closed}")));
    assert_eq!(shown.json()["status"], "failed");
}

#[test]
fn an_order_that_was_forgotten_for_want_of_room_is_not_unknown() {
    let mut world = World::with(10, RULES, |config: &mut Config| config.board.orders_max = 1);
    let first = world.ask(buy(1, "a")).order();
    world.pass(10_000);
    let second = world.ask(buy(2, "a")).order();
    world.pass(10_000);
    let path = |order| format!("/api/v1/seckill/orders/{order}");
    assert_eq!(world.ask(get_as(2, &path(second))).json()["status"], "queued");
    let forgotten = world.ask(get_as(1, &path(first)));
    assert_eq!((forgotten.status, forgotten.code().as_str()), (503, "unavailable"));
    assert_eq!(world.ask(get_as(1, &path(second))).code(), "unknown_order", "another buyer's");
    let newer = contract::OrderId::from_i64(second.as_i64() + 1).unwrap();
    assert_eq!(world.ask(get_as(1, &path(newer))).code(), "unknown_order", "nothing as new was forgotten");
}
