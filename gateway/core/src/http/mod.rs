//! HTTP/1.1 as RFC 9112 has it, strictly: what two servers could read differently is refused.

mod chunked;
mod fields;
mod head;
mod receive;
mod respond;

pub(crate) use fields::list;
pub(crate) use head::{Head, Method};
pub(crate) use receive::{Received, Receiver};
pub(crate) use respond::{Exchange, Headers, Persist, RateState, chunk, chunks_end, problem, put_decimal, respond};

/// Headers of one request beyond this are answered 431.
pub const HEADERS_MAX: usize = 64;
/// Bytes of a chunked body as it travels, sizes and extensions counted; beyond it 413.
pub const CHUNKED_WIRE_BYTES_MAX: usize = 64 * 1024;

/// What a request may measure, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The request line with its CRLF; beyond it 414.
    pub request_line_bytes_max: usize,
    /// The request line and all headers with the empty line; beyond it 431.
    pub head_bytes_max: usize,
    /// The decoded body; beyond it 413.
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { request_line_bytes_max: 8 * 1024, head_bytes_max: 16 * 1024, body_bytes_max: 16 * 1024 }
    }
}
