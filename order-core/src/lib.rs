//! The mall: accounts, orders, and the workers that turn the log into orders.
#![forbid(unsafe_code)]

pub mod api;
mod carts;
mod journal_lag;
mod overdue;
mod pages;
pub mod payments;
pub mod search;
mod service;
mod shelf;
mod snapshots;
mod sweeper;

pub use api::Browsers;
#[cfg(feature = "redis")]
pub use carts::RedisCarts;
pub use carts::{CartOrder, Carts};
pub use pages::ShopPages;
pub use payments::{MockPlatform, Providers};
pub use search::{Search, SearchFailed, SearchSync};
pub use service::{OrderCore, fence_lease, run};
pub use shelf::{Changes, Shelf};
pub use snapshots::Snapshots;
