//! The mall's database: domain types, state machines, SQL and migrations.
//!
//! [`SaleStore`] is the sale's part of it, with two implementations: [`Store`] in SQL and
//! [`model::ModelStore`] in memory. [`conformance`] is the suite that both pass.
#![forbid(unsafe_code)]

mod accounts;
mod catalogue;
mod connect;
mod db;
mod error;
mod idempotency;
mod money;
mod orders;
mod page;
mod sales;
mod server;
mod tx;

pub use accounts::addresses::{
    ADDRESSES_MAX, AddedAddress, Address, AddressFields, DETAIL_CHARS_MAX, PHONE_CHARS_MAX, RECIPIENT_CHARS_MAX,
    REGION_CHARS_MAX,
};
pub use accounts::passwords::{PASSWORD_BYTES_MAX, Passwords, SignIn};
pub use accounts::users::{Credentials, LOCKED_MS, Realm, RegisteredUser, User, WRONG_TRIES_MAX};
pub use catalogue::products::{
    ATTRIBUTES_MAX, Attributes, Category, CategoryPatch, DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX, NewCategory,
    NewProduct, NewSku, PRICE_CENTS_MAX, Product, ProductPatch, Sku, SkuPatch, TITLE_CHARS_MAX,
};
pub use catalogue::search::{SEARCH_ENTRIES_MAX, SearchEntry};
pub use catalogue::shelf::{Detail, Displayed, ShelfPage, Sort};
pub use db::{Ids, Settings, Store};
pub use error::StoreError;
pub use idempotency::Once;
pub use money::mock_trades::MockTrade;
pub use money::payments::{Arrived, Begun, Notice, Payment};
pub use money::refunds::{AskedRefund, Purpose};
pub use orders::cart::{CART_LINES_MAX, CART_UNITS_MAX, CartChange, CartLine, Offered};
pub use orders::cart_claims::{CartClaim, ClaimState};
pub use orders::moves::Moved;
pub use orders::queries::{Order, OrderLine, OrderQuery, StaffOrder};
pub use orders::shop_orders::{Goods, NewOrder, ORDER_LINES_MAX, Placed};
pub use page::{Changed, Listed, PAGE_MAX, Page, cursor_number};
pub use sales::activities::{AddedSale, NewSale, Sale, SalePatch};
pub use sales::admission::{ENTRY_RULES_MAX, Restocked, Steered};
pub use sales::opening::Opening;
pub use sales::parked::PARKED_REASON_CHARS_MAX;
pub use sales::terms::LedgerToOpen;
pub use tx::Write;

#[cfg(test)]
mod tests;
