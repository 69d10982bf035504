//! What the mall tells the gateways about a flash sale.

use crate::{ActivityId, Cents, SkuId};

/// A flash sale as its admin wrote it. `version` grows with every change; readers keep the highest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// The sale's id.
    pub id: ActivityId,
    /// Grows by one with every change of this row.
    pub version: u64,
    /// Shown to shoppers.
    pub title: String,
    /// What is sold.
    pub sku: SkuId,
    /// Price of one unit in this sale.
    pub price: Cents,
    /// Price of one unit outside it.
    pub original_price: Cents,
    /// When and how much one user may buy.
    pub terms: Terms,
}

/// The rules that the ledger holds every reservation against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Units one user may hold and own together; at least 1.
    pub per_user_limit: u32,
    /// First instant of the sale, epoch milliseconds.
    pub starts_at_ms: u64,
    /// First instant after the sale, epoch milliseconds.
    pub ends_at_ms: u64,
}
