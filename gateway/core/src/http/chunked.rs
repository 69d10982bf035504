//! Chunked bodies (RFC 9112 section 7.1), decoded byte by byte so that cuts don't matter.

use super::{
    CHUNKED_WIRE_BYTES_MAX,
    syntax::{is_text, is_token},
};
use crate::answer::Answer;

/// Hex digits of a chunk's size; beyond it 400.
const SIZE_DIGITS_MAX: u8 = 8;

/// The state of the decoder.
#[derive(Debug, Clone, Copy)]
enum State {
    Size {
        size: usize,
        digits: u8,
    },
    /// In the name of an extension, behind a semicolon.
    Name {
        size: usize,
        named: bool,
    },
    /// Behind an extension's equals sign.
    Value {
        size: usize,
    },
    Token {
        size: usize,
    },
    Quoted {
        size: usize,
    },
    /// Behind a backslash between quotes.
    Escaped {
        size: usize,
    },
    QuotedEnd {
        size: usize,
    },
    SizeLf {
        size: usize,
    },
    Data {
        left: usize,
    },
    DataCr,
    DataLf,
    TrailerStart,
    Trailer {
        named: bool,
    },
    TrailerLf,
    EndLf,
    Done,
}

/// A decoder of one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunked {
    state: State,
    /// Bytes of the wire already taken.
    at: usize,
}

impl Chunked {
    pub(super) const fn new() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, at: 0 }
    }

    /// Decodes what is new in `wire`, which always begins at the body's first byte, onto `body`.
    /// The body's length on the wire once all of it was there.
    pub(super) fn advance(
        &mut self,
        wire: &[u8],
        body: &mut Vec<u8>,
        body_bytes_max: usize,
    ) -> Result<Option<usize>, Answer> {
        while let Some([byte, ..]) = wire.get(self.at..) {
            if self.at >= CHUNKED_WIRE_BYTES_MAX {
                return Err(Answer::BodyTooLarge);
            }
            if let State::Data { left } = self.state {
                let rest = wire.get(self.at..).unwrap_or_default();
                let taken = rest.get(..left).unwrap_or(rest);
                body.extend_from_slice(taken);
                self.at += taken.len();
                self.state = if taken.len() == left { State::DataCr } else { State::Data { left: left - taken.len() } };
                continue;
            }
            self.at += 1;
            self.state = self.state.after(*byte)?;
            if let State::Data { left } = self.state
                && body.len().saturating_add(left) > body_bytes_max
            {
                return Err(Answer::BodyTooLarge);
            }
            if matches!(self.state, State::Done) {
                return Ok(Some(self.at));
            }
        }
        Ok(None)
    }
}

impl State {
    /// Blanks around an extension's semicolon or equals sign, which RFC 9112 section 7.1.1 tolerates, are
    /// refused like any other.
    fn after(self, byte: u8) -> Result<Self, Answer> {
        let next = match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).and_then(|digit| usize::try_from(digit).ok()).unwrap_or(0);
                Self::Size { size: size * 16 + digit, digits: digits + 1 }
            }
            (Self::Size { size, digits: 1.. }, b'\r')
            | (Self::Name { size, named: true } | Self::Token { size } | Self::QuotedEnd { size }, b'\r') => {
                Self::SizeLf { size }
            }
            (Self::Size { size, digits: 1.. }, b';')
            | (Self::Name { size, named: true } | Self::Token { size } | Self::QuotedEnd { size }, b';') => {
                Self::Name { size, named: false }
            }
            (Self::Name { size, named: true }, b'=') => Self::Value { size },
            (Self::Name { size, .. }, _) if is_token(byte) => Self::Name { size, named: true },
            (Self::Value { size }, b'"') => Self::Quoted { size },
            (Self::Value { size } | Self::Token { size }, _) if is_token(byte) => Self::Token { size },
            (Self::Quoted { size }, b'"') => Self::QuotedEnd { size },
            (Self::Quoted { size }, b'\\') => Self::Escaped { size },
            (Self::Quoted { size } | Self::Escaped { size }, _) if is_text(byte) => Self::Quoted { size },
            (Self::SizeLf { size: 0 }, b'\n') => Self::TrailerStart,
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::TrailerStart, b'\r') => Self::EndLf,
            (Self::TrailerStart, _) if is_token(byte) => Self::Trailer { named: false },
            (Self::Trailer { named: false }, b':') => Self::Trailer { named: true },
            (Self::Trailer { named: false }, _) if is_token(byte) => self,
            (Self::Trailer { named: true }, b'\r') => Self::TrailerLf,
            (Self::Trailer { named: true }, _) if is_text(byte) => self,
            (Self::TrailerLf, b'\n') => Self::TrailerStart,
            (Self::EndLf, b'\n') => Self::Done,
            _ => return Err(Answer::BadRequest),
        };
        Ok(next)
    }
}
