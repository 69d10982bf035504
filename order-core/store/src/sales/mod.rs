//! Flash sales and what the journal records about their ledgers.

pub(crate) mod activities;
pub(crate) mod admission;
pub(crate) mod letters;
pub(crate) mod lists;
pub(crate) mod opening;
pub(crate) mod parked;
pub(crate) mod sale_store;
pub(crate) mod take_in;
pub(crate) mod terms;
