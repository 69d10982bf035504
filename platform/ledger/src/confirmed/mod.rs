//! What a gateway has confirmed and not yet read on the journal. It needs no Redis: ledgers in the gateway's process leave it empty.

mod counted;
mod recent;

pub use counted::{CountedOrders, Settled};
pub use recent::{RecentHolds, UnconfirmedLimits};
