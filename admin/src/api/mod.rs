//! The admins' API.

mod activities;
mod audit_log;
mod catalogue;
mod images;
mod letters;
mod live;
mod orders;
mod parked;
mod payments;
mod processes;
mod refunds;
pub(crate) mod refused;
mod request;
pub(crate) mod sessions;
mod staff;
mod steer;
#[cfg(test)]
mod tests;

use axum::{Router, extract::DefaultBodyLimit};
use foundation::Clock;
use ledger::LedgerClient;
use limits::Routes;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};
use web::openapi;

pub use crate::actions::{Api, Role};

/// The paths whose limits are not those of reads and writes.
pub const LIMITED: Routes = Routes { sign_in: &["/admin/api/v1/sessions", "/admin/sign-in"], free: &[] };

/// The API's paths, the document that describes them, and the page that shows it.
pub fn router<K: LedgerClient, C: Clock>(api: Api<K, C>) -> Router {
    let about = "The API of the mall's staff. Ids are decimal strings, money is whole cents, times are RFC 3339.";
    let tokens = "The `access_token` of `POST /admin/api/v1/sessions`. Its role is admin, operator or viewer.";
    let document = openapi::document("Mall: admin", about, "http://127.0.0.1:8082", ("admin", tokens));
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
        .routes(routes!(catalogue::change_stock))
        .routes(routes!(images::add).layer(DefaultBodyLimit::max(images::FORM_BYTES_MAX)))
        .routes(routes!(orders::list))
        .routes(routes!(orders::one))
        .routes(routes!(orders::ship))
        .routes(routes!(orders::approve_refund))
        .routes(routes!(orders::refuse_refund))
        .routes(routes!(refunds::list_refunds))
        .routes(routes!(refunds::retry_refund))
        .routes(routes!(payments::list_unmatched))
        .routes(routes!(payments::resolve_unmatched))
        .routes(routes!(payments::bill).layer(DefaultBodyLimit::max(crate::actions::money::BILL_BYTES_MAX)))
        .routes(routes!(orders::users))
        .routes(routes!(orders::block))
        .routes(routes!(orders::unblock))
        .routes(routes!(orders::reset_link))
        .routes(routes!(activities::list, activities::create))
        .routes(routes!(activities::one, activities::patch))
        .routes(routes!(activities::warm))
        .routes(routes!(steer::pause))
        .routes(routes!(steer::resume))
        .routes(routes!(steer::end))
        .routes(routes!(steer::restock))
        .routes(routes!(steer::entry_list, steer::say_entry))
        .routes(routes!(activities::audit))
        .routes(routes!(live::live))
        .routes(routes!(parked::list_parked))
        .routes(routes!(parked::retry_parked))
        .routes(routes!(parked::drop_parked))
        .routes(routes!(processes::list_processes))
        .routes(routes!(letters::list_letters))
        .routes(routes!(letters::letter))
        .routes(routes!(letters::replay_letter))
        .routes(routes!(letters::drop_letter))
        .routes(routes!(staff::admins, staff::add_admin))
        .routes(routes!(staff::admin, staff::patch_admin))
        .routes(routes!(audit_log::audit_log));
    let whole = OpenApiRouter::with_openapi(document).nest("/admin/api/v1", under);
    let (router, document) = whole.with_state(api).split_for_parts();
    openapi::with_document(router, document, LIMITED.free)
}
