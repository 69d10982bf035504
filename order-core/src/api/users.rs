//! Registration.

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use contract::UserId;
use foundation::web::{Json, Problem};
use serde::{Deserialize, Serialize};
use store::{PASSWORD_BYTES_MAX, User};
use utoipa::ToSchema;

use super::{Api, Shopper, busy, failed};

const USERNAME_CHARS: std::ops::RangeInclusive<usize> = 3..=32;
const PASSWORD_CHARS_MIN: usize = 8;
const PHONE_CHARS: std::ops::RangeInclusive<usize> = 5..=20;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    /// Latin letters, Chinese characters, digits, `_`, `.` and `-`.
    #[schema(min_length = 3, max_length = 32, pattern = "^[A-Za-z0-9_.\\-\u{3400}-\u{4dbf}\u{4e00}-\u{9fff}]+$")]
    username: String,
    /// At least 8 characters, and at most 72 bytes of UTF-8.
    #[schema(format = Password, min_length = 8, max_length = 72, pattern = "^[^\\u0000]*$")]
    password: String,
    #[schema(min_length = 5, max_length = 20, pattern = "^[0-9+\\- ]+$")]
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
    post, path = "/api/v1/users", tag = "users",
    request_body = Registration,
    responses(
        (status = 201, description = "Registered.", body = Registered),
        (status = 409, description = "`username_taken`: the name is taken, possibly in another letter case."),
    ),
)]
pub(super) async fn register(
    State(api): State<Api>,
    Json(asked): Json<Registration>,
) -> Result<impl IntoResponse, Problem> {
    check(&asked).map_err(Problem::invalid_body)?;
    let hash = api.passwords.hash(&asked.password).await.map_err(failed)?.ok_or_else(busy)?;
    let added = api.store.add_user(&asked.username, &hash, asked.phone.as_deref(), api.now_ms()).await;
    let Some(user) = added.map_err(failed)? else {
        return Err(Problem::new(StatusCode::CONFLICT, "username_taken", "the username is taken"));
    };
    Ok((StatusCode::CREATED, Json(Registered::from(user))))
}

/// Who the token is of.
#[utoipa::path(
    get, path = "/api/v1/users/me", tag = "users",
    responses(
        (status = 200, description = "The user.", body = Registered),
        (status = 404, description = "`not_found`: the token's user is not registered."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn me(State(api): State<Api>, Shopper(user): Shopper) -> Result<Json<impl Serialize>, Problem> {
    let user = api.store.user(user).await.map_err(failed)?;
    user.map(|user| Json(Registered::from(user)))
        .ok_or_else(|| Problem::not_found("the token's user is not registered"))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserChange)]
pub(super) struct Change {
    /// Absent: stays; null: forgotten.
    #[serde(default, deserialize_with = "stated")]
    #[schema(value_type = Option<String>, min_length = 5, max_length = 20, pattern = "^[0-9+\\- ]+$")]
    phone: Option<Option<String>>,
}

/// What is stated, even if it is null.
fn stated<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Change what the mall knows of you.
#[utoipa::path(
    patch, path = "/api/v1/users/me", tag = "users",
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
        api.store.set_phone(user, phone.as_deref()).await.map_err(failed)?;
    }
    me(State(api), Shopper(user)).await
}

fn check(asked: &Registration) -> Result<(), &'static str> {
    let cjk = |char| matches!(char, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}');
    let letter = |char: char| char.is_ascii_alphanumeric() || "_.-".contains(char) || cjk(char);
    if !USERNAME_CHARS.contains(&asked.username.chars().count()) || !asked.username.chars().all(letter) {
        return Err("username is 3 to 32 Latin letters, Chinese characters, digits, '_', '.' and '-'");
    }
    if asked.password.chars().count() < PASSWORD_CHARS_MIN || asked.password.len() > PASSWORD_BYTES_MAX {
        return Err("password is at least 8 characters and at most 72 bytes");
    }
    if asked.password.contains('\0') {
        return Err("password has no NUL");
    }
    check_phone(asked.phone.as_deref())
}

fn check_phone(phone: Option<&str>) -> Result<(), &'static str> {
    let dialled = |char: char| char.is_ascii_digit() || "+- ".contains(char);
    if phone.is_some_and(|phone| !PHONE_CHARS.contains(&phone.len()) || !phone.chars().all(dialled)) {
        return Err("phone is 5 to 20 digits, '+', '-' and spaces");
    }
    Ok(())
}
