//! What one client and one user may hold.

use std::{net::IpAddr, time::Duration};

use gateway_core::{ConnectionRefused, Next};

use crate::world::{RULES, World, buy, get, get_as, statuses};

#[test]
fn one_client_does_not_get_all_connections() {
    let mut world = World::with(1, RULES, |config| {
        config.connections_per_client_max = 2;
        config.gate.trusted_proxies = "10.0.0.1".parse().unwrap();
    });
    let mut open = |peer: &str| world.core.open(peer.parse::<IpAddr>().unwrap(), world.now);
    let first = open("127.0.0.1").unwrap();
    open("127.0.0.1").unwrap();
    assert_eq!(open("127.0.0.1"), Err(ConnectionRefused));
    open("127.0.0.2").unwrap();
    let of_a_site = (0..64).filter(|net| open(&format!("2001:db8:0:{net:x}::1")).is_ok()).count();
    assert_eq!(of_a_site, 8, "a /56 has four times as many");
    for _ in 0..8 {
        open("10.0.0.1").unwrap();
    }
    world.core.close(first);
    world.core.open("127.0.0.1".parse().unwrap(), world.now).unwrap();
}

#[test]
fn a_new_connection_must_ask_soon_and_a_used_one_later() {
    let mut world = World::new(1);
    let (silent, used) = (world.open(), world.open());
    world.send(used, get("/ping", ""));
    assert_eq!(world.receive(used).1, Next::Read);
    assert_eq!(world.core.client_deadline(used), Some(world.now.mono + Duration::from_secs(75)));
    world.pass(4_999);
    assert_eq!(world.core.poll_ready(), None);
    world.pass(1);
    assert_eq!(world.core.poll_ready(), Some(silent));
    assert_eq!(world.receive(silent), (Vec::new(), Next::Close));
}

#[test]
fn one_user_does_not_get_all_streams() {
    let mut world = World::new(10);
    let order = world.ask(buy(1, "a")).order();
    let events = format!("/api/v1/seckill/orders/{order}/events");
    world.follow();
    let mut streams = Vec::new();
    for _ in 0..4 {
        let id = world.open();
        world.send(id, get_as(1, &events));
        assert_eq!(world.receive(id).1, Next::Wait);
        streams.push(id);
    }
    let fifth = world.open();
    world.send(fifth, get_as(1, &events));
    assert_eq!(statuses(&world.receive(fifth).0), ["429"]);
    world.core.close(streams[0]);
    world.send(fifth, get_as(1, &events));
    assert_eq!(world.receive(fifth).1, Next::Wait);
    assert_eq!(world.core.streams(), 4);
}

#[test]
fn every_answer_has_a_date() {
    let mut world = World::new(1);
    for path in ["/ping", "/nothing", "/api/v1/seckill/orders/1"] {
        let id = world.open();
        world.send(id, get(path, ""));
        let answer = String::from_utf8(world.receive(id).0).unwrap();
        assert!(answer.contains("\r\ndate: Fri, 15 Jan 2027 08:00:00 GMT\r\n"), "{answer}");
        assert!(answer.contains("\r\nx-content-type-options: nosniff\r\n"), "{answer}");
    }
}
