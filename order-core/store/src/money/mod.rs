//! Payments, refunds, and the trades of the mock platform.

pub(crate) mod mock_trades;
pub(crate) mod parts;
pub(crate) mod payments;
pub(crate) mod queries;
pub(crate) mod refund_review;
pub(crate) mod refunds;
pub(crate) mod unmatched;
