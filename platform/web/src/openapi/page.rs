//! `/openapi.json` and `/docs`: Swagger UI from this binary, so that it works without a network.

use std::io::{Cursor, Read};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderName, HeaderValue, header},
    response::IntoResponse,
    routing::get,
};
use serde_json::Value;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::{CompressionMethod, ZipArchive};

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"#;
const START: &str =
    "SwaggerUIBundle({ url: '/openapi.json', dom_id: '#api', deepLinking: true, validatorUrl: null });\n";
/// Swagger UI writes styles into its elements, and has pictures in its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const FRESH: &str = "public, max-age=3600";

pub(super) fn routes(document: &Value) -> Router {
    let document = Bytes::from(document.to_string());
    Router::new()
        .route("/openapi.json", fixed("application/json", "no-cache", document))
        .route("/docs", fixed("text/html; charset=utf-8", FRESH, Bytes::from_static(PAGE.as_bytes())))
        .route("/docs/start.js", fixed(JAVASCRIPT, FRESH, Bytes::from_static(START.as_bytes())))
        .route("/docs/swagger-ui.css", vendored("text/css; charset=utf-8", "swagger-ui.css"))
        .route("/docs/swagger-ui-bundle.js", vendored(JAVASCRIPT, "swagger-ui-bundle.js"))
}

/// `/openapi/NAME.json`, and `/docs/NAME` with the same Swagger UI: the document of another server of the mall. It needs
/// the routes of [`super::with_document`], which serve Swagger UI itself.
pub fn other_document(name: &str, document: &'static str) -> Router {
    let (json, start) = (format!("/openapi/{name}.json"), format!("/docs/{name}.js"));
    let page = PAGE.replace("/docs/start.js", &start);
    let script = START.replace("/openapi.json", &json);
    Router::new()
        .route(&json, fixed("application/json", "no-cache", Bytes::from_static(document.as_bytes())))
        .route(&format!("/docs/{name}"), fixed("text/html; charset=utf-8", FRESH, Bytes::from(page)))
        .route(&start, fixed(JAVASCRIPT, FRESH, Bytes::from(script)))
}

/// A route that always answers the same.
fn fixed<S: Clone + Send + Sync + 'static>(
    kind: &'static str,
    fresh: &'static str,
    body: Bytes,
) -> axum::routing::MethodRouter<S> {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, fresh),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    get(move || std::future::ready((headers, body.clone())))
}

/// A file of Swagger UI, as gzip, which every browser that runs JavaScript reads.
fn vendored<S: Clone + Send + Sync + 'static>(kind: &'static str, name: &str) -> axum::routing::MethodRouter<S> {
    let gzip = gzip(&format!("/dist/{name}"));
    let gzip = Bytes::from(gzip.expect("the archive is part of this binary"));
    let encoding: [(HeaderName, HeaderValue); 1] = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
    fixed(kind, FRESH, gzip).layer(axum::middleware::map_response(move |response: axum::response::Response| {
        std::future::ready((encoding.clone(), response).into_response())
    }))
}

/// The archive's one entry that ends in `suffix`, as a gzip file (RFC 1952): what the archive has is the same
/// deflated bytes, their checksum and their length.
fn gzip(suffix: &str) -> Option<Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED)).ok()?;
    let name = archive.file_names().flatten().find(|name| name.ends_with(suffix))?.into_owned();
    let mut entry = archive.by_name_raw(name.as_bytes()).ok()?;
    let (crc32, length) = (entry.crc32(), u32::try_from(entry.size()).ok()?);
    if entry.compression() != CompressionMethod::DEFLATE {
        return None;
    }
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    entry.read_to_end(&mut gzip).ok()?;
    gzip.extend(crc32.to_le_bytes());
    gzip.extend(length.to_le_bytes());
    Some(gzip)
}
