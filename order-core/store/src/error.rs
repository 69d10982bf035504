//! Why the database did not do what it was asked, and whether trying again can help.

use domain::{Outlook, SaleError};
use sqlx::{
    error::{DatabaseError, ErrorKind},
    sqlite::SqliteError,
};

/// Why the database did not do what it was asked. Nothing of the call was written, except where it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What was asked does not fit what is stored.
    #[error(transparent)]
    Sale(#[from] SaleError),
    /// No id could be made now.
    #[error("no id could be made: {0}")]
    Ids(String),
    /// The database can't be asked now.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The answer to COMMIT was lost, and the rows do not tell whether the write is committed.
    #[error("it is not known whether the database has committed: {0}")]
    OutcomeUnknown(String),
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

/// What is behind an error of the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The transaction was given up in favour of another one and may be retried at once.
    Contention,
    /// This call got no connection or no answer in time; others may have.
    OutOfTime,
    /// There is no working session with the server.
    Connection,
    /// The server has no room, no memory, or its disk fails.
    NoRoom,
    /// The server, or the file, takes no writes; a new connection may reach one that does.
    ReadOnly,
    /// The rows are refused.
    Rows,
    /// None of these.
    Unknown,
}

impl StoreError {
    pub(crate) fn contradiction(what: impl Into<String>) -> Self {
        Self::Sale(SaleError::contradiction(what))
    }

    /// Whether the same call can succeed later. The one place that decides it.
    pub fn outlook(&self) -> Outlook {
        match self {
            Self::Sale(error) => error.outlook(),
            Self::Ids(_) | Self::Unavailable(_) | Self::OutcomeUnknown(_) => Outlook::WillPass,
            Self::Unsuitable(_) | Self::Migration(_) => Outlook::Unknown,
            Self::Database(error) => match Cause::of(error) {
                Cause::Contention | Cause::OutOfTime | Cause::Connection | Cause::NoRoom | Cause::ReadOnly => {
                    Outlook::WillPass
                }
                Cause::Rows => Outlook::WillNotPass,
                Cause::Unknown => Outlook::Unknown,
            },
        }
    }

    /// Whether the database gave the call up because of another one; the same call may well succeed now.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if Cause::of(error) == Cause::Contention)
    }

    /// Whether there is no session with the server any more.
    pub(crate) fn is_lost_connection(&self) -> bool {
        matches!(self, Self::Database(error) if Cause::of(error) == Cause::Connection)
    }

    /// Whether the error, which is of COMMIT, is the server's answer that the transaction is rolled back.
    pub(crate) fn is_refused_commit(&self) -> bool {
        let Self::Database(error @ sqlx::Error::Database(_)) = self else { return false };
        match Cause::of(error) {
            Cause::Contention | Cause::Rows | Cause::NoRoom | Cause::ReadOnly => true,
            // A server that shuts down, or whose session was killed, may have committed before.
            Cause::Connection | Cause::OutOfTime | Cause::Unknown => false,
        }
    }
}

impl From<StoreError> for SaleError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Sale(error) => error,
            StoreError::Ids(_)
            | StoreError::Unavailable(_)
            | StoreError::OutcomeUnknown(_)
            | StoreError::Database(_)
            | StoreError::Unsuitable(_)
            | StoreError::Migration(_) => Self::Failed { reason: error.to_string(), outlook: error.outlook() },
        }
    }
}

impl Cause {
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => Self::of_database(&**error),
            sqlx::Error::PoolTimedOut => Self::OutOfTime,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Connection,
            // A row that can't be read as what it should be.
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => Self::Rows,
            sqlx::Error::Configuration(_)
            | sqlx::Error::InvalidArgument(_)
            | sqlx::Error::RowNotFound
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::AnyDriverError(_)
            | sqlx::Error::Migrate(_)
            | sqlx::Error::InvalidSavePointStatement
            | _ => Self::Unknown,
        }
    }

    fn of_database(error: &dyn DatabaseError) -> Self {
        #[cfg(feature = "mysql")]
        if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
            let cause = Self::of_mysql(error.number());
            if cause != Self::Unknown {
                return cause;
            }
        }
        if let Some(error) = error.try_downcast_ref::<SqliteError>() {
            return Self::of_sqlite(error);
        }
        match error.kind() {
            ErrorKind::UniqueViolation
            | ErrorKind::ForeignKeyViolation
            | ErrorKind::NotNullViolation
            | ErrorKind::CheckViolation
            | ErrorKind::ExclusionViolation => Self::Rows,
            ErrorKind::Other | _ => Self::Unknown,
        }
    }

    #[cfg(feature = "mysql")]
    /// Numbers of MySQL and MariaDB. Violated constraints are known by their kind.
    const fn of_mysql(number: u16) -> Self {
        match number {
            // Row changed since it was read, lock wait, deadlock, definition changed, group replication rolled it back.
            1020 | 1205 | 1213 | 1412 | 1615 | 3101 => Self::Contention,
            // read_only, super_read_only, READ ONLY transaction, innodb_read_only.
            1290 | 1792 | 1836 => Self::ReadOnly,
            // Disk full, write error, error of the engine, out of memory, table full, COMMIT failed, lock table full,
            // binary log.
            1021 | 1026 | 1030 | 1037 | 1038 | 1041 | 1114 | 1180 | 1206 | 1534 => Self::NoRoom,
            // Interrupted, statement took too long (MariaDB, MySQL).
            1317 | 1969 | 3024 => Self::OutOfTime,
            // Too many connections, access denied, not ready (Galera), shutting down, network, killed.
            1040
            | 1042..=1045
            | 1047
            | 1053
            | 1077
            | 1129
            | 1130
            | 1142
            | 1143
            | 1152
            | 1158..=1161
            | 1184
            | 1203
            | 1226
            | 1227
            | 1927
            | 3168
            | 4031 => Self::Connection,
            // Out of range, truncated, wrong for the column, too long, no default.
            1264 | 1265 | 1292 | 1364..=1367 | 1406 | 1411 | 1690 => Self::Rows,
            _ => Self::Unknown,
        }
    }

    /// <https://www.sqlite.org/rescode.html>; the lowest byte is the primary code.
    fn of_sqlite(error: &SqliteError) -> Self {
        match error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
            // BUSY, LOCKED.
            Some(5 | 6) => Self::Contention,
            // INTERRUPT.
            Some(9) => Self::OutOfTime,
            // NOMEM, IOERR, FULL, CANTOPEN, PROTOCOL.
            Some(7 | 10 | 13 | 14 | 15) => Self::NoRoom,
            // READONLY.
            Some(8) => Self::ReadOnly,
            // TOOBIG, CONSTRAINT, MISMATCH.
            Some(18..=20) => Self::Rows,
            _ => Self::Unknown,
        }
    }

    /// Whether no write at all would succeed, whatever its rows.
    pub(crate) const fn stops_writes(self) -> bool {
        match self {
            Self::Connection | Self::NoRoom | Self::ReadOnly => true,
            Self::Contention | Self::OutOfTime | Self::Rows | Self::Unknown => false,
        }
    }
}
