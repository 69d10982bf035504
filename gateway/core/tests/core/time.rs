//! Deadlines, caps, and the end of the process.

use std::time::Duration;

use gateway_core::{ConnectionRefused, Control, Next, PartReason, Readiness};

use crate::world::{RULES, World, buy, get, get_as, statuses};

#[test]
fn a_request_that_takes_too_long_is_told_so() {
    for (part, ms) in
        [("GET /pi", 5_000), ("POST /api/v1/seckill/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{", 10_000)]
    {
        let mut world = World::new(1);
        let id = world.open();
        world.send(id, get("/ping", "") + part);
        assert_eq!(world.receive(id).1, Next::Read);
        assert_eq!(world.core.client_deadline(id), Some(world.now.mono + Duration::from_millis(ms)));
        world.pass(ms / 2);
        // A byte now and then wins no time.
        world.send(id, "1");
        world.pass(ms / 2 - 1);
        assert_eq!(world.core.poll_ready(), None);
        world.pass(1);
        assert_eq!(world.core.poll_ready(), Some(id));
        let (out, next) = world.receive(id);
        assert_eq!((statuses(&out), next), (vec!["408".to_owned()], Next::Close));
    }
}

#[test]
fn a_head_that_takes_too_long_gets_no_body() {
    let mut world = World::new(1);
    let id = world.open();
    world.send(id, "HEAD /ping HTTP/1.1\r\n");
    world.pass(5_000);
    let (out, next) = world.receive(id);
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("HTTP/1.1 408 ") && out.ends_with("\r\n\r\n"), "{out}");
    assert_eq!(next, Next::Close);
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let mut world = World::new(1);
    let id = world.open();
    world.send(id, get("/ping", ""));
    let mut out = Vec::new();
    assert_eq!(world.core.poll_client(id, &mut out), Next::Write);
    assert_eq!(world.core.client_deadline(id), Some(world.now.mono + Duration::from_secs(10)));
    world.pass(9_999);
    assert!(!world.core.is_cut(id));
    assert_eq!(world.core.poll_ready(), None);
    world.pass(1);
    assert_eq!(world.core.poll_ready(), Some(id));
    assert!(world.core.is_cut(id));
    assert_eq!(world.receive(id), (Vec::new(), Next::Close));
    world.core.close(id);
    assert_eq!((world.core.poll_timeout(), world.core.stats().connections_cut), (None, 1));
}

#[test]
fn a_client_that_reads_in_time_is_not_cut() {
    let mut world = World::new(1);
    let id = world.open();
    for _ in 0..5 {
        world.send(id, get("/ping", ""));
        let mut out = Vec::new();
        assert_eq!(world.core.poll_client(id, &mut out), Next::Write);
        world.pass(9_999);
        assert_eq!(world.core.poll_client(id, &mut out), Next::Read);
        assert_eq!(world.core.client_deadline(id), Some(world.now.mono + Duration::from_millis(75_000 - 9_999)));
        world.pass(1);
        assert_eq!(world.core.poll_ready(), None);
    }
    assert_eq!(world.core.stats().connections_cut, 0);
}

/// A part of the next request does not hold up the deadline of what is being written, nor the other way round.
#[test]
fn a_write_and_a_request_have_a_deadline_each() {
    let mut world = World::new(1);
    let id = world.open();
    world.send(id, get("/ping", "") + "GET /pi");
    let mut out = Vec::new();
    assert_eq!(world.core.poll_client(id, &mut out), Next::Write);
    world.pass(5_000);
    assert!(!world.core.is_cut(id));
    let (told, next) = world.receive(id);
    assert_eq!((statuses(&told), next), (vec!["408".to_owned()], Next::Close));
}

#[test]
fn a_follower_that_does_not_read_is_cut() {
    let mut world = World::new(1);
    let order = world.ask(buy(1, "a")).order();
    world.follow();
    let id = world.open();
    world.send(id, get_as(1, &format!("/api/v1/seckill/orders/{order}/events")));
    let mut out = Vec::new();
    assert_eq!(world.core.poll_client(id, &mut out), Next::Write);
    assert_eq!(world.core.streams(), 1);
    world.pass(10_000);
    assert!(world.core.is_cut(id));
    world.core.close(id);
    assert_eq!(world.core.streams(), 0);
}

#[test]
fn an_idle_connection_closes_without_a_word() {
    let mut world = World::new(1);
    let id = world.open();
    world.pass(4_999);
    world.send(id, get("/ping", ""));
    assert_eq!(world.receive(id).1, Next::Read);
    world.pass(74_999);
    world.send(id, get("/ping", ""));
    assert_eq!(world.receive(id).1, Next::Read);
    world.pass(74_999);
    assert_eq!(world.core.poll_ready(), None);
    world.pass(1);
    assert_eq!(world.core.poll_ready(), Some(id));
    assert_eq!(world.receive(id), (Vec::new(), Next::Close));
    world.core.close(id);
    assert_eq!(world.core.poll_timeout(), None);
    for _ in 0..3 {
        let id = world.open();
        world.core.close(id);
    }
    assert_eq!(world.core.poll_timeout(), None, "what is closed leaves no timer");
}

#[test]
fn timers_stay_few() {
    let mut world = World::new(1);
    let id = world.open();
    for _ in 0..1_000 {
        world.send(id, get("/ping", ""));
        assert_eq!(world.receive(id).1, Next::Read);
        world.pass(10);
    }
    let fires = (0..1_000).filter(|_| world.core.poll_timeout().is_some_and(|at| at <= world.now.mono)).count();
    assert_eq!(fires, 0);
    assert!(world.core.poll_timeout().unwrap() > world.now.mono);
}

#[test]
fn connections_are_bounded() {
    let mut world = World::with(1, RULES, |config| config.connections_max = 2);
    let (first, _) = (world.open(), world.open());
    assert_eq!(world.core.open(world.client, world.now), Err(ConnectionRefused));
    world.core.close(first);
    world.core.close(first);
    let third = world.open();
    assert_ne!(first, third);
    assert_eq!(world.core.open(world.client, world.now), Err(ConnectionRefused));
    assert_eq!((world.core.connections(), world.core.stats().connections_refused), (2, 2));
}

#[test]
fn draining_finishes_what_was_begun() {
    let mut world = World::new(1);
    let (idle, busy, part) = (world.open(), world.open(), world.open());
    world.send(busy, buy(1, "a"));
    world.send(part, "GET /ping HTTP/1.1\r\n");
    world.control(Control::Drain);
    assert_eq!(world.core.poll_ready(), Some(idle));
    assert_eq!(world.receive(idle), (Vec::new(), Next::Close));
    world.settle();
    let (out, next) = world.receive(busy);
    assert_eq!((statuses(&out), next), (vec!["202".to_owned()], Next::Close));
    world.send(part, "Host: a\r\n\r\n");
    let (out, next) = world.receive(part);
    assert!(String::from_utf8(out).unwrap().contains("connection: close\r\n"));
    assert_eq!(next, Next::Close);
    assert_eq!(world.core.open(world.client, world.now), Err(ConnectionRefused));
    assert!(!world.core.is_ready());
}

/// From the signal to stop until it drains, a gateway serves all that comes, and lets go of its clients one by one.
#[test]
fn an_answer_is_the_last_on_its_connection_once_the_process_is_about_to_stop() {
    let mut world = World::new(1);
    let (idle, busy) = (world.open(), world.open());
    world.send(busy, buy(1, "a"));
    let stopping = PartReason { part: "process".to_owned(), reason: "it is stopping".to_owned() };
    world.control(Control::Readiness(Readiness {
        reasons: [stopping].into(),
        is_stopping: true,
        ..Readiness::default()
    }));
    assert_eq!(world.core.poll_ready(), None, "an idle connection is not cut");
    let new = world.open();
    for id in [idle, new] {
        world.send(id, get("/ping", ""));
        let (out, next) = world.receive(id);
        assert_eq!((statuses(&out), next), (vec!["200".to_owned()], Next::Close));
        assert!(String::from_utf8(out).unwrap().contains("connection: close\r\n"));
    }
    world.settle();
    // It was asked before: its client does not know yet.
    let (out, next) = world.receive(busy);
    assert_eq!((statuses(&out), next), (vec!["202".to_owned()], Next::Read));
}
