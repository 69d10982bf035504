//! Orders and shoppers as those who run the shop see them.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use contract::{ActivityId, Cents, OrderId, RefundId, SkuId, UserId, openapi};
use domain::order_state::OrderState;
use foundation::Clock;
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Decision, OrderQuery, PHONE_CHARS_MAX, RegisteredUser, StaffOrder};
use utoipa::{IntoParams, ToSchema};
use web::{Json, Path, Problem, Query};

use super::{
    Api,
    refunds::RefundBody,
    refused::{Refused, not_found},
    request::{AdminOnly, ListBody, PageQuery},
};
use crate::{
    actions::{
        Role, Staff,
        fields::line,
        orders::{self as actions, SHIPMENT_CHARS_MAX},
    },
    mask,
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OrdersQuery {
    /// Only orders in this state.
    #[param(value_type = Option<OrderState>)]
    status: Option<String>,
    /// Only orders of this user.
    user_id: Option<UserId>,
    /// Only orders of users with this telephone number, written as they have it. Not for viewers, who see numbers masked.
    #[param(schema_with = openapi::name::<PHONE_CHARS_MAX>)]
    phone: Option<String>,
    /// Only orders of this flash sale for which units were held.
    activity_id: Option<ActivityId>,
    /// Only orders made at this time or later.
    #[serde(default, with = "foundation::rfc3339::option")]
    #[param(schema_with = openapi::time)]
    since: Option<u64>,
    /// Only orders made before this time.
    #[serde(default, with = "foundation::rfc3339::option")]
    #[param(schema_with = openapi::time)]
    until: Option<u64>,
    /// Rows of the page; 20 by default.
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
    /// As it was when it was chosen; null for an order of a flash sale whose buyer had no default address.
    #[schema(value_type = Option<Object>)]
    address: Option<Value>,
    /// `carrier` and `tracking_no`, once the order is shipped.
    #[schema(value_type = Option<Object>)]
    shipment: Option<Value>,
    /// The amount that was refunded.
    refunded_cents: Cents,
    /// What the buyer wants to have back, as long as that is not decided.
    refund: Option<RefundBody>,
    items: Vec<LineBody>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OrderLine)]
struct LineBody {
    sku_id: SkuId,
    /// The title at the time of the order.
    title: String,
    quantity: u32,
    price_cents: Cents,
    /// Units that were refunded.
    refunded_quantity: u32,
}

impl OrderBody {
    /// As somebody with this role may see it.
    fn of(order: StaffOrder, role: Role) -> Self {
        let StaffOrder { order, user, request } = mask::order(order, role);
        let line = |line: store::OrderLine| LineBody {
            sku_id: line.sku,
            title: line.title,
            quantity: line.quantity,
            price_cents: line.price,
            refunded_quantity: line.refunded,
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
            refunded_cents: order.refunded,
            refund: request.map(RefundBody::from),
            items: order.lines.into_iter().map(line).collect(),
        }
    }
}

/// Orders, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/orders", tag = "orders", operation_id = "list_orders",
    params(OrdersQuery),
    responses((status = 200, description = "One page.", body = ListBody<OrderBody>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn list<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Query(query): Query<OrdersQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    let OrdersQuery { status, user_id, phone, activity_id, since, until, limit, cursor } = query;
    if status.as_ref().is_some_and(|status| !OrderState::ALL.iter().any(|state| state.as_str() == status)) {
        let detail = "status is a state of an order, such as paid";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail).into());
    }
    if phone.is_some() && staff.role < Role::Operator {
        let detail = "a viewer sees telephone numbers masked and can't look for one";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).into());
    }
    if let Some(phone) = &phone {
        line(phone, PHONE_CHARS_MAX, "phone")?;
    }
    let page = PageQuery { limit, cursor }.page()?;
    let (user, activity, since_ms, until_ms) = (user_id, activity_id, since, until);
    let which = OrderQuery { status, user, phone, activity, since_ms, until_ms };
    Ok(ListBody::of(api.store.orders().staff_orders(&which, page).await?, |order| OrderBody::of(order, staff.role)))
}

/// An order.
#[utoipa::path(
    get, path = "/orders/{id}", tag = "orders", operation_id = "get_order",
    params(("id" = OrderId, Path)),
    responses((status = 200, description = "The order.", body = OrderBody)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn one<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<OrderId>,
) -> Result<Response, Refused> {
    let order = api.store.orders().staff_order(id).await?.ok_or_else(|| not_found("order"))?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(OrderBody::of(order, staff.role))).into_response())
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Shipment {
    #[schema(schema_with = openapi::line::<SHIPMENT_CHARS_MAX>)]
    carrier: String,
    #[schema(schema_with = openapi::line::<SHIPMENT_CHARS_MAX>)]
    tracking_no: String,
}

/// Mark a paid order as shipped.
#[utoipa::path(
    post, path = "/orders/{id}/shipment", tag = "orders", operation_id = "ship_order",
    params(("id" = OrderId, Path)),
    request_body = Shipment,
    responses(
        (status = 200, description = "The order is shipped.", body = OrderBody),
        (status = 409, description = "`invalid_transition`: the order's state does not allow it; or `no_address`."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn ship<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<OrderId>,
    Json(shipment): Json<Shipment>,
) -> Result<Response, Refused> {
    let Shipment { carrier, tracking_no } = shipment;
    let order = actions::ship(&api, &staff, id, (&carrier, &tracking_no)).await?;
    Ok(Json(OrderBody::of(order, staff.role)).into_response())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Approval {
    /// The `refund` of the order that is approved, and no other one that its buyer asks for meanwhile. Without it, the open one.
    refund_id: Option<RefundId>,
    /// Whether units that were not shipped return to the stock; true by default.
    restock: Option<bool>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RefundRefusal {
    /// The `refund` of the order that is refused, and no other one that its buyer asks for meanwhile. Without it, the open one.
    refund_id: Option<RefundId>,
}

/// Approve a refund request.
#[utoipa::path(
    post, path = "/orders/{id}/refunds/approve", tag = "orders",
    params(("id" = OrderId, Path), Approval),
    responses(
        (status = 200, description = "The refund is approved.", body = OrderBody),
        (status = 409, description = "`invalid_transition`: the order's state does not allow it; or `refund_changed`, with \
            the `refund_id` that is open now."),
    ),
    security(("admin" = ["admin"])),
)]
pub(super) async fn approve_refund<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    AdminOnly(staff): AdminOnly,
    Path(id): Path<OrderId>,
    Query(approval): Query<Approval>,
) -> Result<Response, Refused> {
    let decision = Decision::Approve { restock: approval.restock.unwrap_or(true) };
    let order = actions::decide_refund(&api, &staff, (id, approval.refund_id), decision).await?;
    Ok(Json(OrderBody::of(order, staff.role)).into_response())
}

/// Refuse a refund request. The order's state does not change.
#[utoipa::path(
    post, path = "/orders/{id}/refunds/refuse", tag = "orders",
    params(("id" = OrderId, Path), RefundRefusal),
    responses(
        (status = 200, description = "The refund is refused.", body = OrderBody),
        (status = 409, description = "`invalid_transition`: the order's state does not allow it; or `refund_changed`, with \
            the `refund_id` that is open now."),
    ),
    security(("admin" = ["admin"])),
)]
pub(super) async fn refuse_refund<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    AdminOnly(staff): AdminOnly,
    Path(id): Path<OrderId>,
    Query(refusal): Query<RefundRefusal>,
) -> Result<Response, Refused> {
    let order = actions::decide_refund(&api, &staff, (id, refusal.refund_id), Decision::Refuse).await?;
    Ok(Json(OrderBody::of(order, staff.role)).into_response())
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

impl UserBody {
    /// As somebody with this role may see it.
    fn of(user: RegisteredUser, role: Role) -> Self {
        let RegisteredUser { user, blocked } = mask::user(user, role);
        let store::User { id, username, phone, created_at_ms } = user;
        Self { user_id: id, username, phone, blocked, created_at: created_at_ms }
    }
}

/// Shoppers, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/users", tag = "users", operation_id = "list_users",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<UserBody>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn users<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.accounts().users(query.page()?).await?, |user| UserBody::of(user, staff.role)))
}

/// Block a shopper: signing in is refused, and all tokens become invalid.
#[utoipa::path(
    post, path = "/users/{id}/block", tag = "users", operation_id = "block_user",
    params(("id" = UserId, Path)),
    responses((status = 200, description = "The user is blocked.", body = UserBody)),
    security(("admin" = ["admin"])),
)]
pub(super) async fn block<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    AdminOnly(staff): AdminOnly,
    Path(id): Path<UserId>,
) -> Result<Json<impl Serialize>, Refused> {
    let user = actions::block(&api, &staff, id, true).await?;
    Ok(Json(UserBody::of(user, staff.role)))
}

/// Unblock a shopper.
#[utoipa::path(
    post, path = "/users/{id}/unblock", tag = "users", operation_id = "unblock_user",
    params(("id" = UserId, Path)),
    responses((status = 200, description = "The user is not blocked.", body = UserBody)),
    security(("admin" = ["admin"])),
)]
pub(super) async fn unblock<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    AdminOnly(staff): AdminOnly,
    Path(id): Path<UserId>,
) -> Result<Json<impl Serialize>, Refused> {
    let user = actions::block(&api, &staff, id, false).await?;
    Ok(Json(UserBody::of(user, staff.role)))
}

#[derive(Serialize, ToSchema)]
#[schema(as = ResetLink)]
struct ResetLinkBody {
    /// For `POST /api/v1/users/reset` of the shoppers' API. Shown once.
    token: String,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    expires_at: u64,
}

/// Let a shopper set a new password.
///
/// The token is valid once and for an hour, and replaces an earlier one. Give it only to the shopper.
#[utoipa::path(
    post, path = "/users/{id}/reset-link", tag = "users", operation_id = "create_reset_link",
    params(("id" = UserId, Path)),
    responses((status = 201, description = "The token.", body = ResetLinkBody)),
    security(("admin" = ["admin"])),
)]
pub(super) async fn reset_link<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    AdminOnly(staff): AdminOnly,
    Path(id): Path<UserId>,
) -> Result<Response, Refused> {
    let (token, expires_at) = actions::reset_link(&api, &staff, id).await?;
    let body = ResetLinkBody { token, expires_at };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}
