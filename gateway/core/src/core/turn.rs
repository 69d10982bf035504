//! One request while it is being answered.

use std::{fmt::Display, io::Write as _, net::IpAddr};

use contract::{ActivityId, OrderId};

use crate::{
    Answer,
    http::{
        DateLines, Exchange, Head, Headers, Persist, RateState, chunk, etag, matches_etag, problem, put_decimal,
        respond,
    },
    limit::RateExceeded,
    order_request::Refusal,
    stats::AnswerCounts,
};

/// Seconds after which a client may retry what was unavailable.
const RETRY_AFTER_S: u64 = 1;

/// Writes answers and counts them.
#[derive(Debug, Default)]
pub(super) struct AnswerWriter {
    counts: AnswerCounts,
    date: DateLines,
    /// Bodies are written here first, because their length comes before them.
    scratch: Vec<u8>,
}

impl AnswerWriter {
    pub(super) const fn counts(&self) -> &AnswerCounts {
        &self.counts
    }

    /// Sets the `Date` of the answers to come.
    #[inline]
    pub(super) fn set_time(&mut self, wall_ms: u64) {
        self.date.set(wall_ms);
    }

    /// Answers with a problem.
    pub(super) fn refuse(&mut self, out: &mut Vec<u8>, exchange: &Exchange, answer: Answer) {
        self.counts.add(answer);
        let retry_after_s = matches!(answer.status(), 429 | 503).then_some(RETRY_AFTER_S);
        problem(out, &self.date, exchange, answer, None, &Headers { retry_after_s, ..Headers::default() });
    }

    /// Answers with `body`.
    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        exchange: &Exchange,
        answer: Answer,
        headers: &Headers<'_>,
        body: &[u8],
    ) {
        self.counts.add(answer);
        respond(out, &self.date, exchange, answer, headers, &[body]);
    }

    /// Answers that units are held. A repeat of the request gets the same bytes, however late it comes.
    pub(super) fn accept(&mut self, out: &mut Vec<u8>, exchange: &Exchange, accepted: &Accepted) {
        self.counts.add(Answer::Accepted);
        let body = &mut self.scratch;
        body.clear();
        body.extend_from_slice(br#"{"order_id":""#);
        put_decimal(body, accepted.order.as_i64().unsigned_abs());
        body.extend_from_slice(br#"","activity_id":""#);
        put_decimal(body, accepted.activity.as_i64().unsigned_abs());
        body.extend_from_slice(br#"","quantity":"#);
        put_decimal(body, accepted.quantity.into());
        body.extend_from_slice(br#","status":"queued"}"#);
        let location = Some(accepted.order);
        let headers = Headers { content_type: Some("application/json"), location, ..Headers::default() };
        respond(out, &self.date, exchange, Answer::Accepted, &headers, &[body]);
    }
}

/// The units that are held for a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    pub order: OrderId,
    pub activity: ActivityId,
    pub quantity: u32,
}

/// A request, and where its answer goes.
pub(super) struct Turn<'a, 'b> {
    pub peer: IpAddr,
    pub head: &'a Head<'b>,
    pub body: &'a [u8],
    pub exchange: Exchange,
    pub writer: &'a mut AnswerWriter,
    pub out: &'a mut Vec<u8>,
}

/// The request has been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrittenAnswer;

impl Turn<'_, '_> {
    /// Reports the tighter of the limits in `RateLimit-*`.
    pub(super) fn add_rate(&mut self, rate: Option<RateState>) {
        let tighter = |rate: &RateState| self.exchange.rate.is_none_or(|known| rate.remaining < known.remaining);
        self.exchange.rate = rate.filter(tighter).or(self.exchange.rate);
    }

    /// Answers with `body`, which no cache may keep.
    pub(super) fn say(&mut self, answer: Answer, content_type: &'static str, body: &[u8]) -> WrittenAnswer {
        self.write(answer, &Headers { content_type: Some(content_type), ..Headers::default() }, body)
    }

    /// Answers with JSON, which no cache may keep.
    pub(super) fn say_json(&mut self, answer: Answer, retry_after_s: Option<u64>, json: impl Display) -> WrittenAnswer {
        let body = &mut self.writer.scratch;
        body.clear();
        if let Err(error) = write!(body, "{json}") {
            unreachable!("a Vec takes what is written: {error}");
        }
        self.writer.counts.add(answer);
        let headers = Headers { content_type: Some("application/json"), retry_after_s, ..Headers::default() };
        respond(self.out, &self.writer.date, &self.exchange, answer, &headers, &[body]);
        WrittenAnswer
    }

    /// Answers with the JSON that `fill` writes, which caches may keep for a second, or reports that the client's copy
    /// is current.
    pub(super) fn say_public(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> WrittenAnswer {
        let body = &mut self.writer.scratch;
        body.clear();
        fill(body);
        let etag = etag(body);
        let same = self.head.fields.if_none_match.is_some_and(|tags| matches_etag(tags, &etag));
        let answer = if same { Answer::NotModified } else { Answer::Read };
        let content_type = (!same).then_some("application/json");
        let etag = str::from_utf8(&etag).ok();
        let headers = Headers { content_type, etag, public_1_s: true, ..Headers::default() };
        self.writer.counts.add(answer);
        respond(self.out, &self.writer.date, &self.exchange, answer, &headers, &[if same { b"" } else { body }]);
        WrittenAnswer
    }

    /// Answers with `headers` and `body`.
    pub(super) fn write(&mut self, answer: Answer, headers: &Headers<'_>, body: &[u8]) -> WrittenAnswer {
        self.writer.write(self.out, &self.exchange, answer, headers, body);
        WrittenAnswer
    }

    /// Answers with a problem.
    pub(super) fn refuse(&mut self, answer: Answer) -> WrittenAnswer {
        self.writer.refuse(self.out, &self.exchange, answer);
        WrittenAnswer
    }

    /// Answers with a problem and more than its usual headers or detail.
    fn refuse_with(&mut self, answer: Answer, detail: Option<&str>, headers: &Headers<'_>) -> WrittenAnswer {
        self.writer.counts.add(answer);
        problem(self.out, &self.writer.date, &self.exchange, answer, detail, headers);
        WrittenAnswer
    }

    /// Refuses the body and says what is wrong with it.
    pub(super) fn refuse_body(&mut self, refusal: &Refusal) -> WrittenAnswer {
        self.refuse_with(refusal.answer, refusal.detail.as_deref(), &Headers::default())
    }

    /// Refuses a method that the path does not take.
    pub(super) fn refuse_method(&mut self, allow: &'static str) -> WrittenAnswer {
        self.refuse_with(Answer::MethodNotAllowed, None, &Headers { allow: Some(allow), ..Headers::default() })
    }

    /// Refuses what is over a limit.
    pub(super) fn refuse_limited(&mut self, limited: RateExceeded) -> WrittenAnswer {
        self.exchange.rate = Some(limited.rate);
        let headers = Headers { retry_after_s: Some(limited.retry_after_s), ..Headers::default() };
        self.refuse_with(Answer::RateLimited, None, &headers)
    }

    /// The user may ask again after `retry_after_s` seconds.
    pub(super) fn refuse_until(&mut self, retry_after_s: u64) -> WrittenAnswer {
        let headers = Headers { retry_after_s: Some(retry_after_s), ..Headers::default() };
        self.refuse_with(Answer::RateLimited, None, &headers)
    }

    /// Leads a browser that was given the gateway's address to the shop.
    pub(super) fn redirect(&mut self, url: &str) -> WrittenAnswer {
        self.write(Answer::Shop, &Headers { redirect: Some(url), ..Headers::default() }, b"")
    }

    /// Answers `OPTIONS`.
    pub(super) fn say_options(&mut self, allow: &'static str) -> WrittenAnswer {
        self.write(Answer::Preflight, &Headers { allow: Some(allow), ..Headers::default() }, b"")
    }

    /// Begins an event stream with its first event. The connection closes at the end of the stream.
    pub(super) fn begin_stream(&mut self, first: &[u8]) {
        self.exchange.persist = Persist::Close;
        let headers = Headers { content_type: Some("text/event-stream"), streams: true, ..Headers::default() };
        self.writer.counts.add(Answer::Stream);
        respond(self.out, &self.writer.date, &self.exchange, Answer::Stream, &headers, &[]);
        if !self.exchange.head_only {
            chunk(self.out, self.exchange.http_1_0, first);
        }
    }
}
