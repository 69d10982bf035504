//! Bytes in, answers out.

use std::{fmt::Display, io::Write as _, net::IpAddr};

use sha2::{Digest, Sha256};

use super::{
    ConnId, Core, Next,
    connection::{Connection, Phase},
};
use crate::{
    Answer, Now,
    http::{Exchange, Head, Headers, Method, Persist, Received, Request, problem, respond},
    limit::Limited,
    order_request::Refusal,
    route::Route,
};

/// Answers to pipelined requests that are not written yet; no further request is answered beyond it.
const OUT_BYTES_MAX: usize = 64 * 1024;
/// Seconds after which what is unavailable may be asked for again.
const RETRY_AFTER_S: u64 = 1;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A request, and where its answer goes.
pub(super) struct Turn<'a, 'b> {
    pub(super) id: ConnId,
    pub(super) exchange: Exchange,
    pub(super) head: &'a Head<'b>,
    pub(super) body: &'a [u8],
    pub(super) out: &'a mut Vec<u8>,
}

/// The request was answered already.
pub(super) struct Answered;

impl Core {
    /// Bytes came from the client. How many of them were taken: all.
    pub fn handle_client(&mut self, id: ConnId, input: &[u8], now: Now) -> usize {
        self.now = now;
        self.with(id, |core, connection| {
            if connection.stash.is_empty() {
                let used = core.use_input(id, connection, input);
                connection.stash.extend_from_slice(&input[used..]);
            } else {
                connection.stash.extend_from_slice(input);
                core.use_stash(id, connection);
            }
            core.arm(id, connection);
        });
        input.len()
    }

    /// The client sends no more. What it asked for is still answered.
    pub fn handle_eof(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.eof = true;
        }
    }

    /// What to do for the connection now. Answers are appended to `out`, which the driver empties by
    /// writing it: it polls again once all of it is written, or once [`Core::is_cut`] says to give up.
    pub fn poll_client(&mut self, id: ConnId, out: &mut Vec<u8>) -> Next {
        let mut next = Next::Close;
        self.with(id, |core, connection| {
            connection.write_by = None;
            if connection.cut {
                return;
            }
            if connection.out.is_empty() && connection.stalled {
                core.use_stash(id, connection);
                core.arm(id, connection);
            }
            next = if connection.out.is_empty() {
                match connection.phase {
                    Phase::Receiving if connection.closing || connection.eof => Next::Close,
                    Phase::Receiving => Next::Read,
                    Phase::Reserving(_) | Phase::Metrics(_) | Phase::Streaming(_) => Next::Wait,
                }
            } else {
                connection.take_out(out);
                core.await_write(id, connection);
                Next::Write
            };
        });
        next
    }

    /// Goes on after an answer that had to wait.
    pub(super) fn resume(&mut self, id: ConnId, connection: &mut Connection, exchange: &Exchange) {
        connection.phase = Phase::Receiving;
        connection.closing |= exchange.persist == Persist::Close;
        connection.deadline_for = None;
        self.use_stash(id, connection);
        self.arm(id, connection);
    }

    fn use_stash(&mut self, id: ConnId, connection: &mut Connection) {
        let mut stash = std::mem::take(&mut connection.stash);
        let used = self.use_input(id, connection, &stash);
        stash.drain(..used);
        connection.stash = stash;
    }

    /// Answers the requests in `input`, as many as may be answered now. How many bytes they had.
    fn use_input(&mut self, id: ConnId, connection: &mut Connection, input: &[u8]) -> usize {
        let mut used = 0;
        connection.stalled = false;
        loop {
            if connection.closing {
                return input.len();
            }
            let rest = &input[used..];
            if rest.is_empty() || !matches!(connection.phase, Phase::Receiving) {
                return used;
            }
            if connection.out.len() >= OUT_BYTES_MAX {
                connection.stalled = true;
                return used;
            }
            match connection.receiver.skip_empty_line(rest) {
                None => return used,
                Some(0) => {}
                Some(skipped) => {
                    used += skipped;
                    continue;
                }
            }
            let Connection { receiver, out, peer, .. } = &mut *connection;
            match receiver.advance(rest, &self.config.http) {
                Ok(Received::Partial) => return used,
                Ok(Received::Continue) => out.extend_from_slice(CONTINUE),
                Ok(Received::Whole { head, body, used: request_bytes }) => {
                    let (phase, last) = self.serve(id, *peer, &head, body, out);
                    used += request_bytes;
                    connection.receiver.restart();
                    connection.enter(phase, last);
                }
                Err(answer) => self.reject(connection, answer, is_head(rest)),
            }
        }
    }

    /// A whole request came, on a connection whose driver owns the parser. The answer is polled for like
    /// any other.
    ///
    /// # Panics
    /// Where the request before it is not answered yet.
    pub fn handle_request(&mut self, id: ConnId, request: &Request<'_>, now: Now) {
        self.now = now;
        self.with(id, |core, connection| {
            assert!(matches!(connection.phase, Phase::Receiving), "{id:?} has a request already");
            if connection.closing {
                return;
            }
            match Head::from_request(request, &core.config.http) {
                Ok((head, length)) if length == request.body.len() => {
                    let (phase, last) = core.serve(id, connection.peer, &head, request.body, &mut connection.out);
                    connection.enter(phase, last);
                }
                refused => {
                    let answer = refused.err().unwrap_or(Answer::BadRequest);
                    core.reject(connection, answer, request.method == "HEAD");
                }
            }
            core.arm(id, connection);
        });
    }

    /// Answers a request: what the connection is at afterwards, and whether it was its last.
    fn serve(&mut self, id: ConnId, peer: IpAddr, head: &Head<'_>, body: &[u8], out: &mut Vec<u8>) -> (Phase, bool) {
        let exchange = self.exchange(head);
        let mut turn = Turn { id, exchange, head, body, out };
        let phase = self.answer(peer, &mut turn);
        (phase, turn.exchange.persist == Persist::Close)
    }

    fn exchange(&mut self, head: &Head<'_>) -> Exchange {
        let fields = &head.fields;
        let persist = match (self.draining || fields.closes, head.http_1_0) {
            (true, _) => Persist::Close,
            (false, false) => Persist::KeepAlive,
            (false, true) if fields.keeps_alive => Persist::KeepAliveSaid,
            (false, true) => Persist::Close,
        };
        Exchange {
            persist,
            http_1_0: head.http_1_0,
            head_only: head.method == Method::Head,
            trace_id: self.trace_id(fields.traceparent),
            rate: None,
        }
    }

    /// The client's trace id (W3C Trace Context), or one of our own.
    fn trace_id(&mut self, traceparent: Option<&[u8]>) -> u128 {
        if let Some([b'0', b'0', b'-', rest @ ..]) = traceparent
            && rest.len() == 52
            && rest[32] == b'-'
            && rest[..32].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && let Ok(Ok(id @ 1..)) = std::str::from_utf8(&rest[..32]).map(|hex| u128::from_str_radix(hex, 16))
        {
            return id;
        }
        // Whoever sees one can tell the next: nothing else may come from this seed.
        self.drawn += 1;
        let number = |salt: u64| mixed(self.trace_seed ^ salt, self.drawn);
        u128::from(number(0)) << 64 | u128::from(number(0x6d61_6c6c))
    }

    /// A number that nobody can tell beforehand and that is not drawn again.
    pub(super) fn nonce(&mut self) -> u64 {
        self.drawn += 1;
        one_way(b"nonce", self.config.seed, self.drawn)
    }

    /// Answers one request. What the connection is at afterwards.
    fn answer(&mut self, peer: IpAddr, turn: &mut Turn<'_, '_>) -> Phase {
        let method = turn.head.method;
        if turn.head.target == "*" {
            return self.options(turn, "GET, HEAD, POST, OPTIONS");
        }
        let (path, query) = turn.head.path_and_query();
        let Some(route) = Route::find(path) else { return self.refuse_turn(turn, Answer::NotFound) };
        if !route.takes(method) {
            let headers = Headers { allow: Some(route.allow()), ..Headers::default() };
            self.stats.count(Answer::MethodNotAllowed);
            problem(turn.out, &turn.exchange, Answer::MethodNotAllowed, None, &headers);
            return Phase::Receiving;
        }
        if method == Method::Options {
            return self.options(turn, route.allow());
        }
        if !route.is_operational() {
            match self.gate.take_client(peer, turn.head.fields.forwarded_for, self.now) {
                Ok(rate) => turn.exchange.rate = rate,
                Err(limited) => return self.limited(turn, limited),
            }
        }
        match route {
            Route::Time => self.time(turn),
            Route::Activities => self.activities(turn, query),
            Route::Activity(activity) => self.activity(turn, activity),
            Route::Tickets(activity) => self.ticket(turn, activity),
            Route::Challenge(activity) => self.challenge(turn, activity),
            Route::Orders => self.reserve(turn),
            Route::Order(order) => self.order(turn, order),
            Route::OrderEvents(order) => self.order_events(turn, order),
            Route::Ping => self.say(turn, Answer::Read, "text/plain", b"pong"),
            Route::Healthz => self.say(turn, Answer::Read, "application/json", br#"{"status":"ok"}"#),
            Route::Readyz => self.readyz(turn),
            Route::Metrics => {
                self.metrics_asked.push_back(turn.id);
                Phase::Metrics(turn.exchange)
            }
        }
    }

    fn options(&mut self, turn: &mut Turn<'_, '_>, allow: &'static str) -> Phase {
        self.stats.count(Answer::Preflight);
        let headers = Headers { allow: Some(allow), ..Headers::default() };
        respond(turn.out, &turn.exchange, Answer::Preflight, &headers, &[]);
        Phase::Receiving
    }

    /// Answers with a body that nobody may keep.
    pub(super) fn say(
        &mut self,
        turn: &mut Turn<'_, '_>,
        answer: Answer,
        content_type: &'static str,
        body: &[u8],
    ) -> Phase {
        self.stats.count(answer);
        let headers = Headers { content_type: Some(content_type), ..Headers::default() };
        respond(turn.out, &turn.exchange, answer, &headers, &[body]);
        Phase::Receiving
    }

    /// Answers with JSON that nobody may keep.
    pub(super) fn say_json(
        &mut self,
        turn: &mut Turn<'_, '_>,
        answer: Answer,
        retry_after_s: Option<u64>,
        json: impl Display,
    ) -> Phase {
        self.stats.count(answer);
        self.scratch.clear();
        if let Err(error) = write!(self.scratch, "{json}") {
            unreachable!("a Vec takes what is written: {error}");
        }
        let headers = Headers { content_type: Some("application/json"), retry_after_s, ..Headers::default() };
        respond(turn.out, &turn.exchange, answer, &headers, &[&self.scratch]);
        Phase::Receiving
    }

    /// Answers with a problem.
    pub(super) fn refuse(&mut self, out: &mut Vec<u8>, exchange: &Exchange, answer: Answer) {
        self.stats.count(answer);
        let retry_after_s = matches!(answer.status(), 429 | 503).then_some(RETRY_AFTER_S);
        problem(out, exchange, answer, None, &Headers { retry_after_s, ..Headers::default() });
    }

    /// Refuses a body, with the reason.
    pub(super) fn refuse_body(&mut self, turn: &mut Turn<'_, '_>, refusal: &Refusal) -> Phase {
        self.stats.count(refusal.answer);
        problem(turn.out, &turn.exchange, refusal.answer, refusal.detail.as_deref(), &Headers::default());
        Phase::Receiving
    }

    pub(super) fn refuse_turn(&mut self, turn: &mut Turn<'_, '_>, answer: Answer) -> Phase {
        self.refuse(turn.out, &turn.exchange, answer);
        Phase::Receiving
    }

    pub(super) fn limited(&mut self, turn: &mut Turn<'_, '_>, limited: Limited) -> Phase {
        self.stats.count(Answer::RateLimited);
        turn.exchange.rate = Some(limited.rate);
        let headers = Headers { retry_after_s: Some(limited.retry_after_s), ..Headers::default() };
        problem(turn.out, &turn.exchange, Answer::RateLimited, None, &headers);
        Phase::Receiving
    }

    /// Answers what is no request, and reads no further. `head_only`: it began as a HEAD, which gets no
    /// body even so (RFC 9110 section 9.3.2).
    pub(super) fn reject(&mut self, connection: &mut Connection, answer: Answer, head_only: bool) {
        assert!(answer.closes(), "{answer:?} leaves the connection usable");
        let trace_id = self.trace_id(None);
        let exchange = Exchange { persist: Persist::Close, http_1_0: false, head_only, trace_id, rate: None };
        self.refuse(&mut connection.out, &exchange, answer);
        connection.closing = true;
        connection.stash.clear();
    }
}

/// Whether a request that was not read to its end is a HEAD.
pub(super) fn is_head(input: &[u8]) -> bool {
    input.starts_with(b"HEAD ")
}

/// A number from which `seed` can't be told.
pub(super) fn one_way(purpose: &[u8], seed: u64, n: u64) -> u64 {
    let digest =
        Sha256::new().chain_update(purpose).chain_update(seed.to_be_bytes()).chain_update(n.to_be_bytes()).finalize();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The `n`th number of a sequence that looks random (SplitMix64).
fn mixed(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
