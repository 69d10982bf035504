//! Answers whole requests, and refuses what is no request.

use std::{collections::VecDeque, net::IpAddr};

use contract::stock::Outcome;

use super::{
    phase::{AfterRequest, Phase, Reserving, Streaming},
    streams::{Streams, event},
};
use crate::{
    Answer, Origin,
    core::{
        decision::{Decision, Follow},
        random::TraceIds,
        service::Service,
        turn::{Accepted, AnswerWriter, Turn},
    },
    http::{Exchange, Head, Method, Persist, chunks_end},
    ids::ConnId,
    queue::Unavailable,
};

/// A request that has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestParts<'a, 'b> {
    pub peer: IpAddr,
    pub head: &'a Head<'b>,
    pub body: &'a [u8],
}

/// What answers are made with, besides what the handlers decide.
#[derive(Debug)]
pub(super) struct Server {
    writer: AnswerWriter,
    traces: TraceIds,
    streams: Streams,
    metrics_asked: VecDeque<ConnId>,
    /// Pages that may call from another origin.
    origins: Vec<Origin>,
    draining: bool,
    /// Every answer is the last one on its connection.
    closes: bool,
}

impl Server {
    pub(super) fn new(streams_max: usize, streams_per_user_max: usize, origins: Vec<Origin>, seed: u64) -> Self {
        Self {
            writer: AnswerWriter::default(),
            traces: TraceIds::new(seed),
            streams: Streams::new(streams_max, streams_per_user_max),
            metrics_asked: VecDeque::new(),
            origins,
            draining: false,
            closes: false,
        }
    }

    pub(super) const fn writer(&self) -> &AnswerWriter {
        &self.writer
    }

    pub(super) const fn writer_mut(&mut self) -> &mut AnswerWriter {
        &mut self.writer
    }

    pub(super) const fn streams(&self) -> &Streams {
        &self.streams
    }

    pub(super) const fn streams_mut(&mut self) -> &mut Streams {
        &mut self.streams
    }

    pub(super) const fn is_draining(&self) -> bool {
        self.draining
    }

    pub(super) fn handle_drain(&mut self) {
        self.draining = true;
        self.closes = true;
    }

    /// Whether every answer to come is the last one on its connection.
    pub(super) const fn set_closes(&mut self, closes: bool) {
        self.closes = closes || self.draining;
    }

    /// A connection that waits for the text of `/metrics`.
    pub(super) fn poll_metrics(&mut self) -> Option<ConnId> {
        self.metrics_asked.pop_front()
    }

    /// Answers a request, or begins what its answer waits for.
    #[inline]
    pub(super) fn serve(
        &mut self,
        id: ConnId,
        arrived: RequestParts<'_, '_>,
        out: &mut Vec<u8>,
        service: &mut Service<'_>,
    ) -> AfterRequest {
        let RequestParts { peer, head, body } = arrived;
        let exchange = self.exchange(head);
        let mut turn = Turn { peer, head, body, exchange, writer: &mut self.writer, out };
        let phase = match service.answer(&mut turn) {
            Decision::Answered => Phase::Receiving,
            Decision::Reserve(request) => {
                match service.submit(id, &request, (head.fields.traceparent, exchange.trace_id)) {
                    Some(wait) => {
                        let (activity, quantity) = (request.activity, request.quantity);
                        Phase::Reserving(Reserving { wait, exchange: turn.exchange, activity, quantity })
                    }
                    None => {
                        turn.refuse(Answer::Unavailable);
                        Phase::Receiving
                    }
                }
            }
            Decision::Metrics => {
                self.metrics_asked.push_back(id);
                Phase::Metrics(turn.exchange)
            }
            Decision::Follow(follow) => begin_stream(id, follow, &mut turn, &mut self.streams),
        };
        AfterRequest { phase, is_last: turn.exchange.persist == Persist::Close }
    }

    fn exchange(&mut self, head: &Head<'_>) -> Exchange {
        let fields = &head.fields;
        let persist = match (self.closes || fields.closes, head.http_1_0) {
            (true, _) => Persist::Close,
            (false, false) => Persist::KeepAlive,
            (false, true) if fields.keeps_alive => Persist::KeepAliveSaid,
            (false, true) => Persist::Close,
        };
        Exchange {
            persist,
            http_1_0: head.http_1_0,
            head_only: head.method == Method::Head,
            trace_id: self.traces.of(fields.traceparent),
            rate: None,
            cors: fields.origin.and_then(|origin| Origin::lines_for(&self.origins, origin)),
        }
    }

    /// Answers what is no request; the connection must close. `head_only`: it began as a HEAD, which gets no body even
    /// so (RFC 9110 section 9.3.2).
    pub(super) fn reject(&mut self, answer: Answer, head_only: bool, out: &mut Vec<u8>) {
        assert!(answer.closes(), "{answer:?} leaves the connection usable");
        let trace_id = self.traces.of(None);
        let exchange =
            Exchange { persist: Persist::Close, http_1_0: false, head_only, trace_id, rate: None, cors: None };
        self.writer.refuse(out, &exchange, answer);
    }

    /// Answers a request with the outcome of its reservation.
    pub(super) fn answer_outcome(
        &mut self,
        reserving: &Reserving,
        outcome: Result<Outcome, Unavailable>,
        out: &mut Vec<u8>,
    ) {
        let refusal = match outcome {
            Ok(Outcome::Held { order, .. }) => {
                let accepted = Accepted { order, activity: reserving.activity, quantity: reserving.quantity };
                return self.writer.accept(out, &reserving.exchange, &accepted);
            }
            Ok(Outcome::SoldOut) => Answer::SoldOut,
            Ok(Outcome::LimitReached) => Answer::LimitReached,
            Ok(Outcome::NotStarted) => Answer::NotStarted,
            Ok(Outcome::Ended) => Answer::Ended,
            Ok(Outcome::RateLimited) => Answer::RateLimited,
            Ok(Outcome::KeyReused) => Answer::IdempotencyKeyReused,
            Err(Unavailable::Frozen) => Answer::Frozen,
            Ok(Outcome::Done | Outcome::UnknownOrder | Outcome::Conflict | Outcome::Refused)
            | Err(Unavailable::Unknown) => Answer::Unavailable,
        };
        self.writer.refuse(out, &reserving.exchange, refusal);
    }
}

/// Sends the order's status now. Where it may still change, the connection follows it.
fn begin_stream(id: ConnId, follow: Follow, turn: &mut Turn<'_, '_>, streams: &mut Streams) -> Phase {
    let Follow { order, user, status, expires_at_s } = follow;
    let Exchange { http_1_0, head_only, .. } = turn.exchange;
    if streams.is_full() && !head_only {
        turn.refuse(Answer::Unavailable);
        return Phase::Receiving;
    }
    if streams.is_full_for(user) && !head_only {
        turn.refuse(Answer::RateLimited);
        return Phase::Receiving;
    }
    turn.begin_stream(event(order, status).as_bytes());
    if head_only {
        return Phase::Receiving;
    }
    if status.is_final() {
        chunks_end(turn.out, http_1_0);
        return Phase::Receiving;
    }
    let streaming = Streaming { order, user, http_1_0, expires_at_s };
    streams.add(&streaming, id);
    Phase::Streaming(streaming)
}
