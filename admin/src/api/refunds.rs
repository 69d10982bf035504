//! Money that goes back to buyers: requested, on its way, or parked.

use axum::{extract::State, http::StatusCode};
use contract::{Cents, OrderId, PaymentId, RefundId, openapi};
use foundation::Clock;
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::{REFUND_STATUSES, Refund};
use utoipa::{IntoParams, ToSchema};
use web::{Json, Path, Problem, Query};

use super::{
    Api,
    refused::Refused,
    request::{AdminOnly, ListBody, PageQuery},
};
use crate::actions::{Staff, orders as actions};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RefundsQuery {
    /// Only refunds of this status.
    #[param(pattern = "^(requested|approved|refused|done|parked)$")]
    status: Option<String>,
    /// Rows of the page; 20 by default.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^(0|[1-9][0-9]{0,18})$")]
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Refund)]
pub(super) struct RefundBody {
    refund_id: RefundId,
    order_id: OrderId,
    payment_id: PaymentId,
    /// The payment method.
    method: String,
    /// `requested`, `approved` (the platform is asked until it has sent the money), `refused`, `done`, or `parked`
    /// (it failed too often and waits for `POST /refunds/{id}/retry`).
    #[schema(pattern = "^(requested|approved|refused|done|parked)$")]
    status: String,
    /// `order`: its buyer asked. `twice`: the order was paid already. `late`: it could not be paid any more.
    #[schema(pattern = "^(order|twice|late)$")]
    purpose: &'static str,
    amount_cents: Cents,
    /// The buyer's reason.
    reason: String,
    /// Units by line; empty for an amount, or for all that is left of the order.
    lines: Vec<RefundLineBody>,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    created_at: u64,
    /// Tries to send the money that failed.
    tries: u64,
    /// Why the latest of them failed.
    last_error: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RefundLine)]
struct RefundLineBody {
    line_no: u32,
    quantity: u32,
}

impl From<Refund> for RefundBody {
    fn from(refund: Refund) -> Self {
        let lines = refund.lines.into_iter().map(|(line_no, quantity)| RefundLineBody { line_no, quantity });
        Self {
            refund_id: refund.id,
            order_id: refund.order,
            payment_id: refund.payment,
            method: refund.method,
            status: refund.status,
            purpose: refund.purpose.as_str(),
            amount_cents: refund.amount,
            reason: refund.reason,
            lines: lines.collect(),
            created_at: refund.created_at_ms,
            tries: refund.tries,
            last_error: refund.last_error,
        }
    }
}

/// Refunds, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/refunds", tag = "orders",
    params(RefundsQuery),
    responses((status = 200, description = "One page.", body = ListBody<RefundBody>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn list_refunds<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<RefundsQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    let RefundsQuery { status, limit, cursor } = query;
    if status.as_deref().is_some_and(|status| !REFUND_STATUSES.contains(&status)) {
        let detail = format!("status is one of {}", REFUND_STATUSES.join(", "));
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail).into());
    }
    let page = PageQuery { limit, cursor }.page()?;
    Ok(ListBody::of(api.store.refunds(status.as_deref(), page).await?, RefundBody::from))
}

/// Have a refund that is parked, or that waits for its next try, sent now. Its tries are counted from zero again.
#[utoipa::path(
    post, path = "/refunds/{id}/retry", tag = "orders",
    params(("id" = RefundId, Path)),
    responses(
        (status = 200, description = "The refund is approved and will be sent.", body = RefundBody),
        (status = 409, description = "`invalid_transition`: the refund is neither parked nor approved."),
    ),
    security(("admin" = ["admin"])),
)]
pub(super) async fn retry_refund<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    AdminOnly(staff): AdminOnly,
    Path(id): Path<RefundId>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(Json(RefundBody::from(actions::retry_refund(&api, &staff, id).await?)))
}
