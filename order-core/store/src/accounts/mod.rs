//! Shoppers, admins, their sessions and addresses.

pub(crate) mod addresses;
pub(crate) mod passwords;
pub(crate) mod sessions;
pub(crate) mod users;
