//! Reads one HTTP/1.1 response from the bytes that are there so far.

use std::ops::Range;

/// A longer head is refused.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// A longer body is refused.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The place of a whole response in the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub status: u16,
    pub body: Range<usize>,
    /// The server closes the connection after it.
    pub close: bool,
    pub retry_after_s: Option<u32>,
}

/// These bytes are no response that a request may get here; the connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotHttp(pub &'static str);

/// The response at the start of `bytes`; `None` while it is not whole. An informational response (1xx)
/// is passed over.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Response>, NotHttp> {
    let mut start = 0;
    loop {
        let Some(head) = head(&bytes[start..])? else { return Ok(None) };
        let body = start + head.length;
        if (100..200).contains(&head.status) {
            start = body;
            continue;
        }
        let length = match head.content_length {
            Some(length) => length,
            None if head.status == 204 || head.status == 304 => 0,
            None => return Err(NotHttp("an answer without Content-Length")),
        };
        if bytes.len() - body < length {
            return Ok(None);
        }
        let body = body..body + length;
        return Ok(Some(Response { status: head.status, body, close: head.close, retry_after_s: head.retry_after_s }));
    }
}

struct Head {
    status: u16,
    /// With the empty line.
    length: usize,
    content_length: Option<usize>,
    close: bool,
    retry_after_s: Option<u32>,
}

fn head(bytes: &[u8]) -> Result<Option<Head>, NotHttp> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(NotHttp("an answer with a head that does not end"));
        }
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| NotHttp("an answer with a head that is no text"))?;
    let mut lines = text.split("\r\n");
    let (status, close) = status_line(lines.next().unwrap_or_default())?;
    let mut head = Head { status, length: end + 4, content_length: None, close, retry_after_s: None };
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(NotHttp("an answer with a header line without a colon"))?;
        header(&mut head, name, value.trim())?;
    }
    Ok(Some(head))
}

/// Status, and whether the protocol's version closes the connection by itself.
fn status_line(line: &str) -> Result<(u16, bool), NotHttp> {
    const FAULT: NotHttp = NotHttp("an answer that is not HTTP/1.1");
    let (version, rest) = line.split_once(' ').ok_or(FAULT)?;
    let close = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(FAULT),
    };
    let code = rest.split(' ').next().unwrap_or_default();
    let status = code.parse().ok().filter(|status| code.len() == 3 && (100..=599).contains(status));
    Ok((status.ok_or(FAULT)?, close))
}

fn header(head: &mut Head, name: &str, value: &str) -> Result<(), NotHttp> {
    if name.eq_ignore_ascii_case("content-length") {
        let length = value.parse().ok().filter(|length| *length <= BODY_BYTES_MAX);
        let length = length.ok_or(NotHttp("an answer with a bad Content-Length"))?;
        if head.content_length.replace(length).is_some_and(|earlier| earlier != length) {
            return Err(NotHttp("an answer with two Content-Lengths"));
        }
    } else if name.eq_ignore_ascii_case("transfer-encoding") {
        return Err(NotHttp("an answer with a Transfer-Encoding"));
    } else if name.eq_ignore_ascii_case("connection") {
        head.close |= value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
    } else if name.eq_ignore_ascii_case("retry-after") {
        head.retry_after_s = value.parse().ok();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPTED: &str =
        "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nRETRY-AFTER: 3\r\nconnection: keep-alive\r\n\r\nhello";

    #[test]
    fn cut_anywhere_it_waits_for_the_rest() {
        let whole = format!("HTTP/1.1 100 Continue\r\n\r\n{ACCEPTED}");
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole.as_bytes()[..cut]), Ok(None), "{cut}");
        }
        let body = whole.len() - 5..whole.len();
        let expect = Response { status: 202, body, close: false, retry_after_s: Some(3) };
        assert_eq!(parse(whole.as_bytes()), Ok(Some(expect.clone())));
        let two = format!("{whole}{ACCEPTED}");
        assert_eq!(parse(two.as_bytes()), Ok(Some(expect)), "what follows is the next one's");
    }

    #[test]
    fn heads() {
        let check = |text: &str, expect: Result<(u16, &str, bool), &'static str>| {
            let found = match parse(text.as_bytes()) {
                Ok(Some(response)) => Ok((response.status, &text[response.body], response.close)),
                Ok(None) => panic!("{text:?} is whole"),
                Err(NotHttp(why)) => Err(why),
            };
            assert_eq!(found, expect, "{text:?}");
        };
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok((204, "", false)));
        check("HTTP/1.1 200\r\nContent-Length: 0\r\nConnection: Foo, Close\r\n\r\n", Ok((200, "", true)));
        check("HTTP/1.0 200 OK\r\ncontent-length:2\r\n\r\nok", Ok((200, "ok", true)));
        check("HTTP/1.1 200 OK\r\n\r\n", Err("an answer without Content-Length"));
        check("HTTP/2 200\r\n\r\n", Err("an answer that is not HTTP/1.1"));
        check("HTTP/1.1 20 OK\r\n\r\n", Err("an answer that is not HTTP/1.1"));
        check("HTTP/1.1 +20 OK\r\n\r\n", Err("an answer that is not HTTP/1.1"));
        check("\r\n\r\n", Err("an answer that is not HTTP/1.1"));
        check("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Err("an answer with a bad Content-Length"));
        check("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Err("an answer with a bad Content-Length"));
        check("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", Err("an answer with a bad Content-Length"));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            Err("an answer with two Content-Lengths"),
        );
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Err("an answer with a Transfer-Encoding"));
        check("HTTP/1.1 200 OK\r\nbroken\r\n\r\n", Err("an answer with a header line without a colon"));
    }

    #[test]
    fn a_head_has_an_end() {
        assert_eq!(parse(&[b'a'; HEAD_BYTES_MAX + 1]), Err(NotHttp("an answer with a head that does not end")));
    }
}
