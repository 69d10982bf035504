//! An accept loop with the limits that axum's own has not: on a request's head, on connections, on the
//! time to stop.

use std::{any::Any, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use foundation::{
    config::ServerConfig,
    health::{Part, Readiness},
};
use futures_util::FutureExt;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{JoinError, JoinSet},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use super::{
    Problem, client,
    clients::Clients,
    connection::{Room, Terms, connection},
    openapi, trace,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Connections beyond `connections_max` that are served one request for the service's health, so that a probe or a
/// scraper gets an answer while clients have all the others.
const HEALTH_CONNECTIONS_MAX: usize = 16;
/// After an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers requests on `listener` with the [hardened](harden) `router` until `stop`, then lets the
/// running ones finish for 10 seconds. Handlers find the peer as `ConnectInfo<SocketAddr>`, and who is
/// behind it as [`ClientAddress`](super::ClientAddress).
pub async fn serve(listener: TcpListener, router: Router, config: &ServerConfig, stop: CancellationToken) {
    let router = harden(router, config);
    let connections = TaskTracker::new();
    let clients = Clients::new(config.connections_per_client_max, config.trusted_proxies.clone());
    let general = Arc::new(Semaphore::new(config.connections_max.get()));
    let health = Arc::new(Semaphore::new(HEALTH_CONNECTIONS_MAX));
    loop {
        let accepted = async {
            let room = tokio::select! {
                biased;
                permit = Arc::clone(&general).acquire_owned() => (Room::General, permit),
                permit = Arc::clone(&health).acquire_owned() => (Room::HealthOnly, permit),
            };
            (room, listener.accept().await)
        };
        let (room, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(counted) = clients.admit(peer.ip()) else {
                    clients.refuse(stream, peer.ip());
                    continue;
                };
                // General room may have come free while the listener waited.
                let (room, permit) = match (room, Arc::clone(&general).try_acquire_owned()) {
                    ((Room::HealthOnly, _), Ok(permit)) => (Room::General, Ok(permit)),
                    (room, _) => room,
                };
                let terms = Terms { peer, room, idle_timeout: config.idle_timeout };
                let connection = connection(stream, terms, router.clone(), stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop((permit, counted));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// What a service runs beside its API.
#[derive(Debug)]
pub struct Workers {
    /// They end once `stop` is cancelled.
    pub running: JoinSet<()>,
    /// A child of the process's stop.
    pub stop: CancellationToken,
}

/// [`serve`]s beside `workers` until `stop`; `ready` is so in between. A worker that dies by a bug stops
/// the whole, so that a supervisor restarts it.
///
/// # Errors
/// If a worker died.
pub async fn serve_beside(
    mut workers: Workers,
    (listener, router, config): (TcpListener, Router, &ServerConfig),
    ready: &Part,
    stop: &CancellationToken,
) -> Result<(), JoinError> {
    let router = router.layer(middleware::from_fn_with_state(ready.readiness().clone(), close_while_draining));
    let mut serving = pin!(serve(listener, router, config, workers.stop.clone()));
    ready.ready();
    let (result, served) = tokio::select! {
        () = serving.as_mut() => (Ok(()), true),
        Some(ended) = workers.running.join_next() => (ended, false),
    };
    ready.not_ready("stopping");
    workers.stop.cancel();
    if result.is_err() {
        stop.cancel();
    }
    if !served {
        serving.await;
    }
    while workers.running.join_next().await.is_some() {}
    result
}

/// While the process drains, an answer is the last one on its connection, so that none is open and idle at the stop: the
/// next request on it would be reset.
async fn close_while_draining(State(readiness): State<Readiness>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if readiness.is_draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Gives the paths of `router` a problem for methods that they do not know. Layers that are added before see none of these requests.
pub fn refuse_other_methods(router: Router) -> Router {
    router.method_not_allowed_fallback(|| {
        let detail = "this path does not know the method; Allow names those it does";
        std::future::ready(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail))
    })
}

/// Gives `router` the limits of `config` and problems for answers: 404 and 405 for what it has not, 413
/// past the body limit, 500 for a handler that panics, 503 `timeout` for one that takes too long (its
/// future is dropped).
pub fn harden(router: Router, config: &ServerConfig) -> Router {
    let (timeout, docs) = (config.request_timeout, config.docs);
    let proxies = Arc::new(config.trusted_proxies.clone());
    refuse_other_methods(router)
        .fallback(|| std::future::ready(Problem::not_found("there is nothing at this path")))
        .layer(DefaultBodyLimit::max(config.body_bytes_max))
        .layer(middleware::from_fn(move |mut request, next| {
            client::find(&mut request, &proxies);
            let id = trace::of(request.headers());
            trace::within(id, identified(request, next, timeout, docs))
        }))
}

/// Every answer names its request, and so does every line of the log that is written meanwhile.
async fn identified(request: Request, next: Next, timeout: Duration, docs: bool) -> Response {
    let id = request_id(request.headers());
    let span = tracing::error_span!("request", id = id.to_str().unwrap_or_default());
    let answer = async {
        if !docs && openapi::is_document(request.uri().path()) {
            return Problem::not_found("there is nothing at this path").into_response();
        }
        guard(request, next, timeout).await
    };
    let mut response = answer.instrument(span).await;
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// What the client calls its request; its trace id where that is no short text of visible characters.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let stated = headers
        .get(REQUEST_ID)
        .filter(|id| (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic));
    stated.cloned().or_else(|| HeaderValue::from_str(&trace::id()).ok()).unwrap_or(HeaderValue::from_static("unknown"))
}

async fn guard(request: Request, next: Next, timeout: Duration) -> Response {
    let run = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(timeout, run).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => Problem::internal(&format_args!("panicked: {}", panic_text(&*panic))).into_response(),
        Err(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "the request took too long; try again")
            .retry_after_s(1)
            .into_response(),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
