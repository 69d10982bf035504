//! Carts, and orders along their state machine.

pub(crate) mod cart;
pub(crate) mod cart_claims;
pub(crate) mod history;
pub(crate) mod moves;
pub(crate) mod queries;
pub(crate) mod shop_orders;
