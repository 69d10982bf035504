//! HTTP for the services that run on axum: an accept loop with limits, problems, extractors, health, documents.

mod client;
mod cors;
mod extract;
mod health;
mod metrics;
pub mod openapi;
mod problem;
mod serve;
#[cfg(test)]
mod tests;

pub use client::ClientAddress;
pub use cors::{ALLOWED_HEADERS, EXPOSED_HEADERS, Origins, PREFLIGHT_S, cors};
pub use extract::{Json, Path, Query, Raw, bearer, idempotency_key, json_from};
pub use health::{count_requests, health_routes};
pub use metrics::serve_metrics;
pub use problem::Problem;
pub use serve::{Workers, harden, serve, serve_beside};
