//! Signing in, staying in, signing out.

use axum::{
    extract::State,
    http::{StatusCode, header},
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
/// How long a refresh token is good; each use of it begins anew.
const REFRESH_MS: u64 = 30 * 24 * 3600 * 1000;
const REFRESH_BYTES: usize = 32;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    username: String,
    #[schema(format = Password)]
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    refresh_token: String,
}

#[derive(Serialize, ToSchema)]
struct Session {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// Seconds for which the access token is good.
    expires_in: u64,
    /// Good once.
    refresh_token: String,
}

/// Sign in.
#[utoipa::path(
    post, path = "/api/v1/sessions", tag = "sessions",
    request_body = Credentials,
    responses(
        (status = 200, description = "Signed in.", body = Session),
        (status = 401, description = "`invalid_credentials`: name or password is wrong."),
        (status = 403, description = "`blocked`: the account is blocked."),
        (status = 429, description = "`locked`: five tries were wrong; wait."),
    ),
)]
pub(super) async fn sign_in(
    State(api): State<Api>,
    ClientAddress(client): ClientAddress,
    Json(asked): Json<Credentials>,
) -> Result<impl IntoResponse, Problem> {
    let now_ms = api.now_ms();
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
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "locked", "too many wrong tries; wait");
            return Err(problem.retry_after_s(until_ms.saturating_sub(now_ms).div_ceil(1000)));
        }
        SignIn::Blocked => return Err(Problem::new(StatusCode::FORBIDDEN, "blocked", "the account is blocked")),
        SignIn::Busy => return Err(busy()),
    };
    let refresh_token = random_token()?;
    let added = api.store.add_session(user, &digest(&refresh_token), now_ms + REFRESH_MS, now_ms).await;
    added.map_err(failed)?;
    Ok(session(&api, user, refresh_token, now_ms))
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
    ),
)]
pub(super) async fn refresh(State(api): State<Api>, Json(asked): Json<Refresh>) -> Result<impl IntoResponse, Problem> {
    let now_ms = api.now_ms();
    let new = random_token()?;
    let (old_hash, new_hash) = (digest(&asked.refresh_token), digest(&new));
    let owner = api.store.rotate_session(&old_hash, &new_hash, now_ms + REFRESH_MS, now_ms).await.map_err(failed)?;
    let Some(user) = owner else {
        let detail = "the refresh token is not valid or no longer valid";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", detail));
    };
    Ok(session(&api, user, new, now_ms))
}

/// Sign out, everywhere.
///
/// No refresh token of the user is good any more. Access tokens that were given out stay good until they expire.
#[utoipa::path(
    delete, path = "/api/v1/sessions/current", tag = "sessions",
    responses((status = 204, description = "Signed out.")),
    security(("shopper" = [])),
)]
pub(super) async fn sign_out(State(api): State<Api>, Shopper(user): Shopper) -> Result<StatusCode, Problem> {
    api.store.end_sessions(user).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}

fn session(api: &Api, user: UserId, refresh_token: String, now_ms: u64) -> impl IntoResponse + use<> {
    let access_token = api.tokens.sign(user, None, now_ms / 1000, ACCESS_S);
    let body = Json(Session { access_token, expires_in: ACCESS_S, refresh_token });
    ([(header::CACHE_CONTROL, "no-store")], body)
}

fn random_token() -> Result<String, Problem> {
    random_hex(REFRESH_BYTES).map_err(|error| Problem::unavailable(&error, 1))
}

/// What the database keeps of a token: 256 random bits need no salt.
fn digest(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}
