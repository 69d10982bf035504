//! Everything the gateway decides, without IO, clock or runtime.
//!
//! [`Core`] is the whole of it: bytes of clients go in, bytes to them come out; batches of
//! reservations come out, the ledger's replies go in; what the log says goes in. One core per thread,
//! nothing shared. Given the same configuration, seed and calls it does the same, to the byte.
#![forbid(unsafe_code)]

mod answer;
mod board;
mod config;
mod core;
mod cuts;
mod gate;
mod http;
mod id_filter;
mod ids;
mod limit;
mod lru;
mod order_request;
mod queue;
mod redis;
mod route;
mod stats;
mod tickets;
mod tokens;

use std::time::Duration;

pub use answer::Answer;
pub use board::BoardLimits;
pub use config::{Config, GateLimits, Keys, Origin, Timeouts};
pub use core::{ConnectionRefused, Control, Core, CoreSpan, Next, PartReason, Readiness, Spanned};
pub use cuts::CUTS_MAX;
pub use http::{
    BODY_BYTES_MAX, CHUNKED_WIRE_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX, Header, LINE_BYTES_MAX, Limits, Request,
};
pub use ids::ConnId;
pub use limit::Rate;
pub use order_request::{IDEMPOTENCY_KEY_BYTES_MAX, QUANTITY_MAX, request_key};
pub use queue::{BATCH_MAX, Batch, BatchId, Unavailable};
pub use redis::{PipeError, RedisConfig, RedisEvent, RedisLogin, RedisPipe};
pub use stats::{AnswerCounts, Stats};
pub use tickets::{CAPTCHA_LEAD_MS, CHALLENGE_MS, Captcha, TICKET_MS};

/// The OpenAPI document of the gateway's API. Tests compare it with the routes and with the answers.
pub const OPENAPI: &str = include_str!("openapi.json");

/// An instant on the shell's clocks. It is always the last argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed point; never goes back.
    pub mono: Duration,
    /// Epoch milliseconds; may go back.
    pub wall_ms: u64,
}

const fn is_send<T: Send>() {}
const _: () = is_send::<Core>();
