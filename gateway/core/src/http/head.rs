//! The head of a request: where it ends, and what of it matters here.

use std::mem::MaybeUninit;

use super::{
    HEADERS_MAX, Limits,
    fields::{self, Fields},
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
        loop {
            let found = memchr::memchr(b'\n', &input[self.at..]).map(|offset| self.at + offset);
            let reached = found.unwrap_or(input.len());
            if !self.past_first_line && reached >= limits.request_line_bytes_max {
                return Err(Answer::TargetTooLong);
            }
            if reached >= limits.head_bytes_max {
                return Err(Answer::HeadTooLarge);
            }
            let Some(lf) = found else {
                self.at = input.len();
                return Ok(None);
            };
            // RFC 9112 section 2.2 lets a server take a bare LF; two servers that differ in it can be played off.
            if lf == 0 || input[lf - 1] != b'\r' {
                return Err(Answer::BadRequest);
            }
            let empty = lf - self.line_start == 1;
            (self.at, self.line_start) = (lf + 1, lf + 1);
            match (empty, self.past_first_line) {
                (true, true) => return Ok(Some(lf + 1)),
                (true, false) => return Err(Answer::BadRequest),
                (false, _) => self.past_first_line = true,
            }
        }
    }
}

/// The methods that some path takes, and all others that RFC 9110 and RFC 5789 name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Options,
    Other,
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
    pub(crate) method: Method,
    /// Path and query; `*` for `OPTIONS *`.
    pub(crate) target: &'b str,
    pub(crate) http_1_0: bool,
    pub(crate) framing: Framing,
    pub(crate) fields: Fields<'b>,
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
        let http_1_0 = version == 0;
        let method = known_method(method)?;
        let target = origin_form(target, method)?;
        let fields = Fields::read(request.headers, http_1_0)?;
        let framing = framing(&fields, method, http_1_0, limits)?;
        Ok(Self { method, target, http_1_0, framing, fields })
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
        "PUT" | "DELETE" | "PATCH" | "TRACE" | "CONNECT" => Ok(Method::Other),
        _ => Err(Answer::NotImplemented),
    }
}

/// The target without scheme and authority (RFC 9112 section 3.2.2 wants absolute-form to be taken).
fn origin_form(target: &str, method: Method) -> Result<&str, Answer> {
    if !target.is_ascii() || target.contains('#') {
        return Err(Answer::BadRequest);
    }
    if target == "*" && method == Method::Options {
        return Ok(target);
    }
    let path = match target.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("http://") => {
            let rest = &target[7..];
            let authority_len = rest.find(['/', '?']).unwrap_or(rest.len());
            if !fields::is_host(&rest.as_bytes()[..authority_len]) {
                return Err(Answer::BadRequest);
            }
            &rest[authority_len..]
        }
        Some(_) | None => target,
    };
    match path.as_bytes().first() {
        Some(b'/') => Ok(path),
        None if path.len() < target.len() => Ok("/"),
        Some(_) | None => Err(Answer::BadRequest),
    }
}

/// httparse stopped at the version: is it HTTP at all (RFC 9112 section 2.3)?
fn unknown_version(head: &[u8]) -> Answer {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    match line.rsplit(|byte| *byte == b' ').next() {
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Answer::VersionNotSupported
        }
        Some(_) | None => Answer::BadRequest,
    }
}
