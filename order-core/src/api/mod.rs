//! The shoppers' API.

mod addresses;
mod cart;
mod catalogue;
mod checkout;
mod images;
mod orders;
mod payments;
mod search;
mod sessions;
#[cfg(test)]
mod tests;
mod users;

use std::sync::Arc;

use ::images::Images;
use axum::{
    Router,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
};
use contract::{
    SessionId, UserId,
    device::DeviceKey,
    refresh::RefreshKey,
    token::{Audience, Claims, TokenKey},
};
use foundation::Clock;
use limits::{Quota, Routes, Rule, Windows, WrongTries};
use store::{Page, Passwords, Store, StoreError};
use utoipa_axum::{router::OpenApiRouter, routes};
use web::{Origins, Problem, openapi};

use crate::{Carts, Providers, Search, Shelf};

/// Names that exist, which one address may learn of by registering.
const TAKEN_NAMES: Rule = Rule::new(10, 60_000);

/// Refreshes of one session: each page of the shop that is loaded makes one, and a shopper who waits for a sale reloads it.
const REFRESHES: Rule = Rule::new(120, 60_000);
/// Questions to a platform about the payments of one order, when its buyer comes back from the platform's page.
const PAYMENT_CHECKS: Rule = Rule::new(6, 60_000);
/// Invalid refresh tokens of one address.
const INVALID_REFRESHES: Rule = Rule::new(30, 60_000);

/// What is known of the browsers that show the shop.
#[derive(Debug, Clone, Default)]
pub struct Browsers {
    /// Origins whose pages may use the refresh token's cookie, beside the API's own.
    pub origins: Origins,
    /// The shop is reached over TLS, so its cookie is sent over nothing else.
    pub secure: bool,
}

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    store: Store,
    carts: Carts,
    shelf: Shelf,
    search: Search,
    providers: Providers,
    images: Images,
    passwords: Passwords,
    tries: WrongTries,
    taken_names: Quota,
    refreshes: Quota,
    invalid_refreshes: Quota,
    payment_checks: Quota,
    tokens: TokenKey,
    devices: DeviceKey,
    refresh: RefreshKey,
    browsers: Browsers,
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Api {
    /// The API over a database, carts, a shelf, ways to pay and pictures; tokens are signed with `shopper_secret`,
    /// `tries` counts wrong sign-ins, and `windows` count what else clients do.
    pub fn new(
        ((store, carts, shelf, search), providers, images): ((Store, Carts, Shelf, Search), Providers, Images),
        (passwords, tries, windows): (Passwords, WrongTries, &Windows),
        shopper_secret: &[u8],
        clock: impl Clock,
    ) -> Self {
        let tokens = TokenKey::new(shopper_secret, Audience::Shopper);
        Self {
            store,
            carts,
            shelf,
            search,
            providers,
            images,
            passwords,
            tries,
            taken_names: Quota::new(windows.clone(), "taken name", TAKEN_NAMES),
            refreshes: Quota::new(windows.clone(), "refresh", REFRESHES),
            invalid_refreshes: Quota::new(windows.clone(), "invalid refresh", INVALID_REFRESHES),
            payment_checks: Quota::new(windows.clone(), "payment check", PAYMENT_CHECKS),
            tokens,
            devices: DeviceKey::new(shopper_secret),
            refresh: RefreshKey::new(shopper_secret),
            browsers: Browsers::default(),
            now_ms: Arc::new(move || clock.now_ms()),
        }
    }

    /// The same API for pages of these origins.
    #[must_use]
    pub fn for_browsers(self, browsers: Browsers) -> Self {
        Self { browsers, ..self }
    }

    fn now_ms(&self) -> u64 {
        (self.now_ms)()
    }
}

/// The paths whose limits are not those of reads and writes.
pub const LIMITED: Routes = Routes {
    sign_in: &["/api/v1/users", "/api/v1/sessions", "/api/v1/users/reset"],
    // Refreshes are counted by session. Payment platforms tell everything from a few addresses, and one page has many
    // pictures.
    free: &["/api/v1/sessions/refresh", "/api/v1/payments/{method}/notify", "/images/{image_id}"],
};

/// The document of the gateway's API. The gateway has no room for a page; its tests compare the file with its routes.
const GATEWAY_DOCUMENT: &str = include_str!("../../../gateway/core/src/openapi.json");

/// The API's paths, the document that describes them, and the page that shows it.
pub fn router(api: Api) -> Router {
    let about = "The API of the mall's shoppers. Ids are decimal strings, money is whole cents, times are RFC 3339. \
                 The API of the flash sale, which the gateway serves, is at /docs/gateway.";
    let tokens = "The `access_token` of `POST /api/v1/sessions`.";
    let document = openapi::document("Mall", about, "http://127.0.0.1:8081", ("shopper", tokens));
    let (router, document) = OpenApiRouter::with_openapi(document)
        .routes(routes!(users::register))
        .routes(routes!(users::me, users::change))
        .routes(routes!(users::change_password))
        .routes(routes!(users::reset_password))
        .routes(routes!(sessions::list, sessions::sign_in))
        .routes(routes!(sessions::refresh))
        .routes(routes!(sessions::sign_out))
        .routes(routes!(sessions::end))
        .routes(routes!(addresses::list, addresses::add))
        .routes(routes!(addresses::one, addresses::put, addresses::delete))
        .routes(routes!(catalogue::categories))
        .routes(routes!(catalogue::products))
        .routes(routes!(catalogue::product))
        .routes(routes!(search::products))
        .routes(routes!(search::suggest))
        .routes(routes!(catalogue::product_of_sku))
        .routes(routes!(cart::show, cart::clear))
        .routes(routes!(cart::add))
        .routes(routes!(cart::set, cart::remove))
        .routes(routes!(orders::list, checkout::place))
        .routes(routes!(orders::one))
        .routes(routes!(checkout::cancel))
        .routes(routes!(checkout::receipt))
        .routes(routes!(checkout::set_address))
        .routes(routes!(payments::methods))
        .routes(routes!(payments::begin))
        .routes(routes!(payments::check))
        .routes(routes!(payments::refund))
        .routes(routes!(payments::notify))
        .routes(routes!(payments::returned))
        .routes(routes!(images::one))
        .with_state(api)
        .split_for_parts();
    openapi::with_document(router, document, LIMITED.free).merge(openapi::other_document("gateway", GATEWAY_DOCUMENT))
}

/// Who asks.
struct Shopper(UserId);

impl FromRequestParts<Api> for Shopper {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        SignedIn::from_request_parts(parts, api).await.map(|SignedIn { user, .. }| Self(user))
    }
}

/// Who asks, and with which session. Tokens that no sign-in has given have none.
struct SignedIn {
    user: UserId,
    session: Option<SessionId>,
}

impl FromRequestParts<Api> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let now_ms = api.now_ms();
        let Claims { subject: user, session, issued_at_s, .. } = web::bearer(&parts.headers, &api.tokens, now_ms)?;
        if api.store.accounts().is_token_cut(user, (session, issued_at_s), now_ms).await.map_err(failed)? {
            return Err(web::ended_token());
        }
        Ok(Self { user, session })
    }
}

/// What the database's failures look like from outside.
fn failed(error: StoreError) -> Problem {
    failed_shared(&error)
}

/// As [`failed`], of a failure that several callers share.
fn failed_shared(error: &StoreError) -> Problem {
    match error {
        StoreError::Ids(_) | StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_) => {
            Problem::unavailable(&error, 1)
        }
        StoreError::Database(sqlx_error) => Problem::unavailable(sqlx_error, 1),
        StoreError::Sale(_) | StoreError::Unsuitable(_) | StoreError::Migration(_) => Problem::internal(&error),
    }
}

fn busy() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many passwords are being checked; try again")
        .retry_after_s(1)
}

/// What belongs to one shopper is nobody else's to keep.
fn no_store() -> [(HeaderName, HeaderValue); 1] {
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]
}

/// Where something new is.
fn location(path: &str) -> HeaderMap {
    let value = HeaderValue::from_str(path).ok();
    value.map(|value| (header::LOCATION, value)).into_iter().collect()
}

/// Rows of a page where the query names no number.
const LIMIT_DEFAULT: u32 = 20;

fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(LIMIT_DEFAULT);
    if (1..=store::PAGE_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", "limit is 1 to 100"))
}

fn page(asked: Option<u32>, cursor: Option<&str>) -> Result<Page, Problem> {
    let invalid = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail);
    let limit = limit(asked)?;
    let before = match cursor {
        None => i64::MAX,
        Some(text) => store::cursor_number(text).ok_or_else(|| invalid("cursor must be the next_cursor of a page"))?,
    };
    Ok(Page { before, limit })
}
