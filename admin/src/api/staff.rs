//! Accounts of staff. Only the role `admin` sees and changes them.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use contract::{UserId, openapi};
use foundation::Clock;
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::StaffAccount;
use utoipa::ToSchema;
use web::{Json, Path, Query, openapi::IfMatch};

use super::{
    Api,
    refused::{Refused, not_found},
    request::{AdminOnly, ListBody, PageQuery, if_match, tagged},
};
use crate::actions::{
    Role,
    staff::{self as actions, AccountChanges, USERNAME_CHARS_MAX},
};

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Role)]
enum RoleWord {
    Admin,
    Operator,
    Viewer,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Admin => Self::Admin,
            RoleWord::Operator => Self::Operator,
            RoleWord::Viewer => Self::Viewer,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAdmin)]
pub(super) struct NewBody {
    /// Not case-sensitive.
    #[schema(schema_with = openapi::line::<USERNAME_CHARS_MAX>)]
    username: String,
    /// At least 10 characters, at most 72 bytes.
    #[schema(format = Password, min_length = 10, max_length = 72)]
    password: String,
    role: RoleWord,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdminPatch)]
pub(super) struct PatchBody {
    role: Option<RoleWord>,
    disabled: Option<bool>,
    #[schema(format = Password, min_length = 10, max_length = 72)]
    password: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Admin)]
struct AdminBody {
    admin_id: UserId,
    username: String,
    #[schema(value_type = RoleWord)]
    role: String,
    disabled: bool,
    /// Somebody else chose the password. The admin pages ask for another one before they show anything.
    must_change_password: bool,
    version: u64,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    created_at: u64,
}

impl From<StaffAccount> for AdminBody {
    fn from(account: StaffAccount) -> Self {
        Self {
            admin_id: account.id,
            username: account.username,
            role: account.role,
            disabled: account.disabled,
            must_change_password: account.must_change_password,
            version: account.version,
            created_at: account.created_at_ms,
        }
    }
}

/// Accounts of staff, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/admins", tag = "admins", operation_id = "list_admins",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<AdminBody>)),
    security(("admin" = ["admin"])),
)]
pub(super) async fn admins<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: AdminOnly,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.accounts().admins(query.page()?).await?, AdminBody::from))
}

/// An account of staff.
#[utoipa::path(
    get, path = "/admins/{id}", tag = "admins", operation_id = "get_admin",
    params(("id" = UserId, Path)),
    responses((status = 200, description = "The account.", body = AdminBody, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["admin"])),
)]
pub(super) async fn admin<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: AdminOnly,
    Path(id): Path<UserId>,
) -> Result<Response, Refused> {
    let account = api.store.accounts().admin(id).await?.ok_or_else(|| not_found("account"))?;
    Ok(tagged(StatusCode::OK, account.version, AdminBody::from(account)))
}

/// Create an account of staff.
#[utoipa::path(
    post, path = "/admins", tag = "admins",
    request_body = NewBody,
    responses(
        (status = 201, description = "Created.", body = AdminBody, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 409, description = "`username_taken`: another account has this name."),
    ),
    security(("admin" = ["admin"])),
)]
pub(super) async fn add_admin<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    AdminOnly(staff): AdminOnly,
    Json(asked): Json<NewBody>,
) -> Result<Response, Refused> {
    let NewBody { username, password, role } = asked;
    let account = actions::add(&api, &staff, (&username, &password), role.into()).await?;
    Ok(tagged(StatusCode::CREATED, account.version, AdminBody::from(account)))
}

/// Change role or password of an account, disable it, or enable it. Its sessions and tokens end within five seconds.
#[utoipa::path(
    patch, path = "/admins/{id}", tag = "admins", operation_id = "change_admin",
    params(("id" = UserId, Path), IfMatch),
    request_body = PatchBody,
    responses(
        (status = 200, description = "After the change.", body = AdminBody, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 409, description = "`invalid_transition`: it is the last enabled account with the role `admin`."),
        (status = 412, description = "`version_mismatch`, with the current `version`: it was changed by somebody else."),
        (status = 428, description = "`precondition_required`: the If-Match header is missing."),
    ),
    security(("admin" = ["admin"])),
)]
pub(super) async fn patch_admin<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    AdminOnly(staff): AdminOnly,
    Path(id): Path<UserId>,
    headers: HeaderMap,
    Json(asked): Json<PatchBody>,
) -> Result<Response, Refused> {
    let PatchBody { role, disabled, password } = asked;
    let changes = AccountChanges { role: role.map(Role::from), disabled, password };
    let change = |version| actions::patch(&api, &staff, (id, version), changes.clone());
    let account = if_match(&headers)?.apply(change).await?;
    Ok(tagged(StatusCode::OK, account.version, AdminBody::from(account)))
}
