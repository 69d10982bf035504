//! Why the database did not do what it was asked.

use contract::ActivityId;
use sqlx::{error::DatabaseError, mysql::MySqlDatabaseError, sqlite::SqliteError};

/// A lock that was waited for too long, and a deadlock.
const MYSQL_GAVE_UP: [u16; 2] = [1205, 1213];
/// Another process writes.
const SQLITE_BUSY: &str = "5";

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
    /// The database is not one that the mall can use.
    #[error("the database can't be used: {0}")]
    Unsuitable(String),
    /// The schema could not be brought up to date.
    #[error("migration failed: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl StoreError {
    pub(crate) fn contradiction(what: impl Into<String>) -> Self {
        Self::Contradiction(what.into())
    }

    /// Whether the database gave the call up because of another one; the same call may well succeed now.
    pub fn is_transient(&self) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else { return false };
        if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
            return MYSQL_GAVE_UP.contains(&error.number());
        }
        error.try_downcast_ref::<SqliteError>().is_some_and(|error| error.code().as_deref() == Some(SQLITE_BUSY))
    }
}
