//! A shopper's orders.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use contract::{ActivityId, Cents, OrderId, SkuId, openapi};
use domain::order_state::OrderState;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Order, OrderLine};
use utoipa::{IntoParams, ToSchema};
use web::{Json, Path, Problem, Query};

use super::{Api, Shopper, failed, page};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only orders in this state.
    #[param(value_type = Option<OrderState>)]
    status: Option<String>,
    /// Rows of the page; 20 by default.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^(0|[1-9][0-9]{0,18})$")]
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Order)]
pub(super) struct OrderBody {
    order_id: OrderId,
    #[schema(value_type = OrderState)]
    status: &'static str,
    /// The flash sale that the order comes from.
    activity_id: Option<ActivityId>,
    total_cents: Cents,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    created_at: u64,
    /// When it is closed unless it is paid.
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    expires_at: u64,
    /// The address at the time of the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    address: Option<Value>,
    /// `carrier` and `tracking_no`, once the order is shipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    shipment: Option<Value>,
    /// The amount that was refunded.
    refunded_cents: Cents,
    items: Vec<LineBody>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OrderLine)]
struct LineBody {
    /// The number by which refunds name the line.
    line_no: u32,
    sku_id: SkuId,
    /// The title at the time of the order.
    title: String,
    quantity: u32,
    price_cents: Cents,
    /// Units that were refunded.
    refunded_quantity: u32,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OrderPage)]
struct OrdersBody {
    items: Vec<OrderBody>,
    /// Null on the last page.
    next_cursor: Option<String>,
}

impl From<Order> for OrderBody {
    fn from(order: Order) -> Self {
        let line = |(line_no, line): (u32, OrderLine)| {
            let OrderLine { sku, title, quantity, price, refunded } = line;
            LineBody { line_no, sku_id: sku, title, quantity, price_cents: price, refunded_quantity: refunded }
        };
        Self {
            order_id: order.id,
            status: order.state.as_str(),
            activity_id: order.activity,
            total_cents: order.total,
            created_at: order.created_at_ms,
            expires_at: order.expires_at_ms,
            address: order.address,
            shipment: order.shipment,
            refunded_cents: order.refunded,
            // Lines are numbered without gaps and read in this order.
            items: (1..).zip(order.lines).map(line).collect(),
        }
    }
}

/// Your orders, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/api/v1/orders", tag = "orders", operation_id = "list_orders",
    params(ListQuery),
    responses((status = 200, description = "One page.", body = OrdersBody)),
    security(("shopper" = [])),
)]
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

/// One of your orders.
#[utoipa::path(
    get, path = "/api/v1/orders/{order_id}", tag = "orders", operation_id = "get_order",
    params(("order_id" = OrderId, Path)),
    responses((status = 200, description = "The order.", body = OrderBody)),
    security(("shopper" = [])),
)]
pub(super) async fn one(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(order): Path<OrderId>,
) -> Result<impl IntoResponse, Problem> {
    let found = api.store.order(user, order).await.map_err(failed)?;
    let order = found.ok_or_else(|| Problem::not_found("you have no such order"))?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(OrderBody::from(order))))
}
