//! HTTP for the services that run on axum: an accept loop with limits, problems, extractors, health, documents.
#![forbid(unsafe_code)]

mod client;
mod clients;
mod connection;
mod cors;
mod extract;
mod framing;
mod health;
mod metrics;
pub mod openapi;
mod problem;
mod serve;
mod stream;
#[cfg(test)]
mod tests;
mod trace;

pub use client::ClientAddress;
pub use cors::{ALLOWED_HEADERS, EXPOSED_HEADERS, Origins, PREFLIGHT_S, cors};
pub use extract::{Json, Path, Query, Raw, bearer, ended_token, idempotency_key, json_from, meaning};
pub use health::{count_requests, health_routes, report_requests};
pub use metrics::serve_metrics;
pub use problem::Problem;
pub use serve::{Workers, harden, refuse_other_methods, serve, serve_beside};
