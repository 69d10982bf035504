//! The method of a request.

/// The methods that some path takes, and those of RFC 9110 and RFC 5789 that none takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Options,
    Other,
}
