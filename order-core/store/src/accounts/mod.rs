//! Shoppers, admins, their sessions and addresses.

pub(crate) mod addresses;
pub(crate) mod audit_log;
pub(crate) mod hash_queue;
pub(crate) mod known_clients;
pub(crate) mod lists;
pub(crate) mod passwords;
pub(crate) mod resets;
pub(crate) mod sessions;
pub(crate) mod staff;
pub(crate) mod users;

/// Makes a shopper's row this transaction's own.
pub(crate) const LOCK_USER: &str = "UPDATE users SET version = version WHERE id = ?";
