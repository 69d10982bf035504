//! Dead letters.

use axum::extract::State;
use contract::openapi;
use foundation::Clock;
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::{LETTER_REASON_CHARS_MAX, Listed};
use utoipa::ToSchema;
use web::{Json, Path, Query};

use super::{
    Api,
    refused::Refused,
    request::{ListBody, PageQuery},
};
use crate::actions::{
    Staff,
    letters::{self as actions, Decided},
};

/// Bytes of a record that are shown.
const SHOWN_BYTES: usize = 512;

#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
struct LetterBody {
    dead_letter_id: String,
    /// The position of the record.
    topic: String,
    partition: u32,
    offset: u64,
    /// The consumer group that gave it up.
    group: String,
    reason: String,
    /// Length of the record.
    bytes: u64,
    /// The first 512 bytes of the record, in hexadecimal.
    start: String,
    /// `replayed`, `dropped`, or null.
    decision: Option<String>,
    decision_reason: Option<String>,
    #[serde(with = "foundation::rfc3339::option")]
    #[schema(schema_with = openapi::time_or_null)]
    decided_at: Option<u64>,
}

impl From<Decided> for LetterBody {
    fn from((letter, decided): Decided) -> Self {
        let (id, letter) = (letter.id, &letter.letter);
        let (decision, decision_reason, decided_at) =
            decided.map_or((None, None, None), |one| (Some(one.decision), Some(one.reason), Some(one.decided_at_ms)));
        Self {
            dead_letter_id: id.to_string(),
            topic: letter.topic.clone(),
            partition: letter.partition,
            offset: letter.offset,
            group: letter.group.clone(),
            reason: letter.reason.clone(),
            bytes: letter.value.len() as u64,
            start: letter.value.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect(),
            decision,
            decision_reason,
            decided_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DropLetter)]
pub(super) struct DropBody {
    #[schema(schema_with = openapi::name::<LETTER_REASON_CHARS_MAX>)]
    reason: String,
}

/// A letter's id; one that is beyond every id names nothing.
fn number(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// Records that a worker has given up, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/dead-letters", tag = "dead letters", operation_id = "list_dead_letters",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<LetterBody>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn list_letters<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    let page = query.page()?;
    let (items, next) = actions::list(&api, (page.before, page.limit)).await?;
    Ok(ListBody::of(Listed { items, next }, LetterBody::from))
}

/// A record that a worker has given up.
#[utoipa::path(
    get, path = "/dead-letters/{id}", tag = "dead letters", operation_id = "get_dead_letter",
    params(("id" = u64, Path)),
    responses((status = 200, description = "The dead letter.", body = LetterBody)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn letter<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<u64>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(Json(LetterBody::from(actions::one(&api, number(id)).await?)))
}

/// Send the record to its topic once more. A letter that was replayed is not sent again.
#[utoipa::path(
    post, path = "/dead-letters/{id}/replay", tag = "dead letters", operation_id = "replay_dead_letter",
    params(("id" = u64, Path)),
    responses((status = 200, description = "The record is on its way.", body = LetterBody)),
    security(("admin" = ["operator"])),
)]
pub(super) async fn replay_letter<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<u64>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(Json(LetterBody::from(actions::replay(&api, &staff, number(id)).await?)))
}

/// Drop a letter, with a reason. It stays on the log and can still be replayed.
#[utoipa::path(
    post, path = "/dead-letters/{id}/drop", tag = "dead letters", operation_id = "drop_dead_letter",
    params(("id" = u64, Path)),
    request_body = DropBody,
    responses(
        (status = 200, description = "The letter is dropped.", body = LetterBody),
        (status = 409, description = "`invalid_transition`: the letter was replayed."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn drop_letter<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<u64>,
    Json(asked): Json<DropBody>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(Json(LetterBody::from(actions::give_up(&api, &staff, number(id), &asked.reason).await?)))
}
