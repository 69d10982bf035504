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
    UserId,
    token::{Audience, TokenKey},
};
use foundation::{
    Clock,
    web::{Origins, Problem, openapi},
};
use limits::{Routes, WrongTries};
use store::{Page, Passwords, Store, StoreError};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Carts, Providers, Search, Shelf};

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
    tokens: TokenKey,
    browsers: Browsers,
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Api {
    /// The API over a database, carts, a shelf, ways to pay and pictures; tokens are signed with `shopper_secret`, and
    /// `tries` counts wrong sign-ins by address.
    pub fn new(
        ((store, carts, shelf, search), providers, images): ((Store, Carts, Shelf, Search), Providers, Images),
        (passwords, tries): (Passwords, WrongTries),
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
            tokens,
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
    sign_in: &["/api/v1/users", "/api/v1/sessions", "/api/v1/sessions/refresh"],
    // Payment platforms tell everything from a few addresses, and one page has many pictures.
    free: &["/api/v1/payments/{method}/notify", "/images/{image_id}"],
};

/// The document of the gateway's API. The gateway has no room for a page; its tests compare the file with its routes.
const GATEWAY_DOCUMENT: &str = include_str!("../../../gateway/core/src/openapi.json");

/// The API's paths, the document that describes them, and the page that shows it.
pub fn router(api: Api) -> Router {
    let about = "What shoppers ask of the mall. Ids are decimal strings, money is whole cents, times are RFC 3339. \
                 The API of the flash sale, which the gateway serves, is at /docs/gateway.";
    let tokens = "The `access_token` of `POST /api/v1/sessions`.";
    let document = openapi::document("Mall", about, ("shopper", tokens));
    let (router, document) = OpenApiRouter::with_openapi(document)
        .routes(routes!(users::register))
        .routes(routes!(users::me, users::change))
        .routes(routes!(sessions::sign_in))
        .routes(routes!(sessions::refresh))
        .routes(routes!(sessions::sign_out))
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
        .routes(routes!(payments::begin))
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
        foundation::web::bearer(&parts.headers, &api.tokens, api.now_ms()).map(|claims| Self(claims.subject))
    }
}

/// What the database's failures look like from outside.
fn failed(error: StoreError) -> Problem {
    failed_shared(&error)
}

/// As [`failed`], of a failure that several are told of.
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
