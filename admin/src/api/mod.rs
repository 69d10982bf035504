//! The admins' API.

mod activities;
mod catalogue;
mod images;
mod orders;
mod refused;
mod request;
mod sessions;
#[cfg(test)]
mod tests;

use ::images::Images;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use contract::token::{Audience, TokenKey};
use foundation::Clock;
use ledger::LedgerClient;
use limits::{Routes, WrongTries};
use store::{Passwords, Store};

pub use request::Role;

use crate::audit::Book;

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct Api<K, C> {
    store: Store,
    ledgers: K,
    book: Book,
    images: Images,
    passwords: Passwords,
    tries: WrongTries,
    tokens: TokenKey,
    clock: C,
}

impl<K: LedgerClient, C: Clock> Api<K, C> {
    /// The API over a database, its ledgers, the journal's totals and pictures; tokens are signed with `admin_secret`,
    /// and `tries` counts wrong sign-ins by address.
    pub fn new(
        (store, ledgers, book, images): (Store, K, Book, Images),
        (passwords, tries): (Passwords, WrongTries),
        admin_secret: &[u8],
        clock: C,
    ) -> Self {
        let tokens = TokenKey::new(admin_secret, Audience::Admin);
        Self { store, ledgers, book, images, passwords, tries, tokens, clock }
    }
}

/// The paths whose limits are not those of reads and writes.
pub const LIMITED: Routes = Routes { sign_in: &["/admin/api/v1/sessions"], free: &[] };

/// The API's paths.
pub fn router<K: LedgerClient, C: Clock>(api: Api<K, C>) -> Router {
    let under = Router::new()
        .route("/sessions", post(sessions::sign_in::<K, C>))
        .route("/categories", get(catalogue::categories::<K, C>).post(catalogue::add_category::<K, C>))
        .route("/categories/{id}", get(catalogue::category::<K, C>).patch(catalogue::patch_category::<K, C>))
        .route("/products", get(catalogue::products::<K, C>).post(catalogue::add_product::<K, C>))
        .route("/products/{id}", get(catalogue::product::<K, C>).patch(catalogue::patch_product::<K, C>))
        .route("/products/{id}/shelve", post(catalogue::shelve::<K, C>))
        .route("/products/{id}/unshelve", post(catalogue::unshelve::<K, C>))
        .route("/products/{id}/skus", get(catalogue::skus_of::<K, C>).post(catalogue::add_sku::<K, C>))
        .route("/skus", get(catalogue::skus::<K, C>))
        .route("/skus/{id}", get(catalogue::sku::<K, C>).patch(catalogue::patch_sku::<K, C>))
        .route("/images", post(images::add::<K, C>).layer(DefaultBodyLimit::max(images::FORM_BYTES_MAX)))
        .route("/orders", get(orders::list::<K, C>))
        .route("/orders/{id}", get(orders::one::<K, C>))
        .route("/orders/{id}/shipment", post(orders::ship::<K, C>))
        .route("/orders/{id}/refunds/approve", post(orders::approve_refund::<K, C>))
        .route("/orders/{id}/refunds/refuse", post(orders::refuse_refund::<K, C>))
        .route("/users", get(orders::users::<K, C>))
        .route("/users/{id}/block", post(orders::block::<K, C>))
        .route("/users/{id}/unblock", post(orders::unblock::<K, C>))
        .route("/activities", get(activities::list::<K, C>).post(activities::create::<K, C>))
        .route("/activities/{id}", get(activities::one::<K, C>).patch(activities::patch::<K, C>))
        .route("/activities/{id}/warm", post(activities::warm::<K, C>))
        .route("/activities/{id}/audit", get(activities::audit::<K, C>));
    Router::new().nest("/admin/api/v1", under).with_state(api)
}
