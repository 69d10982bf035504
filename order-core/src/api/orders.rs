//! A shopper's orders.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use contract::{ActivityId, Cents, OrderId, SkuId};
use foundation::web::{Json, Path, Problem, Query};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Order, OrderLine, order_state::OrderState};

use super::{Api, Shopper, failed, page};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    status: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub(super) struct OrderBody {
    order_id: OrderId,
    status: &'static str,
    activity_id: Option<ActivityId>,
    total_cents: Cents,
    #[serde(with = "foundation::rfc3339")]
    created_at: u64,
    #[serde(with = "foundation::rfc3339")]
    expires_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shipment: Option<Value>,
    items: Vec<LineBody>,
}

#[derive(Serialize)]
struct LineBody {
    sku_id: SkuId,
    title: String,
    quantity: u32,
    price_cents: Cents,
}

#[derive(Serialize)]
struct OrdersBody {
    items: Vec<OrderBody>,
    next_cursor: Option<String>,
}

impl From<Order> for OrderBody {
    fn from(order: Order) -> Self {
        let line =
            |OrderLine { sku, title, quantity, price }| LineBody { sku_id: sku, title, quantity, price_cents: price };
        Self {
            order_id: order.id,
            status: order.state.as_str(),
            activity_id: order.activity,
            total_cents: order.total,
            created_at: order.created_at_ms,
            expires_at: order.expires_at_ms,
            address: order.address,
            shipment: order.shipment,
            items: order.lines.into_iter().map(line).collect(),
        }
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Query(query): Query<ListQuery>,
) -> Result<impl IntoResponse, Problem> {
    let status = query.status.as_deref();
    if status.is_some_and(|status| !OrderState::ALL.iter().any(|state| state.as_str() == status)) {
        let detail = "status is a state of an order, such as pending_payment";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail));
    }
    let page = page(query.limit, query.cursor.as_deref())?;
    let listed = api.store.orders(user, status, page).await.map_err(failed)?;
    let items = listed.items.into_iter().map(OrderBody::from).collect();
    let body = OrdersBody { items, next_cursor: listed.next.map(|id| id.to_string()) };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)))
}

pub(super) async fn one(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(order): Path<OrderId>,
) -> Result<impl IntoResponse, Problem> {
    let found = api.store.order(user, order).await.map_err(failed)?;
    let order = found.ok_or_else(|| Problem::not_found("you have no such order"))?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(OrderBody::from(order))))
}
