//! Whatever bytes come, in whatever pieces: the core answers each request once, in order, and says
//! nothing after it has said that it closes.

use proptest::{prelude::*, sample::Index};

use crate::{
    http_table::{Case, cases},
    wire::{PING, holds, run, without_trace_ids},
    world::World,
};

/// Longer cases are about limits, and slow.
const BASE_BYTES_MAX: usize = 600;
fn cut<'b>(sent: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(sent.len() + 1)).collect();
    ends.push(sent.len());
    ends.sort_unstable();
    let mut from = 0;
    ends.into_iter().map(|end| &sent[std::mem::replace(&mut from, end)..end]).collect()
}

/// What requests are made of, right and wrong.
fn scrap() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "GET ",
        "HEAD ",
        "POST ",
        "OPTIONS ",
        "PUT ",
        "BREW ",
        "* ",
        "/ping ",
        "/ping?a=b ",
        "http://mall/ping ",
        "/api/v1/seckill/orders ",
        "/api/v1/time ",
        "HTTP/1.1\r\n",
        "HTTP/1.0\r\n",
        "HTTP/2.0\r\n",
        "Host: mall\r\n",
        "Content-Length: 2\r\n",
        "Content-Length: 0\r\n",
        "Content-Length: 02\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Expect: 100-continue\r\n",
        "Connection: close\r\n",
        "Connection: keep-alive\r\n",
        "\r\n",
        "\r\n\r\n",
        "\r",
        "\n",
        "\0",
        " ",
        "\t",
        ":",
        ";",
        "0\r\n\r\n",
        "2\r\n{}\r\n",
        "2;a=b\r\n",
        "ffff\r\n",
        "{}",
        "A: b\r\n",
    ]);
    prop_oneof![
        8 => known.prop_map(|text| text.as_bytes().to_vec()),
        4 => Just(PING.to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..8),
    ]
}

/// A change to one place of a request.
#[derive(Debug, Clone)]
enum Change {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Repeat(Index, usize),
    Cut(Index, usize),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let byte =
            || prop_oneof![prop::sample::select(b"\r\n\0 \t:;,/0123456789afx+-\x0b\x7f\xff".to_vec()), any::<u8>()];
        prop_oneof![
            (any::<Index>(), byte()).prop_map(|(at, byte)| Self::Replace(at, byte)),
            (any::<Index>(), byte()).prop_map(|(at, byte)| Self::Insert(at, byte)),
            any::<Index>().prop_map(Self::Remove),
            (any::<Index>(), 1..40_usize).prop_map(|(at, count)| Self::Repeat(at, count)),
            (any::<Index>(), 1..40_usize).prop_map(|(at, count)| Self::Cut(at, count)),
        ]
    }

    fn make(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let range = |at: &Index, count: usize, bytes: &[u8]| {
            let at = at.index(bytes.len());
            at..bytes.len().min(at + count)
        };
        match self {
            Self::Replace(at, byte) => *at.get_mut(bytes) = *byte,
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Self::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Self::Repeat(at, count) => {
                let range = range(at, *count, bytes);
                let piece = bytes[range.clone()].to_vec();
                bytes.splice(range.start..range.start, piece);
            }
            Self::Cut(at, count) => drop(bytes.drain(range(at, *count, bytes))),
        }
    }
}

/// The table's cases that are short.
fn bases() -> Vec<Case> {
    cases().into_iter().filter(|case| case.sent.len() <= BASE_BYTES_MAX).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scraps_of_requests(
        scraps in prop::collection::vec(scrap(), 0..30),
        cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let sent = scraps.concat();
        holds(&sent, &cut(&sent, &cuts));
    }

    #[test]
    fn changed_requests(
        base in prop::sample::select(bases()),
        changes in prop::collection::vec(Change::any(), 0..5),
        cuts in prop::collection::vec(any::<Index>(), 0..8),
        before in 0..3_usize,
        after in 0..3_usize,
    ) {
        let mut changed = base.sent.clone();
        for change in &changes {
            change.make(&mut changed);
        }
        let sent = [PING.repeat(before), changed, PING.repeat(after)].concat();
        holds(&sent, &cut(&sent, &cuts));
    }
}

/// Requests of the table that leave the connection where the next one begins, one after another and before
/// one that ends it: each gets what it gets alone, and what comes after the end gets nothing.
#[test]
fn requests_do_not_touch_each_other() {
    let mut world = World::new(10);
    let mut told = |pieces: &[&[u8]]| {
        let (written, closed) = run(&mut world, pieces.iter().copied());
        (without_trace_ids(&written), closed)
    };
    let (pong, _) = told(&[PING]);
    let mut alone = |case: &Case| {
        let (written, closed) = told(&[&case.sent]);
        let is_whole = !closed && told(&[&case.sent, PING]).0 == format!("{written}{pong}");
        (case.sent.clone(), written, closed, is_whole)
    };
    let all: Vec<_> = bases().iter().map(&mut alone).collect();
    let whole: Vec<_> = all.iter().filter(|(.., is_whole)| *is_whole).collect();
    let ends: Vec<_> = all.iter().filter(|(_, _, closed, _)| *closed).collect();
    assert!(whole.len() > 50 && ends.len() > 100, "{} and {}", whole.len(), ends.len());
    let mut world = World::new(10);
    for (turn, (end, end_written, ..)) in ends.iter().enumerate() {
        // Five different ones before each end.
        let before = (0..5).map(|n| whole[(turn * 5 + n * 7) % whole.len()]);
        let mut sent: Vec<u8> = before.clone().flat_map(|(sent, ..)| sent).copied().collect();
        let mut expect: String = before.map(|(_, written, ..)| written.as_str()).collect();
        sent.extend(end);
        sent.extend(PING);
        expect += end_written;
        for size in [1, 7, sent.len()] {
            let (written, closed) = run(&mut world, sent.chunks(size));
            let text = String::from_utf8_lossy(&sent);
            assert_eq!((without_trace_ids(&written), closed), (expect.clone(), true), "{text}");
        }
    }
}
