//! The mall's database: domain types, state machines, SQL and migrations.
//!
//! [`SaleStore`] is the sale's part of it, with two implementations: [`Store`] in SQL and
//! [`model::ModelStore`] in memory. [`conformance`] is the suite that both pass.
#![forbid(unsafe_code)]

mod accounts;
mod activities;
mod addresses;
mod admission;
mod cart;
mod cart_claims;
mod catalogue;
mod connect;
mod db;
mod error;
mod idempotency;
mod mock_trades;
mod moves;
mod opening;
mod orders;
mod page;
mod parked;
mod passwords;
mod payments;
mod refunds;
mod sale_sql;
mod search;
mod server;
mod sessions;
mod shelf;
mod shop_orders;
mod skus;
mod take_in;
mod terms;
mod tx;

pub use accounts::{Credentials, LOCKED_MS, Realm, RegisteredUser, User, WRONG_TRIES_MAX};
pub use activities::{AddedSale, NewSale, Sale, SalePatch};
pub use addresses::{
    ADDRESSES_MAX, AddedAddress, Address, AddressFields, DETAIL_CHARS_MAX, PHONE_CHARS_MAX, RECIPIENT_CHARS_MAX,
    REGION_CHARS_MAX,
};
pub use admission::{ENTRY_RULES_MAX, Restocked, Steered};
pub use cart::{CART_LINES_MAX, CART_UNITS_MAX, CartChange, CartLine, Offered};
pub use cart_claims::{CartClaim, ClaimState};
pub use catalogue::{
    ATTRIBUTES_MAX, Attributes, Category, CategoryPatch, DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX, NewCategory,
    NewProduct, NewSku, PRICE_CENTS_MAX, Product, ProductPatch, Sku, SkuPatch, TITLE_CHARS_MAX,
};
pub use db::{Ids, Settings, Store};
pub use error::StoreError;
pub use idempotency::Once;
pub use mock_trades::MockTrade;
pub use moves::Moved;
pub use opening::Opening;
pub use orders::{Order, OrderLine, OrderQuery, StaffOrder};
pub use page::{Changed, Listed, PAGE_MAX, Page, cursor_number};
pub use parked::PARKED_REASON_CHARS_MAX;
pub use passwords::{PASSWORD_BYTES_MAX, Passwords, SignIn};
pub use payments::{Arrived, Begun, Notice, Payment};
pub use refunds::{AskedRefund, Purpose};
pub use search::{SEARCH_ENTRIES_MAX, SearchEntry};
pub use shelf::{Detail, Displayed, ShelfPage, Sort};
pub use shop_orders::{Goods, NewOrder, ORDER_LINES_MAX, Placed};
pub use terms::LedgerToOpen;
pub use tx::Write;

#[cfg(test)]
mod tests;
