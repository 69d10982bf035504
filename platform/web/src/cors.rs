//! Cross-origin requests: which pages of other origins may call this service (the Fetch standard, section 3.3).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Request headers beyond the safe ones.
pub const ALLOWED_HEADERS: &str = "authorization, content-type, idempotency-key, if-match, if-none-match";
/// Answer headers that scripts may read.
pub const EXPOSED_HEADERS: &str = "retry-after, etag, location";
/// How long a browser may remember a preflight, in seconds.
pub const PREFLIGHT_S: &str = "600";

/// The origins whose pages may call, such as `https://shop.example`. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Origins(Arc<[String]>);

impl Origins {
    /// These origins.
    pub fn new(origins: Vec<String>) -> Self {
        Self(origins.into())
    }

    /// The request's `Origin`, where it is one of these.
    fn of<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.0.iter().any(|known| known.as_bytes() == origin.as_bytes()).then_some(origin)
    }

    /// Whether the request comes from a page of these origins or of the origin that the request is for. A browser names
    /// the origin of every POST and DELETE; a request without one is not a browser's.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let (origin, host) = (headers.get(header::ORIGIN), headers.get(header::HOST));
        let Some(origin) = origin.and_then(|origin| origin.to_str().ok()) else { return false };
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let is_own =
            authority.is_some_and(|authority| host.is_some_and(|host| host.as_bytes() == authority.as_bytes()));
        is_own || self.of(headers).is_some()
    }
}

/// Answers preflights, and marks answers to pages of `origins`. Credentials are never allowed.
pub async fn cors(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    let allowed = origins.of(request.headers()).cloned();
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &allowed {
        Some(_) if is_preflight => {
            let fixed = [
                (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, PATCH, DELETE"),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
                (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_S),
            ];
            (StatusCode::NO_CONTENT, fixed).into_response()
        }
        _ => next.run(request).await,
    };
    // A shared cache must not give the answer of one origin to another.
    response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_pages_and_the_own_ones_are_allowed() {
        let origins = Origins::new(vec!["https://shop.example".to_owned()]);
        let check = |origin: Option<&'static str>, expect: bool| {
            let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("127.0.0.1:8081"))]);
            headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
            assert_eq!(origins.allow(&headers), expect, "{origin:?}");
        };
        check(Some("https://shop.example"), true);
        check(Some("http://127.0.0.1:8081"), true);
        check(Some("http://127.0.0.1:8082"), false);
        check(Some("https://shop.example.evil"), false);
        check(Some("null"), false);
        check(None, false);
    }
}
