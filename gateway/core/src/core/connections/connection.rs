//! One connection: bytes that came, answers that wait to be written.

use std::net::IpAddr;

use super::{
    phase::{AfterRequest, Awaited, Phase, Reserving, Streaming},
    server::{RequestParts, Server},
    timers::Deadlines,
};
use crate::{
    Answer, Limits, Next, Request,
    board::{Order, Status},
    core::service::Service,
    http::{Exchange, Head, Persist, ReceiveOutcome, Receiver, chunk, chunks_end},
    ids::{ConnId, WaitId},
};

/// Answers to pipelined requests that are not written yet; beyond it no further request is answered.
const OUT_BYTES_MAX: usize = 64 * 1024;
/// A buffer that grew beyond this is given back once it is empty.
const BUFFER_KEPT_BYTES_MAX: usize = 16 * 1024;
/// Bytes of events that a client may leave unread before its stream is ended.
const STREAM_UNREAD_BYTES_MAX: usize = 4 * 1024;

const _: () = assert!(BUFFER_KEPT_BYTES_MAX <= OUT_BYTES_MAX);
const _: () = assert!(STREAM_UNREAD_BYTES_MAX < OUT_BYTES_MAX);

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    peer: IpAddr,
    phase: Phase,
    receiver: Receiver,
    /// Bytes that arrived and were not used yet. They begin where a request begins.
    stash: Vec<u8>,
    out: Vec<u8>,
    /// Input stopped being used because `out` was full.
    stalled: bool,
    eof: bool,
    /// Nothing more is read; what is in `out` is the last.
    closing: bool,
    /// It has had a request.
    was_used: bool,
    /// The client did not read in time: nothing more is written.
    cut: bool,
    /// The connection is in the queue of `poll_ready`.
    announced: bool,
    deadlines: Deadlines,
}

/// What requests are served with: lent for one call.
pub(super) struct Serving<'a, 's> {
    pub id: ConnId,
    pub limits: &'a Limits,
    pub server: &'a mut Server,
    pub service: &'a mut Service<'s>,
}

impl Connection {
    pub(super) fn new(peer: IpAddr) -> Self {
        Self {
            peer,
            phase: Phase::Receiving,
            receiver: Receiver::new(),
            stash: Vec::new(),
            out: Vec::new(),
            stalled: false,
            eof: false,
            closing: false,
            was_used: false,
            cut: false,
            announced: false,
            deadlines: Deadlines::default(),
        }
    }

    pub(super) const fn peer(&self) -> IpAddr {
        self.peer
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether it waits for this reservation.
    #[inline]
    pub(super) fn waits_for(&self, wait: WaitId) -> bool {
        self.reserving(wait).is_some()
    }

    /// The request that waits for this reservation.
    #[inline]
    pub(super) fn reserving(&self, wait: WaitId) -> Option<Reserving> {
        match self.phase {
            Phase::Reserving(reserving) if reserving.wait == wait => Some(reserving),
            Phase::Reserving(_) | Phase::Receiving | Phase::Metrics(_) | Phase::Streaming(_) => None,
        }
    }

    pub(super) const fn is_cut(&self) -> bool {
        self.cut
    }

    pub(super) const fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    pub(super) const fn deadlines_mut(&mut self) -> &mut Deadlines {
        &mut self.deadlines
    }

    #[inline]
    pub(super) fn awaited(&self) -> Awaited {
        match self.phase {
            Phase::Receiving if self.stash.is_empty() && !self.was_used => Awaited::FirstRequest,
            Phase::Receiving if self.stash.is_empty() || self.stalled => Awaited::Request,
            Phase::Receiving if self.receiver.in_body() => Awaited::Body,
            Phase::Receiving => Awaited::Header,
            Phase::Reserving(_) | Phase::Metrics(_) => Awaited::Reply,
            Phase::Streaming(_) => Awaited::Heartbeat,
        }
    }

    /// Marks it as announced to its driver. Whether it was not yet.
    pub(super) fn announce(&mut self) -> bool {
        !std::mem::replace(&mut self.announced, true)
    }

    /// Its driver is about to poll it.
    pub(super) fn end_announcement(&mut self) {
        assert!(self.announced, "a connection was announced twice");
        self.announced = false;
    }

    /// The client sends no more.
    pub(super) fn handle_eof(&mut self) {
        self.eof = true;
    }

    /// Bytes came from the client.
    #[inline]
    pub(super) fn handle_input(&mut self, input: &[u8], serving: &mut Serving<'_, '_>) {
        if self.stash.is_empty() {
            let used = self.use_input(input, serving);
            self.stash.extend_from_slice(&input[used..]);
        } else {
            self.stash.extend_from_slice(input);
            self.use_stash(serving);
        }
    }

    fn use_stash(&mut self, serving: &mut Serving<'_, '_>) {
        let mut stash = std::mem::take(&mut self.stash);
        let used = self.use_input(&stash, serving);
        stash.drain(..used);
        self.stash = stash;
    }

    /// Answers the requests in `input`, as many as may be answered now. How many bytes they had.
    fn use_input(&mut self, input: &[u8], serving: &mut Serving<'_, '_>) -> usize {
        let mut used = 0;
        self.stalled = false;
        loop {
            if self.closing {
                return input.len();
            }
            let rest = &input[used..];
            if rest.is_empty() || !matches!(self.phase, Phase::Receiving) {
                return used;
            }
            if self.out.len() >= OUT_BYTES_MAX {
                self.stalled = true;
                return used;
            }
            match self.receiver.skip_empty_line(rest) {
                None => return used,
                Some(0) => {}
                Some(skipped) => {
                    used += skipped;
                    continue;
                }
            }
            match self.receiver.advance(rest, serving.limits) {
                Ok(ReceiveOutcome::Partial) => return used,
                Ok(ReceiveOutcome::Continue) => self.out.extend_from_slice(CONTINUE),
                Ok(ReceiveOutcome::Whole { head, body, used: request_bytes }) => {
                    let arrived = RequestParts { peer: self.peer, head: &head, body };
                    let served = serving.server.serve(serving.id, arrived, &mut self.out, serving.service);
                    used += request_bytes;
                    self.receiver.restart();
                    self.enter(served);
                }
                Err(answer) => {
                    serving.server.reject(answer, is_head(rest), &mut self.out);
                    self.closing = true;
                }
            }
        }
    }

    /// A request came that the driver has parsed.
    ///
    /// # Panics
    /// If the request before it is not answered yet.
    pub(super) fn handle_request(&mut self, request: &Request<'_>, serving: &mut Serving<'_, '_>) {
        assert!(matches!(self.phase, Phase::Receiving), "{:?} has a request already", serving.id);
        if self.closing {
            return;
        }
        match Head::from_request(request, serving.limits) {
            Ok((head, length)) if length == request.body.len() => {
                let arrived = RequestParts { peer: self.peer, head: &head, body: request.body };
                let served = serving.server.serve(serving.id, arrived, &mut self.out, serving.service);
                self.enter(served);
            }
            refused => {
                let answer = refused.err().unwrap_or(Answer::BadRequest);
                serving.server.reject(answer, request.method == "HEAD", &mut self.out);
                self.closing = true;
            }
        }
    }

    fn enter(&mut self, served: AfterRequest) {
        self.closing = served.is_last && matches!(served.phase, Phase::Receiving);
        self.phase = served.phase;
        self.was_used = true;
        self.deadlines.expect_new();
    }

    /// Answers what it waited for with `write`, and continues with the bytes that came meanwhile.
    pub(super) fn conclude(
        &mut self,
        exchange: &Exchange,
        serving: &mut Serving<'_, '_>,
        write: impl FnOnce(&mut Server, &mut Vec<u8>),
    ) {
        assert!(!matches!(self.phase, Phase::Receiving | Phase::Streaming(_)), "{:?} waits for nothing", serving.id);
        write(serving.server, &mut self.out);
        self.phase = Phase::Receiving;
        self.closing |= exchange.persist == Persist::Close;
        self.deadlines.expect_new();
        self.use_stash(serving);
    }

    /// Continues with input that was left because too many answers waited to be written. Whether there was any.
    #[inline]
    pub(super) fn continue_input(&mut self, serving: &mut Serving<'_, '_>) -> bool {
        let continues = self.out.is_empty() && self.stalled;
        if continues {
            self.use_stash(serving);
        }
        continues
    }

    /// What the driver must do now; answers are moved to `out`.
    #[inline]
    pub(super) fn poll(&mut self, out: &mut Vec<u8>) -> Next {
        if !self.out.is_empty() {
            self.take_out(out);
            return Next::Write;
        }
        match self.phase {
            Phase::Receiving if self.closing || self.eof => Next::Close,
            Phase::Receiving => Next::Read,
            Phase::Reserving(_) | Phase::Metrics(_) | Phase::Streaming(_) => Next::Wait,
        }
    }

    /// Appends the answers to `out`, or exchanges the buffers if `out` is empty.
    fn take_out(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() {
            std::mem::swap(out, &mut self.out);
        } else {
            out.append(&mut self.out);
        }
        if self.out.capacity() > BUFFER_KEPT_BYTES_MAX {
            self.out = Vec::new();
        }
        if self.stash.is_empty() && self.stash.capacity() > BUFFER_KEPT_BYTES_MAX {
            self.stash = Vec::new();
        }
    }

    /// The client did not read in time: the connection ends without another byte.
    pub(super) fn cut(&mut self) {
        (self.cut, self.closing) = (true, true);
        self.deadlines.end();
        self.deadlines.end_write();
    }

    /// The next request did not begin in time.
    pub(super) fn end_idle(&mut self) {
        self.closing = true;
        self.deadlines.end();
    }

    /// A request did not arrive in time.
    pub(super) fn end_late(&mut self, server: &mut Server) {
        server.reject(Answer::RequestTimeout, is_head(&self.stash), &mut self.out);
        self.closing = true;
        self.stash.clear();
        self.deadlines.end();
    }

    /// The core drains: an idle connection closes now. Whether it is idle.
    pub(super) fn end_if_idle(&mut self) -> bool {
        let is_idle = matches!(self.phase, Phase::Receiving) && self.stash.is_empty();
        self.closing |= is_idle;
        is_idle
    }

    /// Sends a change of the order to its stream. Returns whether the stream stays open.
    pub(super) fn send_event(&mut self, streaming: &Streaming, order: Order, event: &[u8]) -> bool {
        let is_owner = order.owner == streaming.user;
        // The stream began with `queued`, so the journal's record of it is no change.
        if is_owner && order.status > Status::Queued {
            chunk(&mut self.out, streaming.http_1_0, event);
        }
        is_owner && !order.status.is_final()
    }

    /// Sends a sign of life on the stream. `false` if the client leaves too much unread.
    pub(super) fn send_heartbeat(&mut self, streaming: &Streaming) -> bool {
        if self.out.len() > STREAM_UNREAD_BYTES_MAX {
            return false;
        }
        chunk(&mut self.out, streaming.http_1_0, b":\n\n");
        true
    }

    /// Ends the stream after what was sent; the connection closes.
    pub(super) fn end_stream(&mut self, streaming: &Streaming) {
        assert!(matches!(self.phase, Phase::Streaming(_)), "there is no stream to end");
        chunks_end(&mut self.out, streaming.http_1_0);
        self.phase = Phase::Receiving;
        self.closing = true;
    }
}

/// Whether a request that was not read to its end is a HEAD.
fn is_head(input: &[u8]) -> bool {
    input.starts_with(b"HEAD ")
}
