//! One connection of a client, from accept to close.

use std::{
    convert::Infallible,
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::ConnectInfo,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    Problem,
    stream::{ClientStream, Progress},
};

/// How long requests that run when the stop comes may go on.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a body that its handler did not read, what is read and discarded so that the connection can go on.
const DISCARD_BYTES_MAX: usize = 64 * 1024;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);
/// Paths that a connection beyond the limit may ask for.
const HEALTH_PATHS: [&str; 4] = ["/ping", "/healthz", "/readyz", "/metrics"];

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Anything.
    General,
    /// One request, for the service's health.
    HealthOnly,
}

/// How a connection is served.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub peer: SocketAddr,
    pub room: Room,
    pub idle_timeout: Duration,
}

/// Serves `stream` until its client or `stop` ends it.
pub(super) async fn connection(stream: TcpStream, terms: Terms, router: Router, stop: CancellationToken) {
    let Terms { peer, room, idle_timeout } = terms;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "no TCP_NODELAY");
    }
    let progress = Arc::new(Progress::default());
    let stream = ClientStream::new(stream, Arc::clone(&progress));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        progress.begin_request();
        request.extensions_mut().insert(ConnectInfo(peer));
        let (router, progress) = (router.clone(), Arc::clone(&progress));
        async move {
            let (response, unread) = exchange(request, room, &progress, router).await;
            progress.end_request(unread);
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(idle_timeout);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
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

/// The answer to `request`, and whether its client may still be sending the body.
async fn exchange(
    request: hyper::Request<Incoming>,
    room: Room,
    progress: &Progress,
    router: Router,
) -> (Response, bool) {
    let expects_continue = request.headers().contains_key(header::EXPECT);
    let is_ambiguous = request.headers().contains_key(header::TRANSFER_ENCODING) && progress.has_ambiguous_length();
    let is_beyond = room == Room::HealthOnly && !HEALTH_PATHS.contains(&request.uri().path());
    let (parts, body) = request.into_parts();
    let body = SharedBody(Arc::new(Mutex::new((body, false))));
    let mut response = if is_ambiguous {
        let detail = "Content-Length and Transfer-Encoding exclude each other";
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail).into_response()
    } else if is_beyond {
        let detail = "the server has all the connections it takes; try again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after_s(1).into_response()
    } else {
        match router.oneshot(hyper::Request::from_parts(parts, Body::new(body.clone()))).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    };
    let unread = if expects_continue && !body.was_polled() {
        // Reading would ask the client for the body.
        !body.is_end_stream()
    } else {
        !body.discard().await
    };
    let headers = response.headers_mut();
    if unread || is_ambiguous || room == Room::HealthOnly {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    for (name, value) in SAFE_HEADERS {
        headers.entry(name).or_insert(value);
    }
    (response, unread)
}

/// Browsers guess no content types, and tell no other site which page a link was on.
const SAFE_HEADERS: [(HeaderName, HeaderValue); 2] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
];

/// A request's body that can still be read after its handler dropped it, and whether anybody has begun to read it.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<(Incoming, bool)>>);

impl SharedBody {
    fn with<T>(&self, look: impl FnOnce(&mut (Incoming, bool)) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn was_polled(&self) -> bool {
        self.with(|(_, was_polled)| *was_polled)
    }

    /// Reads what is left. False if it is too much, too late or broken.
    async fn discard(&self) -> bool {
        if self.is_end_stream() {
            return true;
        }
        // A length that is known to be too much is not read in part.
        if self.size_hint().lower() > DISCARD_BYTES_MAX as u64 {
            return false;
        }
        let discarding = async {
            let mut left = DISCARD_BYTES_MAX;
            let mut body = self.clone();
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let Ok(frame) = frame else { return false };
                match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(rest) => left = rest,
                    None => return false,
                }
            }
            true
        };
        tokio::time::timeout(DISCARD_TIMEOUT, discarding).await.unwrap_or(false)
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.with(|(body, was_polled)| {
            *was_polled = true;
            Pin::new(body).poll_frame(cx)
        })
    }

    fn is_end_stream(&self) -> bool {
        self.with(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|(body, _)| body.size_hint())
    }
}
