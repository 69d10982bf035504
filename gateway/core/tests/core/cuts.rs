//! The same bytes give the same answers however they are cut.

use gateway_core::Next;
use proptest::prelude::*;

use crate::world::{World, buy, get, get_as, post};

/// Requests of every kind, right and wrong.
fn requests() -> Vec<String> {
    let chunked = |rest: &str| {
        format!("POST /api/v1/seckill/orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{rest}")
    };
    vec![
        get("/ping", ""),
        "\r\nHEAD /ping HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        get("/api/v1/seckill/activities/1", ""),
        get("/api/v1/seckill/activities?limit=1", "If-None-Match: *\r\n"),
        get("/readyz", ""),
        get("/nothing", ""),
        get_as(7, "/api/v1/seckill/orders/1"),
        buy(7, "a-key"),
        buy(8, ""),
        buy(8, ""),
        post(9, "Expect: 100-continue\r\n", r#"{"activity_id":"1","quantity":1}"#),
        post(9, "", "{}"),
        chunked("1\r\n{\r\n2;x=y\r\n}x\r\n0\r\nT: u\r\n\r\n"),
        chunked("zz\r\n"),
        "GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
        "GET /ping HTTP/1.1\nHost: a\n\n".to_owned(),
        "GET /ping HTTP/1.1\r\n\r\n".to_owned(),
        "GET /ping HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\n", "x".repeat(9_000)),
        get("/ping", &"A: b\r\n".repeat(70)),
        get("/ping", "Connection: close\r\n"),
        "GET /pi".to_owned(),
    ]
}

/// All that the connection writes, and whether it closes.
fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (String, bool) {
    let mut world = World::new(1);
    let id = world.open();
    let mut written = Vec::new();
    let mut last = Next::Read;
    for piece in pieces {
        world.send(id, piece);
        loop {
            world.settle();
            world.follow();
            let (out, next) = world.receive(id);
            written.extend(out);
            last = next;
            if next != Next::Wait {
                break;
            }
        }
    }
    (String::from_utf8(written).unwrap(), last == Next::Close)
}

#[test]
fn byte_by_byte() {
    for request in requests() {
        let whole = run(std::iter::once(request.as_bytes()));
        assert_eq!(run(request.as_bytes().chunks(1)), whole, "{request:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anywhere(
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let requests = requests();
        let stream: String = picks.iter().map(|pick| pick.get(&requests).as_str()).collect();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        let mut from = 0;
        let pieces: Vec<&[u8]> = ends
            .into_iter()
            .map(|end| &stream.as_bytes()[std::mem::replace(&mut from, end)..end])
            .collect();
        prop_assert_eq!(run(pieces.into_iter()), run(std::iter::once(stream.as_bytes())));
    }

    /// Whatever comes is answered below 500 or with 501 or 505, or awaited; nothing panics.
    #[test]
    fn noise(mut bytes in prop::collection::vec(any::<u8>(), 0..400), at in any::<prop::sample::Index>()) {
        let base = buy(7, "k");
        let at = at.index(base.len());
        let mut stream = base.as_bytes()[..at].to_vec();
        stream.append(&mut bytes);
        let mut world = World::new(1);
        let id = world.open();
        world.send(id, &stream);
        world.settle();
        let (out, _) = world.receive(id);
        for status in crate::world::statuses(&out) {
            let status: u16 = status.parse().unwrap();
            prop_assert!(status < 500 || status == 501 || status == 505, "{}", status);
        }
    }
}
