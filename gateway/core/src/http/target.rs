//! What a request line names (RFC 9112 section 3.2), and the host it names it at.

use super::{
    method::Method,
    syntax::{Set, is_escaped, plain_and},
};
use crate::answer::Answer;

/// The scheme of an absolute-form target; another one is not served here.
const SCHEME: &str = "http://";

/// A request target, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target<'b> {
    /// Path and query; `*` for the server as a whole.
    pub path_and_query: &'b str,
    /// The host of an absolute-form target, with its port.
    pub authority: Option<&'b [u8]>,
}

impl<'b> Target<'b> {
    /// Takes origin-form, absolute-form and, for OPTIONS, `*`.
    pub(super) fn read(target: &'b str, method: Method) -> Result<Self, Answer> {
        if target == "*" && method == Method::Options {
            return Ok(Self { path_and_query: target, authority: None });
        }
        let (authority, path_and_query) = match target.split_at_checked(SCHEME.len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => {
                let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                if !is_host(authority.as_bytes()) {
                    return Err(Answer::BadRequest);
                }
                let path = match (path, method) {
                    // Without a path the server itself is meant (RFC 9112 section 3.2.4).
                    ("", Method::Options) => "*",
                    ("", _) => "/",
                    // No answer depends on a query of the root.
                    (query, _) if query.starts_with('?') && is_path_and_query(query) => "/",
                    (path, _) => path,
                };
                (Some(authority.as_bytes()), path)
            }
            Some(_) | None => (None, target),
        };
        let is_path = path_and_query.starts_with('/') && is_path_and_query(path_and_query);
        if is_path || path_and_query == "*" && authority.is_some() && method == Method::Options {
            Ok(Self { path_and_query, authority })
        } else {
            Err(Answer::BadRequest)
        }
    }
}

fn is_path_and_query(text: &str) -> bool {
    static SET: Set = plain_and(b"/?:@", b"");
    is_escaped(text.as_bytes(), &SET)
}

/// A host and its port, if one is given.
fn host_and_port(value: &[u8]) -> (&[u8], &[u8]) {
    let host_len = match value {
        [b'[', ..] => value.iter().position(|byte| *byte == b']').map(|end| end + 1),
        _ => value.iter().position(|byte| *byte == b':'),
    };
    value.split_at_checked(host_len.unwrap_or(value.len())).unwrap_or((value, b""))
}

/// `uri-host [ ":" port ]` by its characters (RFC 9110 section 7.2); an empty value, user information and a list are invalid.
pub(super) fn is_host(value: &[u8]) -> bool {
    // A server that treats the field as a list would see two hosts at a comma.
    static SET: Set = plain_and(b"", b",");
    let (host, port) = host_and_port(value);
    let is_named = match host {
        [b'[', address @ .., b']'] => {
            !address.is_empty() && address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
        }
        _ => !host.is_empty() && is_escaped(host, &SET),
    };
    let is_numbered = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_named && is_numbered
}

/// Whether two hosts are one: letters of either case, port 80 said or not (RFC 9110 section 4.2.3).
pub(super) fn is_same_host(one: &[u8], other: &[u8]) -> bool {
    let is_default = |port: &[u8]| matches!(port, b"" | b":" | b":80");
    let ((one, one_port), (other, other_port)) = (host_and_port(one), host_and_port(other));
    let same_port = one_port == other_port || is_default(one_port) && is_default(other_port);
    one.eq_ignore_ascii_case(other) && same_port
}
