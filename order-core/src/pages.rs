//! The shop's pages over HTTP.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use web::Problem;

/// The name of the assets has a hash in it, so a file under it never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Where the shop's pages find what they need.
#[derive(Debug, Clone, Default)]
pub struct ShopPages {
    /// The gateway's origin, such as `http://127.0.0.1:8080`; empty where it shares the pages' origin.
    pub gateway_url: String,
    /// CSP sources of pictures beside the pages' own origin.
    pub pictures: String,
}

struct Page {
    html: String,
    policy: HeaderValue,
}

/// The page at each of its addresses, and its files.
pub(crate) fn router(pages: &ShopPages) -> Router {
    let policy = shop::policy(&pages.gateway_url, &pages.pictures);
    let policy = HeaderValue::from_str(&policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
    let page = Arc::new(Page { html: shop::page(&pages.gateway_url), policy });
    let mut router = Router::new();
    for path in shop::PAGES {
        router = router.route(path, get(show));
    }
    router.route("/assets/{hash}/{*path}", get(asset)).with_state(page)
}

async fn show(State(page): State<Arc<Page>>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, page.policy.clone()),
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, page.html.clone()).into_response()
}

async fn asset(Path((hash, path)): Path<(String, String)>, request: HeaderMap) -> Result<Response, Problem> {
    let found = shop::find(&path).filter(|_| hash == shop::HASH);
    let asset = found.ok_or_else(|| Problem::not_found("the shop has no such file"))?;
    let etag = etag();
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(etag) = &etag {
        headers.insert(header::ETAG, etag.clone());
        if request.get(header::IF_NONE_MATCH) == Some(etag) {
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type()));
    if takes_gzip(&request) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return Ok((headers, asset.gzip).into_response());
    }
    Ok((headers, asset.plain).into_response())
}

fn etag() -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("W/\"{}\"", shop::HASH)).ok()
}

/// Whether `Accept-Encoding` names gzip, and not as refused (RFC 9110 section 12.5.3).
fn takes_gzip(request: &HeaderMap) -> bool {
    let lines = request.get_all(header::ACCEPT_ENCODING);
    lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').map_or((coding, ""), |(name, weight)| (name, weight));
        let is_refused = weight.trim().strip_prefix("q=").and_then(|q| q.parse().ok()).is_some_and(|q: f32| q <= 0.0);
        name.trim().eq_ignore_ascii_case("gzip") && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for (accepted, expect) in
            [("gzip", true), ("br, GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false), ("", false)]
        {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(takes_gzip(&headers), expect, "{accepted}");
        }
    }
}
