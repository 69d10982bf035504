//! An accept loop with the limits that axum's own has not: on a request's head, on connections, on the
//! time to stop.

use std::{
    any::Any, convert::Infallible, net::SocketAddr, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinError, JoinSet},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::{Problem, client};
use crate::{
    config::ServerConfig,
    health::{Part, Readiness},
};

/// From a connection's first byte of attention to the end of a request's head; an idle connection is
/// closed after as long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long requests that run when the stop comes may go on.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// After an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers requests on `listener` with the [hardened](harden) `router` until `stop`, then lets the
/// running ones finish for 10 seconds. Handlers find the peer as `ConnectInfo<SocketAddr>`, and who is
/// behind it as [`ClientAddress`](super::ClientAddress).
pub async fn serve(listener: TcpListener, router: Router, config: &ServerConfig, stop: CancellationToken) {
    let router = harden(router, config);
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(config.connections_max.get()));
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection(stream, peer, router.clone(), stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
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
/// Where a worker died.
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

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "no TCP_NODELAY");
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request).map(Ok::<_, Infallible>).map(Result::flatten)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => Ok(result),
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN_TIMEOUT, serving).await
        }
    };
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, %peer, "connection ended"),
        Err(_) => tracing::warn!(%peer, "cut a request that ran on after the stop"),
    }
}

/// Gives `router` the limits of `config` and problems for answers: 404 and 405 for what it has not, 413
/// past the body limit, 500 for a handler that panics, 503 `timeout` for one that takes too long (its
/// future is dropped).
pub fn harden(router: Router, config: &ServerConfig) -> Router {
    let timeout = config.request_timeout;
    let proxies = Arc::new(config.trusted_proxies.clone());
    router
        .fallback(|| std::future::ready(Problem::not_found("there is nothing at this path")))
        .method_not_allowed_fallback(|| {
            let detail = "this path does not know the method; Allow names those it does";
            std::future::ready(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail))
        })
        .layer(DefaultBodyLimit::max(config.body_bytes_max))
        .layer(middleware::from_fn(move |mut request, next| {
            client::find(&mut request, &proxies);
            guard(request, next, timeout)
        }))
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
