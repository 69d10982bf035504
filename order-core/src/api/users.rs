//! Registration.

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use contract::{UserId, client_address::limit_key};
use serde::{Deserialize, Serialize};
use store::{Checked, Claim, Lane, PASSWORD_BYTES_MAX, USERNAME_CHARS_MAX, User, normalize_password, token_digest};
use utoipa::ToSchema;
use web::{ClientAddress, Json, Problem};

use super::{Api, Shopper, SignedIn, busy, failed, sessions::locked};

const USERNAME_CHARS: std::ops::RangeInclusive<usize> = 3..=USERNAME_CHARS_MAX;
const PASSWORD_CHARS_MIN: usize = 8;
const PHONE_CHARS: std::ops::RangeInclusive<usize> = 5..=20;
/// What is before the extension of a telephone.
const EXTENSIONS: [&str; 4] = ["ext", "转", "轉", "x"];

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    /// Latin letters, Chinese characters, digits, `_`, `.` and `-`.
    #[schema(min_length = 3, max_length = 32, pattern = "^[A-Za-z0-9_.\\-\u{3400}-\u{4dbf}\u{4e00}-\u{9fff}]+$")]
    username: String,
    /// At least 8 characters, and at most 72 bytes of UTF-8.
    #[schema(format = Password, min_length = 8, max_length = 72, pattern = "^[^\\u0000]*$")]
    password: String,
    #[schema(
        min_length = 5,
        max_length = 31,
        pattern = "^[0-9０-９+\\-() .#（）＋－]{5,20}((ext|转|轉|x)[. ]{0,2}[0-9０-９]{1,6})?$"
    )]
    phone: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(super) struct Registered {
    user_id: UserId,
    username: String,
    phone: Option<String>,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = contract::openapi::time)]
    created_at: u64,
}

impl From<User> for Registered {
    fn from(User { id, username, phone, created_at_ms }: User) -> Self {
        Self { user_id: id, username, phone, created_at: created_at_ms }
    }
}

/// Register.
#[utoipa::path(
    post, path = "/api/v1/users", tag = "users", operation_id = "register_user",
    request_body = Registration,
    responses(
        (status = 201, description = "Registered.", body = Registered),
        (status = 409, description = "`username_taken`: the name is taken, possibly in another letter case."),
        (status = 429, description = "`rate_limited`: also where too many names of your address were taken."),
    ),
)]
pub(super) async fn register(
    State(api): State<Api>,
    ClientAddress(client): ClientAddress,
    Json(asked): Json<Registration>,
) -> Result<impl IntoResponse, Problem> {
    check(&asked).map_err(Problem::invalid_body)?;
    let (client, now_ms) = (limit_key(client), api.now_ms());
    // It counts as taken until it turns out not to be, so that requests made at once count too.
    let counted = api.taken_names.take(&format!("{client:x}"), now_ms).await?;
    let added = async {
        let hash = api.passwords.hash_for(client, Lane::Registration, &asked.password).await.map_err(failed)?;
        let hash = hash.ok_or_else(busy)?;
        api.store.accounts().add_user(&asked.username, &hash, asked.phone.as_deref(), now_ms).await.map_err(failed)
    };
    let Some(user) = (match added.await {
        Ok(None) => None,
        added => {
            api.taken_names.give_back(counted, now_ms).await;
            added?
        }
    }) else {
        return Err(Problem::new(StatusCode::CONFLICT, "username_taken", "the username is taken"));
    };
    Ok((StatusCode::CREATED, Json(Registered::from(user))))
}

/// The user that the token belongs to.
#[utoipa::path(
    get, path = "/api/v1/users/me", tag = "users", operation_id = "get_user",
    responses(
        (status = 200, description = "The user.", body = Registered),
        (status = 404, description = "`not_found`: the token's user is not registered."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn me(State(api): State<Api>, Shopper(user): Shopper) -> Result<Json<impl Serialize>, Problem> {
    let user = api.store.accounts().user(user).await.map_err(failed)?;
    user.map(|user| Json(Registered::from(user)))
        .ok_or_else(|| Problem::not_found("the token's user is not registered"))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserChange)]
pub(super) struct Change {
    /// Unchanged if absent; deleted if null.
    #[serde(default, deserialize_with = "stated")]
    #[schema(value_type = Option<String>, min_length = 5, max_length = 31, pattern = "^[0-9０-９+\\-() .#（）＋－]{5,20}((ext|转|轉|x)[. ]{0,2}[0-9０-９]{1,6})?$")]
    phone: Option<Option<String>>,
}

/// What is stated, even if it is null.
fn stated<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Change your profile.
#[utoipa::path(
    patch, path = "/api/v1/users/me", tag = "users", operation_id = "change_user",
    request_body = Change,
    responses(
        (status = 200, description = "The user as of now.", body = Registered),
        (status = 404, description = "`not_found`: the token's user is not registered."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn change(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Json(asked): Json<Change>,
) -> Result<Json<impl Serialize>, Problem> {
    if let Some(phone) = &asked.phone {
        check_phone(phone.as_deref()).map_err(Problem::invalid_body)?;
        api.store.accounts().set_phone(user, phone.as_deref()).await.map_err(failed)?;
    }
    me(State(api), Shopper(user)).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    #[schema(format = Password)]
    old_password: String,
    /// At least 8 characters, and at most 72 bytes of UTF-8.
    #[schema(format = Password, min_length = 8, max_length = 72, pattern = "^[^\\u0000]*$")]
    new_password: String,
}

/// Change your password.
///
/// All other sessions end, with their access tokens.
#[utoipa::path(
    post, path = "/api/v1/users/me/password", tag = "users",
    request_body = PasswordChange,
    responses(
        (status = 204, description = "The password is changed."),
        (status = 403, description = "`wrong_password`: the old password is wrong."),
        (status = 404, description = "`not_found`: the token's user is not registered."),
        (status = 409, description = "`conflict`: the password was changed by another request meanwhile."),
        (status = 429, description = "`locked`: too many wrong passwords; or `rate_limited`."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn change_password(
    State(api): State<Api>,
    ClientAddress(client): ClientAddress,
    SignedIn { user, session }: SignedIn,
    Json(asked): Json<PasswordChange>,
) -> Result<StatusCode, Problem> {
    check_password(&asked.new_password).map_err(Problem::invalid_body)?;
    let now_ms = api.now_ms();
    let unknown = || Problem::not_found("the token's user is not registered");
    let known = api.store.accounts().user(user).await.map_err(failed)?.ok_or_else(unknown)?;
    let claim = Claim { username: &known.username, password: &asked.old_password, client, device: None };
    let checked = api.store.accounts().check_password(user, claim, (&api.passwords, &api.tries), now_ms).await;
    let old_hash = match checked.map_err(failed)? {
        Checked::Right(hash) => hash,
        Checked::Wrong => {
            return Err(Problem::new(StatusCode::FORBIDDEN, "wrong_password", "the old password is wrong"));
        }
        Checked::LockedUntil(until_ms) => return Err(locked(until_ms, now_ms)),
        Checked::Busy => return Err(busy()),
    };
    let hash = api.passwords.hash_for(limit_key(client), Lane::SignIn, &asked.new_password).await.map_err(failed)?;
    let hashes = (&*old_hash, &*hash.ok_or_else(busy)?);
    if api.store.accounts().change_password(user, hashes, session, api.now_ms()).await.map_err(failed)? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(StatusCode::CONFLICT, "conflict", "the password was changed meanwhile"))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordReset {
    /// The token in the link from the shop.
    token: String,
    /// At least 8 characters, and at most 72 bytes of UTF-8.
    #[schema(format = Password, min_length = 8, max_length = 72, pattern = "^[^\\u0000]*$")]
    new_password: String,
}

/// Set a new password with a link of the shop.
///
/// A link is valid once and for an hour. All sessions end, with their access tokens.
#[utoipa::path(
    post, path = "/api/v1/users/reset", tag = "users",
    request_body = PasswordReset,
    responses(
        (status = 204, description = "The password is set."),
        (status = 403, description = "`invalid_link`: the link was used, has expired, or never existed."),
    ),
)]
pub(super) async fn reset_password(
    State(api): State<Api>,
    ClientAddress(client): ClientAddress,
    Json(asked): Json<PasswordReset>,
) -> Result<StatusCode, Problem> {
    check_password(&asked.new_password).map_err(Problem::invalid_body)?;
    let invalid = || Problem::new(StatusCode::FORBIDDEN, "invalid_link", "the link was used or has expired");
    let token_hash = token_digest(&asked.token);
    let user = api.store.accounts().reset_link(&token_hash, api.now_ms()).await.map_err(failed)?.ok_or_else(invalid)?;
    let hash = api.passwords.hash_for(limit_key(client), Lane::SignIn, &asked.new_password).await.map_err(failed)?;
    let hash = hash.ok_or_else(busy)?;
    let reset = api.store.accounts().reset_password(user, (&token_hash, &hash), api.now_ms()).await.map_err(failed)?;
    if reset { Ok(StatusCode::NO_CONTENT) } else { Err(invalid()) }
}

fn check(asked: &Registration) -> Result<(), &'static str> {
    let cjk = |char| matches!(char, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}');
    let letter = |char: char| char.is_ascii_alphanumeric() || "_.-".contains(char) || cjk(char);
    if !USERNAME_CHARS.contains(&asked.username.chars().count()) || !asked.username.chars().all(letter) {
        return Err("username is 3 to 32 Latin letters, Chinese characters, digits, '_', '.' and '-'");
    }
    check_password(&asked.password)?;
    check_phone(asked.phone.as_deref())
}

fn check_password(password: &str) -> Result<(), &'static str> {
    // Normalization takes at most four bytes to one (a mathematical letter to a Latin one).
    let is_long = password.len() > 4 * PASSWORD_BYTES_MAX;
    let password = if is_long { String::new() } else { normalize_password(password) };
    if password.chars().count() < PASSWORD_CHARS_MIN || password.len() > PASSWORD_BYTES_MAX {
        return Err("password is at least 8 characters and at most 72 bytes");
    }
    if password.contains('\0') {
        return Err("password has no NUL");
    }
    Ok(())
}

/// As the pattern in the document has it: also with brackets around the area code, and with an extension. Digits, brackets
/// and signs may have the width of Chinese characters. Telephones are kept as they are written.
fn check_phone(phone: Option<&str>) -> Result<(), &'static str> {
    let Some(phone) = phone else { return Ok(()) };
    let is_digit = |char: char| char.is_ascii_digit() || ('\u{ff10}'..='\u{ff19}').contains(&char);
    let is_number = |char: char| is_digit(char) || "+-() .#（）＋－".contains(char);
    let end = phone.find(|char| !is_number(char)).unwrap_or(phone.len());
    let (number, rest) = phone.split_at(end);
    let extension = EXTENSIONS.iter().find_map(|mark| rest.strip_prefix(mark));
    let is_extension = |text: &str| {
        let digits = text.trim_start_matches(['.', ' ']);
        text.len() - digits.len() <= 2 && (1..=6).contains(&digits.chars().count()) && digits.chars().all(is_digit)
    };
    if PHONE_CHARS.contains(&number.chars().count()) && (rest.is_empty() || extension.is_some_and(is_extension)) {
        return Ok(());
    }
    Err(
        "phone is 5 to 20 digits, brackets, '+', '-', '.', '#' and spaces; an extension of up to 6 digits follows 'ext', 'x' or '转'",
    )
}
