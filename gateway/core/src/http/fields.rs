//! The header fields that matter here.

use httparse::Header;

use crate::answer::Answer;

/// Where each field stands that someone asks for. A singleton that comes twice is refused
/// (RFC 9110 section 5.3).
#[derive(Debug, Default)]
pub(crate) struct Fields<'b> {
    pub(crate) authorization: Option<&'b [u8]>,
    pub(crate) content_type: Option<&'b [u8]>,
    pub(crate) idempotency_key: Option<&'b [u8]>,
    pub(crate) if_none_match: Option<&'b [u8]>,
    /// The last line of them: what the nearest proxy wrote.
    pub(crate) forwarded_for: Option<&'b [u8]>,
    pub(crate) traceparent: Option<&'b [u8]>,
    pub(crate) closes: bool,
    pub(crate) keeps_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) content_length: Option<&'b [u8]>,
    pub(super) transfer_encoding: Option<&'b [u8]>,
    host: Option<&'b [u8]>,
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
        // The length tells most names apart without looking at them.
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let slot = match name.len() {
            4 if is("host") => &mut self.host,
            12 if is("content-type") => &mut self.content_type,
            13 if is("authorization") => &mut self.authorization,
            13 if is("if-none-match") => &mut self.if_none_match,
            14 if is("content-length") => &mut self.content_length,
            15 if is("idempotency-key") => &mut self.idempotency_key,
            17 if is("transfer-encoding") => &mut self.transfer_encoding,
            6 if is("expect") => return self.expect(value),
            10 if is("connection") => {
                self.connection(value);
                return Ok(());
            }
            11 if is("traceparent") => {
                self.traceparent = Some(value);
                return Ok(());
            }
            15 if is("x-forwarded-for") => {
                self.forwarded_for = Some(value);
                return Ok(());
            }
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

/// The members of a comma-separated list (RFC 9110 section 5.6.1).
pub(crate) fn list(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// `1*DIGIT` and nothing else (RFC 9110 section 8.6); what no u64 holds is as good as its maximum.
pub(super) fn decimal(value: &[u8]) -> Result<u64, Answer> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
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

/// `uri-host [ ":" port ]` by its characters (RFC 9110 section 7.2); a user or a list is none.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', ..] => match value.iter().position(|byte| *byte == b']') {
            Some(end) => value.split_at(end + 1),
            None => return false,
        },
        _ => value.split_at(value.iter().position(|byte| *byte == b':').unwrap_or(value.len())),
    };
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
    let named = match host {
        [b'[', inner @ .., b']'] => {
            !inner.is_empty() && inner.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte))
        }
        _ => !host.is_empty() && host.iter().all(in_name),
    };
    let port_is_number = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    named && port_is_number
}
