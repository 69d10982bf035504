//! Replies of Redis (RESP2): where one ends, and what the gateway needs of it.

use memchr::memchr;

/// Redis sends no longer line and no longer frame in reply to what the gateway asks.
const LINE_BYTES_MAX: usize = 512;
const FRAME_BYTES_MAX: usize = 1024 * 1024;
const DEPTH_MAX: u32 = 4;

/// Not RESP2, or larger than the gateway accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// A reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    Bulk(&'a [u8]),
    /// `code` is the first word of the error, `details` the rest of it.
    Error {
        code: &'a [u8],
        details: &'a [u8],
    },
    /// A status, a number, null or an array.
    Other,
}

/// The reply that `bytes` begin with, and its length; `None` while its end has not come.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    let Some(length) = length(bytes)? else { return Ok(None) };
    let frame = &bytes[..length];
    let (line, rest) = frame.split_at(memchr(b'\n', frame).ok_or(Malformed)? + 1);
    let reply = match line {
        [b'$', b'-', ..] => Reply::Other,
        [b'$', ..] => Reply::Bulk(rest.strip_suffix(b"\r\n").ok_or(Malformed)?),
        [b'-', error @ .., b'\r', b'\n'] => {
            let end = memchr(b' ', error).unwrap_or(error.len());
            Reply::Error { code: &error[..end], details: error[end..].trim_ascii_start() }
        }
        _ => Reply::Other,
    };
    Ok(Some((reply, length)))
}

/// The length of the frame that `bytes` begin with; `None` while its end has not come.
fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let length = end(bytes, 0, DEPTH_MAX)?;
    if length.unwrap_or(bytes.len()) > FRAME_BYTES_MAX { Err(Malformed) } else { Ok(length) }
}

/// Where the frame that begins at `at` ends.
fn end(bytes: &[u8], at: usize, depth: u32) -> Result<Option<usize>, Malformed> {
    let Some((kind, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) else { return Ok(None) };
    let Some(line_bytes) = memchr(b'\n', rest) else {
        return if rest.len() > LINE_BYTES_MAX { Err(Malformed) } else { Ok(None) };
    };
    let line = rest[..line_bytes].strip_suffix(b"\r").ok_or(Malformed)?;
    let next = at + 1 + line_bytes + 1;
    match kind {
        b'+' | b'-' | b':' => Ok(Some(next)),
        b'$' => match count(line)? {
            None => Ok(Some(next)),
            Some(length) => {
                let end = next + length;
                match bytes.get(end..end + 2) {
                    Some(b"\r\n") => Ok(Some(end + 2)),
                    Some(_) => Err(Malformed),
                    None => Ok(None),
                }
            }
        },
        b'*' => {
            let depth = depth.checked_sub(1).ok_or(Malformed)?;
            let mut at = next;
            for _ in 0..count(line)?.unwrap_or(0) {
                let Some(next) = end(bytes, at, depth)? else { return Ok(None) };
                at = next;
            }
            Ok(Some(at))
        }
        _ => Err(Malformed),
    }
}

/// A length or a number of elements; `None` is RESP2's null.
fn count(line: &[u8]) -> Result<Option<usize>, Malformed> {
    if line == b"-1" {
        return Ok(None);
    }
    let text = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let count = if digits { text.parse().map_err(|_| Malformed)? } else { return Err(Malformed) };
    if count > FRAME_BYTES_MAX { Err(Malformed) } else { Ok(Some(count)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ends_where_the_redis_crate_ends_it() {
        let frames: [&[u8]; 13] = [
            b"+OK\r\n",
            b"-NOSCRIPT No matching script. Please use EVAL.\r\n",
            b"-FROZEN\r\n",
            b":-7\r\n",
            b"$-1\r\n",
            b"$0\r\n\r\n",
            b"$5\r\na\r\nb\n\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n$1\r\na\r\n:1\r\n",
            b"*2\r\n*1\r\n+a\r\n$-1\r\n",
            b"*1\r\n*1\r\n*1\r\n+deep\r\n",
            b"$3\r\n\xff\xfe\xfd\r\n",
        ];
        for frame in frames {
            for cut in 0..frame.len() {
                assert_eq!(length(&frame[..cut]), Ok(None), "{frame:?} cut at {cut}");
            }
            assert_eq!(length(frame), Ok(Some(frame.len())), "{frame:?}");
            assert_eq!(length(&[frame, b"+more\r\n"].concat()), Ok(Some(frame.len())), "{frame:?}");
            let (reply, _) = read(frame).unwrap().unwrap();
            match (reply, ::redis::parse_redis_value(frame).unwrap()) {
                (Reply::Bulk(bytes), ::redis::Value::BulkString(expected)) => assert_eq!(bytes, expected),
                (Reply::Error { code, details }, ::redis::Value::ServerError(error)) => {
                    assert_eq!(code, error.code().as_bytes());
                    assert_eq!(details, error.details().unwrap_or_default().as_bytes());
                }
                (Reply::Other, other) => assert!(!matches!(other, ::redis::Value::BulkString(_))),
                (reply, other) => panic!("{reply:?} is {other:?}"),
            }
        }
    }

    #[test]
    fn malformed_replies_are_refused_at_once() {
        let long = [b"+".as_slice(), &[b'a'; LINE_BYTES_MAX + 1]].concat();
        let deep = b"*1\r\n".repeat(1 + DEPTH_MAX as usize);
        let cases: [&[u8]; 11] = [
            b"HTTP/1.1 400\r\n",
            b"+OK\n",
            b"$x\r\n",
            b"$-2\r\n",
            b"$+1\r\n",
            b"$\r\n",
            b"$1\r\nabc",
            b"$99999999\r\n",
            b"*99999999999999999999\r\n",
            &long,
            &deep,
        ];
        for case in cases {
            assert_eq!(length(case), Err(Malformed), "{case:?}");
        }
    }
}
