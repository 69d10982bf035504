//! Admins sign in.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use foundation::{
    Clock,
    web::{ClientAddress, Json, Problem},
};
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::{Realm, SignIn};
use utoipa::ToSchema;

use super::{Api, refused::Refused};

/// How long an access token is good.
const ACCESS_S: u64 = 8 * 3600;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    username: String,
    #[schema(format = Password)]
    password: String,
}

#[derive(Serialize, ToSchema)]
struct Session {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// Seconds for which the access token is good.
    expires_in: u64,
}

/// Sign in.
#[utoipa::path(
    post, path = "/sessions", tag = "sessions",
    request_body = Credentials,
    responses(
        (status = 200, description = "Signed in.", body = Session),
        (status = 401, description = "`invalid_credentials`: name or password is wrong."),
        (status = 403, description = "`blocked`: the account is blocked."),
        (status = 429, description = "`locked`: too many tries were wrong; or `rate_limited`."),
    ),
)]
pub(super) async fn sign_in<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    ClientAddress(client): ClientAddress,
    Json(asked): Json<Credentials>,
) -> Result<impl IntoResponse, Refused> {
    let now_ms = api.clock.now_ms();
    let counted = api.tries.count(client, now_ms).await?;
    let credentials = (asked.username.as_str(), asked.password.as_str());
    let signed_in = api.store.sign_in(Realm::Admins, credentials, &api.passwords, now_ms).await;
    if !matches!(signed_in, Ok(SignIn::Wrong)) {
        api.tries.forgive(counted, now_ms).await;
    }
    let (account, role) = match signed_in? {
        SignIn::Welcome { account, role } => (account, role),
        SignIn::Wrong => {
            let detail = "name or password is wrong";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "invalid_credentials", detail).into());
        }
        SignIn::LockedUntil(until_ms) => {
            let problem =
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "locked", "too many wrong attempts; try again later");
            return Err(problem.retry_after_s(until_ms.saturating_sub(now_ms).div_ceil(1000)).into());
        }
        SignIn::Blocked => {
            return Err(Problem::new(StatusCode::FORBIDDEN, "blocked", "the account is blocked").into());
        }
        SignIn::Busy => {
            let problem =
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many sign-ins are waiting; try again");
            return Err(problem.retry_after_s(1).into());
        }
    };
    let access_token = api.tokens.sign(account, role.as_deref(), now_ms / 1000, ACCESS_S);
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(Session { access_token, expires_in: ACCESS_S })))
}
