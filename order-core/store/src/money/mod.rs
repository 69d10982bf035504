//! Payments, refunds, and the trades of the mock platform.

pub(crate) mod mock_trades;
pub(crate) mod payments;
pub(crate) mod refunds;
