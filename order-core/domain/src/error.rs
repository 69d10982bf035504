//! Why a store did not do what it was asked, and whether the same call can succeed later.

use contract::ActivityId;

/// Why a store did not do what it was asked. Nothing of the call was written.
#[derive(Debug, thiserror::Error)]
pub enum SaleError {
    /// Entries are missing between the last one taken in and this one.
    #[error("activity {activity}: entry {found} of the journal follows {last}")]
    Gap {
        activity: ActivityId,
        /// `seq` of the last entry taken in; 0 where the ledger's opening was not taken in yet.
        last: u64,
        /// `seq` of the entry that was offered.
        found: u64,
    },
    /// What was asked contradicts what is stored.
    #[error("the database is contradicted: {0}")]
    Contradiction(String),
    /// The store itself failed.
    #[error("{reason}")]
    Failed { reason: String, outlook: Outlook },
}

/// Whether the same call can succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// The cause has nothing to do with the rows: another transaction, a lost connection, a full disk, a
    /// server that is read-only. The same call succeeds once that is over.
    WillPass,
    /// The rows themselves are refused: a key, a CHECK, a foreign key, NULL, a value out of range, a
    /// contradiction. The same call fails every time until somebody changes what is stored.
    WillNotPass,
    /// The error does not show which of the two it is.
    Unknown,
}

impl SaleError {
    pub fn contradiction(what: impl Into<String>) -> Self {
        Self::Contradiction(what.into())
    }

    pub const fn outlook(&self) -> Outlook {
        match self {
            Self::Gap { .. } | Self::Contradiction(_) => Outlook::WillNotPass,
            Self::Failed { outlook, .. } => *outlook,
        }
    }
}

/// A count or an instant as the BIGINT of a database, which is signed.
///
/// # Errors
/// [`SaleError::Contradiction`] above `i64::MAX`.
pub fn big(value: u64) -> Result<i64, SaleError> {
    i64::try_from(value).map_err(|_| SaleError::Contradiction(format!("{value} does not fit into a BIGINT")))
}
