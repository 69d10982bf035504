//! Shoppers' refresh tokens, kept as digests.

use contract::UserId;

use crate::{
    StoreError,
    db::{Store, big, id},
};

impl Store {
    /// Begins a session; the user's expired ones are forgotten.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn add_session(
        &self,
        user: UserId,
        token_hash: &str,
        expires_at_ms: u64,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        sqlx::query("DELETE FROM sessions WHERE user_id = ? AND expires_at_ms <= ?")
            .bind(user.as_i64())
            .bind(big(now_ms)?)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO sessions (id, user_id, token_hash, expires_at_ms, created_at_ms) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(self.next_id()?)
        .bind(user.as_i64())
        .bind(token_hash)
        .bind(big(expires_at_ms)?)
        .bind(big(now_ms)?)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Puts a new token in an old one's place and tells whose it is; `None` where the old one is not
    /// good. One that was replaced before is a stolen copy, or its theft's victim: the session ends.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn rotate_session(
        &self,
        old_hash: &str,
        new_hash: &str,
        expires_at_ms: u64,
        now_ms: u64,
    ) -> Result<Option<UserId>, StoreError> {
        let mut tx = self.begin_write().await?;
        let owner = sqlx::query(
            "SELECT s.user_id AS user_id FROM sessions s JOIN users u ON u.id = s.user_id \
             WHERE s.token_hash = ? AND s.expires_at_ms > ? AND u.blocked = 0",
        )
        .bind(old_hash)
        .bind(big(now_ms)?)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(owner) = owner else {
            sqlx::query("DELETE FROM sessions WHERE previous_hash = ?").bind(old_hash).execute(&mut *tx).await?;
            tx.commit().await?;
            return Ok(None);
        };
        let rotated = sqlx::query(
            "UPDATE sessions SET previous_hash = token_hash, token_hash = ?, expires_at_ms = ? WHERE token_hash = ?",
        )
        .bind(new_hash)
        .bind(big(expires_at_ms)?)
        .bind(old_hash)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        if rotated.rows_affected() == 1 { id(&owner, "user_id", UserId::from_i64).map(Some) } else { Ok(None) }
    }

    /// Ends every session of `user`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn end_sessions(&self, user: UserId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sessions WHERE user_id = ?").bind(user.as_i64()).execute(self.writer()).await?;
        Ok(())
    }
}
