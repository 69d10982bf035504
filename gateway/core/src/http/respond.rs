//! Answers as bytes. Nothing in them but `Date` depends on a clock: the gateway's answers to a repeat are otherwise the
//! same bytes.

use contract::OrderId;

use super::date::DateLines;
use crate::answer::{Answer, problem_start, status_line};

/// What the answer says about the connection (RFC 9112 section 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persist {
    /// HTTP/1.1's default.
    KeepAlive,
    /// Asked for by an HTTP/1.0 client.
    KeepAliveSaid,
    Close,
}

/// The state of a client's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateState {
    /// Requests that may come at once.
    pub limit: u32,
    /// How many of them are left.
    pub remaining: u32,
    /// Seconds until all are back.
    pub reset_s: u64,
}

/// What the answer must know of its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchange {
    pub persist: Persist,
    pub http_1_0: bool,
    /// The method was HEAD: all headers, no body.
    pub head_only: bool,
    pub trace_id: u128,
    pub rate: Option<RateState>,
    /// The header lines for a page of another origin that may call.
    pub cors: Option<&'static str>,
}

/// The headers that differ between answers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Headers<'a> {
    pub content_type: Option<&'static str>,
    pub allow: Option<&'static str>,
    pub etag: Option<&'a str>,
    pub location: Option<OrderId>,
    /// Where the client should go instead.
    pub redirect: Option<&'a str>,
    pub retry_after_s: Option<u64>,
    /// The sealed challenge whose picture the body is.
    pub challenge: Option<&'a str>,
    /// Caches may keep the answer for a second; otherwise they must not keep it.
    pub public_1_s: bool,
    /// The body follows in chunks, so there is no length.
    pub streams: bool,
}

/// What a page of an allowed origin may send, and for how long its browser may remember it.
const PREFLIGHT: &[u8] = b"access-control-allow-methods: GET, POST\r\n\
    access-control-allow-headers: authorization, content-type, idempotency-key\r\naccess-control-max-age: 600\r\n";

/// Appends an answer whose body is `body`, part by part.
pub(crate) fn respond(
    out: &mut Vec<u8>,
    date: &DateLines,
    exchange: &Exchange,
    answer: Answer,
    headers: &Headers<'_>,
    body: &[&[u8]],
) {
    let status = answer.status();
    put(out, status_line(status).as_bytes());
    put(out, date.as_bytes());
    if let Some(content_type) = headers.content_type {
        put_line(out, b"content-type: ", content_type.as_bytes());
    }
    if headers.streams {
        // nginx would keep events until its buffer is full.
        put(out, b"x-accel-buffering: no\r\n");
        if !exchange.http_1_0 {
            put(out, b"transfer-encoding: chunked\r\n");
        }
    } else if status != 204 && status != 304 {
        put_number(out, b"content-length: ", body.iter().map(|part| part.len() as u64).sum());
    }
    let cache: &[u8] =
        if headers.public_1_s { b"cache-control: public, max-age=1\r\n" } else { b"cache-control: no-store\r\n" };
    put(out, cache);
    if let Some(allow) = headers.allow {
        put_line(out, b"allow: ", allow.as_bytes());
    }
    if let Some(etag) = headers.etag {
        put_line(out, b"etag: ", etag.as_bytes());
    }
    if let Some(order) = headers.location {
        put_number(out, b"location: /api/v1/seckill/orders/", order.as_i64().unsigned_abs());
    }
    if let Some(url) = headers.redirect {
        put_line(out, b"location: ", url.as_bytes());
    }
    if let Some(seconds) = headers.retry_after_s {
        put_number(out, b"retry-after: ", seconds);
    }
    if let Some(challenge) = headers.challenge {
        put_line(out, b"challenge: ", challenge.as_bytes());
    }
    if answer == Answer::InvalidToken {
        put_line(out, b"www-authenticate: ", b"Bearer");
    }
    if let Some(lines) = exchange.cors {
        put(out, lines.as_bytes());
        if answer == Answer::Preflight {
            put(out, PREFLIGHT);
        }
    }
    put_rate(out, exchange, answer);
    match exchange.persist {
        Persist::KeepAlive => {}
        Persist::KeepAliveSaid => put_line(out, b"connection: ", b"keep-alive"),
        Persist::Close => put_line(out, b"connection: ", b"close"),
    }
    put(out, b"\r\n");
    if !exchange.head_only {
        for part in body {
            put(out, part);
        }
    }
}

/// `RateLimit-*` as draft-ietf-httpapi-ratelimit-headers-06 has them. A 202 has only what never
/// changes, so that a repeat has the same bytes.
fn put_rate(out: &mut Vec<u8>, exchange: &Exchange, answer: Answer) {
    let Some(rate) = exchange.rate else { return };
    put_number(out, b"ratelimit-limit: ", u64::from(rate.limit));
    if answer != Answer::Accepted {
        put_number(out, b"ratelimit-remaining: ", u64::from(rate.remaining));
        put_number(out, b"ratelimit-reset: ", rate.reset_s);
    }
}

/// Appends a refusal as RFC 9457 has it. `detail` replaces the answer's own text.
pub(crate) fn problem(
    out: &mut Vec<u8>,
    date: &DateLines,
    exchange: &Exchange,
    answer: Answer,
    detail: Option<&str>,
    headers: &Headers<'_>,
) {
    let mut trace_id = [0; 32];
    for (pair, byte) in trace_id.chunks_exact_mut(2).zip(exchange.trace_id.to_be_bytes()) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    // Only what a client may have had a part in can hold a character to escape.
    let escaped = detail.and_then(|detail| serde_json::to_string(detail).ok());
    let inside_quotes = escaped.as_deref().and_then(|quoted| quoted.get(1..quoted.len() - 1));
    let detail = inside_quotes.unwrap_or(answer.detail());
    let (start, code) = (problem_start(answer.status()), answer.problem_code());
    let body: [&[u8]; 5] = [start.as_bytes(), detail.as_bytes(), code.as_bytes(), &trace_id, br#""}"#];
    let headers = Headers { content_type: Some("application/problem+json"), ..*headers };
    respond(out, date, exchange, answer, &headers, &body);
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends one piece of a streamed body: a chunk, or for HTTP/1.0 the bare bytes.
pub(crate) fn chunk(out: &mut Vec<u8>, http_1_0: bool, piece: &[u8]) {
    assert!(!piece.is_empty(), "an empty chunk ends a body");
    if http_1_0 {
        put(out, piece);
        return;
    }
    put(out, format!("{:x}\r\n", piece.len()).as_bytes());
    put(out, piece);
    put(out, b"\r\n");
}

/// Appends the end of a streamed body.
pub(crate) fn chunks_end(out: &mut Vec<u8>, http_1_0: bool) {
    if !http_1_0 {
        put(out, b"0\r\n\r\n");
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}

fn put_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    put(out, name);
    put(out, value);
    put(out, b"\r\n");
}

fn put_number(out: &mut Vec<u8>, name: &[u8], value: u64) {
    put(out, name);
    put_decimal(out, value);
    put(out, b"\r\n");
}

/// The decimal digits of 0 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [DIGITS[number / 10], DIGITS[number % 10]];
        number += 1;
    }
    pairs
};

/// Appends `value` in decimal, two digits at a time: divisions are what it costs.
pub(crate) fn put_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    while value >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    if value > 0 || at == digits.len() {
        at -= 1;
        digits[at] = DIGITS[(value % 10) as usize];
    }
    put(out, &digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        let powers = (0..20).map(|power| 10_u64.pow(power)).flat_map(|power| [power - 1, power, power + 1]);
        for value in (0..2_000).chain(powers).chain([u64::MAX - 1, u64::MAX]) {
            let mut out = b"x".to_vec();
            put_decimal(&mut out, value);
            assert_eq!(out, format!("x{value}").into_bytes());
        }
    }
}
