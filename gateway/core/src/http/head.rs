//! The head of a request: where it ends, and what of it matters here.

use std::mem::MaybeUninit;

use super::{
    HEADERS_MAX, Limits, Request,
    fields::{self, Fields},
    method::Method,
    syntax::is_token,
    target::{Target, is_same_host},
};
use crate::answer::Answer;

/// Finds the end of a head, looking at each byte once however the bytes come.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadScan {
    /// Bytes already looked at.
    at: usize,
    line_start: usize,
    past_first_line: bool,
}

impl HeadScan {
    pub(super) const fn new() -> Self {
        Self { at: 0, line_start: 0, past_first_line: false }
    }

    /// The head's length once all of it is in `input`, which always begins at the same byte.
    pub(super) fn advance(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, Answer> {
        // Without a method at its start it is not a request, whatever follows.
        if input.first().is_some_and(|byte| !is_token(*byte)) {
            return Err(Answer::BadRequest);
        }
        loop {
            let unseen = input.get(self.at..).unwrap_or_default();
            let found = memchr::memchr2(b'\r', b'\n', unseen).map(|offset| self.at + offset);
            let end = found.and_then(|at| input.get(at..)).unwrap_or_default();
            // The position of the line feed, or the earliest one that is possible.
            let reached = match (found, end) {
                (Some(cr), [b'\r', ..]) => cr + 1,
                (Some(lf), _) => lf,
                (None, _) => input.len(),
            };
            if reached - self.line_start >= limits.line_bytes_max {
                return Err(if self.past_first_line { Answer::HeadTooLarge } else { long_line(input, limits) });
            }
            if reached >= limits.head_bytes_max {
                return Err(Answer::HeadTooLarge);
            }
            match end {
                [] | [b'\r'] => {
                    self.at = found.unwrap_or(input.len());
                    return Ok(None);
                }
                [b'\r', b'\n', ..] => {}
                // RFC 9112 section 2.2 lets a server take a bare LF; two servers that differ in it can be played off.
                _ => return Err(Answer::BadRequest),
            }
            let is_empty = found == Some(self.line_start);
            (self.at, self.line_start) = (reached + 1, reached + 1);
            match (is_empty, self.past_first_line) {
                (true, true) => return Ok(Some(reached + 1)),
                (true, false) => return Err(Answer::BadRequest),
                (false, _) => self.past_first_line = true,
            }
        }
    }
}

/// The limits of a head's bytes, for one that is parsed: as many as it takes to write it.
fn measure(request: &Request<'_>, limits: &Limits) -> Result<(), Answer> {
    let line = request.method.len() + request.target.len() + "  HTTP/1.1\r\n".len();
    if line > limits.line_bytes_max {
        return Err(Answer::TargetTooLong);
    }
    let fields = || request.headers.iter().map(|field| field.name.len() + field.value.len() + ": \r\n".len());
    let head = line + fields().sum::<usize>() + "\r\n".len();
    let fits = request.headers.len() <= HEADERS_MAX
        && fields().all(|line| line <= limits.line_bytes_max)
        && head <= limits.head_bytes_max;
    if fits { Ok(()) } else { Err(Answer::HeadTooLarge) }
}

/// What of a request line is too long (RFC 9112 section 3): the method, the target, or neither is there.
fn long_line(input: &[u8], limits: &Limits) -> Answer {
    match input.iter().take(limits.line_bytes_max).find(|byte| !is_token(**byte)) {
        None => Answer::NotImplemented,
        Some(b' ') => Answer::TargetTooLong,
        Some(_) => Answer::BadRequest,
    }
}

/// How long the body is (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
}

/// A head whose framing is certain.
#[derive(Debug)]
pub(crate) struct Head<'b> {
    pub method: Method,
    /// Path and query; `*` for `OPTIONS *`.
    pub target: &'b str,
    pub http_1_0: bool,
    pub framing: Framing,
    pub fields: Fields<'b>,
}

impl<'b> Head<'b> {
    /// Reads a whole head: `bytes` ends with its empty line.
    pub(super) fn parse(bytes: &'b [u8], limits: &Limits) -> Result<Self, Answer> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut headers) {
            Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
            Ok(_) => return Err(Answer::BadRequest),
            Err(httparse::Error::TooManyHeaders) => return Err(Answer::HeadTooLarge),
            Err(httparse::Error::Version) => return Err(unknown_version(bytes)),
            Err(_) => return Err(Answer::BadRequest),
        }
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
            return Err(Answer::BadRequest);
        };
        Self::check(method, target, version == 0, request.headers, limits)
    }

    /// Checks a head that is parsed already. Returns the length of its body as well.
    pub(crate) fn from_request(request: &Request<'b>, limits: &Limits) -> Result<(Self, usize), Answer> {
        measure(request, limits)?;
        let head = Self::check(request.method, request.target, request.http_1_0, request.headers, limits)?;
        match head.framing {
            Framing::Chunked => Err(Answer::LengthRequired),
            Framing::Length(_) if head.awaits_continue() => Err(Answer::ExpectationFailed),
            Framing::Length(length) => Ok((head, length)),
        }
    }

    fn check(
        method: &str,
        target: &'b str,
        http_1_0: bool,
        headers: &[httparse::Header<'b>],
        limits: &Limits,
    ) -> Result<Self, Answer> {
        let method = known_method(method)?;
        let Target { path_and_query, authority } = Target::read(target, method)?;
        let fields = Fields::read(headers, http_1_0)?;
        // RFC 9112 section 3.2 has them say the same. Where they don't, a server in front may have gone by the other.
        if let (Some(authority), Some(host)) = (authority, fields.host)
            && !is_same_host(authority, host)
        {
            return Err(Answer::BadRequest);
        }
        let framing = framing(&fields, method, http_1_0, limits)?;
        Ok(Self { method, target: path_and_query, http_1_0, framing, fields })
    }

    /// The client waits for a 100 before it sends the body (RFC 9110 section 10.1.1).
    pub(super) fn awaits_continue(&self) -> bool {
        self.fields.expects_continue && !self.http_1_0 && self.framing != Framing::Length(0)
    }

    /// The path without the query, and the query.
    pub(crate) fn path_and_query(&self) -> (&'b str, &'b str) {
        self.target.split_once('?').unwrap_or((self.target, ""))
    }
}

fn framing(fields: &Fields<'_>, method: Method, http_1_0: bool, limits: &Limits) -> Result<Framing, Answer> {
    match (fields.transfer_encoding, fields.content_length) {
        (Some(_), Some(_)) => Err(Answer::BadRequest),
        (Some(_), None) if http_1_0 => Err(Answer::BadRequest),
        (Some(coding), None) => {
            fields::chunked_only(coding)?;
            Ok(Framing::Chunked)
        }
        (None, Some(length)) => {
            let length = fields::decimal(length)?;
            let length = usize::try_from(length).map_err(|_| Answer::BodyTooLarge)?;
            if length > limits.body_bytes_max { Err(Answer::BodyTooLarge) } else { Ok(Framing::Length(length)) }
        }
        (None, None) if method == Method::Post => Err(Answer::LengthRequired),
        (None, None) => Ok(Framing::Length(0)),
    }
}

fn known_method(method: &str) -> Result<Method, Answer> {
    match method {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "POST" => Ok(Method::Post),
        "OPTIONS" => Ok(Method::Options),
        "PUT" | "DELETE" | "PATCH" | "TRACE" => Ok(Method::Other),
        // CONNECT too: what follows it would be a tunnel's, and no path takes it.
        _ => Err(Answer::NotImplemented),
    }
}

/// httparse stopped at the version: is it HTTP at all (RFC 9112 section 2.3)?
fn unknown_version(head: &[u8]) -> Answer {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(_), Some(_), Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None)
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Answer::VersionNotSupported
        }
        _ => Answer::BadRequest,
    }
}
