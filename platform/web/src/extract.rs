//! What handlers take apart requests with. Each refuses with a [`Problem`].

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use contract::token::{Claims, TokenKey};
use serde::{Serialize, de::DeserializeOwned};

use super::Problem;

/// A JSON body. As an argument: 415 for another content type, 413 past the limit, 422 `invalid_body`
/// for what is not exactly a `T`.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        is_json(&headers)?;
        let Raw(body) = Raw::from_request(request, state).await?;
        json_from(&headers, &body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A body as it came: 413 past the limit, 400 `invalid_body` where it ends too early.
#[derive(Debug, Clone)]
pub struct Raw(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| {
            let detail = rejection.body_text();
            match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail),
                status => Problem::new(status, "invalid_body", detail),
            }
        })
    }
}

/// Reads `body` as [`Json`] does, for handlers that need its bytes too.
///
/// # Errors
/// As [`Json`].
pub fn json_from<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    is_json(headers)?;
    serde_json::from_slice(body).map_err(|error| Problem::invalid_body(error.to_string()))
}

fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let stated = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    let detail = "expected Content-Type: application/json";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
}

/// Parameters of the path. What can't be one names nothing: 404 `not_found`.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) if rejection.status().is_server_error() => Err(Problem::internal(&rejection)),
            Err(_) => Err(Problem::not_found("there is nothing at this path")),
        }
    }
}

/// The query. What is not exactly a `T`: 422 `invalid_query`.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query.map(|axum::extract::Query(value)| Self(value)).map_err(|rejection| {
            let detail = query_fault(&rejection.body_text());
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail)
        })
    }
}

/// What parsers of the standard library report, and how the API says it.
const QUERY_FAULTS: [(&str, &str); 6] = [
    ("invalid digit found in string", "not a whole number"),
    ("cannot parse integer from empty string", "not a whole number"),
    ("number too large to fit in target type", "too large"),
    ("number too small to fit in target type", "too small"),
    ("provided string was not `true` or `false`", "neither true nor false"),
    ("invalid utf-8 sequence", "not UTF-8"),
];

/// A query's fault as `parameter: reason`.
fn query_fault(rejected: &str) -> String {
    let fault = rejected.rsplit_once("deserialize query string: ").map_or(rejected, |(_, fault)| fault);
    let (parameter, reason) = fault.split_once(": ").unwrap_or(("", fault));
    match QUERY_FAULTS.iter().find(|(known, _)| reason.contains(known)) {
        Some((_, plain)) if !parameter.is_empty() => format!("{parameter}: {plain}"),
        Some(_) | None => fault.to_owned(),
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_KEY_BYTES: std::ops::RangeInclusive<usize> = 1..=255;

/// The `Idempotency-Key` in `headers`; `None` if the request has none.
///
/// # Errors
/// 422 `invalid_idempotency_key` where it is not 1 to 255 visible ASCII characters, or there are several.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut stated = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(value), next) = (stated.next(), stated.next()) else { return Ok(None) };
    let visible =
        |key: &&str| IDEMPOTENCY_KEY_BYTES.contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = value.to_str().ok().filter(|key| next.is_none() && visible(key));
    let key = key.ok_or_else(|| {
        let detail = "Idempotency-Key is 1 to 255 visible ASCII characters";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_idempotency_key", detail)
    })?;
    Ok(Some(key))
}

/// What makes two bodies under one `Idempotency-Key` the same: JSON that differs in blanks, escapes or the order of members
/// means the same. Any other body is compared as it is.
pub fn meaning(body: &[u8]) -> Vec<u8> {
    serde_json::from_slice::<serde_json::Value>(body)
        .map_or_else(|_| body.to_vec(), |value| value.to_string().into_bytes())
}

/// Who asks, by the bearer token (RFC 6750) in `headers`.
///
/// # Errors
/// 401 `invalid_token` with `WWW-Authenticate`.
pub fn bearer(headers: &HeaderMap, key: &TokenKey, now_ms: u64) -> Result<Claims, Problem> {
    let mut stated = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (stated.next(), stated.next()) else {
        return Err(refused(r#"Bearer realm="mall""#, "expected one Authorization: Bearer header"));
    };
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    let claims = token
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .and_then(|(_, token)| key.verify(token.trim_start_matches(' '), now_ms / 1000).ok());
    claims.ok_or_else(|| refused(INVALID_TOKEN, "the token is invalid or has expired"))
}

const INVALID_TOKEN: &str = r#"Bearer realm="mall", error="invalid_token""#;

/// 401 `invalid_token` for a token that was ended before it expired.
pub fn ended_token() -> Problem {
    refused(INVALID_TOKEN, "the token's session has ended")
}

fn refused(challenge: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
