//! The audit log. It can be read, and nothing else.

use axum::{extract::State, http::StatusCode};
use contract::{UserId, openapi};
use foundation::Clock;
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{AuditEntry, AuditQuery};
use utoipa::{IntoParams, ToSchema};
use web::{Json, Problem, Query};

use super::{
    Api,
    refused::Refused,
    request::{AdminOnly, ListBody, PageQuery},
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Only changes by this account.
    admin_id: Option<UserId>,
    /// Only this action, such as `pause_sale`.
    action: Option<String>,
    /// Only changes of this kind of row, such as `product`.
    subject: Option<String>,
    /// Only changes of the row with this id.
    #[param(pattern = "^(0|[1-9][0-9]{0,18})$")]
    subject_id: Option<String>,
    /// Not before this.
    #[serde(default, with = "foundation::rfc3339::option")]
    #[param(schema_with = openapi::time)]
    since: Option<u64>,
    /// Before this.
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
#[schema(as = AuditEntry)]
struct EntryBody {
    entry_id: String,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    at: u64,
    /// The account that made the change.
    admin_id: UserId,
    /// Its name at that time.
    username: String,
    /// The address that the request came from.
    address: String,
    action: String,
    /// The kind of row.
    subject: Option<String>,
    subject_id: Option<String>,
    /// The row before the change; null where there was none.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// The row after the change; null if the change removed it.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
}

impl From<AuditEntry> for EntryBody {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, admin, username, address, at_ms, action, subject, subject_id, before, after } = entry;
        Self {
            entry_id: id.to_string(),
            at: at_ms,
            admin_id: admin,
            username,
            address,
            action,
            subject,
            subject_id: subject_id.map(|id| id.to_string()),
            before,
            after,
        }
    }
}

/// Changes by staff, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/audit-log", tag = "audit log", operation_id = "list_audit_entries",
    params(LogQuery),
    responses((status = 200, description = "One page.", body = ListBody<EntryBody>)),
    security(("admin" = ["admin"])),
)]
pub(super) async fn audit_log<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: AdminOnly,
    Query(query): Query<LogQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    let LogQuery { admin_id, action, subject, subject_id, since, until, limit, cursor } = query;
    let page = PageQuery { limit, cursor }.page()?;
    let subject_id = subject_id.map(|text| store::cursor_number(&text).ok_or_else(no_id)).transpose()?;
    let which = AuditQuery { admin: admin_id, action, subject, subject_id, since_ms: since, until_ms: until };
    Ok(ListBody::of(api.store.accounts().audit_log(&which, page).await?, EntryBody::from))
}

fn no_id() -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", "subject_id: expected an id")
}
