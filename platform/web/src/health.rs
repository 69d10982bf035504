//! `/ping`, `/healthz`, `/readyz` and `/metrics`, and what counts the answers.

use std::{borrow::Cow, sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::IntoResponse,
    routing::get,
};
use contract::record::{ProcessReport, Refusals};
use foundation::{health::Readiness, metrics::Registry, spans};
use serde_json::json;

use super::{Json, metrics::local_metrics_route, trace};

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
    Router::new()
        .route("/ping", get(|| std::future::ready("pong")))
        .route("/healthz", get(|| std::future::ready(Json(json!({ "status": "ok" })))))
        .route("/readyz", get(ready))
        .merge(local_metrics_route(metrics))
}

/// The methods that a label may name; a client can make up others.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

const REQUESTS_HELP: &str = "Answered HTTP requests.";
const REQUEST_SECONDS: &str = "mall_http_request_seconds";

fn requests_name(service: &str, class: &str) -> String {
    format!("mall_http_requests_total{{service=\"{service}\",class=\"{class}\"}}")
}

/// Puts what [`count_requests`] has counted of `service` into a report.
pub fn report_requests(metrics: &Registry, service: &str, report: &mut ProcessReport) {
    let count = |class: &str| metrics.counter(&requests_name(service, class), REQUESTS_HELP).get();
    report.accepted = ["1xx", "2xx", "3xx"].map(count).iter().sum();
    report.refusals = ["4xx", "5xx"].map(|class| Refusals { reason: class.to_owned(), count: count(class) }).into();
    report.answers = report.accepted + report.refusals.iter().map(|refusals| refusals.count).sum::<u64>();
    report.latency = metrics.latency(REQUEST_SECONDS, &format!("service=\"{service}\""));
}

/// Counts the answers of `router` by the first digit of their status, as
/// `mall_http_requests_total{service,class}`, and times them by route as `mall_http_request_seconds{service,method,route}`,
/// from the end of a request's head to the head of its answer. This is also the span of a request that is traced.
pub fn count_requests<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    metrics: &Registry,
    service: &str,
) -> Router<S> {
    let classes =
        ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| metrics.counter(&requests_name(service, class), REQUESTS_HELP));
    let (registry, service) = (metrics.clone(), Arc::<str>::from(service));
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let (classes, registry, service) = (classes.clone(), registry.clone(), service.clone());
        async move {
            let begun = Instant::now();
            let method = METHODS.iter().find(|known| *known == request.method()).map_or("other", Method::as_str);
            let route = request.extensions().get::<MatchedPath>().cloned();
            let mut span = trace::span(&service);
            let response = spans::within(&span, next.run(request)).await;
            let route = route.as_ref().map_or("other", MatchedPath::as_str);
            let name = format!("{REQUEST_SECONDS}{{service=\"{service}\",method=\"{method}\",route=\"{route}\"}}");
            let help = "From the head of a request to the head of its answer, by route.";
            registry.histogram(&name, help).observe(begun.elapsed());
            let status = response.status();
            span.rename(|| Cow::Owned(format!("{method} {route}")));
            span.set("http.response.status_code", i64::from(status.as_u16()));
            if status.is_server_error() {
                span.fail();
            }
            let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
            if let Some(counter) = classes.get(class) {
                counter.add(1);
            }
            response
        }
    }))
}
