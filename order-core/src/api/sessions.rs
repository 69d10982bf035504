//! Signing in, staying in, signing out.

use std::net::IpAddr;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use contract::{
    SessionId, UserId, client_address::limit_key, device::DEVICE_MS, refresh::RANDOM_BYTES, token::ACCESS_S,
};
use serde::{Deserialize, Serialize};
use store::{Claim, Realm, SignIn, token_digest};
use utoipa::ToSchema;
use web::{ClientAddress, Json, Path, Problem};

use super::{Api, Shopper, SignedIn, busy, failed};

const COOKIE: &str = "mall_shop_refresh";
const COOKIE_PATH: &str = "/api/v1/sessions";
/// Shows that a browser has signed in to an account before. Signing out leaves it.
const DEVICE_COOKIE: &str = "mall_device";

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    username: String,
    #[schema(format = Password)]
    password: String,
    /// The refresh token comes in an `HttpOnly` cookie in place of the body. Needs an `Origin` of the shop.
    #[serde(default)]
    cookie: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    /// The refresh token; if absent, that of the cookie set by a sign-in with `cookie`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<String>,
}

/// New tokens.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct Tokens {
    /// The token for `Authorization: Bearer`.
    access_token: String,
    /// Seconds for which the access token is valid.
    expires_in: u64,
    /// Valid once. Absent if it is in the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<String>,
}

/// Sign in.
#[utoipa::path(
    post, path = "/api/v1/sessions", tag = "sessions", operation_id = "create_session",
    request_body = Credentials,
    responses(
        (status = 200, description = "Signed in.", body = Tokens),
        (status = 401, description = "`invalid_credentials`: name or password is wrong."),
        (status = 403, description = "`blocked`: the account is blocked; `wrong_origin`: a cookie was asked for by another site."),
        (status = 429, description = "`locked`: too many wrong passwords, of this client, or of clients that are new to \
            the account as this one is; try again after `Retry-After`. Or `rate_limited`."),
    ),
)]
pub(super) async fn sign_in(
    State(api): State<Api>,
    ClientAddress(client): ClientAddress,
    headers: HeaderMap,
    Json(asked): Json<Credentials>,
) -> Result<impl IntoResponse, Problem> {
    let now_ms = api.now_ms();
    if asked.cookie {
        check_origin(&api, &headers)?;
    }
    let device = cookie(&headers, DEVICE_COOKIE).map(|text| (&api.devices, text));
    let claim = Claim { username: &asked.username, password: &asked.password, client, device };
    let signed_in = api.store.accounts().sign_in(Realm::Shoppers, claim, (&api.passwords, &api.tries), now_ms).await;
    let (user, proof) = match signed_in.map_err(failed)? {
        SignIn::Welcome { account, role: _, proof } => (account, proof),
        SignIn::Wrong => return Err(wrong()),
        SignIn::LockedUntil(until_ms) => return Err(locked(until_ms, now_ms)),
        SignIn::Blocked => return Err(Problem::new(StatusCode::FORBIDDEN, "blocked", "the account is blocked")),
        SignIn::Busy => return Err(busy()),
    };
    let session = api.store.accounts().next_session().map_err(failed)?;
    let refresh_token = api.refresh.first(session, &random::<RANDOM_BYTES>()?);
    let added = api.store.accounts().add_session(session, user, (&token_digest(&refresh_token), &proof), now_ms).await;
    let expires_at_ms = added.map_err(failed)?.ok_or_else(wrong)?;
    let begun = Begun { user, session, expires_at_ms };
    let (mut headers, body) = tokens(&api, begun, (refresh_token, asked.cookie), now_ms);
    if asked.cookie {
        let text = api.devices.seal(user, u64::from_be_bytes(random()?), now_ms);
        for (name, value) in set_cookie(&api, (DEVICE_COOKIE, &text), DEVICE_MS / 1000) {
            headers.append(name.unwrap_or(header::SET_COOKIE), value);
        }
    }
    Ok((headers, body))
}

fn wrong() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_credentials", "name or password is wrong")
}

/// Stay signed in: a refresh token for new tokens.
///
/// A refresh token is valid once, and gets the same answer for ten seconds after that. One that is used later is a
/// copy: the session ends. A session ends 90 days after its sign-in, or 30 days after its last refresh.
#[utoipa::path(
    post, path = "/api/v1/sessions/refresh", tag = "sessions", operation_id = "refresh_session",
    request_body = Refresh,
    responses(
        (status = 200, description = "New tokens.", body = Tokens),
        (status = 401, description = "`invalid_token`: the refresh token is not valid or no longer valid."),
        (status = 403, description = "`wrong_origin`: the cookie was used by another site."),
        (status = 429, description = "`rate_limited`: too many refreshes of the session, or too many invalid tokens of \
            your address."),
    ),
)]
pub(super) async fn refresh(
    State(api): State<Api>,
    ClientAddress(client): ClientAddress,
    headers: HeaderMap,
    Json(asked): Json<Refresh>,
) -> Result<impl IntoResponse, Problem> {
    let now_ms = api.now_ms();
    let in_cookie = asked.refresh_token.is_none();
    if in_cookie {
        // Only pages of the shop have the token in a cookie; for any other client, the body lacks it.
        if cookie(&headers, COOKIE).is_none() && !api.browsers.origins.allow(&headers) {
            return Err(Problem::invalid_body("refresh_token is missing".to_owned()));
        }
        check_origin(&api, &headers)?;
    }
    let old = asked.refresh_token.or_else(|| cookie(&headers, COOKIE).map(str::to_owned)).unwrap_or_default();
    let invalid = || {
        let detail = "the refresh token is not valid or no longer valid";
        Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", detail)
    };
    let session = session_of(&api, &old, client, now_ms).await?.ok_or_else(invalid)?;
    // By session: many shoppers may share an address. What is refused here counts as well.
    let _taken = api.refreshes.take(&format!("{session}"), now_ms).await?;
    let new = api.refresh.successor(session, &old);
    let renewed = api
        .store
        .accounts()
        .rotate_session(session, (&token_digest(&old), &token_digest(&new)), now_ms)
        .await
        .map_err(failed)?;
    let store::Renewed { user, expires_at_ms } = renewed.ok_or_else(invalid)?;
    Ok(tokens(&api, Begun { user, session, expires_at_ms }, (new, in_cookie), now_ms))
}

/// The session of a refresh token. Texts that are no tokens of this mall are counted by address.
async fn session_of(api: &Api, token: &str, client: IpAddr, now_ms: u64) -> Result<Option<SessionId>, Problem> {
    if let Some(session) = api.refresh.session(token) {
        return Ok(Some(session));
    }
    let taken = api.invalid_refreshes.take(&format!("{:x}", limit_key(client)), now_ms).await?;
    let session = api.store.accounts().session_of_token(&token_digest(token)).await.map_err(failed)?;
    if session.is_some() {
        api.invalid_refreshes.give_back(taken, now_ms).await;
    }
    Ok(session)
}

#[derive(Serialize, ToSchema)]
struct SessionBody {
    session_id: SessionId,
    /// Whether it is the session of the request's token.
    current: bool,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = contract::openapi::time)]
    created_at: u64,
    /// When its token was last refreshed.
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = contract::openapi::time)]
    renewed_at: u64,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = contract::openapi::time)]
    expires_at: u64,
}

/// Your sessions, the newest first; 50 at most.
#[derive(Serialize, ToSchema)]
#[schema(as = Sessions)]
struct SessionsBody {
    items: Vec<SessionBody>,
}

/// Your sessions.
#[utoipa::path(
    get, path = "/api/v1/sessions", tag = "sessions", operation_id = "list_sessions",
    responses((status = 200, description = "The sessions that have not ended.", body = SessionsBody)),
    security(("shopper" = [])),
)]
pub(super) async fn list(
    State(api): State<Api>,
    SignedIn { user, session: current }: SignedIn,
) -> Result<impl IntoResponse, Problem> {
    let sessions = api.store.accounts().sessions(user, api.now_ms()).await.map_err(failed)?;
    let item = |session: &store::Session| SessionBody {
        session_id: session.id,
        current: Some(session.id) == current,
        created_at: session.created_at_ms,
        renewed_at: session.renewed_at_ms,
        expires_at: session.expires_at_ms,
    };
    Ok((super::no_store(), Json(SessionsBody { items: sessions.iter().map(item).collect() })))
}

/// End one of your sessions.
///
/// Its refresh token and its access tokens become invalid.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{session_id}", tag = "sessions", operation_id = "end_session",
    params(("session_id" = SessionId, Path)),
    responses((status = 204, description = "The session has ended.")),
    security(("shopper" = [])),
)]
pub(super) async fn end(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(session): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    let ended = api.store.accounts().end_session(user, session, api.now_ms()).await.map_err(failed)?;
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("you have no such session")) }
}

/// Sign out, everywhere.
///
/// All refresh tokens and access tokens of the user become invalid.
#[utoipa::path(
    delete, path = "/api/v1/sessions/current", tag = "sessions", operation_id = "end_current_session",
    responses((status = 204, description = "Signed out.")),
    security(("shopper" = [])),
)]
pub(super) async fn sign_out(
    State(api): State<Api>,
    Shopper(user): Shopper,
) -> Result<(StatusCode, HeaderMap), Problem> {
    api.store.accounts().end_sessions(user, api.now_ms()).await.map_err(failed)?;
    Ok((StatusCode::NO_CONTENT, set_cookie(&api, (COOKIE, ""), 0)))
}

/// Too many passwords were wrong.
pub(super) fn locked(until_ms: u64, now_ms: u64) -> Problem {
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "locked", "too many wrong attempts; try again later");
    problem.retry_after_s(until_ms.saturating_sub(now_ms).div_ceil(1000))
}

/// A session with a new token.
struct Begun {
    user: UserId,
    session: SessionId,
    expires_at_ms: u64,
}

fn tokens(
    api: &Api,
    Begun { user, session, expires_at_ms }: Begun,
    (refresh_token, in_cookie): (String, bool),
    now_ms: u64,
) -> (HeaderMap, Json<Tokens>) {
    let access_token = api.tokens.sign_session(user, session, now_ms / 1000, ACCESS_S);
    let mut headers = HeaderMap::new();
    if in_cookie {
        headers = set_cookie(api, (COOKIE, &refresh_token), expires_at_ms.saturating_sub(now_ms) / 1000);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let refresh_token = (!in_cookie).then_some(refresh_token);
    (headers, Json(Tokens { access_token, expires_in: ACCESS_S, refresh_token }))
}

/// Browsers send a cookie of a host to every port of it, so its name and path are the shop's own.
fn set_cookie(api: &Api, (name, value): (&str, &str), max_age_s: u64) -> HeaderMap {
    let secure = if api.browsers.secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path={COOKIE_PATH}; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).ok().map(|value| (header::SET_COOKIE, value)).into_iter().collect()
}

/// The cookie `name` of the request.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(found, _)| *found == name).map(|(_, value)| value).next()
}

/// Browsers send cookies with requests of any site, so `Origin` must show that a page of the shop sent this one.
fn check_origin(api: &Api, headers: &HeaderMap) -> Result<(), Problem> {
    if api.browsers.origins.allow(headers) {
        return Ok(());
    }
    let detail = "the cookie is for the shop's own pages; an app sends its refresh_token in the body";
    Err(Problem::new(StatusCode::FORBIDDEN, "wrong_origin", detail))
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut random = [0; N];
    getrandom::fill(&mut random).map_err(|error| Problem::unavailable(&error, 1))?;
    Ok(random)
}
