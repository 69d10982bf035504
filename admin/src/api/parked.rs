//! Sales whose journal the database can't take in at present.

use axum::extract::State;
use contract::{ActivityId, openapi};
use domain::Parked;
use foundation::Clock;
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::PARKED_REASON_CHARS_MAX;
use utoipa::ToSchema;
use web::{Json, Path, Query};

use super::{
    Api,
    refused::{Refused, not_found},
    request::{ListBody, PageQuery},
};
use crate::actions::{Staff, fields::named};

#[derive(Serialize, ToSchema)]
#[schema(as = ParkedSale)]
struct ParkedBody {
    activity_id: ActivityId,
    /// Why the database refuses the sale's next journal entry.
    reason: String,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    since: u64,
    /// Retries that failed.
    tries: u64,
    /// When it is retried.
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    next_try_at: u64,
    /// Journal entries that wait.
    entries: u64,
    /// Why it is not retried any more; null while it is.
    dropped_reason: Option<String>,
}

impl From<Parked> for ParkedBody {
    fn from(parked: Parked) -> Self {
        let Parked { activity, reason, since_ms, tries, next_try_ms, entries, dropped } = parked;
        Self {
            activity_id: activity,
            reason,
            since: since_ms,
            tries,
            next_try_at: next_try_ms,
            entries,
            dropped_reason: dropped,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DropParked)]
pub(super) struct DropBody {
    #[schema(schema_with = openapi::name::<PARKED_REASON_CHARS_MAX>)]
    reason: String,
}

/// Sales whose journal entries the database refuses, a page at a time. All other sales go on.
#[utoipa::path(
    get, path = "/parked", tag = "parked sales", operation_id = "list_parked_sales",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<ParkedBody>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn list_parked<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.sales().parked_page(query.page()?).await?, ParkedBody::from))
}

/// Retry a parked sale within a second, also one that was dropped.
#[utoipa::path(
    post, path = "/parked/{id}/retry", tag = "parked sales", operation_id = "retry_parked_sale",
    params(("id" = ActivityId, Path)),
    responses((status = 200, description = "The sale will be retried.", body = ParkedBody)),
    security(("admin" = ["operator"])),
)]
pub(super) async fn retry_parked<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Json<impl Serialize>, Refused> {
    found(api.store_of(&staff).sales().retry_soon(id, api.clock.now_ms()).await?)
}

/// Drop a parked sale: it is no longer retried or reported. Its entries are kept, and a retry resumes it.
#[utoipa::path(
    post, path = "/parked/{id}/drop", tag = "parked sales", operation_id = "drop_parked_sale",
    params(("id" = ActivityId, Path)),
    request_body = DropBody,
    responses((status = 200, description = "The sale is dropped.", body = ParkedBody)),
    security(("admin" = ["operator"])),
)]
pub(super) async fn drop_parked<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<ActivityId>,
    Json(asked): Json<DropBody>,
) -> Result<Json<impl Serialize>, Refused> {
    named(&asked.reason, PARKED_REASON_CHARS_MAX, "reason")?;
    found(api.store_of(&staff).sales().drop_parked(id, &asked.reason).await?)
}

fn found(parked: Option<Parked>) -> Result<Json<ParkedBody>, Refused> {
    Ok(Json(parked.ok_or_else(|| not_found("parked sale"))?.into()))
}
