//! The same bytes to this parser and to hyper's. Where this one takes a request, hyper takes the same one:
//! method, target, body. Where this one waits for more, hyper waits too. What hyper takes and this one
//! refuses is no fault.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    rt::{Read, ReadBufCursor, Write},
    server::conn::http1,
    service::service_fn,
};
use proptest::{prelude::*, sample::Index};

use super::{Limits, Method, ReceiveOutcome, Receiver};

#[path = "../../tests/http_table/cases.rs"]
#[expect(dead_code, reason = "only the bytes are wanted here")]
mod http_table;

/// Longer cases are about limits, which are other ones at hyper.
const BASE_BYTES_MAX: usize = 600;
/// Hyper gives way now and then; after this many turns it has done all that it can with what there is.
const TURNS: usize = 64;

/// One request, as either of them took it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    method: Method,
    target: String,
    body: Vec<u8>,
    /// It asked that the connection stay open.
    keeps_alive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Waits,
    Closes,
    Refuses,
}

fn ours(mut input: &[u8]) -> (Vec<Seen>, End) {
    let (limits, mut receiver, mut all) = (Limits::default(), Receiver::new(), Vec::new());
    while !input.is_empty() {
        match receiver.skip_empty_line(input) {
            None => break,
            Some(skipped) => input = &input[skipped..],
        }
        match receiver.advance(input, &limits) {
            Ok(ReceiveOutcome::Partial) => break,
            Ok(ReceiveOutcome::Continue) => {}
            Ok(ReceiveOutcome::Whole { head, body, used }) => {
                let (target, body, keeps_alive) = (head.target.to_owned(), body.to_vec(), head.fields.keeps_alive);
                all.push(Seen { method: head.method, target, body, keeps_alive });
                if head.fields.closes || head.http_1_0 && !head.fields.keeps_alive {
                    return (all, End::Closes);
                }
                input = &input[used..];
                receiver.restart();
            }
            Err(_) => return (all, End::Refuses),
        }
    }
    (all, End::Waits)
}

/// A client that has sent `input`, reads everything and stays.
struct Pipe<'b> {
    input: &'b [u8],
}

impl Read for Pipe<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            return Poll::Pending;
        }
        let (piece, rest) = self.input.split_at(self.input.len().min(buf.remaining()));
        buf.put_slice(piece);
        self.input = rest;
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The requests whose bodies hyper read to their ends.
fn hypers(input: &[u8]) -> Vec<Seen> {
    let all: Rc<RefCell<Vec<Seen>>> = Rc::default();
    let service = service_fn(|request: Request<Incoming>| {
        let all = all.clone();
        async move {
            let (parts, mut incoming) = request.into_parts();
            let mut body = Vec::new();
            while let Some(frame) = poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await {
                body.extend(frame?.into_data().unwrap_or_default());
            }
            let method = match parts.method.as_str() {
                "GET" => Method::Get,
                "HEAD" => Method::Head,
                "POST" => Method::Post,
                "OPTIONS" => Method::Options,
                _ => Method::Other,
            };
            let target = parts.uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
            all.borrow_mut().push(Seen { method, target, body, keeps_alive: false });
            Ok::<_, hyper::Error>(Response::new(String::new()))
        }
    });
    {
        let mut builder = http1::Builder::new();
        builder.header_read_timeout(None).auto_date_header(false);
        let mut connection = pin!(builder.serve_connection(Pipe { input }, service));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..TURNS {
            if connection.as_mut().poll(&mut context).is_ready() {
                break;
            }
        }
    }
    all.take()
}

/// A target that is the server's root: `*` and `/` are distinguished here, and what its query says is not.
fn is_same(ours: &Seen, hypers: &Seen) -> bool {
    let is_root = |target: &str| matches!(target.split('?').next(), Some("*" | "/" | ""));
    let same_target = ours.target == hypers.target || is_root(&ours.target) && is_root(&hypers.target);
    same_target && ours.method == hypers.method && ours.body == hypers.body
}

fn check(input: &[u8]) -> Result<(), TestCaseError> {
    let ((ours, end), hypers) = (ours(input), hypers(input));
    let text = input.escape_ascii();
    let pairs_agree = ours.iter().zip(&hypers).all(|(ours, hypers)| is_same(ours, hypers));
    // Hyper looks no further into a `Connection` that is not all ASCII, and closes where HTTP/1.0 would.
    let hyper_closed = hypers.len().checked_sub(1).and_then(|last| ours.get(last)).is_some_and(|last| last.keeps_alive);
    let all_taken = hypers.len() >= ours.len() || hyper_closed;
    prop_assert!(pairs_agree && all_taken, "{}\n{:?}\n{:?}", text, ours, hypers);
    let waits = end == End::Waits && !hyper_closed;
    prop_assert!(!waits || hypers.len() == ours.len(), "{} waits\n{:?}\n{:?}", text, ours, hypers);
    Ok(())
}

#[test]
fn every_case_of_the_table() {
    let mut taken = 0;
    for case in http_table::cases().iter().filter(|case| case.sent.len() <= BASE_BYTES_MAX) {
        check(&case.sent).unwrap_or_else(|error| panic!("[{}] {error}", case.name));
        taken += ours(&case.sent).0.len();
    }
    assert!(taken > 100, "{taken} requests were compared");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_requests(
        base in prop::sample::select(
            http_table::cases().into_iter().map(|case| case.sent).filter(|sent| sent.len() <= BASE_BYTES_MAX).collect::<Vec<_>>()
        ),
        changes in prop::collection::vec((any::<Index>(), prop::option::of(any::<u8>()), any::<bool>()), 0..4),
        after in 0..3_usize,
    ) {
        let mut input = base;
        for (at, byte, replaces) in changes {
            if input.is_empty() {
                break;
            }
            let at = at.index(input.len());
            if replaces || byte.is_none() {
                input.remove(at);
            }
            input.splice(at..at, byte);
        }
        input.extend(b"GET /ping HTTP/1.1\r\nHost: mall\r\n\r\n".repeat(after));
        check(&input)?;
    }
}
