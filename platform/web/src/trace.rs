//! The trace of the request that a task answers.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
};

use axum::http::HeaderMap;
use contract::trace::TraceContext;
use foundation::{
    data_dir::random_hex,
    spans::{self, ActiveSpan},
};

const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static TRACE: RequestTrace;
}

/// The trace of a request.
#[derive(Debug, Default)]
pub(super) struct RequestTrace {
    /// What the client sent.
    incoming: Option<TraceContext>,
    /// The client's trace id, or one drawn when it is first needed.
    id: OnceLock<String>,
}

/// The trace that `headers` bring, if any. A malformed or repeated `traceparent` counts as absent.
pub(super) fn of(headers: &HeaderMap) -> RequestTrace {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let incoming = match (values.next(), values.next()) {
        (Some(only), None) => TraceContext::parse(only.as_bytes()),
        _ => None,
    };
    let id = incoming.map_or_else(OnceLock::new, |context| OnceLock::from(format!("{:032x}", context.trace_id())));
    RequestTrace { incoming, id }
}

/// Runs `answer`, whose problems have the id of `trace`.
pub(super) fn within<F: Future>(trace: RequestTrace, answer: F) -> impl Future<Output = F::Output> {
    TRACE.scope(trace, answer)
}

/// The trace id of the running request.
pub(super) fn id() -> String {
    TRACE.try_with(|trace| trace.id.get_or_init(draw).clone()).unwrap_or_else(|_| draw())
}

/// The span of the running request at `service`; nothing where it is not traced. Its trace id is [`id`].
pub(super) fn span(service: &Arc<str>) -> ActiveSpan {
    let incoming = TRACE.try_with(|trace| trace.incoming).ok().flatten();
    spans::server(service, incoming, || u128::from_str_radix(&id(), 16).ok())
}

fn draw() -> String {
    // Without randomness, an answer without an id is better than no answer.
    random_hex(16).unwrap_or_default()
}
