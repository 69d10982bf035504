//! The database. What differs between databases is in `connect`; the SQL elsewhere is portable.

use std::{num::NonZeroU32, path::Path, sync::Arc, time::Duration};

use foundation::Config;
use sqlx::{Pool, QueryBuilder, Row};
use tokio::sync::Notify;

pub(crate) use crate::tx::Tx;
use crate::{
    StoreError,
    accounts::audit_log::Actor,
    connect::{Backend, Pools, connect, sqlite_url},
    idempotency::RequestClaim,
    server::Server,
};

/// Whichever database the address names.
pub(crate) type Db = sqlx::Any;
pub(crate) type DbRow = <Db as sqlx::Database>::Row;

/// Connections that read where the settings name no number; a writer never waits for them (WAL).
const READERS_MAX: u32 = 4;
/// How long late money buys where the settings do not say.
const LATE_HOLD_MS: u64 = 600_000;
/// How long a caller waits for a connection where the settings do not say.
const ACQUIRE_TIMEOUT_MS: u64 = 30_000;
/// Rows of one INSERT; more is slower.
pub(crate) const INSERT_ROWS_MAX: usize = 500;

/// Makes the ids of new rows.
#[derive(Clone)]
pub struct Ids(Arc<dyn Fn() -> Result<i64, String> + Send + Sync>);

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ids")
    }
}

impl Ids {
    /// Ids from `next`; each greater than the one before.
    pub fn new<E: std::fmt::Display>(next: impl Fn() -> Result<i64, E> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || next().map_err(|error| error.to_string())))
    }

    /// The next id.
    ///
    /// # Errors
    /// [`StoreError::Ids`] where none can be made now.
    pub fn next(&self) -> Result<i64, StoreError> {
        (self.0)().map_err(StoreError::Ids)
    }
}

/// What the store must know beside the database's address.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long an order waits for its payment, in milliseconds.
    pub pay_within_ms: u64,
    /// How long after the timeout of an order its money still buys it, in milliseconds.
    pub late_hold_ms: u64,
    /// Orders of one user that wait for their payment at once, those of flash sales not counted.
    pub unpaid_max: u32,
    /// Units in these orders together.
    pub unpaid_units_max: u32,
    /// Connections that only read.
    pub read_connections: u32,
    /// How long a query waits for a connection, in milliseconds.
    pub acquire_timeout_ms: u64,
}

impl Settings {
    /// The usual connections; orders wait `pay_within_ms` for their payment, any number of them.
    pub const fn new(pay_within_ms: u64) -> Self {
        Self {
            pay_within_ms,
            late_hold_ms: LATE_HOLD_MS,
            unpaid_max: u32::MAX,
            unpaid_units_max: u32::MAX,
            read_connections: READERS_MAX,
            acquire_timeout_ms: ACQUIRE_TIMEOUT_MS,
        }
    }

    /// Those of the mall's configuration.
    pub fn of(config: &Config) -> Self {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            pay_within_ms: ms(config.orders.pay_within),
            late_hold_ms: ms(config.payments.late_hold),
            unpaid_max: config.orders.unpaid_max.map_or(u32::MAX, NonZeroU32::get),
            unpaid_units_max: config.orders.unpaid_units_max.map_or(u32::MAX, NonZeroU32::get),
            read_connections: config.database.read_connections.get(),
            acquire_timeout_ms: ms(config.database.acquire_timeout),
        }
    }
}

/// The database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    pools: Pools,
    ids: Ids,
    pub(crate) bell: Arc<Notify>,
    pub(crate) settings: Settings,
    /// In whose name it writes, where that is somebody of the staff.
    pub(crate) actor: Option<Arc<Actor>>,
    /// The request to which the first row belongs that a write makes.
    pub(crate) claim: Option<Arc<RequestClaim>>,
}

impl Store {
    /// Opens the SQLite database at `path`, makes it where it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// If the file can't be opened or migrated.
    pub async fn open(path: &Path, ids: Ids, settings: Settings) -> Result<Self, StoreError> {
        Self::connect(&sqlite_url(path), ids, settings).await
    }

    /// Connects to the database at `url`, `sqlite://` or `mysql://`, and brings its schema up to date.
    ///
    /// # Errors
    /// If it can't be reached or migrated, or is not set up as the mall needs it.
    pub async fn connect(url: &str, ids: Ids, settings: Settings) -> Result<Self, StoreError> {
        let pools = connect(url, &settings).await?;
        Ok(Self { pools, ids, bell: Arc::default(), settings, actor: None, claim: None })
    }

    /// This store, whose writes are added to the audit log as changes by `actor`.
    #[must_use]
    pub fn acting(&self, actor: Actor) -> Self {
        let mut store = self.clone();
        store.actor = Some(actor.into());
        store
    }

    /// Whether other processes may use the database at the same time.
    pub fn is_shared(&self) -> bool {
        self.pools.backend == Backend::MySql
    }

    /// Closes every connection, after what runs has ended.
    pub async fn close(&self) {
        self.pools.readers.close().await;
        self.pools.writers.close().await;
    }

    /// Answers where the database does.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(self.readers()).await?;
        Ok(())
    }

    /// Every table's columns, as (table, column, type in lower case without a length).
    ///
    /// # Errors
    /// If the database fails.
    pub async fn columns(&self) -> Result<Vec<(String, String, String)>, StoreError> {
        let rows = sqlx::query(self.pools.backend.columns()).fetch_all(self.readers()).await?;
        let column = |row: &DbRow| {
            let kind: String = row.try_get(2)?;
            let kind = kind.split('(').next().unwrap_or_default().to_ascii_lowercase();
            Ok((row.try_get(0)?, row.try_get(1)?, kind))
        };
        rows.iter().map(column).collect()
    }

    pub(crate) fn readers(&self) -> &Pool<Db> {
        &self.pools.readers
    }

    pub(crate) fn server(&self) -> &Server {
        &self.pools.server
    }

    /// The connections that write, for tests that prepare a database or break it.
    #[cfg(test)]
    pub(crate) fn writers(&self) -> &Pool<Db> {
        &self.pools.writers
    }

    pub(crate) const fn pools(&self) -> &Pools {
        &self.pools
    }

    /// A transaction whose reads all see one instant.
    pub(crate) async fn begin_read(&self) -> Result<Tx, StoreError> {
        Tx::begin_read(&self.pools).await
    }

    pub(crate) fn next_id(&self) -> Result<i64, StoreError> {
        self.ids.next()
    }
}

/// A count or an instant as the database's BIGINT.
pub(crate) fn big(value: u64) -> Result<i64, StoreError> {
    Ok(domain::big(value)?)
}

/// A BIGINT that is a count or an instant.
pub(crate) fn count(row: &DbRow, column: &str) -> Result<u64, StoreError> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|_| StoreError::contradiction(format!("{column} is {value}")))
}

/// [`count`], or nothing where the column is NULL.
pub(crate) fn count_or_none(row: &DbRow, column: &str) -> Result<Option<u64>, StoreError> {
    let value: Option<i64> = row.try_get(column)?;
    let count =
        |value: i64| u64::try_from(value).map_err(|_| StoreError::contradiction(format!("{column} is {value}")));
    value.map(count).transpose()
}

/// A BIGINT that is a quantity.
pub(crate) fn quantity(row: &DbRow, column: &str) -> Result<u32, StoreError> {
    let value: i64 = row.try_get(column)?;
    u32::try_from(value).map_err(|_| StoreError::contradiction(format!("{column} is {value}")))
}

/// A BIGINT that is an id.
pub(crate) fn id<T>(row: &DbRow, column: &str, from: impl Fn(i64) -> Option<T>) -> Result<T, StoreError> {
    let value: i64 = row.try_get(column)?;
    from(value).ok_or_else(|| StoreError::contradiction(format!("{column} is {value}")))
}

/// A BIGINT that is an id, or NULL.
pub(crate) fn id_or_none<T>(
    row: &DbRow,
    column: &str,
    from: impl Fn(i64) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(|value| from(value).ok_or_else(|| StoreError::contradiction(format!("{column} is {value}")))).transpose()
}

/// `column IN (?, ?, ...)`; never for no values at all.
pub(crate) fn push_in(query: &mut QueryBuilder<Db>, values: impl IntoIterator<Item = i64>) {
    query.push(" IN (");
    let mut list = query.separated(", ");
    for value in values {
        list.push_bind(value);
    }
    query.push(")");
}

/// Makes a transaction the only one that changes a row, from its reading on: `sql` updates the row with `id` to
/// what it is. Whether there is such a row.
pub(crate) async fn lock_row(tx: &mut Tx, sql: &'static str, id: i64) -> Result<bool, StoreError> {
    Ok(sqlx::query(sql).bind(id).execute(&mut **tx).await?.rows_affected() == 1)
}

/// Whether the database refused a row because another one has its key.
pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// A text that LIKE with `ESCAPE '!'` takes as it is.
pub(crate) fn literal(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}
