//! Orders and shoppers as those who run the shop see them.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use contract::{ActivityId, Cents, OrderId, SkuId, UserId, openapi};
use domain::order_state::OrderState;
use foundation::{
    Clock,
    web::{Json, Path, Problem, Query},
};
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Moved, OrderQuery, RegisteredUser, StaffOrder};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    refused::{Refused, invalid, not_found},
    request::{ListBody, PageQuery, Staff},
};

/// Characters of a carrier's name and of a parcel's number.
const SHIPMENT_CHARS_MAX: usize = 64;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OrdersQuery {
    /// Only orders that stand there.
    #[param(value_type = Option<OrderState>)]
    status: Option<String>,
    /// Only orders of this user.
    user_id: Option<UserId>,
    /// Rows of the page; 20 unless said.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^(0|[1-9][0-9]{0,18})$")]
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Order)]
struct OrderBody {
    order_id: OrderId,
    user_id: UserId,
    #[schema(value_type = OrderState)]
    status: &'static str,
    /// The flash sale it comes from.
    activity_id: Option<ActivityId>,
    total_cents: Cents,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    created_at: u64,
    /// When it is closed unless it is paid.
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    expires_at: u64,
    /// As it was when it was ordered; null for orders of a flash sale.
    #[schema(value_type = Option<Object>)]
    address: Option<Value>,
    /// `carrier` and `tracking_no`, once it is sent.
    #[schema(value_type = Option<Object>)]
    shipment: Option<Value>,
    items: Vec<LineBody>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OrderLine)]
struct LineBody {
    sku_id: SkuId,
    /// As it was called then.
    title: String,
    quantity: u32,
    price_cents: Cents,
}

impl From<StaffOrder> for OrderBody {
    fn from(StaffOrder { order, user }: StaffOrder) -> Self {
        let line = |line: store::OrderLine| LineBody {
            sku_id: line.sku,
            title: line.title,
            quantity: line.quantity,
            price_cents: line.price,
        };
        Self {
            order_id: order.id,
            user_id: user,
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

/// Orders, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/orders", tag = "orders",
    params(OrdersQuery),
    responses((status = 200, description = "One page.", body = ListBody<OrderBody>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn list<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<OrdersQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    let OrdersQuery { status, user_id, limit, cursor } = query;
    if status.as_ref().is_some_and(|status| !OrderState::ALL.iter().any(|state| state.as_str() == status)) {
        let detail = "status is a state of an order, such as paid";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail).into());
    }
    let page = PageQuery { limit, cursor }.page()?;
    Ok(ListBody::of(api.store.staff_orders(&OrderQuery { status, user: user_id }, page).await?, OrderBody::from))
}

/// An order.
#[utoipa::path(
    get, path = "/orders/{id}", tag = "orders",
    params(("id" = OrderId, Path)),
    responses((status = 200, description = "The order.", body = OrderBody)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn one<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<OrderId>,
) -> Result<Response, Refused> {
    let order = api.store.staff_order(id).await?.ok_or_else(|| not_found("order"))?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(OrderBody::from(order))).into_response())
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Shipment {
    #[schema(schema_with = openapi::line::<SHIPMENT_CHARS_MAX>)]
    carrier: String,
    #[schema(schema_with = openapi::line::<SHIPMENT_CHARS_MAX>)]
    tracking_no: String,
}

/// Say that a paid order is sent.
#[utoipa::path(
    post, path = "/orders/{id}/shipment", tag = "orders",
    params(("id" = OrderId, Path)),
    request_body = Shipment,
    responses(
        (status = 200, description = "The order is shipped.", body = OrderBody),
        (status = 409, description = "`invalid_transition`: the order's state does not allow it."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn ship<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<OrderId>,
    Json(shipment): Json<Shipment>,
) -> Result<Response, Refused> {
    for text in [&shipment.carrier, &shipment.tracking_no] {
        let long = text.chars().count() > SHIPMENT_CHARS_MAX;
        if long || text.trim().is_empty() || text.chars().any(char::is_control) {
            return Err(invalid("carrier and tracking_no are 1 to 64 characters in one line"));
        }
    }
    let text = json!(shipment).to_string();
    let moved = api.store.ship(id, &text, api.clock.now_ms()).await?;
    answer(&api, id, moved, "be sent").await
}

/// Give the money back. What was not sent is in stock again.
#[utoipa::path(
    post, path = "/orders/{id}/refunds/approve", tag = "orders",
    params(("id" = OrderId, Path)),
    responses(
        (status = 200, description = "The refund is approved.", body = OrderBody),
        (status = 409, description = "`invalid_transition`: the order's state does not allow it."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn approve_refund<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<OrderId>,
) -> Result<Response, Refused> {
    let moved = api.store.decide_refund(id, true, api.clock.now_ms()).await?;
    answer(&api, id, moved, "have its refund approved").await
}

/// Refuse to give the money back. The order stands where it stood.
#[utoipa::path(
    post, path = "/orders/{id}/refunds/refuse", tag = "orders",
    params(("id" = OrderId, Path)),
    responses(
        (status = 200, description = "The refund is refused.", body = OrderBody),
        (status = 409, description = "`invalid_transition`: the order's state does not allow it."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn refuse_refund<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<OrderId>,
) -> Result<Response, Refused> {
    let moved = api.store.decide_refund(id, false, api.clock.now_ms()).await?;
    answer(&api, id, moved, "have its refund refused").await
}

/// The order as it stands now, or why it can't `verb`.
async fn answer<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    id: OrderId,
    moved: Moved,
    verb: &str,
) -> Result<Response, Refused> {
    match moved {
        Moved::To(_) => {}
        Moved::Unknown => return Err(not_found("order")),
        Moved::Refused(state) => {
            let detail = format!("an order that is {} can't {verb}", state.as_str());
            return Err(Problem::new(StatusCode::CONFLICT, "invalid_transition", detail).into());
        }
    }
    let order = api.store.staff_order(id).await?.ok_or_else(|| not_found("order"))?;
    Ok(Json(OrderBody::from(order)).into_response())
}

#[derive(Serialize, ToSchema)]
#[schema(as = User)]
struct UserBody {
    user_id: UserId,
    username: String,
    phone: Option<String>,
    blocked: bool,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    created_at: u64,
}

impl From<RegisteredUser> for UserBody {
    fn from(RegisteredUser { user, blocked }: RegisteredUser) -> Self {
        let store::User { id, username, phone, created_at_ms } = user;
        Self { user_id: id, username, phone, blocked, created_at: created_at_ms }
    }
}

/// Shoppers, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/users", tag = "users",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<UserBody>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn users<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.users(query.page()?).await?, UserBody::from))
}

/// Block a shopper: no signing in, no staying in.
#[utoipa::path(
    post, path = "/users/{id}/block", tag = "users",
    params(("id" = UserId, Path)),
    responses((status = 200, description = "The user is blocked.", body = UserBody)),
    security(("admin" = ["operator"])),
)]
pub(super) async fn block<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<UserId>,
) -> Result<Json<impl Serialize>, Refused> {
    set_blocked(&api, id, true).await
}

/// Unblock a shopper.
#[utoipa::path(
    post, path = "/users/{id}/unblock", tag = "users",
    params(("id" = UserId, Path)),
    responses((status = 200, description = "The user is not blocked.", body = UserBody)),
    security(("admin" = ["operator"])),
)]
pub(super) async fn unblock<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<UserId>,
) -> Result<Json<impl Serialize>, Refused> {
    set_blocked(&api, id, false).await
}

async fn set_blocked<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    id: UserId,
    blocked: bool,
) -> Result<Json<UserBody>, Refused> {
    let user = api.store.block_user(id, blocked).await?;
    Ok(Json(user.ok_or_else(|| not_found("user"))?.into()))
}
