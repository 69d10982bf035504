//! Shoppers' refresh tokens, kept as digests.

use contract::UserId;

use crate::{
    StoreError,
    db::{Store, big, id},
    tx::{Ending, Found, NewRow, Repeat, Tx, Write, look_up},
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
        let session = self.next_id()?;
        let (expires_at_ms, now_ms) = (big(expires_at_ms)?, big(now_ms)?);
        let lock = "UPDATE sessions SET expires_at_ms = expires_at_ms WHERE id = ?";
        self.write(Write::AddSession, NewRow { lock, id: session }, |tx| async {
            let mut tx = tx;
            sqlx::query("DELETE FROM sessions WHERE user_id = ? AND expires_at_ms <= ?")
                .bind(user.as_i64())
                .bind(now_ms)
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                "INSERT INTO sessions (id, user_id, token_hash, expires_at_ms, created_at_ms) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(session)
            .bind(user.as_i64())
            .bind(token_hash)
            .bind(expires_at_ms)
            .bind(now_ms)
            .execute(&mut *tx)
            .await?;
            Ok(Ending::Commit(tx, ()))
        })
        .await
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
        let (expires_at_ms, now_ms) = (big(expires_at_ms)?, big(now_ms)?);
        let after_lost_commit = look_up(|mut tx: Tx, owner: Option<UserId>| async move {
            // A session that has ended ends a second time without harm; one that has the new token was rotated.
            let lock = sqlx::query("UPDATE sessions SET expires_at_ms = expires_at_ms WHERE token_hash = ?");
            let has_token = lock.bind(new_hash).execute(&mut *tx).await?.rows_affected() == 1;
            Ok(Found::from(owner.is_some() && has_token))
        });
        self.write(Write::RotateSession, after_lost_commit, |tx| async {
            let mut tx = tx;
            let owner = sqlx::query(
                "SELECT s.user_id AS user_id FROM sessions s JOIN users u ON u.id = s.user_id \
                 WHERE s.token_hash = ? AND s.expires_at_ms > ? AND u.blocked = 0",
            )
            .bind(old_hash)
            .bind(now_ms)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(owner) = owner else {
                sqlx::query("DELETE FROM sessions WHERE previous_hash = ?").bind(old_hash).execute(&mut *tx).await?;
                return Ok(Ending::Commit(tx, None));
            };
            let rotated = sqlx::query(
                "UPDATE sessions SET previous_hash = token_hash, token_hash = ?, expires_at_ms = ? \
                 WHERE token_hash = ?",
            )
            .bind(new_hash)
            .bind(expires_at_ms)
            .bind(old_hash)
            .execute(&mut *tx)
            .await?;
            if rotated.rows_affected() == 0 {
                return Ok(Ending::RollBack(None));
            }
            Ok(Ending::Commit(tx, Some(id(&owner, "user_id", UserId::from_i64)?)))
        })
        .await
    }

    /// Ends every session of `user`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn end_sessions(&self, user: UserId) -> Result<(), StoreError> {
        self.write(Write::EndSessions, Repeat("sessions end once"), |tx| async {
            let mut tx = tx;
            sqlx::query("DELETE FROM sessions WHERE user_id = ?").bind(user.as_i64()).execute(&mut *tx).await?;
            Ok(Ending::Commit(tx, ()))
        })
        .await
    }
}
