//! Pictures of products, to those who look at them.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use images::{Found, ImageId, REDIRECT_FRESH};
use web::{Path, Problem};

use super::Api;

/// A picture never changes: another one has another id.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Whatever a picture contains, a browser runs nothing of it.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

/// A picture, or a redirect to a temporary address of it.
#[utoipa::path(
    get, path = "/images/{image_id}", tag = "catalogue", operation_id = "get_image",
    params(("image_id" = String, Path, pattern = r"^[0-9a-f]{32}\.(png|jpg|webp|gif)$")),
    responses(
        (status = 200, description = "The picture, which never changes.",
            content(
                (Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/webp"), (Vec<u8> = "image/gif"),
            ),
            headers(("ETag" = String, description = "The entity tag for `If-None-Match`."))),
        (status = 302, description = "The picture is at `Location`.", headers(("Location" = String))),
        (status = 304, description = "`If-None-Match` names it."),
    ),
)]
pub(super) async fn one(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let unknown = || Problem::not_found("there is no such picture");
    let id: ImageId = id.parse().map_err(|_| unknown())?;
    let found = api.images.find(id).await.map_err(|error| Problem::unavailable(&error, 1))?;
    let tag = format!("\"{id}\"");
    let (length, chunks) = match found.ok_or_else(unknown)? {
        Found::Here(..) if has(&headers, &tag) => {
            return Ok(
                (StatusCode::NOT_MODIFIED, [(header::CACHE_CONTROL, FOREVER)], [(header::ETAG, tag)]).into_response()
            );
        }
        Found::Here(length, chunks) => (length, chunks),
        Found::At(url) => {
            let fresh = format!("public, max-age={}", REDIRECT_FRESH.as_secs());
            return Ok((StatusCode::FOUND, [(header::LOCATION, url), (header::CACHE_CONTROL, fresh)]).into_response());
        }
    };
    let safe = [
        (header::CONTENT_TYPE, HeaderValue::from_static(id.kind().content_type())),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
        (header::CACHE_CONTROL, FOREVER),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, NOTHING),
    ];
    Ok((safe, [(header::ETAG, tag)], Body::from_stream(chunks)).into_response())
}

/// Whether `If-None-Match` names `tag`.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}
