//! The admins' API.

mod activities;
mod catalogue;
mod images;
mod orders;
mod parked;
mod refused;
mod request;
mod sessions;
mod steer;
#[cfg(test)]
mod tests;

use ::images::Images;
use axum::{Router, extract::DefaultBodyLimit};
use contract::token::{Audience, TokenKey};
use foundation::{Clock, web::openapi};
use ledger::LedgerClient;
use limits::{Routes, WrongTries};
use store::{Passwords, Store};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

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

/// The API's paths, the document that describes them, and the page that shows it.
pub fn router<K: LedgerClient, C: Clock>(api: Api<K, C>) -> Router {
    let about =
        "What those who run the mall ask of it. Ids are decimal strings, money is whole cents, times are RFC 3339.";
    let tokens = "The `access_token` of `POST /admin/api/v1/sessions`. Its role is admin, operator or viewer.";
    let document = openapi::document("Mall: admin", about, ("admin", tokens));
    let under = OpenApiRouter::new()
        .routes(routes!(sessions::sign_in))
        .routes(routes!(catalogue::categories, catalogue::add_category))
        .routes(routes!(catalogue::category, catalogue::patch_category))
        .routes(routes!(catalogue::products, catalogue::add_product))
        .routes(routes!(catalogue::product, catalogue::patch_product))
        .routes(routes!(catalogue::shelve))
        .routes(routes!(catalogue::unshelve))
        .routes(routes!(catalogue::skus_of, catalogue::add_sku))
        .routes(routes!(catalogue::skus))
        .routes(routes!(catalogue::sku, catalogue::patch_sku))
        .routes(routes!(images::add).layer(DefaultBodyLimit::max(images::FORM_BYTES_MAX)))
        .routes(routes!(orders::list))
        .routes(routes!(orders::one))
        .routes(routes!(orders::ship))
        .routes(routes!(orders::approve_refund))
        .routes(routes!(orders::refuse_refund))
        .routes(routes!(orders::users))
        .routes(routes!(orders::block))
        .routes(routes!(orders::unblock))
        .routes(routes!(activities::list, activities::create))
        .routes(routes!(activities::one, activities::patch))
        .routes(routes!(activities::warm))
        .routes(routes!(steer::pause))
        .routes(routes!(steer::resume))
        .routes(routes!(steer::end))
        .routes(routes!(steer::restock))
        .routes(routes!(steer::entry_list, steer::say_entry))
        .routes(routes!(activities::audit))
        .routes(routes!(parked::list_parked))
        .routes(routes!(parked::retry_parked))
        .routes(routes!(parked::drop_parked));
    let whole = OpenApiRouter::with_openapi(document).nest("/admin/api/v1", under);
    let (router, document) = whole.with_state(api).split_for_parts();
    openapi::with_document(router, document, LIMITED.free)
}
