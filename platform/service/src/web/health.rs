//! `/ping`, `/healthz`, `/readyz` and `/metrics`, and what counts the answers.

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, header},
    middleware::{self, Next},
    response::IntoResponse,
    routing::get,
};
use serde_json::json;

use super::Json;
use crate::{
    health::Readiness,
    metrics::{CONTENT_TYPE, Registry},
};

/// The four paths that every service has.
pub fn health_routes<S: Clone + Send + Sync + 'static>(readiness: Readiness, metrics: Registry) -> Router<S> {
    let ready = move || {
        let waiting = readiness.waiting();
        let status = if waiting.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let list = |parts: Vec<(String, String)>| -> Vec<_> {
            parts.into_iter().map(|(part, reason)| json!({ "part": part, "reason": reason })).collect()
        };
        let (ready, warnings) = (waiting.is_empty(), list(readiness.warnings()));
        let mut body = json!({ "ready": ready, "reasons": list(waiting) });
        if !warnings.is_empty() {
            body["warnings"] = warnings.into();
        }
        std::future::ready((status, Json(body)).into_response())
    };
    let text = move || std::future::ready(([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.render()));
    Router::new()
        .route("/ping", get(|| std::future::ready("pong")))
        .route("/healthz", get(|| std::future::ready(Json(json!({ "status": "ok" })))))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
}

/// Counts the answers of `router` by the first digit of their status, as
/// `mall_http_requests_total{service,class}`.
pub fn count_requests<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    metrics: &Registry,
    service: &str,
) -> Router<S> {
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| {
        let name = format!("mall_http_requests_total{{service=\"{service}\",class=\"{class}\"}}");
        metrics.counter(&name, "Answered HTTP requests.")
    });
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let classes = classes.clone();
        async move {
            let response = next.run(request).await;
            let class = usize::from(response.status().as_u16() / 100).wrapping_sub(1);
            if let Some(counter) = classes.get(class) {
                counter.add(1);
            }
            response
        }
    }))
}
