//! The pages under `/admin/`, rendered by the server. They call the same actions as the JSON API.

mod account;
mod assets;
mod board;
mod bulk;
mod catalogue;
mod dashboard;
mod export;
mod form;
mod frame;
mod import;
mod list;
mod money;
mod operations;
mod order;
mod orders;
mod pictures;
mod products;
mod sale_form;
mod sale_rules;
mod sales;
mod session;
mod settings;
mod staff;
mod text;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use foundation::Clock;
use images::BYTES_MAX;
use ledger::LedgerClient;

use crate::actions::Api;

pub(crate) use session::find as session;

/// The longest form with pictures.
const UPLOAD_BYTES_MAX: usize = pictures::PICTURES_MAX * BYTES_MAX + 64 * 1024;
/// A file of rows that is too long is still read up to this, without being kept: browsers show no answer to a request
/// that they could not send.
const FILE_BYTES_READ: usize = 64 * 1024 * 1024;

/// All pages.
pub(crate) fn router<K: LedgerClient, C: Clock>(api: Api<K, C>) -> Router {
    Router::new()
        .route("/", get(session::to_dashboard))
        .route("/admin", get(session::to_dashboard))
        .route("/admin/", get(dashboard::show::<K, C>))
        .route("/admin/sign-in", get(session::form).post(session::sign_in::<K, C>))
        .route("/admin/sign-out", post(session::sign_out::<K, C>))
        .route("/admin/account", get(account::show::<K, C>))
        .route("/admin/account/password", post(account::change_password::<K, C>))
        .route("/admin/account/sessions/{session}/end", post(account::end_session::<K, C>))
        .route("/admin/language", get(session::language))
        .route("/admin/assets/{hash}/{file}", get(assets::show))
        .route("/admin/categories", get(catalogue::categories::<K, C>).post(catalogue::add_category::<K, C>))
        .route("/admin/categories/{id}", get(catalogue::category::<K, C>).post(catalogue::patch_category::<K, C>))
        .route("/admin/products", get(products::list::<K, C>).post(products::add::<K, C>))
        .route("/admin/products/bulk", post(bulk::take::<K, C>))
        .route("/admin/products/export", get(export::products::<K, C>))
        .route(
            "/admin/products/import",
            get(import::products_form).post(import::products::<K, C>).layer(DefaultBodyLimit::max(FILE_BYTES_READ)),
        )
        .route("/admin/products/new", get(products::new::<K, C>))
        .route("/admin/products/{id}", get(products::one::<K, C>).post(products::patch::<K, C>))
        .route("/admin/products/{id}/shelf", post(products::shelf::<K, C>))
        .route("/admin/products/{id}/skus", post(products::add_sku::<K, C>))
        .route(
            "/admin/products/{id}/pictures",
            post(pictures::add_picture::<K, C>).layer(DefaultBodyLimit::max(UPLOAD_BYTES_MAX)),
        )
        .route("/admin/products/{id}/pictures/remove", post(pictures::remove_picture::<K, C>))
        .route("/admin/products/{id}/pictures/describe", post(pictures::describe_picture::<K, C>))
        .route("/admin/products/{id}/pictures/move", post(pictures::move_picture::<K, C>))
        .route("/admin/skus/{id}", post(products::patch_sku::<K, C>))
        .route("/admin/skus/{id}/stock", post(products::change_stock::<K, C>))
        .route("/admin/sales", get(sales::list::<K, C>).post(sale_form::create::<K, C>))
        .route("/admin/sales/new", get(sale_form::new::<K, C>))
        .route("/admin/sales/{id}", get(board::show::<K, C>))
        .route("/admin/sales/{id}/edit", get(sale_form::edit::<K, C>).post(sale_form::patch::<K, C>))
        .route("/admin/sales/{id}/publish", post(sales::publish::<K, C>))
        .route("/admin/sales/{id}/do/{verb}", get(sales::confirm::<K, C>).post(sales::carry_out::<K, C>))
        .route("/admin/orders", get(orders::list::<K, C>))
        .route("/admin/orders/export", get(export::orders::<K, C>))
        .route(
            "/admin/orders/import",
            get(import::shipments_form).post(import::shipments::<K, C>).layer(DefaultBodyLimit::max(FILE_BYTES_READ)),
        )
        .route("/admin/orders/{id}", get(orders::one::<K, C>))
        .route("/admin/orders/{id}/print", get(order::print::<K, C>))
        .route("/admin/orders/{id}/refund-part", post(orders::ask_refund::<K, C>))
        .route("/admin/orders/{id}/ship", post(orders::ship::<K, C>))
        .route("/admin/orders/{id}/refund", get(orders::confirm_refund::<K, C>).post(orders::refund::<K, C>))
        .route("/admin/money", get(money::show::<K, C>))
        .route("/admin/money/{id}/resolve", post(money::resolve::<K, C>))
        .route("/admin/money/bill", post(money::bill::<K, C>).layer(DefaultBodyLimit::max(FILE_BYTES_READ)))
        .route("/admin/users", get(orders::users::<K, C>))
        .route("/admin/users/{id}/block", get(orders::confirm_block::<K, C>).post(orders::block::<K, C>))
        .route("/admin/parked", get(operations::parked::<K, C>))
        .route("/admin/parked/{id}/retry", post(operations::retry_parked::<K, C>))
        .route("/admin/parked/{id}/drop", post(operations::drop_parked::<K, C>))
        .route("/admin/refunds/{id}/retry", post(operations::retry_refund::<K, C>))
        .route("/admin/letters/{id}/{verb}", post(operations::decide_letter::<K, C>))
        .route("/admin/audit-log", get(operations::audit_log::<K, C>))
        .route("/admin/settings", get(settings::show::<K, C>))
        .route("/admin/staff", get(staff::list::<K, C>).post(staff::add::<K, C>))
        .route("/admin/staff/{id}/sessions/{session}/end", post(staff::end_session::<K, C>))
        .route("/admin/staff/{id}", get(staff::one::<K, C>).post(staff::patch::<K, C>))
        .route("/audit/assets/{hash}/{file}", get(assets::show))
        .route("/audit/{id}", get(board::public::<K, C>))
        .with_state(api)
}
