//! What the handlers read requests with: who asks, which page, which version, how often.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use foundation::Clock;
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::{Listed, Once, Page, StaffAccount, Store, StoreError};
use utoipa::{IntoParams, ToSchema};
use web::{ClientAddress, Json, Problem, bearer, idempotency_key, meaning};

use super::{Api, refused::Refused};
use crate::actions::{Refusal, Role, Staff};

impl<K: LedgerClient, C: Clock> FromRequestParts<Api<K, C>> for Staff {
    type Rejection = Problem;

    /// The account that the bearer token names: a viewer only where the request reads.
    async fn from_request_parts(parts: &mut Parts, api: &Api<K, C>) -> Result<Self, Problem> {
        let address = parts.extensions.get::<ClientAddress>();
        let address = address.map_or_else(|| "unknown".to_owned(), |ClientAddress(address)| address.to_string());
        let now_ms = api.clock.now_ms();
        let claims = bearer(&parts.headers, &api.tokens, now_ms)?;
        let granted = claims.role.as_deref().and_then(Role::parse).ok_or_else(forbidden)?;
        let account = api.accounts.find(&api.store, claims.subject, now_ms).await;
        let account = account.map_err(|error| Problem::unavailable(&error, 1))?;
        let issued_at_ms = claims.issued_at_s.saturating_mul(1000);
        let is_good = |account: &StaffAccount| !account.disabled && issued_at_ms >= account.tokens_from_ms;
        let account = account.filter(is_good).ok_or_else(revoked)?;
        // A role that was taken away is gone at once; one that was given counts from the next token on.
        let role = Role::parse(&account.role).ok_or_else(forbidden)?.min(granted);
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        if role == Role::Viewer && !reads {
            return Err(forbidden());
        }
        Ok(Self { id: account.id, username: account.username, role, address, claim: None })
    }
}

/// Somebody with the role `admin`.
pub(super) struct AdminOnly(pub(super) Staff);

impl<K: LedgerClient, C: Clock> FromRequestParts<Api<K, C>> for AdminOnly {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api<K, C>) -> Result<Self, Problem> {
        let staff = Staff::from_request_parts(parts, api).await?;
        if staff.role == Role::Admin { Ok(Self(staff)) } else { Err(forbidden()) }
    }
}

fn forbidden() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "the token's role does not allow it")
}

fn revoked() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", "the token was revoked; sign in again")
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="mall", error="invalid_token""#))
}

/// Rows of a page where the query names no number.
const LIMIT_DEFAULT: u32 = 20;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Rows of the page; 20 by default.
    #[param(minimum = 1, maximum = 100)]
    pub(super) limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^(0|[1-9][0-9]{0,18})$")]
    pub(super) cursor: Option<String>,
}

impl PageQuery {
    pub(super) fn page(&self) -> Result<Page, Problem> {
        let invalid = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail);
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=store::PAGE_MAX).contains(&limit) {
            return Err(invalid("limit is 1 to 100"));
        }
        let before = self.cursor.as_deref().map_or(Some(i64::MAX), store::cursor_number);
        let before = before.ok_or_else(|| invalid("cursor must be the next_cursor of a page"))?;
        Ok(Page { before, limit })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Page)]
pub(super) struct ListBody<T> {
    items: Vec<T>,
    /// Null on the last page.
    next_cursor: Option<String>,
}

impl<T> ListBody<T> {
    pub(super) fn of<R>(listed: Listed<R>, body: impl Fn(R) -> T) -> Json<Self> {
        let items = listed.items.into_iter().map(body).collect();
        Json(Self { items, next_cursor: listed.next.map(|id| id.to_string()) })
    }
}

/// A row with its version as `ETag`.
pub(super) fn tagged(status: StatusCode, version: u64, body: impl Serialize) -> Response {
    (status, [(header::ETAG, format!("\"{version}\""))], Json(body)).into_response()
}

/// Versions that a change may find (RFC 9110 section 13.1.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// `*`: whichever it is.
    Any,
    /// One of these.
    OneOf(Vec<u64>),
}

/// Times that a change looks at the version once more because somebody else was quicker.
const IF_MATCH_TRIES_MAX: usize = 4;

/// The versions that `If-Match` names.
pub(super) fn if_match(headers: &HeaderMap) -> Result<IfMatch, Problem> {
    let mut lines = headers.get_all(header::IF_MATCH).iter().map(|line| line.to_str().unwrap_or_default()).peekable();
    if lines.peek().is_none() {
        let detail = "If-Match names the version to change: the ETag of the last answer";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "precondition_required", detail));
    }
    let tags: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    if tags == ["*"] {
        return Ok(IfMatch::Any);
    }
    // A tag that is no version is of something else, and matches nothing.
    let versions: Vec<u64> = tags.into_iter().filter_map(version_of).collect();
    if versions.is_empty() {
        let detail = "If-Match is a version such as \"1\"";
        return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "version_mismatch", detail));
    }
    Ok(IfMatch::OneOf(versions))
}

impl IfMatch {
    /// Makes a change with a version that matches; a refusal carries the current one.
    pub(super) async fn apply<T, F>(&self, change: impl Fn(u64) -> F) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refusal>>,
    {
        // No version is 0.
        let mut version = match self {
            Self::Any => 0,
            Self::OneOf(versions) => versions.first().copied().unwrap_or(0),
        };
        let mut tries = 1;
        loop {
            match change(version).await {
                Err(Refusal::Changed { version: current, .. })
                    if self.matches(current) && tries < IF_MATCH_TRIES_MAX =>
                {
                    version = current;
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    fn matches(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }
}

/// A version as tag. Proxies that compress an answer make its tag weak, and it still names the version.
fn version_of(tag: &str) -> Option<u64> {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').parse().ok()
}

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Makes something with `make`, once for each `Idempotency-Key` of the same admin on the same path. Only
/// what was made is kept: after a refusal the key may be used again. `make` acts for the person it gets, whose store notes what is
/// made. Where the process ended before it could answer, `read` finds that by its id.
pub(super) async fn make_once<K, C, T, M, R>(
    api: &Api<K, C>,
    (headers, staff, path): (&HeaderMap, &Staff, &str),
    body: &[u8],
    make: impl FnOnce(Staff) -> M,
    read: impl FnOnce(Store, i64) -> R,
) -> Result<Response, Refused>
where
    K: LedgerClient,
    C: Clock,
    T: Serialize,
    M: Future<Output = Result<T, Refused>>,
    R: Future<Output = Result<Option<T>, StoreError>>,
{
    let Some(key) = idempotency_key(headers)? else {
        return Ok((StatusCode::CREATED, Json(make(staff.clone()).await?)).into_response());
    };
    let scope = format!("admin:{}:{path}", staff.id);
    let make = async |claim| created(&make(Staff { claim: Some(claim), ..staff.clone() }).await?);
    let read = async |id| created(&read(api.store.clone(), id).await?.ok_or(Refusal::Unknown("row"))?);
    answer(api.store.once((&scope, key), &meaning(body), api.clock.now_ms(), make, read).await?)
}

/// As [`make_once`], for work that has an id of its own under the key and changes nothing the second time.
pub(super) async fn repeat_once<K: LedgerClient, C: Clock, T: Serialize>(
    api: &Api<K, C>,
    (headers, staff, path): (&HeaderMap, &Staff, &str),
    body: &[u8],
    work: impl Future<Output = Result<T, Refused>>,
) -> Result<Response, Refused> {
    let unclaimed = async |_, _| Ok(None);
    make_once(api, (headers, staff, path), body, |_| work, unclaimed).await
}

fn created(made: &impl Serialize) -> Result<(u16, String), Refused> {
    let made = serde_json::to_string(made).map_err(|error| Problem::internal(&error))?;
    Ok((StatusCode::CREATED.as_u16(), made))
}

fn answer(once: Once) -> Result<Response, Refused> {
    match once {
        Once::Answer { status, body, again } => {
            let status = StatusCode::from_u16(status).map_err(|error| Problem::internal(&error))?;
            let again = again.then_some([(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"))]);
            let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            Ok((status, kind, again.map(HeaderMap::from_iter).unwrap_or_default(), body).into_response())
        }
        Once::Running => {
            let detail = "the first request under this Idempotency-Key still runs";
            Err(Problem::new(StatusCode::CONFLICT, "request_running", detail).retry_after_s(1).into())
        }
        Once::Differs => {
            let detail = "the first request under this Idempotency-Key had another body";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail).into())
        }
    }
}
