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
        query
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", rejection.body_text()))
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_KEY_BYTES: std::ops::RangeInclusive<usize> = 1..=128;

/// The `Idempotency-Key` in `headers`; `None` where there is none.
///
/// # Errors
/// 422 `invalid_idempotency_key` where it is not 1 to 128 visible ASCII characters, or there are several.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut stated = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(value), next) = (stated.next(), stated.next()) else { return Ok(None) };
    let visible =
        |key: &&str| IDEMPOTENCY_KEY_BYTES.contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = value.to_str().ok().filter(|key| next.is_none() && visible(key));
    let key = key.ok_or_else(|| {
        let detail = "Idempotency-Key is 1 to 128 visible ASCII characters";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_idempotency_key", detail)
    })?;
    Ok(Some(key))
}

/// Who asks, by the bearer token (RFC 6750) in `headers`.
///
/// # Errors
/// 401 `invalid_token` with `WWW-Authenticate`.
pub fn bearer(headers: &HeaderMap, key: &TokenKey, now_ms: u64) -> Result<Claims, Problem> {
    let refused = |challenge: &'static str, detail: &str| {
        Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    };
    let mut stated = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (stated.next(), stated.next()) else {
        return Err(refused(r#"Bearer realm="mall""#, "expected one Authorization: Bearer header"));
    };
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    let claims = token
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .and_then(|(_, token)| key.verify(token.trim_start_matches(' '), now_ms / 1000).ok());
    claims
        .ok_or_else(|| refused(r#"Bearer realm="mall", error="invalid_token""#, "the token is invalid or has expired"))
}
