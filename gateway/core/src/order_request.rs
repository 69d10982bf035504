//! The POST that asks for units: its body, its key.

use std::borrow::Cow;

use contract::{ActivityId, UserId, stock::RequestKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::answer::Answer;

/// Units in one request at most.
pub const QUANTITY_MAX: u32 = 1_000;
/// Visible ASCII characters of an `Idempotency-Key` at most; at least one.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// A valid body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderRequest<'b> {
    pub activity_id: ActivityId,
    pub quantity: u32,
    #[serde(borrow, default)]
    pub ticket: Option<Cow<'b, str>>,
}

/// Why a request is refused; `detail` replaces the answer's own text.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub answer: Answer,
    pub detail: Option<String>,
}

impl<'b> OrderRequest<'b> {
    /// Reads the body. Unknown and repeated fields, other types and other numbers are refused.
    pub(crate) fn read(content_type: Option<&[u8]>, body: &'b [u8]) -> Result<Self, Refusal> {
        let request = match Self::read_plain(body) {
            Some(request) if content_type.is_none_or(is_json) => request,
            Some(_) | None => json_object(content_type, body)?,
        };
        if !(1..=QUANTITY_MAX).contains(&request.quantity) {
            return Err(Refusal::invalid(format!("quantity must be a whole number from 1 to {QUANTITY_MAX}")));
        }
        Ok(request)
    }

    /// Reads the form that nearly all clients send, `{"activity_id":"1","quantity":1}` without blanks. All other forms are
    /// left to serde, which is slower.
    fn read_plain(body: &[u8]) -> Option<Self> {
        let rest = body.strip_prefix(br#"{"activity_id":""#)?;
        let (id, rest) = rest.split_at(rest.iter().position(|byte| !byte.is_ascii_digit())?);
        let number = rest.strip_prefix(br#"","quantity":"#)?.strip_suffix(b"}")?;
        let is_number =
            matches!(number, [b'1'..=b'9', more @ ..] if more.len() < 9 && more.iter().all(u8::is_ascii_digit));
        Some(Self {
            activity_id: std::str::from_utf8(id).ok()?.parse().ok()?,
            quantity: is_number.then(|| number.iter().fold(0, |sum, digit| 10 * sum + u32::from(digit - b'0')))?,
            ticket: None,
        })
    }
}

impl Refusal {
    fn invalid(detail: String) -> Self {
        Self { answer: Answer::InvalidBody, detail: Some(detail) }
    }
}

/// A body that must be a JSON object of these fields.
pub(crate) fn json_object<'b, T: Deserialize<'b>>(content_type: Option<&[u8]>, body: &'b [u8]) -> Result<T, Refusal> {
    if !content_type.is_none_or(is_json) {
        return Err(Refusal { answer: Answer::UnsupportedMediaType, detail: None });
    }
    // serde takes an array for a struct, field by field.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::invalid("the body must be a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| Refusal::invalid(error.to_string()))
}

fn is_json(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// 1 to [`IDEMPOTENCY_KEY_BYTES_MAX`] visible ASCII characters.
pub(crate) fn is_idempotency_key(key: &[u8]) -> bool {
    (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic)
}

/// The digest under which the ledger knows a user's request: SHA-256 over a domain tag, the user and
/// the `Idempotency-Key`, cut to 16 bytes. `None` if `key` is invalid.
pub fn request_key(user: UserId, key: &[u8]) -> Option<RequestKey> {
    if !is_idempotency_key(key) {
        return None;
    }
    let digest = Sha256::new()
        .chain_update(b"mall seckill request v1\0")
        .chain_update(user.as_i64().to_be_bytes())
        .chain_update(key)
        .finalize();
    let (first, _) = digest.split_first_chunk()?;
    Some(RequestKey(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spoils a plain body a byte at a time: whatever is read the short way is what serde reads.
    #[test]
    fn the_short_way_reads_what_serde_reads() {
        let mut plain = 0;
        for body in [r#"{"activity_id":"9007199254740993","quantity":1000}"#, r#"{"activity_id":"1","quantity":1}"#] {
            for at in 0..body.len() {
                for byte in 0..=u8::MAX {
                    let put = [&body.as_bytes()[..at], &[byte], &body.as_bytes()[at + 1..]].concat();
                    let added = [&body.as_bytes()[..at], &[byte], &body.as_bytes()[at..]].concat();
                    for spoilt in [put, added] {
                        let Some(short) = OrderRequest::read_plain(&spoilt) else { continue };
                        let long: OrderRequest<'_> = serde_json::from_slice(&spoilt).unwrap();
                        assert_eq!(
                            (short.activity_id, short.quantity),
                            (long.activity_id, long.quantity),
                            "{spoilt:?}"
                        );
                        plain += 1;
                    }
                }
            }
        }
        assert!(plain > 500, "{plain}");
        for number in ["4294967295", "4294967296", "999999999", "01", ""] {
            let body = format!(r#"{{"activity_id":"1","quantity":{number}}}"#);
            let short = OrderRequest::read_plain(body.as_bytes()).map(|request| request.quantity);
            assert!(short.is_none_or(|short| Ok(short) == number.parse()), "{body}");
        }
    }

    #[test]
    fn bodies() {
        let check = |body: &str, expect: Option<(i64, u32)>| {
            let read = OrderRequest::read(None, body.as_bytes());
            let read = read.ok().map(|request| (request.activity_id.as_i64(), request.quantity));
            assert_eq!(read, expect, "{body}");
        };
        check(r#"{"activity_id":"1","quantity":1}"#, Some((1, 1)));
        check(" { \"quantity\" : 1000 , \"activity_id\" : \"1\" }\n", Some((1, 1000)));
        check(r#"{"activity_id":"1","quantity":1,"ticket":"a\"b"}"#, Some((1, 1)));
        for number in
            ["0", "-1", "1.5", "1.0", "\"1\"", "null", "true", "1e0", "1001", "4294967297", "9223372036854775808"]
        {
            check(&format!(r#"{{"activity_id":"1","quantity":{number}}}"#), None);
        }
        for bad in [
            "",
            " ",
            "{",
            "null",
            "[]",
            r#"["1",1]"#,
            r#"["1",1,null]"#,
            "{}",
            r#"{"activity_id":"1"}"#,
            r#"{"quantity":1}"#,
            r#"{"activity_id":1,"quantity":1}"#,
            r#"{"activity_id":"01","quantity":1}"#,
            r#"{"activity_id":"1","quantity":1,"quantity":1}"#,
            r#"{"activity_id":"1","quantity":1,"user_id":"2"}"#,
            r#"{"activity_id":"1","quantity":1,"ticket":7}"#,
            r#"{"activity_id":"1","quantity":1} x"#,
            r#"{"activity_id":"1","quantity":1}{}"#,
            "\u{feff}{\"activity_id\":\"1\",\"quantity\":1}",
        ] {
            check(bad, None);
        }
        assert!(OrderRequest::read(None, b"{\"activity_id\":\"1\",\"quantity\":1,\"ticket\":\"\xff\"}").is_err());
    }

    #[test]
    fn keys() {
        let user = |id| UserId::from_i64(id).unwrap();
        let key = |id, key: &[u8]| request_key(user(id), key);
        assert_eq!(key(1, b"a"), key(1, b"a"));
        assert_ne!(key(1, b"a"), key(2, b"a"));
        assert_ne!(key(1, b"a"), key(1, b"b"));
        assert!(key(1, &[b'k'; 255]).is_some());
        for bad in [&b""[..], &[b'k'; 256], b"a b", b"\t", "ü".as_bytes(), b"\x7f"] {
            assert_eq!(key(1, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn content_types() {
        for (value, expect) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/json-patch+json", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_json(value.as_bytes()), expect, "{value}");
        }
    }
}
