//! The header fields that matter here.

use httparse::Header;

use super::target::is_host;
use crate::answer::Answer;

/// The fields that the gateway uses. A field that may have only one value and comes twice is refused (RFC 9110 section
/// 5.3): another server could use the other value and see a different request.
#[derive(Debug, Default)]
pub(crate) struct Fields<'b> {
    pub authorization: Option<&'b [u8]>,
    pub content_type: Option<&'b [u8]>,
    pub idempotency_key: Option<&'b [u8]>,
    pub if_none_match: Option<&'b [u8]>,
    /// The last line of them: what the nearest proxy wrote.
    pub forwarded_for: Option<&'b [u8]>,
    pub traceparent: Option<&'b [u8]>,
    pub origin: Option<&'b [u8]>,
    pub closes: bool,
    pub keeps_alive: bool,
    pub expects_continue: bool,
    pub content_length: Option<&'b [u8]>,
    pub transfer_encoding: Option<&'b [u8]>,
    pub host: Option<&'b [u8]>,
}

impl<'b> Fields<'b> {
    pub(super) fn read(headers: &[Header<'b>], http_1_0: bool) -> Result<Self, Answer> {
        let mut fields = Self::default();
        for header in headers {
            fields.take(header.name, header.value)?;
        }
        match fields.host {
            Some(host) if is_host(host) => Ok(fields),
            None if http_1_0 => Ok(fields),
            Some(_) | None => Err(Answer::BadRequest),
        }
    }

    fn take(&mut self, name: &str, value: &'b [u8]) -> Result<(), Answer> {
        // The length alone distinguishes most names.
        let name = name.as_bytes();
        let slot = match name.len() {
            4 if is(name, b"host") => &mut self.host,
            12 if is(name, b"content-type") => &mut self.content_type,
            13 if is(name, b"authorization") => &mut self.authorization,
            14 if is(name, b"content-length") => &mut self.content_length,
            15 if is(name, b"idempotency-key") => &mut self.idempotency_key,
            17 if is(name, b"transfer-encoding") => &mut self.transfer_encoding,
            6 if is(name, b"expect") => return self.expect(value),
            6 if is(name, b"origin") => {
                self.origin = Some(value);
                return Ok(());
            }
            10 if is(name, b"connection") => {
                self.connection(value);
                return Ok(());
            }
            11 if is(name, b"traceparent") => {
                self.traceparent = Some(value);
                return Ok(());
            }
            15 if is(name, b"x-forwarded-for") => {
                self.forwarded_for = Some(value);
                return Ok(());
            }
            13 if is(name, b"if-none-match") => {
                // Of a list on several lines the first is enough: the copy is then sent once more.
                self.if_none_match.get_or_insert(value);
                return Ok(());
            }
            // Servers that hand fields on as variables read these as the fields that frame a body.
            14 if is(name, b"content_length") => return Err(Answer::BadRequest),
            17 if is(name, b"transfer_encoding") => return Err(Answer::BadRequest),
            _ => return Ok(()),
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(Answer::BadRequest),
        }
    }

    fn expect(&mut self, value: &[u8]) -> Result<(), Answer> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Answer::ExpectationFailed);
        }
        self.expects_continue = true;
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in list(value) {
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

/// Whether the field name `name` is `known`, in letters of either case. `known` has letters, `-` and `_` alone: what
/// differs from one of them in the bit of case is the other case of a letter, or no character of a name. So all are
/// compared at once.
fn is<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    const CASE: u8 = 0x20;
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    name.iter().zip(known).fold(0, |differ, (one, other)| differ | ((one | CASE) ^ (other | CASE))) == 0
}

/// The members of a comma-separated list (RFC 9110 section 5.6.1).
pub(crate) fn list(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// `1*DIGIT` and nothing else (RFC 9110 section 8.6); what no u64 holds is as good as its maximum. A zero
/// in front is refused: to some it makes the number octal.
pub(super) fn decimal(value: &[u8]) -> Result<u64, Answer> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) || matches!(value, [b'0', _, ..]) {
        return Err(Answer::BadRequest);
    }
    Ok(value.iter().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// The one transfer coding that is decoded here, once and last (RFC 9112 section 6.1).
pub(super) fn chunked_only(value: &[u8]) -> Result<(), Answer> {
    let chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if chunked(value) {
        return Ok(());
    }
    let codings = || list(value);
    if codings().any(<[u8]>::is_empty) || codings().rev().skip(1).any(chunked) {
        return Err(Answer::BadRequest);
    }
    Err(Answer::NotImplemented)
}
