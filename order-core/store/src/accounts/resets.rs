//! New passwords: with the old one, or with a link that an admin has given out.

use contract::{SessionId, UserId};
use serde_json::json;
use sqlx::Row;

use crate::{
    StoreError,
    accounts::{LOCK_USER, audit_log::Change, sessions::cut_tokens},
    areas::Accounts,
    db::{Tx, big, id, lock_row},
    tx::{Ending, Found, Repeat, Write, look_up},
};

/// How long a link is good, in milliseconds.
pub const RESET_LINK_MS: u64 = 3600 * 1000;

impl Accounts<'_> {
    /// The hash that the password of `user` must have; `None` where there is no such user.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn password_hash(self, user: UserId) -> Result<Option<String>, StoreError> {
        let query = sqlx::query("SELECT password_hash FROM users WHERE id = ?").bind(user.as_i64());
        let row = query.fetch_optional(self.store.readers()).await?;
        row.map(|row| Ok(row.try_get("password_hash")?)).transpose()
    }

    /// Replaces the password that has `old_hash` and ends all sessions of `user` but for `session`, with their access
    /// tokens; `false` where the password was changed meanwhile.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn change_password(
        self,
        user: UserId,
        (old_hash, new_hash): (&str, &str),
        session: Option<SessionId>,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let after_lost_commit = look_up(|tx: Tx, _: bool| has_password(tx, user, new_hash));
        self.store
            .write(Write::ChangePassword, after_lost_commit, |tx| async {
                let mut tx = tx;
                let sql = "UPDATE users SET password_hash = ?, tokens_cut_at_ms = ?, version = version + 1 \
                       WHERE id = ? AND password_hash = ?";
                let query = sqlx::query(sql).bind(new_hash).bind(big(now_ms)?).bind(user.as_i64()).bind(old_hash);
                if query.execute(&mut *tx).await?.rows_affected() == 0 {
                    return Ok(Ending::RollBack(false));
                }
                cut_tokens(&mut tx, user, session, now_ms).await?;
                Ok(Ending::Commit(tx, true))
            })
            .await
    }

    /// Lets who has the token set a new password of `user` until [`RESET_LINK_MS`] from now. An earlier link is good no
    /// more. `false` where there is no such user.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_reset_link(self, user: UserId, token_hash: &str, now_ms: u64) -> Result<bool, StoreError> {
        let expires_at_ms = now_ms.saturating_add(RESET_LINK_MS);
        self.store
            .write(Write::AddResetLink, Repeat("the user's link is replaced by itself"), |tx| async {
                let mut tx = tx;
                if !lock_row(&mut tx, LOCK_USER, user.as_i64()).await? {
                    return Ok(Ending::RollBack(false));
                }
                sqlx::query("DELETE FROM reset_links WHERE user_id = ?").bind(user.as_i64()).execute(&mut *tx).await?;
                let sql = "INSERT INTO reset_links (user_id, token_hash, expires_at_ms) VALUES (?, ?, ?)";
                let query = sqlx::query(sql).bind(user.as_i64()).bind(token_hash).bind(big(expires_at_ms)?);
                query.execute(&mut *tx).await?;
                let after = json!({ "reset_link_until_ms": expires_at_ms });
                tx.note(Change::new("user", user.as_i64(), json!({}), after));
                Ok(Ending::Commit(tx, true))
            })
            .await
    }

    /// Who may set a new password with this token.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn reset_link(self, token_hash: &str, now_ms: u64) -> Result<Option<UserId>, StoreError> {
        let query = sqlx::query("SELECT user_id FROM reset_links WHERE token_hash = ? AND expires_at_ms > ?");
        let row = query.bind(token_hash).bind(big(now_ms)?).fetch_optional(self.store.readers()).await?;
        row.map(|row| id(&row, "user_id", UserId::from_i64)).transpose()
    }

    /// Uses up a link: the user's password has `new_hash` now, and all sessions have ended, with their access tokens.
    /// `false` where the link is not good any more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn reset_password(
        self,
        user: UserId,
        (token_hash, new_hash): (&str, &str),
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let after_lost_commit = look_up(|tx: Tx, _: bool| has_password(tx, user, new_hash));
        self.store
            .write(Write::ResetPassword, after_lost_commit, |tx| async {
                let mut tx = tx;
                let sql = "DELETE FROM reset_links WHERE user_id = ? AND token_hash = ? AND expires_at_ms > ?";
                let query = sqlx::query(sql).bind(user.as_i64()).bind(token_hash).bind(big(now_ms)?);
                if query.execute(&mut *tx).await?.rows_affected() == 0 {
                    return Ok(Ending::RollBack(false));
                }
                let sql =
                    "UPDATE users SET password_hash = ?, tokens_cut_at_ms = ?, version = version + 1 WHERE id = ?";
                let query = sqlx::query(sql).bind(new_hash).bind(big(now_ms)?).bind(user.as_i64());
                query.execute(&mut *tx).await?;
                cut_tokens(&mut tx, user, None, now_ms).await?;
                Ok(Ending::Commit(tx, true))
            })
            .await
    }
}

/// Whether the password of `user` has this hash, which has random salt and so is of one change alone.
async fn has_password(mut tx: Tx, user: UserId, hash: &str) -> Result<Found, StoreError> {
    lock_row(&mut tx, LOCK_USER, user.as_i64()).await?;
    let query = sqlx::query("SELECT password_hash FROM users WHERE id = ?").bind(user.as_i64());
    let row = query.fetch_optional(&mut *tx).await?;
    let now = row.map(|row| row.try_get::<String, _>("password_hash")).transpose()?;
    Ok(Found::from(now.as_deref() == Some(hash)))
}
