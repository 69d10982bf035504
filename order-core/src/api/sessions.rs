//! Signing in, staying in, signing out.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use contract::UserId;
use foundation::{
    data_dir::random_hex,
    web::{ClientAddress, Json, Problem},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Realm, SignIn};
use utoipa::ToSchema;

use super::{Api, Shopper, busy, failed};

/// How long an access token is good.
const ACCESS_S: u64 = 3600;
/// Lifetime of a refresh token; each use starts it over.
const REFRESH_MS: u64 = 30 * 24 * 3600 * 1000;
const REFRESH_BYTES: usize = 32;
const COOKIE: &str = "mall_shop_refresh";
const COOKIE_PATH: &str = "/api/v1/sessions";

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
    /// Absent: the cookie that a sign-in with `cookie` set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Session {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// Seconds for which the access token is good.
    expires_in: u64,
    /// Good once. Absent where it is in the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<String>,
}

/// Sign in.
#[utoipa::path(
    post, path = "/api/v1/sessions", tag = "sessions",
    request_body = Credentials,
    responses(
        (status = 200, description = "Signed in.", body = Session),
        (status = 401, description = "`invalid_credentials`: name or password is wrong."),
        (status = 403, description = "`blocked`: the account is blocked; `wrong_origin`: a cookie was asked for by another site."),
        (status = 429, description = "`locked`: too many tries were wrong; or `rate_limited`."),
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
    let counted = api.tries.count(client, now_ms).await?;
    let credentials = (asked.username.as_str(), asked.password.as_str());
    let signed_in = api.store.sign_in(Realm::Shoppers, credentials, &api.passwords, now_ms).await;
    if !matches!(signed_in, Ok(SignIn::Wrong)) {
        api.tries.forgive(counted, now_ms).await;
    }
    let user = match signed_in.map_err(failed)? {
        SignIn::Welcome { account, role: _ } => account,
        SignIn::Wrong => {
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "invalid_credentials", "name or password is wrong"));
        }
        SignIn::LockedUntil(until_ms) => {
            let problem =
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "locked", "too many wrong attempts; try again later");
            return Err(problem.retry_after_s(until_ms.saturating_sub(now_ms).div_ceil(1000)));
        }
        SignIn::Blocked => return Err(Problem::new(StatusCode::FORBIDDEN, "blocked", "the account is blocked")),
        SignIn::Busy => return Err(busy()),
    };
    let refresh_token = random_token()?;
    let added = api.store.add_session(user, &digest(&refresh_token), now_ms + REFRESH_MS, now_ms).await;
    added.map_err(failed)?;
    Ok(session(&api, user, (refresh_token, asked.cookie), now_ms))
}

/// Stay signed in: a refresh token for new tokens.
///
/// A refresh token is good once. One that comes again was stolen from somebody: all of its session's end.
#[utoipa::path(
    post, path = "/api/v1/sessions/refresh", tag = "sessions",
    request_body = Refresh,
    responses(
        (status = 200, description = "New tokens.", body = Session),
        (status = 401, description = "`invalid_token`: the refresh token is not valid or no longer valid."),
        (status = 403, description = "`wrong_origin`: the cookie was used by another site."),
    ),
)]
pub(super) async fn refresh(
    State(api): State<Api>,
    headers: HeaderMap,
    Json(asked): Json<Refresh>,
) -> Result<impl IntoResponse, Problem> {
    let now_ms = api.now_ms();
    let in_cookie = asked.refresh_token.is_none();
    if in_cookie {
        // Only pages of the shop have the token in a cookie; for any other client, the body lacks it.
        if cookie(&headers).is_none() && !api.browsers.origins.allow(&headers) {
            return Err(Problem::invalid_body("refresh_token is missing".to_owned()));
        }
        check_origin(&api, &headers)?;
    }
    let old = asked.refresh_token.or_else(|| cookie(&headers).map(str::to_owned)).unwrap_or_default();
    let new = random_token()?;
    let (old_hash, new_hash) = (digest(&old), digest(&new));
    let owner = api.store.rotate_session(&old_hash, &new_hash, now_ms + REFRESH_MS, now_ms).await.map_err(failed)?;
    let Some(user) = owner else {
        let detail = "the refresh token is not valid or no longer valid";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", detail));
    };
    Ok(session(&api, user, (new, in_cookie), now_ms))
}

/// Sign out, everywhere.
///
/// No refresh token of the user is good any more. Access tokens that were given out stay good until they expire.
#[utoipa::path(
    delete, path = "/api/v1/sessions/current", tag = "sessions",
    responses((status = 204, description = "Signed out.")),
    security(("shopper" = [])),
)]
pub(super) async fn sign_out(
    State(api): State<Api>,
    Shopper(user): Shopper,
) -> Result<(StatusCode, HeaderMap), Problem> {
    api.store.end_sessions(user).await.map_err(failed)?;
    Ok((StatusCode::NO_CONTENT, set_cookie(&api, "", 0)))
}

fn session(
    api: &Api,
    user: UserId,
    (refresh_token, in_cookie): (String, bool),
    now_ms: u64,
) -> impl IntoResponse + use<> {
    let access_token = api.tokens.sign(user, None, now_ms / 1000, ACCESS_S);
    let mut headers = HeaderMap::new();
    if in_cookie {
        headers = set_cookie(api, &refresh_token, REFRESH_MS / 1000);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let refresh_token = (!in_cookie).then_some(refresh_token);
    (headers, Json(Session { access_token, expires_in: ACCESS_S, refresh_token }))
}

/// Browsers send a cookie of a host to every port of it, so its name and path are the shop's own.
fn set_cookie(api: &Api, token: &str, max_age_s: u64) -> HeaderMap {
    let secure = if api.browsers.secure { "; Secure" } else { "" };
    let text = format!("{COOKIE}={token}; Path={COOKIE_PATH}; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).ok().map(|value| (header::SET_COOKIE, value)).into_iter().collect()
}

/// The refresh token of the request's cookie.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value).next()
}

/// Browsers send cookies with requests of any site, so `Origin` must show that a page of the shop sent this one.
fn check_origin(api: &Api, headers: &HeaderMap) -> Result<(), Problem> {
    if api.browsers.origins.allow(headers) {
        return Ok(());
    }
    let detail = "the cookie is for the shop's own pages; an app sends its refresh_token in the body";
    Err(Problem::new(StatusCode::FORBIDDEN, "wrong_origin", detail))
}

fn random_token() -> Result<String, Problem> {
    random_hex(REFRESH_BYTES).map_err(|error| Problem::unavailable(&error, 1))
}

/// What the database keeps of a token: 256 random bits need no salt.
fn digest(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}
