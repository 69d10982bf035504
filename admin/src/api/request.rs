//! What the handlers take apart requests with: who asks, which page, which version, how often.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use contract::UserId;
use foundation::{
    Clock,
    web::{Json, Problem, bearer, idempotency_key},
};
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::{Listed, Once, Page};
use utoipa::{IntoParams, ToSchema};

use super::{Api, refused::Refused};

/// What an admin may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Runs catalogue and sales.
    Operator,
    /// Looks.
    Viewer,
}

impl Role {
    /// The word in tokens and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Admin, Self::Operator, Self::Viewer].into_iter().find(|role| role.as_str() == text)
    }
}

/// Who asks: anyone who is signed in may look, and a viewer may do nothing else.
pub(super) struct Staff {
    pub(super) id: UserId,
}

impl<K: LedgerClient, C: Clock> FromRequestParts<Api<K, C>> for Staff {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api<K, C>) -> Result<Self, Problem> {
        let claims = bearer(&parts.headers, &api.tokens, api.clock.now_ms())?;
        let role = claims.role.as_deref().and_then(Role::parse);
        let looks = parts.method == Method::GET || parts.method == Method::HEAD;
        match role {
            Some(Role::Admin | Role::Operator) => Ok(Self { id: claims.subject }),
            Some(Role::Viewer) if looks => Ok(Self { id: claims.subject }),
            Some(Role::Viewer) | None => {
                Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "the token's role does not allow it"))
            }
        }
    }
}

/// Rows of a page where the query names no number.
const LIMIT_DEFAULT: u32 = 20;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Rows of the page; 20 unless said.
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

/// The version that `If-Match` names.
pub(super) fn if_match(headers: &HeaderMap) -> Result<u64, Problem> {
    let Some(stated) = headers.get(header::IF_MATCH) else {
        let detail = "If-Match names the version to change: the ETag of the last answer";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "precondition_required", detail));
    };
    let version = stated.to_str().ok().and_then(|text| text.trim_matches('"').parse().ok());
    version.ok_or_else(|| {
        Problem::new(StatusCode::PRECONDITION_FAILED, "version_mismatch", "If-Match is a version such as \"1\"")
    })
}

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Makes something with `make`, once for each `Idempotency-Key` of the same admin on the same path. Only
/// what was made is kept: after a refusal the key may be used again.
pub(super) async fn once<K: LedgerClient, C: Clock, T: Serialize>(
    api: &Api<K, C>,
    (headers, staff, path): (&HeaderMap, &Staff, &str),
    body: &[u8],
    make: impl Future<Output = Result<T, Refused>>,
) -> Result<Response, Refused> {
    let Some(key) = idempotency_key(headers)? else {
        return Ok((StatusCode::CREATED, Json(make.await?)).into_response());
    };
    let scope = format!("admin:{}:{path}", staff.id);
    let made = async {
        let made = serde_json::to_string(&make.await?).map_err(|error| Problem::internal(&error))?;
        Ok::<_, Refused>((StatusCode::CREATED.as_u16(), made))
    };
    match api.store.once((&scope, key), body, api.clock.now_ms(), made).await? {
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
