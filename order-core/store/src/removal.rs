//! Rows that can't matter any more, removed a few at a time.

use contract::snowflake;
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    accounts::known_clients::KNOWN_MS,
    db::{Db, Store, big, push_in},
    idempotency::KEPT_MS,
    tx::{Ending, Repeat, Write},
};

/// Rows of one table that are removed in one step.
pub const REMOVED_MAX: usize = 500;
/// How long the Idempotency-Key of an order of the shop is remembered, in milliseconds.
const ORDER_REQUEST_MS: u64 = 7 * 24 * 3600 * 1000;

/// A table with rows that end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Sessions that have ended.
    Sessions,
    /// Links for a new password that have expired.
    ResetLinks,
    /// Addresses from which nobody has signed in for long.
    KnownClients,
    /// Keys of orders that nobody repeats any more.
    OrderRequests,
    /// Answers under an Idempotency-Key that nobody asks for any more.
    Answers,
}

impl Ends {
    /// Every such table.
    pub const ALL: [Self; 5] =
        [Self::Sessions, Self::ResetLinks, Self::KnownClients, Self::OrderRequests, Self::Answers];

    /// Finds the rows that have ended before the bound. Each statement reads an index, and what it returns tells a
    /// number and up to two texts of a row's key.
    const fn find(self) -> &'static str {
        match self {
            Self::Sessions => "SELECT id, '', '' FROM sessions WHERE expires_at_ms <= ? LIMIT 500",
            Self::ResetLinks => "SELECT user_id, '', '' FROM reset_links WHERE expires_at_ms <= ? LIMIT 500",
            Self::KnownClients => "SELECT account_id, realm, client FROM known_clients WHERE seen_at_ms <= ? LIMIT 500",
            Self::OrderRequests => "SELECT order_id, '', '' FROM order_requests WHERE order_id < ? LIMIT 500",
            Self::Answers => "SELECT 0, scope, request_key FROM idempotency WHERE created_at_ms <= ? LIMIT 500",
        }
    }

    /// Removes the rows with these numbers, where a number is enough.
    const fn remove(self) -> Result<&'static str, &'static str> {
        match self {
            Self::Sessions => Ok("DELETE FROM sessions WHERE id"),
            Self::ResetLinks => Ok("DELETE FROM reset_links WHERE user_id"),
            Self::OrderRequests => Ok("DELETE FROM order_requests WHERE order_id"),
            Self::KnownClients => Err("DELETE FROM known_clients WHERE account_id = ? AND realm = ? AND client = ?"),
            Self::Answers => Err("DELETE FROM idempotency WHERE 0 = ? AND scope = ? AND request_key = ?"),
        }
    }

    fn bound(self, now_ms: u64) -> Result<i64, StoreError> {
        match self {
            Self::Sessions | Self::ResetLinks => big(now_ms),
            Self::KnownClients => big(now_ms.saturating_sub(KNOWN_MS)),
            Self::Answers => big(now_ms.saturating_sub(KEPT_MS)),
            Self::OrderRequests => Ok(snowflake::first_at_ms(now_ms.saturating_sub(ORDER_REQUEST_MS))),
        }
    }
}

impl Store {
    /// Removes up to [`REMOVED_MAX`] rows of `table` that can't matter any more; how many it found.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_ended(&self, table: Ends, now_ms: u64) -> Result<usize, StoreError> {
        let bound = table.bound(now_ms)?;
        let rows = sqlx::query(table.find()).bind(bound).fetch_all(self.readers()).await?;
        let key = |row: &crate::db::DbRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        let keys: Vec<(i64, String, String)> = rows.iter().map(key).collect::<Result<_, StoreError>>()?;
        if keys.is_empty() {
            return Ok(0);
        }
        self.write(Write::RemoveEnded, Repeat("what is removed does not come back"), |tx| async {
            let mut tx = tx;
            match table.remove() {
                Ok(sql) => {
                    let mut delete = QueryBuilder::<Db>::new(sql);
                    push_in(&mut delete, keys.iter().map(|(number, ..)| *number));
                    delete.build().execute(&mut *tx).await?;
                }
                Err(sql) => {
                    for (number, first, second) in &keys {
                        sqlx::query(sql).bind(*number).bind(first).bind(second).execute(&mut *tx).await?;
                    }
                }
            }
            Ok(Ending::Commit(tx, keys.len()))
        })
        .await
    }
}
