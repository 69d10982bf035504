//! `/metrics` on an address of its own, so that what scrapes it needs no way to the services.

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use axum::{
    Extension, Router,
    http::header,
    response::{IntoResponse as _, Response},
    routing::get,
};
use contract::client_address::TrustedProxies;
use foundation::{
    config::ServerConfig,
    metrics::{CONTENT_TYPE, Registry},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Problem, client::ClientAddress, serve};

/// Scrapers that are connected at once.
const CONNECTIONS_MAX: NonZeroUsize = NonZeroUsize::new(16).unwrap();
/// Longer than the minute that scrapers wait between two requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 1024;

/// The path `/metrics` of the address for scrapers.
fn metrics_route(metrics: Registry) -> Router {
    let text = move || std::future::ready(([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.render()));
    Router::new().route("/metrics", get(text))
}

/// The path `/metrics` of a service, for clients of this host. To others the path does not exist: the figures show what the API hides, such as how much of a
/// sale is left.
pub(super) fn local_metrics_route<S: Clone + Send + Sync + 'static>(metrics: Registry) -> Router<S> {
    let text = move |client: Option<Extension<ClientAddress>>| {
        let is_local = client.is_none_or(|Extension(ClientAddress(address))| address.to_canonical().is_loopback());
        let answer: Response = if is_local {
            ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.render()).into_response()
        } else {
            Problem::not_found("there is nothing at this path").into_response()
        };
        std::future::ready(answer)
    };
    Router::new().route("/metrics", get(text))
}

/// Serves `metrics` at `address` until the process ends. If the address can't be listened on, this logs one line, and the
/// process runs without.
pub async fn serve_metrics(address: SocketAddr, metrics: Registry) {
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "metrics.listen: can't listen on {address}; metrics are not served there");
            return;
        }
    };
    let listens = listener.local_addr().unwrap_or(address);
    tracing::info!("metrics are served at http://{listens}/metrics");
    let config = ServerConfig {
        listen: address,
        connections_max: CONNECTIONS_MAX,
        connections_per_client_max: CONNECTIONS_MAX,
        idle_timeout: IDLE_TIMEOUT,
        request_timeout: REQUEST_TIMEOUT,
        body_bytes_max: BODY_BYTES_MAX,
        trusted_proxies: TrustedProxies::default(),
        docs: false,
    };
    serve(listener, metrics_route(metrics), &config, CancellationToken::new()).await;
}
