//! The shoppers' API.

mod addresses;
mod cart;
mod catalogue;
mod checkout;
mod images;
mod orders;
mod payments;
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
    routing::{delete, get, post, put},
};
use contract::{
    UserId,
    token::{Audience, TokenKey},
};
use foundation::{Clock, web::Problem};
use limits::{Routes, WrongTries};
use store::{Page, Passwords, Store, StoreError};

use crate::{Carts, Providers, Shelf};

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    store: Store,
    carts: Carts,
    shelf: Shelf,
    providers: Providers,
    images: Images,
    passwords: Passwords,
    tries: WrongTries,
    tokens: TokenKey,
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
        (store, carts, shelf, providers, images): (Store, Carts, Shelf, Providers, Images),
        (passwords, tries): (Passwords, WrongTries),
        shopper_secret: &[u8],
        clock: impl Clock,
    ) -> Self {
        let tokens = TokenKey::new(shopper_secret, Audience::Shopper);
        Self {
            store,
            carts,
            shelf,
            providers,
            images,
            passwords,
            tries,
            tokens,
            now_ms: Arc::new(move || clock.now_ms()),
        }
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

/// The API's paths.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v1/users", post(users::register))
        .route("/api/v1/users/me", get(users::me).patch(users::change))
        .route("/api/v1/addresses", get(addresses::list).post(addresses::add))
        .route("/api/v1/addresses/{address_id}", get(addresses::one).put(addresses::put).delete(addresses::delete))
        .route("/api/v1/categories", get(catalogue::categories))
        .route("/api/v1/products", get(catalogue::products))
        .route("/api/v1/products/{product_id}", get(catalogue::product))
        .route("/api/v1/cart", get(cart::show).delete(cart::clear))
        .route("/api/v1/cart/items", post(cart::add))
        .route("/api/v1/cart/items/{sku_id}", put(cart::set).delete(cart::remove))
        .route("/api/v1/sessions", post(sessions::sign_in))
        .route("/api/v1/sessions/refresh", post(sessions::refresh))
        .route("/api/v1/sessions/current", delete(sessions::sign_out))
        .route("/api/v1/orders", get(orders::list).post(checkout::place))
        .route("/api/v1/orders/{order_id}", get(orders::one))
        .route("/api/v1/orders/{order_id}/payments", post(payments::begin))
        .route("/api/v1/orders/{order_id}/refunds", post(payments::refund))
        .route("/api/v1/payments/{method}/notify", post(payments::notify))
        .route("/images/{image_id}", get(images::one))
        .route("/payments/return", get(payments::returned))
        .route("/api/v1/orders/{order_id}/cancel", post(checkout::cancel))
        .route("/api/v1/orders/{order_id}/receipt", post(checkout::receipt))
        .with_state(api)
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
        StoreError::Ids(_) | StoreError::Unavailable(_) => Problem::unavailable(&error, 1),
        StoreError::Database(sqlx_error) => Problem::unavailable(sqlx_error, 1),
        StoreError::Gap { .. }
        | StoreError::Contradiction(_)
        | StoreError::Unsuitable(_)
        | StoreError::Migration(_) => Problem::internal(&error),
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
        Some(text) => text.parse().ok().filter(|id| *id >= 0).ok_or_else(|| invalid("cursor is a next_cursor"))?,
    };
    Ok(Page { before, limit })
}
