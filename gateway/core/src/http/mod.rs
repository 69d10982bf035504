//! HTTP/1.1 as RFC 9112 has it, strictly: what two servers could read differently is refused.

#[cfg(test)]
mod beside_hyper;
mod chunked;
mod date;
mod etag;
mod fields;
mod head;
mod method;
mod receive;
mod respond;
mod syntax;
mod target;

pub use httparse::Header;

use crate::answer::Answer;

pub(crate) use date::DateLines;
pub(crate) use etag::{etag, matches_etag};
pub(crate) use fields::list;
pub(crate) use head::Head;
pub(crate) use method::Method;
pub(crate) use receive::{ReceiveOutcome, Receiver};
pub(crate) use respond::{Exchange, Headers, Persist, RateState, chunk, chunks_end, problem, put_decimal, respond};

/// Bytes of one line of a head with its CRLF: of the request line beyond it 414, of a field's line 431.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a head, from the request line to the empty line; beyond it 431.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of one request; beyond it 431.
pub const HEADERS_MAX: usize = 64;
/// Bytes of a body, decoded; beyond it 413.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a chunked body as it travels, sizes, extensions and trailers counted; beyond it 413.
pub const CHUNKED_WIRE_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(LINE_BYTES_MAX <= HEAD_BYTES_MAX, "a line is part of a head");
const _: () = assert!(BODY_BYTES_MAX <= CHUNKED_WIRE_BYTES_MAX, "chunks only add bytes to a body");

/// A request that is parsed already, for drivers that have their own parser. The body must be what
/// its one `Content-Length` says; chunked bodies are refused, because who decoded them is not known, and
/// so is `Expect`, because who would send the 100 is not.
#[derive(Debug, Clone, Copy)]
pub struct Request<'b> {
    /// As it came.
    pub method: &'b str,
    /// As it came.
    pub target: &'b str,
    /// The version is 1.0, not 1.1.
    pub http_1_0: bool,
    /// All of them, as they came.
    pub headers: &'b [Header<'b>],
    /// All of it.
    pub body: &'b [u8],
}

impl Request<'_> {
    /// Bytes of the body that belong to this head, whatever `body` is yet.
    ///
    /// # Errors
    /// How the core refuses it, whatever the body is: it is given to the core without one.
    pub fn body_len(&self, limits: &Limits) -> Result<usize, Answer> {
        Head::from_request(self, limits).map(|(_, length)| length)
    }
}

/// What a request may measure, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// One line of the head: [`LINE_BYTES_MAX`].
    pub line_bytes_max: usize,
    /// The head: [`HEAD_BYTES_MAX`].
    pub head_bytes_max: usize,
    /// The decoded body: [`BODY_BYTES_MAX`].
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { line_bytes_max: LINE_BYTES_MAX, head_bytes_max: HEAD_BYTES_MAX, body_bytes_max: BODY_BYTES_MAX }
    }
}
