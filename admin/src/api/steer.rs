//! What an admin does to a sale that runs.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use contract::{ActivityId, OperationId, UserId, activity::Entry, openapi};
use foundation::Clock;
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::{ENTRY_RULES_MAX, Sale};
use utoipa::{IntoParams, ToSchema};
use web::{Json, Path, Query, Raw, idempotency_key, json_from, openapi::IdempotencyKey};

use super::{
    Api,
    activities::{ActivityBody, CountersBody},
    refused::{Refused, invalid, not_found},
    request::{ListBody, PageQuery, repeat_once, tagged},
};
use crate::actions::{Staff, fields::STOCK_MAX, sales as actions};

/// Pause a flash sale: no units can be reserved until it is resumed.
#[utoipa::path(
    post, path = "/activities/{id}/pause", tag = "activities", operation_id = "pause_activity",
    params(("id" = ActivityId, Path)),
    responses(
        (status = 200, description = "The sale is paused.", body = ActivityBody, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 409, description = "`invalid_transition`: the sale is over."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn pause<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Response, Refused> {
    Ok(answer(actions::pause(&api, &staff, id, true).await?))
}

/// Resume a flash sale.
#[utoipa::path(
    post, path = "/activities/{id}/resume", tag = "activities", operation_id = "resume_activity",
    params(("id" = ActivityId, Path)),
    responses(
        (status = 200, description = "The sale is not paused.", body = ActivityBody, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 409, description = "`invalid_transition`: the sale is over."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn resume<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Response, Refused> {
    Ok(answer(actions::pause(&api, &staff, id, false).await?))
}

/// End a flash sale now, for good; one that is over stays as it is.
#[utoipa::path(
    post, path = "/activities/{id}/end", tag = "activities", operation_id = "end_activity",
    params(("id" = ActivityId, Path)),
    responses(
        (status = 200, description = "The sale has ended.", body = ActivityBody, headers(("ETag" = String, description = "The version, for `If-Match`."))),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn end<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Response, Refused> {
    Ok(answer(actions::end(&api, &staff, id).await?))
}

fn answer(sale: Sale) -> Response {
    tagged(StatusCode::OK, sale.activity.version, ActivityBody::from(sale))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Restock)]
struct RestockBody {
    /// Not 0; below it units go back to the SKU.
    #[schema(schema_with = openapi::whole::<{ -(STOCK_MAX as i64) }, { STOCK_MAX as i64 }>)]
    delta: i64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Restocked)]
struct RestockedBody {
    operation_id: OperationId,
    delta: i64,
    /// `done`, or `pending` if the ledger has not reported it in time.
    #[schema(pattern = "^(done|pending)$")]
    status: &'static str,
    #[serde(flatten)]
    counters: CountersBody,
}

/// Move units between the SKU and a sale whose ledger is open.
#[utoipa::path(
    post, path = "/activities/{id}/restock", tag = "activities", operation_id = "restock_activity",
    params(("id" = ActivityId, Path), IdempotencyKey),
    request_body = RestockBody,
    responses(
        (status = 201, description = "Units to take are taken; units to add are on their way to the ledger. `Idempotent-Replayed: true` if this key was used before.", body = RestockedBody,
            headers(("Idempotent-Replayed" = String, description = "`true` if the key was used before."))),
        (status = 409, description = "`invalid_transition`, `insufficient_stock` with the `stock`, or `request_running`."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn restock<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<ActivityId>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, Refused> {
    let RestockBody { delta } = json_from(&headers, &body)?;
    actions::check_delta(delta)?;
    let operation = actions::operation_of(&api, &staff, (id, delta), idempotency_key(&headers)?)?;
    let make = async {
        let (is_done, counters) = actions::restock(&api, &staff, id, (operation, delta)).await?;
        let status = if is_done { "done" } else { "pending" };
        Ok(RestockedBody { operation_id: operation, delta, status, counters: CountersBody::of(id, counters) })
    };
    repeat_once(&api, (&headers, &staff, &format!("activities/{id}/restock")), &body, make).await
}

/// What staff may know of a user.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum EntryWord {
    Allowed,
    Blocked,
    Unlisted,
}

impl From<EntryWord> for Entry {
    fn from(word: EntryWord) -> Self {
        match word {
            EntryWord::Allowed => Self::Allowed,
            EntryWord::Blocked => Self::Blocked,
            EntryWord::Unlisted => Self::Unlisted,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EntryRules)]
pub(super) struct EntryBody {
    entry: EntryWord,
    #[schema(min_items = 1, max_items = 1000)]
    user_ids: Vec<UserId>,
}

/// Put users on the sale's allow list or block list, or take them off both.
#[utoipa::path(
    post, path = "/activities/{id}/entry-rules", tag = "activities", operation_id = "set_entry_rule",
    params(("id" = ActivityId, Path)),
    request_body = EntryBody,
    responses((status = 204, description = "All rules are stored.")),
    security(("admin" = ["operator"])),
)]
pub(super) async fn say_entry<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<ActivityId>,
    Json(asked): Json<EntryBody>,
) -> Result<StatusCode, Refused> {
    if asked.user_ids.is_empty() || asked.user_ids.len() > ENTRY_RULES_MAX {
        return Err(invalid("user_ids are 1 to 1000"));
    }
    if api.store_of(&staff).sales().say_entry(id, &asked.user_ids, asked.entry.into()).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(not_found("activity"))
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EntryQuery {
    /// Which list.
    entry: EntryWord,
    /// Rows of the page; 20 by default.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^(0|[1-9][0-9]{0,18})$")]
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct ListedUser {
    user_id: UserId,
}

/// The users on one of the lists, a page at a time.
#[utoipa::path(
    get, path = "/activities/{id}/entry-rules", tag = "activities", operation_id = "list_entry_rules",
    params(("id" = ActivityId, Path), EntryQuery),
    responses((status = 200, description = "One page.", body = ListBody<ListedUser>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn entry_list<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ActivityId>,
    Query(query): Query<EntryQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    let EntryQuery { entry, limit, cursor } = query;
    api.store.sales().sale(id).await?.ok_or_else(|| not_found("activity"))?;
    let listed = api.store.sales().entry_list(id, entry.into(), PageQuery { limit, cursor }.page()?).await?;
    Ok(ListBody::of(listed, |user_id| ListedUser { user_id }))
}
