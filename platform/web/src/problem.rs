//! Errors as clients see them: RFC 9457.

use std::fmt::Display;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::trace;

/// An `application/problem+json` answer: `type, title, status, detail, code, trace_id`.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    trace_id: String,
    is_logged: bool,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem; `code` is what programs tell it by, `detail` what people read.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            trace_id: trace::id(),
            is_logged: false,
            members: Map::new(),
            headers: Vec::new(),
        }
    }

    /// 500 `internal`: `error` goes to the log under the answer's `trace_id`, not to the client.
    pub fn internal(error: &dyn Display) -> Self {
        let mut problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed; it is logged");
        problem.is_logged = true;
        tracing::error!(trace_id = problem.trace_id, error = %format_args!("{error:#}"), "request failed");
        problem
    }

    /// 404 `not_found`.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 422 `invalid_body`.
    pub fn invalid_body(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail)
    }

    /// 503 `unavailable` with `Retry-After`: `error` goes to the log under the answer's `trace_id`.
    pub fn unavailable(error: &dyn Display, retry_after_s: u64) -> Self {
        let detail = "a part of the server does not answer; try again";
        let mut problem =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after_s(retry_after_s);
        problem.is_logged = true;
        tracing::warn!(trace_id = problem.trace_id, error = %format_args!("{error:#}"), "unavailable");
        problem
    }

    /// Adds a member beside the six.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after_s(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// What programs tell it by.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// The request's trace id, under which the log has it.
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "trace_id": self.trace_id,
        });
        if let Value::Object(body) = &mut body {
            for (name, value) in &self.members {
                body.entry(name).or_insert_with(|| value.clone());
            }
        }
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // What `internal` and `unavailable` have logged with their cause is not logged twice.
        if self.status.is_server_error() && !self.is_logged {
            tracing::warn!(trace_id = self.trace_id, code = self.code, detail = self.detail, "request failed");
        } else if !self.is_logged {
            tracing::debug!(trace_id = self.trace_id, code = self.code, status = self.status.as_u16(), "refused");
        }
        let mut response = (self.status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}
