//! The mall's database: domain types, state machines, SQL and migrations.
//!
//! [`SaleStore`] is the sale's part of it, with two implementations: [`Store`] in SQL and
//! [`model::ModelStore`] in memory. [`conformance`] is the suite that both pass.
#![forbid(unsafe_code)]

mod accounts;
mod areas;
mod catalogue;
mod connect;
mod db;
mod error;
mod idempotency;
mod leases;
mod money;
mod orders;
mod page;
mod removal;
mod sales;
mod server;
mod tx;

pub use accounts::addresses::{
    ADDRESSES_MAX, AddedAddress, Address, AddressFields, DETAIL_CHARS_MAX, PHONE_CHARS_MAX, RECIPIENT_CHARS_MAX,
    REGION_CHARS_MAX,
};
pub use accounts::audit_log::{Actor, AuditEntry, AuditQuery};
pub use accounts::hash_queue::Lane;
pub use accounts::lists::UserQuery;
pub use accounts::passwords::{Checked, Claim, PASSWORD_BYTES_MAX, Passwords, SignIn, normalize_password};
pub use accounts::resets::RESET_LINK_MS;
pub use accounts::sessions::{GRACE_MS, Renewed, SESSION_MS, SESSIONS_MAX, Session, token_digest};
pub use accounts::staff::{StaffAccount, StaffPatch, StaffSession};
pub use accounts::users::{Credentials, Realm, RegisteredUser, USERNAME_CHARS_MAX, User};
pub use areas::{Accounts, Catalogue, Money, Orders, Sales};
pub use catalogue::lists::ProductQuery;
pub use catalogue::products::{
    ALT_CHARS_MAX, ATTRIBUTES_MAX, Attributes, Category, CategoryPatch, DESCRIPTION_CHARS_MAX, IMAGES_MAX, ImageAlts,
    NAME_CHARS_MAX, NewCategory, NewProduct, NewSku, PRICE_CENTS_MAX, Product, ProductPatch, Sku, SkuPatch,
    TITLE_CHARS_MAX,
};
pub use catalogue::search::{SEARCH_ENTRIES_MAX, SearchEntry};
pub use catalogue::shelf::{Detail, Displayed, ShelfPage, Sort};
pub use catalogue::skus::StockChanged;
pub use db::{Ids, Settings, Store};
pub use error::StoreError;
pub use idempotency::{Once, RequestClaim};
pub use money::mock_trades::{MockStatus, MockTrade};
pub use money::payments::{Arrived, Begun, Notice, Payment};
pub use money::queries::{FIRST_QUERY_MS, OpenPayment};
pub use money::refund_review::{REFUND_STATUSES, Refund};
pub use money::refunds::{AskedRefund, Decision, Purpose, RefundOf};
pub use money::unmatched::{Billed, Compared, Found, Mismatch, RESOLUTION_CHARS_MAX, Unmatched};
pub use orders::cart::{CART_LINES_MAX, CART_UNITS_MAX, CartChange, CartLine, Offered};
pub use orders::cart_claims::{CartClaim, ClaimState};
pub use orders::history::{OrderEvent, OrderHappening};
pub use orders::moves::{AddressSet, Moved};
pub use orders::queries::{Order, OrderLine, OrderQuery, StaffOrder};
pub use orders::shop_orders::{Goods, NewOrder, ORDER_LINES_MAX, Placed};
pub use page::{Changed, Listed, PAGE_MAX, Page, cursor_number};
pub use removal::{Ends, REMOVED_MAX};
pub use sales::activities::{AddedSale, NewSale, Sale, SalePatch};
pub use sales::admission::{ENTRY_RULES_MAX, Restocked, Steered};
pub use sales::letters::{DecidedLetter, LETTER_REASON_CHARS_MAX, REPLAYED};
pub use sales::lists::SalePhase;
pub use sales::opening::Opening;
pub use sales::parked::PARKED_REASON_CHARS_MAX;
pub use sales::terms::LedgerToOpen;
pub use tx::Write;

/// Parts of writes, which benches measure apart from the whole.
#[cfg(feature = "testing")]
pub mod parts {
    pub use crate::accounts::addresses::read_default_addresses;
}

#[cfg(test)]
mod tests;
