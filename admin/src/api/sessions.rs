//! Admins sign in.

use std::net::IpAddr;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use contract::UserId;
use foundation::Clock;
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::{Claim, Realm, SignIn};
use utoipa::ToSchema;
use web::{ClientAddress, Json, Problem};

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
    /// The token for `Authorization: Bearer`.
    access_token: String,
    /// Seconds for which the access token is valid.
    expires_in: u64,
}

/// Sign in.
#[utoipa::path(
    post, path = "/sessions", tag = "sessions", operation_id = "create_session",
    request_body = Credentials,
    responses(
        (status = 200, description = "Signed in.", body = Session),
        (status = 401, description = "`invalid_credentials`: name or password is wrong."),
        (status = 403, description = "`blocked`: the account is blocked."),
        (status = 429, description = "`locked`: too many wrong passwords; try again after `Retry-After`. Or `rate_limited`."),
    ),
)]
pub(super) async fn sign_in<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    ClientAddress(client): ClientAddress,
    Json(asked): Json<Credentials>,
) -> Result<impl IntoResponse, Refused> {
    // The token is as old as the sign-in: what ends tokens while the password is being hashed ends this one, too.
    let now_ms = api.clock.now_ms();
    let Welcomed { account, role, proof } = check(&api, client, (&asked.username, &asked.password)).await?;
    if !api.store.accounts().admit_admin(account, &proof, now_ms).await? {
        return Err(wrong().into());
    }
    let access_token = api.tokens.sign(account, role.as_deref(), now_ms / 1000, ACCESS_S);
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(Session { access_token, expires_in: ACCESS_S })))
}

/// Somebody whose name and password were right.
pub(crate) struct Welcomed {
    pub(crate) account: UserId,
    pub(crate) role: Option<String>,
    /// The hash that the password matched.
    pub(crate) proof: String,
}

fn wrong() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_credentials", "name or password is wrong")
}

/// The account where name and password are right.
pub(crate) async fn check<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    client: IpAddr,
    credentials: (&str, &str),
) -> Result<Welcomed, Refused> {
    let now_ms = api.clock.now_ms();
    let (username, password) = credentials;
    let claim = Claim { username, password, client, device: None };
    let signed_in = api.store.accounts().sign_in(Realm::Admins, claim, (&api.passwords, &api.tries), now_ms).await;
    match signed_in? {
        SignIn::Welcome { account, role, proof } => Ok(Welcomed { account, role, proof }),
        SignIn::Wrong => Err(wrong().into()),
        SignIn::LockedUntil(until_ms) => {
            let problem =
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "locked", "too many wrong attempts; try again later");
            Err(problem.retry_after_s(until_ms.saturating_sub(now_ms).div_ceil(1000)).into())
        }
        SignIn::Blocked => Err(Problem::new(StatusCode::FORBIDDEN, "blocked", "the account is blocked").into()),
        SignIn::Busy => {
            let problem =
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many sign-ins are waiting; try again");
            Err(problem.retry_after_s(1).into())
        }
    }
}
