//! Money that fits nothing in the shop, and the comparison with the platform's bill.

use axum::{extract::State, http::StatusCode};
use contract::{Cents, openapi};
use foundation::Clock;
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::{Compared, RESOLUTION_CHARS_MAX, Unmatched};
use utoipa::{IntoParams, ToSchema};
use web::{Json, Path, Problem, Query, Raw};

use super::{
    Api,
    refused::{Refused, not_found},
    request::{AdminOnly, ListBody, PageQuery},
};
use crate::actions::{Staff, fields::line, money};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UnmatchedQuery {
    /// Only money that an admin has, or has not, resolved.
    resolved: Option<bool>,
    /// Rows of the page; 20 by default.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^(0|[1-9][0-9]{0,18})$")]
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UnmatchedMoney)]
struct UnmatchedBody {
    #[schema(pattern = "^[0-9]+$")]
    unmatched_id: String,
    /// The payment method.
    method: String,
    /// The platform's name for the trade.
    trade_no: String,
    /// `unknown_payment`, `wrong_amount`, `other_trade` (the payment has other money), `unknown_refund`, `other_refund`
    /// (the shop does not know that it was sent, or has another amount), or `not_in_bill`.
    reason: String,
    /// The payment or the refund, where the platform names one.
    subject_id: Option<String>,
    amount_cents: Cents,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    seen_at: u64,
    /// What the money was for; null until an admin resolves it.
    resolution: Option<String>,
}

impl From<Unmatched> for UnmatchedBody {
    fn from(row: Unmatched) -> Self {
        Self {
            unmatched_id: row.id.to_string(),
            method: row.method,
            trade_no: row.trade_no,
            reason: row.reason,
            subject_id: row.subject_id.map(|id| id.to_string()),
            amount_cents: row.amount,
            seen_at: row.seen_at_ms,
            resolution: row.resolution,
        }
    }
}

/// Money that matches nothing in the shop, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/payments/unmatched", tag = "payments",
    params(UnmatchedQuery),
    responses((status = 200, description = "One page.", body = ListBody<UnmatchedBody>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn list_unmatched<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<UnmatchedQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    let UnmatchedQuery { resolved, limit, cursor } = query;
    let page = PageQuery { limit, cursor }.page()?;
    Ok(ListBody::of(api.store.unmatched(resolved, page).await?, UnmatchedBody::from))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ResolveUnmatched)]
pub(super) struct ResolveBody {
    #[schema(schema_with = openapi::line::<RESOLUTION_CHARS_MAX>)]
    resolution: String,
}

/// Record what unmatched money was for. The first record is final.
#[utoipa::path(
    post, path = "/payments/unmatched/{id}/resolve", tag = "payments",
    params(("id" = i64, Path, minimum = 1)),
    request_body = ResolveBody,
    responses((status = 200, description = "It is resolved.", body = UnmatchedBody)),
    security(("admin" = ["admin"])),
)]
pub(super) async fn resolve_unmatched<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    AdminOnly(staff): AdminOnly,
    Path(id): Path<i64>,
    Json(asked): Json<ResolveBody>,
) -> Result<Json<impl Serialize>, Refused> {
    line(&asked.resolution, RESOLUTION_CHARS_MAX, "resolution")?;
    let resolved = api.store_of(&staff).resolve_unmatched(id, &asked.resolution, api.clock.now_ms()).await?;
    Ok(Json(UnmatchedBody::from(resolved.ok_or_else(|| not_found("unmatched money"))?)))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BillQuery {
    /// The payment method, such as `alipay`.
    #[param(pattern = "^[a-z]{1,16}$")]
    method: String,
    /// The day of the bill in China.
    #[param(format = "date")]
    date: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ComparedBill)]
struct ComparedBody {
    /// Rows that fit the shop's books.
    fitting: u64,
    /// Payments whose notice was lost. The platform is asked about each of them, and their money is taken in.
    waiting: u64,
    /// Rows that fit nothing, and payments of that day that the bill lacks. See `GET /payments/unmatched`.
    unmatched: u64,
}

/// Compare the platform's bill of a day with the shop's books.
///
/// The body is the file of `alipay.data.dataservice.bill.downloadurl.query` for bill type `trade`, in its own charset. The
/// same bill may be sent again.
#[utoipa::path(
    post, path = "/payments/bill", tag = "payments", operation_id = "compare_bill",
    params(BillQuery),
    request_body(content = String, content_type = "text/csv", description = "The details of the bill."),
    responses(
        (status = 200, description = "The result.", body = ComparedBody),
        (status = 422, description = "`invalid_query`, or `invalid_body` with the line that can't be read."),
    ),
    security(("admin" = ["admin"])),
)]
pub(super) async fn bill<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    AdminOnly(staff): AdminOnly,
    Query(query): Query<BillQuery>,
    Raw(body): Raw,
) -> Result<Json<impl Serialize>, Refused> {
    let refused = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail);
    if !(1..=16).contains(&query.method.len()) || !query.method.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(refused("method is a payment method such as alipay").into());
    }
    let from_ms = money::day_of_bill(&query.date).ok_or_else(|| refused("date is a day such as 2026-11-27"))?;
    let compared = money::compare_bill(&api, &staff, (&query.method, from_ms), &body).await?;
    let Compared { fitting, waiting, unmatched } = compared;
    Ok(Json(ComparedBody { fitting, waiting, unmatched }))
}
