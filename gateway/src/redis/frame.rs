//! Where a reply of Redis ends (RESP2). `redis::parse_redis_value` reads one whole frame and ignores
//! what follows it, so the frame's length must be known first.

use memchr::memchr;

/// A longer line, or a longer frame, is no reply to what the gateway asks.
const LINE_BYTES_MAX: usize = 512;
const FRAME_BYTES_MAX: usize = 1024 * 1024;
const DEPTH_MAX: u32 = 4;

/// These bytes are no RESP2, or more than the gateway would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The length of the frame that `bytes` begin with; `None` while its end has not come.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
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
    fn a_frame_ends_where_redis_ends_it() {
        let frames: [&[u8]; 12] = [
            b"+OK\r\n",
            b"-NOSCRIPT No matching script. Please use EVAL.\r\n",
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
            assert!(::redis::parse_redis_value(frame).is_ok(), "{frame:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_told_at_once() {
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
