//! First answers under an Idempotency-Key.

use sqlx::Row;

use crate::{
    StoreError,
    db::{Store, big, count, is_taken},
};

/// An answer is kept this long, in milliseconds.
const KEPT_MS: u64 = 24 * 3600 * 1000;
/// A request that runs longer has died with its process, in milliseconds.
const RUNNING_MS: u64 = 60_000;

/// What is known under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: carry the request out, then [`Store::keep_answer`] or [`Store::forget_request`].
    First,
    /// The first request has not been answered yet.
    Running,
    /// The first request had another body.
    Differs,
    /// The first answer.
    Again {
        /// Its HTTP status.
        status: u16,
        /// Its body.
        answer: String,
    },
}

impl Store {
    /// Begins a request under `key`, which is unique within `scope`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn begin_request(
        &self,
        scope: &str,
        key: &str,
        body_hash: &[u8],
        now_ms: u64,
    ) -> Result<Begun, StoreError> {
        let mut tx = self.begin_write().await?;
        sqlx::query("DELETE FROM idempotency WHERE created_at_ms <= ? OR (status = 0 AND created_at_ms <= ?)")
            .bind(big(now_ms.saturating_sub(KEPT_MS))?)
            .bind(big(now_ms.saturating_sub(RUNNING_MS))?)
            .execute(&mut *tx)
            .await?;
        let inserted = sqlx::query(
            "INSERT INTO idempotency (scope, request_key, body_hash, status, answer, created_at_ms) \
             VALUES (?, ?, ?, 0, '', ?)",
        )
        .bind(scope)
        .bind(key)
        .bind(body_hash)
        .bind(big(now_ms)?)
        .execute(&mut *tx)
        .await;
        match inserted {
            Err(error) if is_taken(&error) => {}
            inserted => {
                inserted?;
                tx.commit().await?;
                return Ok(Begun::First);
            }
        }
        let row = sqlx::query("SELECT body_hash, status, answer FROM idempotency WHERE scope = ? AND request_key = ?")
            .bind(scope)
            .bind(key)
            .fetch_one(&mut *tx)
            .await?;
        tx.commit().await?;
        let first_hash: Vec<u8> = row.try_get("body_hash")?;
        let status = count(&row, "status")?;
        Ok(match u16::try_from(status) {
            _ if first_hash != body_hash => Begun::Differs,
            Ok(0) | Err(_) => Begun::Running,
            Ok(status) => Begun::Again { status, answer: row.try_get("answer")? },
        })
    }

    /// Keeps the first answer.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn keep_answer(&self, scope: &str, key: &str, status: u16, answer: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE idempotency SET status = ?, answer = ? WHERE scope = ? AND request_key = ?")
            .bind(i64::from(status))
            .bind(answer)
            .bind(scope)
            .bind(key)
            .execute(self.writer())
            .await?;
        Ok(())
    }

    /// The request came to nothing: the next one under its key is the first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_request(&self, scope: &str, key: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM idempotency WHERE scope = ? AND request_key = ? AND status = 0")
            .bind(scope)
            .bind(key)
            .execute(self.writer())
            .await?;
        Ok(())
    }
}
