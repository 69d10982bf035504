//! What an admin does to a sale that runs.

use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use contract::{
    ActivityId, OperationId, UserId,
    activity::Entry,
    openapi,
    record::{Action, LedgerCommand},
    stock::Outcome,
};
use foundation::{
    Clock,
    web::{Json, Path, Problem, Query, Raw, idempotency_key, json_from, openapi::IdempotencyKey},
};
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use store::{ENTRY_RULES_MAX, Restocked, Steered};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    activities::{ActivityBody, CountersBody},
    catalogue::STOCK_MAX,
    refused::{Refused, insufficient_stock, invalid, not_found},
    request::{ListBody, PageQuery, Staff, once, tagged},
};
use crate::opening;

/// How long a restock waits for the ledger to tell of it; it happens all the same.
const RESTOCK_WAIT: Duration = Duration::from_secs(2);
/// Between two looks whether it has.
const RESTOCK_LOOK: Duration = Duration::from_millis(20);

/// Pause a flash sale: nobody may ask for units until it is resumed.
#[utoipa::path(
    post, path = "/activities/{id}/pause", tag = "activities",
    params(("id" = ActivityId, Path)),
    responses(
        (status = 200, description = "The sale is paused.", body = ActivityBody, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 409, description = "`invalid_transition`: the sale is over."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn pause<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Response, Refused> {
    steered(api.store.pause_sale(id, true, api.clock.now_ms()).await?)
}

/// Resume a flash sale.
#[utoipa::path(
    post, path = "/activities/{id}/resume", tag = "activities",
    params(("id" = ActivityId, Path)),
    responses(
        (status = 200, description = "The sale is not paused.", body = ActivityBody, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 409, description = "`invalid_transition`: the sale is over."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn resume<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Response, Refused> {
    steered(api.store.pause_sale(id, false, api.clock.now_ms()).await?)
}

/// End a flash sale now, for good; one that is over stays as it is.
#[utoipa::path(
    post, path = "/activities/{id}/end", tag = "activities",
    params(("id" = ActivityId, Path)),
    responses(
        (status = 200, description = "The sale has ended.", body = ActivityBody, headers(("ETag" = String, description = "The version, for `If-Match`."))),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn end<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Response, Refused> {
    let ended = api.store.end_sale(id, api.clock.now_ms()).await?;
    if let Steered::Done(sale) = &ended
        && let Err(error) = opening::end(&api.ledgers, sale).await
    {
        // The command on the log ends it as soon as the ledger answers.
        tracing::warn!(activity = %id, %error, "the ledger has yet to learn that its sale is over");
    }
    steered(ended)
}

fn steered(steered: Steered) -> Result<Response, Refused> {
    match steered {
        Steered::Done(sale) => Ok(tagged(StatusCode::OK, sale.activity.version, ActivityBody::from(sale))),
        Steered::Unknown => Err(not_found("activity")),
        Steered::Over => Err(conflict("the sale is over")),
    }
}

fn conflict(detail: &str) -> Refused {
    Problem::new(StatusCode::CONFLICT, "invalid_transition", detail).into()
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
    /// `done`, or `pending` where the ledger has not told of it in time.
    #[schema(pattern = "^(done|pending)$")]
    status: &'static str,
    #[serde(flatten)]
    counters: CountersBody,
}

/// Move units between the SKU and a sale whose ledger is open.
#[utoipa::path(
    post, path = "/activities/{id}/restock", tag = "activities",
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
    if delta == 0 || delta.unsigned_abs() > STOCK_MAX {
        return Err(invalid("delta is -1000000000 to 1000000000 and not 0"));
    }
    let operation = match idempotency_key(&headers)? {
        Some(key) => operation_of(staff.id, id, key)?,
        None => api.store.new_operation()?,
    };
    let make = async {
        if api.ledgers.counters(id).await?.is_none() {
            api.store.sale(id).await?.ok_or_else(|| not_found("activity"))?;
            return Err(conflict("its ledger is not open yet; change its stock instead"));
        }
        let done = match u64::try_from(delta) {
            Ok(units) => add(&api, id, operation, units).await?,
            Err(_) => take(&api, id, operation, delta).await?,
        };
        let counters = api.ledgers.counters(id).await?.ok_or_else(|| not_found("ledger"))?;
        let status = if done { "done" } else { "pending" };
        Ok(RestockedBody { operation_id: operation, delta, status, counters: CountersBody::of(id, counters) })
    };
    once(&api, (&headers, &staff, &format!("activities/{id}/restock")), &body, make).await
}

/// The operation of a request that has a key: the same for every try of it, so that none counts twice even
/// where the first answer was lost.
fn operation_of(staff: UserId, activity: ActivityId, key: &str) -> Result<OperationId, Refused> {
    let digest = Sha256::new()
        .chain_update(b"mall restock v1\0")
        .chain_update(staff.as_i64().to_be_bytes())
        .chain_update(activity.as_i64().to_be_bytes())
        .chain_update(key)
        .finalize();
    let id = digest.iter().take(8).fold(0, |id: i64, byte| id << 8 | i64::from(*byte)) & i64::MAX;
    OperationId::from_i64(id).ok_or_else(|| invalid("this Idempotency-Key can't be used; send another one"))
}

/// Takes units out of the SKU; they reach the ledger by the log. Whether they have.
async fn add<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    id: ActivityId,
    operation: OperationId,
    units: u64,
) -> Result<bool, Refused> {
    match api.store.restock_sale(id, operation, units, api.clock.now_ms()).await? {
        Restocked::Sent => {}
        Restocked::Unknown => return Err(not_found("activity")),
        Restocked::Over => return Err(conflict("the sale is over")),
        Restocked::InsufficientStock(left) => return Err(insufficient_stock(left)),
    }
    let told = async {
        while !api.store.is_restocked(id, operation).await? {
            tokio::time::sleep(RESTOCK_LOOK).await;
        }
        Ok(())
    };
    match tokio::time::timeout(RESTOCK_WAIT, told).await {
        Ok(told) => told.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Takes units out of the ledger, which alone knows how many nobody has; they are the SKU's again once the
/// journal tells of it.
async fn take<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    id: ActivityId,
    operation: OperationId,
    delta: i64,
) -> Result<bool, Refused> {
    let command = LedgerCommand { activity: id, action: Action::Restock { operation, delta } };
    match api.ledgers.act(vec![command]).await?.first() {
        Some(Outcome::Done) => Ok(true),
        _ => {
            let left = api.ledgers.counters(id).await?.map_or(0, |counters| counters.available);
            let detail = format!("the sale has {left} units that nobody has");
            let problem = Problem::new(StatusCode::CONFLICT, "insufficient_stock", detail);
            Err(problem.with("stock", json!(left)).into())
        }
    }
}

/// What may be said of a user.
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
    post, path = "/activities/{id}/entry-rules", tag = "activities",
    params(("id" = ActivityId, Path)),
    request_body = EntryBody,
    responses((status = 204, description = "All rules are stored.")),
    security(("admin" = ["operator"])),
)]
pub(super) async fn say_entry<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ActivityId>,
    Json(asked): Json<EntryBody>,
) -> Result<StatusCode, Refused> {
    if asked.user_ids.is_empty() || asked.user_ids.len() > ENTRY_RULES_MAX {
        return Err(invalid("user_ids are 1 to 1000"));
    }
    if api.store.say_entry(id, &asked.user_ids, asked.entry.into()).await? {
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
    /// Rows of the page; 20 unless said.
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
    get, path = "/activities/{id}/entry-rules", tag = "activities",
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
    api.store.sale(id).await?.ok_or_else(|| not_found("activity"))?;
    let listed = api.store.entry_list(id, entry.into(), PageQuery { limit, cursor }.page()?).await?;
    Ok(ListBody::of(listed, |user_id| ListedUser { user_id }))
}
