//! The API that all of them have.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use contract::token::{Audience, TokenKey};
use serde::Deserialize;
use serde_json::json;

use crate::Fault;

/// What became of a request.
pub(crate) enum Outcome {
    /// The order of this user, new or from an earlier request.
    Granted(i64),
    SoldOut,
}

/// A way to sell.
pub(crate) trait Sells: Send + Sync + 'static {
    fn create(&self, activity: i64, stock: i64) -> impl Future<Output = Result<(), Fault>> + Send;

    /// One unit for `user`, whose order gets the id `order` if the user has no order yet.
    fn buy(&self, activity: i64, user: i64, order: i64) -> impl Future<Output = Result<Outcome, Fault>> + Send;

    /// The status of an order of this user.
    fn find(&self, user: i64, order: i64) -> impl Future<Output = Result<Option<&'static str>, Fault>> + Send;
}

struct Server<S> {
    shop: S,
    key: TokenKey,
    next: AtomicU64,
}

pub(crate) async fn serve<S: Sells>(listen: SocketAddr, secret: &str, shop: S) -> Result<(), Fault> {
    // Ids of a process that starts again are higher than all before.
    let next = AtomicU64::new(u64::try_from(now().as_millis())? << 20);
    let server = Server { shop, key: TokenKey::new(secret.as_bytes(), Audience::Shopper), next };
    let routes = Router::new()
        .route("/readyz", get(|| async { "ready" }))
        .route("/sales", post(create::<S>))
        .route("/api/v1/seckill/orders", post(buy::<S>))
        .route("/api/v1/orders/{id}", get(find::<S>))
        .with_state(Arc::new(server));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |socket| {
        // Without it answers wait for acknowledgements; a connection that fails here fails at its next use.
        drop(socket.set_nodelay(true));
    });
    axum::serve(listener, routes).await?;
    Ok(())
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn refused(status: StatusCode, code: &str) -> Response {
    (status, Json(json!({ "status": status.as_u16(), "code": code }))).into_response()
}

/// The fault of a server behind this one: nothing was decided, or nobody knows.
fn unavailable(fault: &Fault) -> Response {
    refused(StatusCode::SERVICE_UNAVAILABLE, &format!("unavailable: {fault}"))
}

impl<S> Server<S> {
    fn user(&self, headers: &HeaderMap) -> Option<i64> {
        let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        Some(self.key.verify(token, now().as_secs()).ok()?.subject.as_i64())
    }
}

#[derive(Deserialize)]
struct NewSale {
    activity_id: i64,
    stock: i64,
}

async fn create<S: Sells>(State(server): State<Arc<Server<S>>>, Json(sale): Json<NewSale>) -> Response {
    match server.shop.create(sale.activity_id, sale.stock).await {
        Ok(()) => StatusCode::CREATED.into_response(),
        Err(fault) => unavailable(&fault),
    }
}

#[derive(Deserialize)]
struct Request {
    activity_id: String,
    quantity: u32,
}

async fn buy<S: Sells>(
    State(server): State<Arc<Server<S>>>,
    headers: HeaderMap,
    Json(request): Json<Request>,
) -> Response {
    let Some(user) = server.user(&headers) else { return refused(StatusCode::UNAUTHORIZED, "invalid_token") };
    let Some(activity) = request.activity_id.parse::<i64>().ok().filter(|_| request.quantity == 1) else {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request");
    };
    let order = i64::try_from(server.next.fetch_add(1, Ordering::Relaxed)).unwrap_or(i64::MAX);
    match server.shop.buy(activity, user, order).await {
        Ok(Outcome::Granted(order)) => {
            let body = json!({ "order_id": order.to_string(), "activity_id": request.activity_id, "quantity": 1, "status": "queued" });
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
        Ok(Outcome::SoldOut) => refused(StatusCode::CONFLICT, "sold_out"),
        Err(fault) => unavailable(&fault),
    }
}

async fn find<S: Sells>(State(server): State<Arc<Server<S>>>, headers: HeaderMap, Path(order): Path<i64>) -> Response {
    let Some(user) = server.user(&headers) else { return refused(StatusCode::UNAUTHORIZED, "invalid_token") };
    match server.shop.find(user, order).await {
        Ok(Some(status)) => Json(json!({ "order_id": order.to_string(), "status": status })).into_response(),
        Ok(None) => refused(StatusCode::NOT_FOUND, "not_found"),
        Err(fault) => unavailable(&fault),
    }
}
