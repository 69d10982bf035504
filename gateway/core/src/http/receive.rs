//! One request after another out of a stream of bytes.

use super::{
    Limits,
    chunked::Chunked,
    head::{Framing, Head, HeadScan},
};
use crate::answer::Answer;

/// A buffer that grew beyond this is given back between requests.
const BODY_KEPT_BYTES_MAX: usize = 4096;

/// What the bytes amount to so far.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it lives for one match; a box would be an allocation a request")]
pub(crate) enum ReceiveOutcome<'b> {
    /// More bytes are needed.
    Partial,
    /// A 100 is to be sent, whatever the body turns out to be; then the same bytes are looked at again.
    Continue,
    /// A request that took `used` bytes.
    Whole { head: Head<'b>, body: &'b [u8], used: usize },
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Head(HeadScan),
    Body { head_len: usize, framing: Framing, chunked: Chunked },
}

/// The state between two reads of one request.
#[derive(Debug)]
pub(crate) struct Receiver {
    stage: Stage,
    skipped_empty_line: bool,
    /// What a chunked body decodes to; other bodies stay where they are.
    decoded: Vec<u8>,
}

impl Receiver {
    pub(crate) const fn new() -> Self {
        Self { stage: Stage::Head(HeadScan::new()), skipped_empty_line: false, decoded: Vec::new() }
    }

    /// The head is whole and the body is awaited.
    pub(crate) const fn in_body(&self) -> bool {
        matches!(self.stage, Stage::Body { .. })
    }

    /// Bytes to pass over before the request: one empty line (RFC 9112 section 2.2). `None` where that
    /// can't be known yet.
    pub(crate) fn skip_empty_line(&mut self, input: &[u8]) -> Option<usize> {
        if self.in_body() || self.skipped_empty_line {
            return Some(0);
        }
        match input {
            [b'\r'] => None,
            [b'\r', b'\n', ..] => {
                self.skipped_empty_line = true;
                Some(2)
            }
            _ => Some(0),
        }
    }

    /// Looks at `input`, which begins where the request does and has grown since the last call.
    pub(crate) fn advance<'b>(&'b mut self, input: &'b [u8], limits: &Limits) -> Result<ReceiveOutcome<'b>, Answer> {
        let (parsed, head_len, framing, mut chunked) = match &mut self.stage {
            Stage::Body { head_len, framing, chunked } => (None, *head_len, *framing, *chunked),
            Stage::Head(scan) => {
                let Some(head_len) = scan.advance(input, limits)? else { return Ok(ReceiveOutcome::Partial) };
                let head = Head::parse(input.get(..head_len).unwrap_or_default(), limits)?;
                let (framing, chunked) = (head.framing, Chunked::new());
                if head.awaits_continue() {
                    self.stage = Stage::Body { head_len, framing, chunked };
                    return Ok(ReceiveOutcome::Continue);
                }
                (Some(head), head_len, framing, chunked)
            }
        };
        let (head_bytes, wire) = input.split_at_checked(head_len).unwrap_or((input, b""));
        let body_len = match framing {
            Framing::Length(length) => (length <= wire.len()).then_some(length),
            Framing::Chunked => chunked.advance(wire, &mut self.decoded, limits.body_bytes_max)?,
        };
        let Some(body_len) = body_len else {
            self.stage = Stage::Body { head_len, framing, chunked };
            return Ok(ReceiveOutcome::Partial);
        };
        let head = match parsed {
            Some(head) => head,
            None => Head::parse(head_bytes, limits)?,
        };
        let body = match framing {
            Framing::Length(_) => wire.get(..body_len).unwrap_or_default(),
            Framing::Chunked => &self.decoded,
        };
        Ok(ReceiveOutcome::Whole { head, body, used: head_len + body_len })
    }

    /// Makes ready for the next request.
    pub(crate) fn restart(&mut self) {
        self.stage = Stage::Head(HeadScan::new());
        self.skipped_empty_line = false;
        self.decoded.clear();
        if self.decoded.capacity() > BODY_KEPT_BYTES_MAX {
            self.decoded = Vec::new();
        }
    }
}
