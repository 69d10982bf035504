//! The areas of the database: one handle for each, which borrows the store.

use crate::db::Store;

/// Shoppers, admins, their sessions and addresses, and the audit log.
#[derive(Debug, Clone, Copy)]
pub struct Accounts<'a> {
    pub(crate) store: &'a Store,
}

/// Categories, products and SKUs: for staff, for shoppers, and for the search index.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue<'a> {
    pub(crate) store: &'a Store,
}

/// Flash sales, and what the journal records about their ledgers.
#[derive(Debug, Clone, Copy)]
pub struct Sales<'a> {
    pub(crate) store: &'a Store,
}

impl Store {
    /// Shoppers, admins, their sessions and addresses, and the audit log.
    pub const fn accounts(&self) -> Accounts<'_> {
        Accounts { store: self }
    }

    /// Categories, products and SKUs: for staff, for shoppers, and for the search index.
    pub const fn catalogue(&self) -> Catalogue<'_> {
        Catalogue { store: self }
    }

    /// Flash sales, and what the journal records about their ledgers.
    pub const fn sales(&self) -> Sales<'_> {
        Sales { store: self }
    }
}
