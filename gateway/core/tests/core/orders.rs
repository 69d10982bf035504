//! An order's status and its stream of events.

use contract::{OrderId, record::OrderStatus, stock::Command};
use gateway_core::{ConnId, Control, Next};

use crate::world::{RULES, World, buy, get_as};

fn status_of(world: &mut World, user: i64, order: OrderId) -> String {
    let answer = world.ask(get_as(user, &format!("/api/v1/seckill/orders/{order}")));
    if answer.status != 200 {
        return answer.code();
    }
    let queued = answer.json()["status"] == "queued";
    assert_eq!(answer.header("retry-after"), if queued { "1" } else { "" });
    assert_eq!(answer.json()["order_id"], order.to_string());
    answer.json()["status"].as_str().unwrap().to_owned()
}

fn follow(world: &mut World, user: i64, order: OrderId) -> ConnId {
    let id = world.open();
    world.send(id, get_as(user, &format!("/api/v1/seckill/orders/{order}/events")));
    id
}

fn heard(world: &mut World, id: ConnId) -> (String, Next) {
    let (bytes, next) = world.receive(id);
    (String::from_utf8(bytes).unwrap(), next)
}

fn event(order: OrderId, status: &str) -> String {
    let event = format!("event: status\ndata: {{\"order_id\":\"{order}\",\"status\":\"{status}\"}}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len())
}

#[test]
fn the_owner_follows_the_order_and_a_stranger_knows_of_none() {
    let mut world = World::new(10);
    let order = world.ask(buy(1, "a")).order();
    assert_eq!(status_of(&mut world, 1, order), "queued");
    assert_eq!(status_of(&mut world, 2, order), "unknown_order");
    world.follow();
    assert_eq!(status_of(&mut world, 1, order), "queued");
    world.event(order, 1, OrderStatus::Created);
    assert_eq!(status_of(&mut world, 1, order), "created");
    world.event(order, 1, OrderStatus::Paid);
    world.event(order, 1, OrderStatus::Created);
    assert_eq!(status_of(&mut world, 1, order), "paid");
}

#[test]
fn an_order_of_another_core_is_queued_until_the_log_brings_it() {
    let mut other = World::new(10);
    let order = other.ask(buy(1, "a")).order();
    let mut world = World::new(10);
    assert_eq!(status_of(&mut world, 1, order), "queued");
    world.pass(2_000);
    assert_eq!(status_of(&mut world, 1, order), "unknown_order");
    world.journal = other.journal;
    world.follow();
    assert_eq!(status_of(&mut world, 1, order), "queued");
    assert_eq!(status_of(&mut world, 2, order), "unknown_order");
}

#[test]
fn a_stream_tells_each_change_and_ends() {
    let mut world = World::new(10);
    let order = world.ask(buy(1, "a")).order();
    let id = follow(&mut world, 1, order);
    let (text, next) = heard(&mut world, id);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-type: text/event-stream\r\nx-accel-buffering: no\r\ntransfer-encoding: chunked"),
        "{head}"
    );
    assert_eq!((body, next), (event(order, "queued").as_str(), Next::Wait));
    world.follow();
    assert_eq!(world.core.streams(), 1);
    world.event(order, 1, OrderStatus::Created);
    assert_eq!(world.core.poll_ready(), Some(id));
    assert_eq!(heard(&mut world, id), (event(order, "created"), Next::Wait));
    world.event(order, 1, OrderStatus::Created);
    assert_eq!(world.core.poll_ready(), None);
    world.pass(15_000);
    assert_eq!(heard(&mut world, id), ("3\r\n:\n\n\r\n".to_owned(), Next::Wait));
    world.event(order, 1, OrderStatus::Closed);
    assert_eq!(heard(&mut world, id), (event(order, "closed") + "0\r\n\r\n", Next::Close));
    assert_eq!(world.core.streams(), 0);

    let late = follow(&mut world, 1, order);
    let (text, next) = heard(&mut world, late);
    assert!(text.ends_with(&(event(order, "closed") + "0\r\n\r\n")));
    assert_eq!((next, world.core.streams()), (Next::Close, 0));
}

#[test]
fn streams_are_bounded_and_their_places_come_back() {
    let mut world = World::with(10, RULES, |config| config.streams_max = 1);
    let order = world.ask(buy(1, "a")).order();
    let first = follow(&mut world, 1, order);
    let second = follow(&mut world, 1, order);
    assert!(heard(&mut world, second).0.starts_with("HTTP/1.1 503"));
    world.core.close(first);
    assert_eq!(world.core.streams(), 0);
    let third = follow(&mut world, 1, order);
    assert!(heard(&mut world, third).0.starts_with("HTTP/1.1 200"));
    world.control(Control::Drain);
    let (text, next) = heard(&mut world, third);
    assert_eq!((text.as_str(), next, world.core.streams()), ("0\r\n\r\n", Next::Close, 0));
}

#[test]
fn a_stream_of_what_turns_out_to_be_anothers_order_ends_without_a_word() {
    let mut other = World::new(10);
    let order = other.ask(buy(1, "a")).order();
    let mut world = World::new(10);
    let (stranger, owner) = (follow(&mut world, 2, order), follow(&mut world, 1, order));
    for id in [stranger, owner] {
        assert!(heard(&mut world, id).0.ends_with(&event(order, "queued")));
    }
    other.command(Command::Settle(order));
    world.journal = other.journal;
    world.follow();
    assert_eq!(heard(&mut world, stranger), ("0\r\n\r\n".to_owned(), Next::Close));
    assert_eq!(heard(&mut world, owner), (event(order, "paid") + "0\r\n\r\n", Next::Close));
}

#[test]
fn an_http_1_0_client_gets_bare_events() {
    let mut world = World::new(10);
    let order = world.ask(buy(1, "a")).order();
    world.event(order, 1, OrderStatus::Failed);
    let path = format!("/api/v1/seckill/orders/{order}/events");
    let answer = world.ask(get_as(1, &path).replace("HTTP/1.1", "HTTP/1.0"));
    assert_eq!(answer.header("transfer-encoding"), "");
    assert!(answer.body.starts_with("event: status\ndata: {"));
    assert_eq!(answer.next, "Close");
    let head = world.ask(get_as(1, &path).replace("GET", "HEAD"));
    assert_eq!((head.status, head.body.as_str(), world.core.streams()), (200, "", 0));
}
