//! The mall: accounts, orders, and the workers that turn the log into orders.
#![forbid(unsafe_code)]

pub mod api;
mod carts;
mod journal_lag;
mod pages;
pub mod payments;
pub mod search;
mod service;
mod shelf;
mod snapshots;

pub use api::Browsers;
pub use carts::{CartOrder, Carts, RedisCarts};
pub use pages::ShopPages;
pub use payments::{MockPlatform, Providers};
pub use search::{Search, SearchFailed, SearchSync};
pub use service::{OrderCore, run};
pub use shelf::{Changes, Shelf};
pub use snapshots::Snapshots;
