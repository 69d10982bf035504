//! Why the database did not do what it was asked.

use contract::ActivityId;

/// Why the database did not do what it was asked. Nothing of the call was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Entries are missing between the last one taken in and this one.
    #[error("activity {activity}: entry {found} of the journal follows {last}")]
    Gap {
        /// Whose ledger.
        activity: ActivityId,
        /// `seq` of the last entry taken in; 0 where the ledger was never opened here.
        last: u64,
        /// `seq` of the entry that was offered.
        found: u64,
    },
    /// What was asked contradicts what is written.
    #[error("the database is contradicted: {0}")]
    Contradiction(String),
    /// No id could be made now.
    #[error("no id could be made: {0}")]
    Ids(String),
    /// The database can't be asked now.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database refused or failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration failed: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl StoreError {
    pub(crate) fn contradiction(what: impl Into<String>) -> Self {
        Self::Contradiction(what.into())
    }
}
