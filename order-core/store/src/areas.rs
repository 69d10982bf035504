//! The areas of the database: one handle for each, which borrows the store.

use crate::db::Store;

/// Shoppers, admins, their sessions and addresses, and the audit log.
#[derive(Debug, Clone, Copy)]
pub struct Accounts<'a> {
    pub(crate) store: &'a Store,
}

impl Store {
    /// Shoppers, admins, their sessions and addresses, and the audit log.
    pub const fn accounts(&self) -> Accounts<'_> {
        Accounts { store: self }
    }
}
