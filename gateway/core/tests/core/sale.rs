//! Selling: every unit once, every repeat its first answer, nobody another's.

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    OperationId,
    activity::Rules,
    stock::{BatchReply, Command},
};
use gateway_core::{Answer, BATCH_MAX, Control, Next, Unavailable};

use crate::world::{HOUR_MS, RULES, START_MS, World, activity, buy, post, statuses};

#[test]
fn two_hundred_users_ask_twice_for_fifty_units() {
    let mut world = World::new(50);
    let mut first = BTreeMap::new();
    for round in 0..2 {
        let clients: Vec<_> = (0..200).map(|user| (user, world.open())).collect();
        for (user, id) in &clients {
            world.send(*id, buy(*user, &format!("key-{user}")));
        }
        world.settle();
        for (user, id) in clients {
            let (bytes, _) = world.receive(id);
            match statuses(&bytes)[0].as_str() {
                "202" => {
                    let before = first.insert(user, bytes.clone());
                    assert!(round == 0 && before.is_none() || before == Some(bytes), "user {user}, round {round}");
                }
                "409" => assert!(!first.contains_key(&user), "user {user} was told yes and then no"),
                other => panic!("{other}"),
            }
        }
        world.follow();
    }
    assert_eq!(first.len(), 50);
    assert_eq!(first.values().collect::<BTreeSet<_>>().len(), 50, "an order twice");
    let counters = world.ledger.counters();
    assert_eq!((counters.available, counters.held), (0, 50));
    let stats = world.core.stats();
    assert_eq!((stats.answers(Answer::Accepted), stats.answers(Answer::SoldOut)), (100, 300));
    assert_eq!(stats.refused_locally, 150, "the second round of losers never reaches the ledger");
    assert_eq!((stats.batch_largest, stats.batches), (BATCH_MAX as u64, 3));
    assert_eq!(stats.reservations, 250);
}

#[test]
fn sold_out_falls_when_units_come_back() {
    let mut world = World::new(1);
    let order = world.ask(buy(1, "a")).order();
    assert_eq!(world.ask(buy(2, "b")).code(), "sold_out");
    assert_eq!(world.core.stats().refused_locally, 0);
    // The journal is behind the flag: somebody on it may be a buyer, so the ledger is asked.
    assert_eq!(world.ask(buy(3, "c")).code(), "sold_out");
    assert_eq!(world.core.stats().refused_locally, 0);
    world.follow();
    assert_eq!(world.ask(buy(3, "c")).code(), "sold_out");
    assert_eq!(world.core.stats().refused_locally, 1);

    world.command(Command::Release(order));
    assert_eq!(world.ask(buy(2, "b")).code(), "sold_out", "the core has not heard of it");
    world.follow();
    assert_ne!(world.ask(buy(2, "b")).order(), order);
    world.follow();
    assert_eq!(world.ask(buy(3, "c")).code(), "sold_out");
    let operation = OperationId::from_i64(1).unwrap();
    world.command(Command::Restock { operation, delta: 1 });
    world.follow();
    world.ask(buy(3, "c")).order();
}

#[test]
fn what_is_sold_out_and_ended_early_has_ended() {
    let mut world = World::new(1);
    world.ask(buy(1, "a")).order();
    assert_eq!(world.ask(buy(2, "b")).code(), "sold_out");
    world.follow();
    world.pass(1_000);
    let mut over = activity(1, RULES);
    (over.version, over.rules.ends_at_ms) = (2, world.now.wall_ms);
    world.control(Control::Activity(over));
    assert_eq!(world.ask(buy(2, "b")).code(), "ended");
    world.ask(buy(1, "a")).order();
}

#[test]
fn a_sale_that_is_ended_now_sells_no_more_whatever_its_ledger_knows() {
    let mut world = World::new(5);
    let first = world.ask(buy(1, "a"));
    world.pass(1_000);
    let mut over = activity(1, RULES);
    (over.version, over.rules.ends_at_ms) = (2, world.now.wall_ms);
    world.control(Control::Activity(over));
    assert_eq!(world.ask(buy(2, "b")).code(), "ended");
    assert_eq!(world.ask(buy(1, "a")), first, "the core has not read of the buyer");
    world.follow();
    assert_eq!(world.ask(buy(2, "b")).code(), "ended");
    assert_eq!(world.core.stats().refused_locally, 0, "another gateway may not have heard of the end");

    world.command(Command::End { ends_at_ms: world.now.wall_ms });
    world.follow();
    assert_eq!(world.ask(buy(2, "b")).code(), "ended");
    assert_eq!(world.core.stats().refused_locally, 1, "the journal says that nobody can buy any more");
    assert_eq!(world.ask(buy(1, "a")), first);
}

#[test]
fn an_end_on_the_journal_is_the_end_before_the_admins_word_arrives() {
    let mut world = World::new(5);
    let first = world.ask(buy(1, "a"));
    world.command(Command::End { ends_at_ms: world.now.wall_ms });
    assert_eq!(world.ask(buy(2, "b")).code(), "ended");
    world.follow();
    assert_eq!(world.ask(buy(2, "b")).code(), "ended");
    assert_eq!(world.ask(buy(1, "a")), first);
}

#[test]
fn a_reply_of_an_older_epoch_does_not_raise_the_flag_again() {
    let mut world = World::new(1);
    let order = world.ask(buy(1, "a")).order();
    let (a, b) = (world.open(), world.open());
    world.send(a, buy(2, "b"));
    let batch = world.core.poll_batch().unwrap();
    let reply = world.decide(&batch);
    world.command(Command::Release(order));
    world.follow();
    world.core.handle_reply(batch.id, Ok(reply), world.now);
    assert_eq!(statuses(&world.receive(a).0), ["409"]);
    world.send(b, buy(3, "c"));
    world.settle();
    assert_eq!(statuses(&world.receive(b).0), ["202"]);
}

#[test]
fn a_buyer_gets_the_first_answer_after_the_last_unit_and_after_the_end() {
    let mut world = World::new(1);
    let first = world.ask(buy(1, "a"));
    assert_eq!(world.ask(buy(2, "b")).code(), "sold_out");
    world.follow();
    assert_eq!(world.ask(buy(1, "a")), first);
    assert_eq!(world.ask(buy(1, "")), first, "the limit is one: the same user is the same request");
    // The units go back; the request is still known by its key.
    world.command(Command::Release(first.order()));
    world.follow();
    assert_eq!(world.ask(buy(1, "a")), first);
    world.pass(HOUR_MS);
    assert_eq!(world.ask(buy(1, "a")), first);
    assert_eq!(world.ask(buy(2, "b")).code(), "ended");
    let asked = world.core.stats().refused_locally;
    assert_eq!(world.ask(buy(2, "b")).code(), "ended");
    assert_eq!(world.core.stats().refused_locally, asked + 1);
}

#[test]
fn the_end_is_only_known_here_once_every_buyer_is() {
    let mut world = World::new(5);
    let first = world.ask(buy(1, "a"));
    let mut late = World::new(5);
    late.ledger = world.ledger.clone();
    for world in [&mut world, &mut late] {
        world.pass(HOUR_MS);
        assert_eq!(world.ask(buy(2, "b")).code(), "ended");
        assert_eq!(world.core.stats().refused_locally, 0);
        assert_eq!(world.ask(buy(1, "a")), first, "a core that has not read of the buyer asks");
    }
}

#[test]
fn a_journal_with_a_gap_gives_no_right_to_refuse() {
    let mut world = World::cold(1, RULES, |_| {});
    world.control(Control::Activity(activity(1, RULES)));
    world.command(Command::Restock { operation: OperationId::from_i64(1).unwrap(), delta: -1 });
    world.journal.remove(0);
    world.follow();
    world.control(Control::CaughtUp);
    for _ in 0..3 {
        assert_eq!(world.ask(buy(1, "a")).code(), "sold_out");
    }
    assert_eq!(world.core.stats().refused_locally, 0);
}

#[test]
fn a_late_reply_reaches_nobody_else() {
    let mut world = World::new(10);
    let (slow, next) = (world.open(), world.open());
    world.send(slow, buy(1, "a") + "GET /ping HTTP/1.1\r\nHost: a\r\n\r\n");
    let batch = world.core.poll_batch().unwrap();
    assert_eq!(world.receive(slow).1, Next::Wait);
    world.send(next, buy(2, "b"));
    assert_eq!(world.core.poll_batch(), None, "one batch in flight");
    world.pass(1_999);
    assert_eq!(world.core.poll_ready(), None);
    world.pass(1);
    assert_eq!(world.core.poll_ready(), Some(slow));
    let (bytes, _) = world.receive(slow);
    assert_eq!(statuses(&bytes), ["503", "200"]);
    assert!(String::from_utf8(bytes).unwrap().contains("retry-after: 1\r\n"));
    assert_eq!(statuses(&world.receive(next).0), ["503"]);

    // Both ask again while the first batch is still out.
    world.send(slow, buy(1, "a"));
    world.send(next, buy(2, "b"));
    assert_eq!(world.core.poll_batch(), None, "the lane stays blocked until the reply");
    let reply = world.decide(&batch);
    let order = batch.reservations[0].order;
    world.core.handle_reply(batch.id, Ok(reply.clone()), world.now);
    assert_eq!(world.core.stats().outcomes_late, 1);
    assert_eq!(world.receive(slow).0, b"");
    assert_eq!(world.receive(next).0, b"");
    world.core.handle_reply(batch.id, Ok(reply), world.now);

    let batch = world.core.poll_batch().unwrap();
    assert_eq!(batch.reservations.len(), 2, "the abandoned wait of user 2 is not sent");
    let reply = world.decide(&batch);
    world.core.handle_reply(batch.id, Ok(reply), world.now);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(text(world.receive(slow).0).contains(&format!(r#"{{"order_id":"{order}""#)), "the first answer again");
    let other = text(world.receive(next).0);
    assert!(other.starts_with("HTTP/1.1 202") && !other.contains(&order.to_string()));
}

#[test]
fn a_client_that_left_harms_nobody_and_its_place_is_another_ones() {
    let mut world = World::new(10);
    let left = world.open();
    world.send(left, buy(1, "a"));
    let batch = world.core.poll_batch().unwrap();
    world.core.close(left);
    let newcomer = world.open();
    world.send(newcomer, buy(2, "b"));
    let reply = world.decide(&batch);
    world.core.handle_reply(batch.id, Ok(reply), world.now);
    assert_eq!(world.receive(newcomer), (Vec::new(), Next::Wait));
    assert_eq!(world.receive(left), (Vec::new(), Next::Close));
    world.settle();
    assert_eq!(statuses(&world.receive(newcomer).0), ["202"]);
    assert_eq!(world.ledger.counters().held, 2);
}

#[test]
fn no_answer_is_never_a_no() {
    let mut world = World::new(10);
    let id = world.open();
    world.send(id, buy(1, "a"));
    let batch = world.core.poll_batch().unwrap();
    world.core.handle_reply(batch.id, Err(Unavailable::Unknown), world.now);
    assert_eq!(statuses(&world.receive(id).0), ["503"]);

    world.send(id, buy(1, "a"));
    let batch = world.core.poll_batch().unwrap();
    world.core.handle_reply(batch.id, Err(Unavailable::Frozen), world.now);
    let frozen = String::from_utf8(world.receive(id).0).unwrap();
    assert!(frozen.starts_with("HTTP/1.1 503 ") && frozen.contains(r#""code":"frozen""#), "{frozen}");
    assert!(frozen.contains("retry-after: "), "{frozen}");

    world.send(id, buy(1, "a"));
    let batch = world.core.poll_batch().unwrap();
    let reply = world.decide(&batch);
    world.core.handle_link_lost(world.now);
    assert_eq!(statuses(&world.receive(id).0), ["503"]);
    world.core.handle_reply(batch.id, Ok(reply), world.now);
    assert_eq!(world.receive(id).0, b"");
    world.send(id, buy(1, "a"));
    world.settle();
    assert_eq!(statuses(&world.receive(id).0), ["202"]);
    assert_eq!(world.ledger.counters().held, 1);

    world.send(id, buy(2, "b"));
    let batch = world.core.poll_batch().unwrap();
    let short = BatchReply { outcomes: Vec::new(), counters: world.ledger.counters() };
    world.core.handle_reply(batch.id, Ok(short), world.now);
    assert_eq!(statuses(&world.receive(id).0), ["503"]);
}

#[test]
fn what_waits_is_bounded() {
    let mut world = World::with(10, RULES, |config| config.waiting_max = 3);
    let ids: Vec<_> = (0..5).map(|_| world.open()).collect();
    for (user, id) in (1..).zip(&ids) {
        world.send(*id, buy(user, "a"));
    }
    assert_eq!(world.core.waiting(), 3);
    let refused: Vec<_> = ids.iter().map(|id| statuses(&world.receive(*id).0).len()).collect();
    assert_eq!(refused, [0, 0, 0, 1, 1]);
    world.settle();
    assert_eq!(world.core.waiting(), 0);
}

#[test]
fn a_lease_that_ended_makes_no_orders() {
    let mut world = World::new(10);
    world.core = gateway_core::Core::new(
        gateway_core::Config::new(crate::world::keys(), 1),
        contract::snowflake::Snowflake::new(1, START_MS, START_MS + 1),
        world.now,
    );
    world.control(Control::Activity(activity(1, RULES)));
    world.control(Control::CaughtUp);
    assert_eq!(world.ask(buy(1, "a")).code(), "unavailable");
    world.control(Control::LeaseUntil(START_MS + 10));
    world.ask(buy(1, "a")).order();
}

#[test]
fn limits_keys_and_windows() {
    let rules = Rules { per_user_limit: 3, starts_at_ms: START_MS + 1_000, ends_at_ms: START_MS + 2_000 };
    let mut world = World::with(100, rules, |_| {});
    let ask = |quantity: u32, key: &str| {
        post(1, &format!("Idempotency-Key: {key}\r\n"), &format!(r#"{{"activity_id":"1","quantity":{quantity}}}"#))
    };
    let refused = world.ask(ask(2, "a"));
    assert_eq!((refused.status, refused.code().as_str()), (403, "not_started"));
    world.pass(999);
    let first = world.ask(ask(2, "a"));
    assert_eq!(first.header("location"), format!("/api/v1/seckill/orders/{}", first.order()));
    assert_eq!(first.json()["quantity"], 2);
    let reused = world.ask(ask(1, "a"));
    assert_eq!((reused.status, reused.code().as_str()), (422, "idempotency_key_reused"));
    let limited = world.ask(ask(2, "b"));
    assert_eq!((limited.status, limited.code().as_str()), (409, "limit_reached"));
    assert_ne!(world.ask(ask(1, "b")).order(), first.order());
}
