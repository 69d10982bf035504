//! Every answer of the gateway, with its status, its code and its text.

macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident $status:literal $word:literal $detail:literal;)*) => {
        /// An answer. [`Answer::as_str`] is the `code` of a problem and the label of a counter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Answer {
            $(#[doc = $detail] $(#[$doc])* $name,)*
        }

        impl Answer {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The HTTP status (RFC 9110 section 15, RFC 6585).
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The code for programs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The text for people.
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$name => $detail,)* }
            }

            /// A problem from the end of its detail to its trace id.
            pub(crate) const fn problem_code(self) -> &'static str {
                match self { $(Self::$name => concat!(r#"","code":""#, $word, r#"","trace_id":""#),)* }
            }
        }
    };
}

answers! {
    Read 200 "ok" "the requested data";
    Stream 200 "stream" "a stream of events";
    TicketIssued 201 "ticket_issued" "an entry ticket was issued";
    Accepted 202 "accepted" "units are held for the user";
    Preflight 204 "options" "the methods that the path takes";
    Shop 302 "shop" "the shop is at another address";
    NotModified 304 "not_modified" "the client's copy is current";
    BadRequest 400 "bad_request" "the request is not valid HTTP";
    InvalidToken 401 "invalid_token" "a valid bearer token is required";
    NotStarted 403 "not_started" "the sale has not started";
    Ended 403 "ended" "the sale has ended";
    NotEligible 403 "not_eligible" "you are not allowed to take part in this sale";
    TicketRequired 403 "ticket_required" "this sale requires an entry ticket";
    TicketInvalid 403 "ticket_invalid" "the entry ticket is invalid or has expired";
    ChallengeRequired 403 "challenge_required" "a ticket for this sale requires a challenge and its answer";
    ChallengeFailed 403 "challenge_failed" "the answer is wrong, or the challenge is invalid or has expired";
    NotFound 404 "not_found" "there is no resource at this path";
    UnknownActivity 404 "unknown_activity" "there is no such activity";
    NoChallenge 404 "no_challenge" "this sale does not use challenges";
    UnknownOrder 404 "unknown_order" "you have no such order";
    MethodNotAllowed 405 "method_not_allowed" "this path does not support this method";
    RequestTimeout 408 "request_timeout" "the request did not arrive in time";
    SoldOut 409 "sold_out" "fewer units are left than were requested";
    LimitReached 409 "limit_reached" "the request exceeds the number of units that one user may buy";
    LengthRequired 411 "length_required" "the request requires a Content-Length";
    BodyTooLarge 413 "body_too_large" "the body is too large";
    TargetTooLong 414 "uri_too_long" "the request line is too long";
    UnsupportedMediaType 415 "unsupported_media_type" "the body must be application/json";
    ExpectationFailed 417 "expectation_failed" "the only supported expectation is 100-continue";
    InvalidBody 422 "invalid_body" "the body is invalid";
    InvalidQuery 422 "invalid_query" "the query is invalid";
    InvalidIdempotencyKey 422 "invalid_idempotency_key" "Idempotency-Key must be 1 to 255 visible ASCII characters";
    IdempotencyKeyReused 422 "idempotency_key_reused" "this Idempotency-Key was used for a different request";
    RateLimited 429 "rate_limited" "there were too many requests";
    HeadTooLarge 431 "head_too_large" "the header section is too large";
    NotImplemented 501 "not_implemented" "the method or transfer coding is not supported";
    Unavailable 503 "unavailable" "the request could not be answered; it is safe to retry it";
    Paused 503 "paused" "the sale is paused; it is safe to retry the request";
    Frozen 503 "frozen" "the sale's stock is being verified; it is safe to retry the request";
    NotReady 503 "not_ready" "the process is not ready";
    VersionNotSupported 505 "http_version_not_supported" "only HTTP/1.1 and HTTP/1.0 are supported";
}

impl Answer {
    /// Whether the connection closes, because it is not certain where the next request begins.
    pub const fn closes(self) -> bool {
        match self {
            Self::BadRequest
            | Self::RequestTimeout
            | Self::LengthRequired
            | Self::BodyTooLarge
            | Self::TargetTooLong
            | Self::ExpectationFailed
            | Self::HeadTooLarge
            | Self::NotImplemented
            | Self::VersionNotSupported => true,
            Self::Read
            | Self::Stream
            | Self::TicketIssued
            | Self::Accepted
            | Self::Preflight
            | Self::Shop
            | Self::NotModified
            | Self::InvalidToken
            | Self::NotStarted
            | Self::Ended
            | Self::NotEligible
            | Self::TicketRequired
            | Self::TicketInvalid
            | Self::ChallengeRequired
            | Self::ChallengeFailed
            | Self::NotFound
            | Self::UnknownActivity
            | Self::NoChallenge
            | Self::UnknownOrder
            | Self::MethodNotAllowed
            | Self::SoldOut
            | Self::LimitReached
            | Self::UnsupportedMediaType
            | Self::InvalidBody
            | Self::InvalidQuery
            | Self::InvalidIdempotencyKey
            | Self::IdempotencyKeyReused
            | Self::RateLimited
            | Self::Unavailable
            | Self::Paused
            | Self::Frozen
            | Self::NotReady => false,
        }
    }
}

macro_rules! statuses {
    ($($status:literal $reason:literal;)*) => {
        /// The first line of an answer (RFC 9112 section 4) with the reason phrase of RFC 9110 section 15.
        pub(crate) const fn status_line(status: u16) -> &'static str {
            match status {
                $($status => concat!("HTTP/1.1 ", $status, " ", $reason, "\r\n"),)*
                _ => "HTTP/1.1 500 Unknown\r\n",
            }
        }

        /// A problem up to its detail; the reason phrase is its title.
        pub(crate) const fn problem_start(status: u16) -> &'static str {
            match status {
                $($status => concat!(
                    r#"{"type":"about:blank","title":""#, $reason, r#"","status":"#, $status, r#","detail":""#
                ),)*
                _ => r#"{"type":"about:blank","title":"Unknown","status":500,"detail":""#,
            }
        }
    };
}

statuses! {
    200 "OK";
    201 "Created";
    202 "Accepted";
    204 "No Content";
    302 "Found";
    304 "Not Modified";
    400 "Bad Request";
    401 "Unauthorized";
    403 "Forbidden";
    404 "Not Found";
    405 "Method Not Allowed";
    408 "Request Timeout";
    409 "Conflict";
    411 "Length Required";
    413 "Content Too Large";
    414 "URI Too Long";
    415 "Unsupported Media Type";
    417 "Expectation Failed";
    422 "Unprocessable Content";
    429 "Too Many Requests";
    431 "Request Header Fields Too Large";
    501 "Not Implemented";
    503 "Service Unavailable";
    505 "HTTP Version Not Supported";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_told_as_it_is() {
        for answer in Answer::ALL {
            let words = [answer.as_str(), answer.detail()];
            assert!(words.iter().all(|word| !word.contains(['"', '\\'])), "{answer:?} would need escapes in JSON");
            let (line, start) = (status_line(answer.status()), problem_start(answer.status()));
            assert!(line.starts_with(&format!("HTTP/1.1 {} ", answer.status())), "{answer:?}: {line}");
            assert!(start.contains(&format!("\"status\":{},", answer.status())), "{answer:?}: {start}");
        }
    }
}
