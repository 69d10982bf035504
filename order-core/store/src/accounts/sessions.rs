//! Shoppers' sessions. The database has the digest of a session's current refresh token; every other token of the
//! session is a copy of an old one, and ends it.

use contract::{
    SessionId, UserId,
    record::{CutScope, TokenCut},
    snowflake,
    topic::CUT_LEEWAY_MS,
};
use domain::Outgoing;
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::{
    StoreError,
    accounts::LOCK_USER,
    areas::Accounts,
    catalogue::products::exists,
    db::{DbRow, Tx, big, count, id, lock_row},
    tx::{Ending, Found, NewRow, Repeat, Write, look_up},
};

/// How long a session lasts after its token was last replaced, in milliseconds.
const UNUSED_MS: u64 = 30 * 24 * 3600 * 1000;
/// How long a session lasts however often its token is replaced, in milliseconds.
pub const SESSION_MS: u64 = 90 * 24 * 3600 * 1000;
/// How long a token that was replaced is still answered, in milliseconds: two tabs may bring the same one.
pub const GRACE_MS: u64 = 10_000;
/// Sessions of one user; the oldest one gives way.
pub const SESSIONS_MAX: usize = 50;

/// A session, as its user may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The tokens' `sid`.
    pub id: SessionId,
    /// When it began, epoch milliseconds.
    pub created_at_ms: u64,
    /// When its token was last replaced, epoch milliseconds.
    pub renewed_at_ms: u64,
    /// When it ends, epoch milliseconds, unless its token is replaced before.
    pub expires_at_ms: u64,
}

/// A session whose token was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    /// Whose it is.
    pub user: UserId,
    /// When it ends unless its token is replaced, epoch milliseconds.
    pub expires_at_ms: u64,
}

/// What the database keeps of a token: 256 random bits need no salt.
pub fn token_digest(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// When a session that began at `created_at_ms` ends if its token is replaced now.
fn end(created_at_ms: u64, now_ms: u64) -> u64 {
    now_ms.saturating_add(UNUSED_MS).min(created_at_ms.saturating_add(SESSION_MS))
}

impl Accounts<'_> {
    /// The id of a session that is to begin.
    ///
    /// # Errors
    /// [`StoreError::Ids`] where none can be made now.
    pub fn next_session(self) -> Result<SessionId, StoreError> {
        let id = self.store.next_id()?;
        SessionId::from_i64(id).ok_or_else(|| StoreError::Ids(format!("{id}")))
    }

    /// Begins a session; when it ends, epoch milliseconds. `None` if the user is blocked, or has another password hash
    /// than `proof` by now: the password that was checked is an old one. No clocks are compared, because another process
    /// may have changed the password. The user's sessions that have ended are forgotten, and those beyond
    /// [`SESSIONS_MAX`] end.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_session(
        self,
        session: SessionId,
        user: UserId,
        (token_hash, proof): (&str, &str),
        now_ms: u64,
    ) -> Result<Option<u64>, StoreError> {
        let expires_at_ms = end(now_ms, now_ms);
        let new_row = NewRow { lock: LOCK_SESSION, id: session.as_i64() };
        self.store
            .write(Write::AddSession, new_row, |tx| async {
                let mut tx = tx;
                lock_row(&mut tx, LOCK_USER, user.as_i64()).await?;
                let row = sqlx::query("SELECT blocked, password_hash FROM users WHERE id = ?").bind(user.as_i64());
                let Some(row) = row.fetch_optional(&mut *tx).await? else { return Ok(Ending::RollBack(None)) };
                if count(&row, "blocked")? != 0 || row.try_get::<&str, _>("password_hash")? != proof {
                    return Ok(Ending::RollBack(None));
                }
                let sql = "DELETE FROM sessions WHERE user_id = ? AND expires_at_ms <= ?";
                sqlx::query(sql).bind(user.as_i64()).bind(big(now_ms)?).execute(&mut *tx).await?;
                let sql = "SELECT id FROM sessions WHERE user_id = ? ORDER BY id DESC";
                let rows = sqlx::query(sql).bind(user.as_i64()).fetch_all(&mut *tx).await?;
                for row in rows.iter().skip(SESSIONS_MAX - 1) {
                    end_one(&mut tx, user, id(row, "id", SessionId::from_i64)?, now_ms).await?;
                }
                sqlx::query(
                    "INSERT INTO sessions (id, user_id, token_hash, expires_at_ms, created_at_ms, rotated_at_ms) \
                 VALUES (?, ?, ?, ?, ?, ?)",
                )
                .bind(session.as_i64())
                .bind(user.as_i64())
                .bind(token_hash)
                .bind(big(expires_at_ms)?)
                .bind(big(now_ms)?)
                .bind(big(now_ms)?)
                .execute(&mut *tx)
                .await?;
                Ok(Ending::Commit(tx, Some(expires_at_ms)))
            })
            .await
    }

    /// The session of a token that does not name it, as those of earlier versions.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn session_of_token(self, token_hash: &str) -> Result<Option<SessionId>, StoreError> {
        let sql = "SELECT id FROM sessions WHERE token_hash = ? OR previous_hash = ?";
        let row = sqlx::query(sql).bind(token_hash).bind(token_hash).fetch_optional(self.store.readers()).await?;
        row.map(|row| id(&row, "id", SessionId::from_i64)).transpose()
    }

    /// Replaces the token of a session. `None` where the session has ended, or ends now, because the token was
    /// replaced before: one of two who have the session has a copy.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn rotate_session(
        self,
        session: SessionId,
        (old_hash, new_hash): (&str, &str),
        now_ms: u64,
    ) -> Result<Option<Renewed>, StoreError> {
        // The second time finds the token replaced a moment ago.
        let repeat = Repeat("a token that was just replaced is answered with the same successor");
        self.store.write(Write::RotateSession, repeat, |tx| async {
            let mut tx = tx;
            if !lock_row(&mut tx, LOCK_SESSION, session.as_i64()).await? {
                return Ok(Ending::RollBack(None));
            }
            let row = sqlx::query(
                "SELECT s.user_id, s.token_hash, s.previous_hash, s.expires_at_ms, s.created_at_ms, s.rotated_at_ms, \
                 u.blocked FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = ?",
            );
            let row = row.bind(session.as_i64()).fetch_one(&mut *tx).await?;
            let user = id(&row, "user_id", UserId::from_i64)?;
            let (expires_at_ms, created_at_ms) = (count(&row, "expires_at_ms")?, count(&row, "created_at_ms")?);
            let ends_at_ms = expires_at_ms.min(created_at_ms.saturating_add(SESSION_MS));
            if ends_at_ms <= now_ms || count(&row, "blocked")? != 0 {
                return Ok(Ending::RollBack(None));
            }
            let (current, previous): (&str, Option<&str>) = (row.try_get("token_hash")?, row.try_get("previous_hash")?);
            if current == old_hash {
                let renewed = Renewed { user, expires_at_ms: end(created_at_ms, now_ms) };
                replace_token(&mut tx, session, (old_hash, new_hash), (renewed.expires_at_ms, now_ms)).await?;
                return Ok(Ending::Commit(tx, Some(renewed)));
            }
            let in_grace = now_ms < count(&row, "rotated_at_ms")?.saturating_add(GRACE_MS);
            if in_grace && previous == Some(old_hash) && current == new_hash {
                return Ok(Ending::RollBack(Some(Renewed { user, expires_at_ms })));
            }
            end_one(&mut tx, user, session, now_ms).await?;
            Ok(Ending::Commit(tx, None))
        })
        .await
    }

    /// The sessions of `user` that have not ended, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sessions(self, user: UserId, now_ms: u64) -> Result<Vec<Session>, StoreError> {
        let sql = "SELECT id, created_at_ms, rotated_at_ms, expires_at_ms FROM sessions \
                   WHERE user_id = ? AND expires_at_ms > ? ORDER BY id DESC";
        let rows = sqlx::query(sql).bind(user.as_i64()).bind(big(now_ms)?).fetch_all(self.store.readers()).await?;
        let session = |row: &DbRow| {
            let created_at_ms = count(row, "created_at_ms")?;
            Ok(Session {
                id: id(row, "id", SessionId::from_i64)?,
                created_at_ms,
                renewed_at_ms: count(row, "rotated_at_ms")?.max(created_at_ms),
                expires_at_ms: count(row, "expires_at_ms")?,
            })
        };
        rows.iter().map(session).collect()
    }

    /// Ends one session of `user`, with its access tokens; `false` if there is no such session.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_session(self, user: UserId, session: SessionId, now_ms: u64) -> Result<bool, StoreError> {
        let after_lost_commit = look_up(|mut tx: Tx, _: bool| async move {
            let is_there = lock_row(&mut tx, LOCK_SESSION, session.as_i64()).await?;
            Ok(Found::from(!is_there))
        });
        self.store
            .write(Write::EndSession, after_lost_commit, |tx| async {
                let mut tx = tx;
                let has_ended = end_one(&mut tx, user, session, now_ms).await?;
                Ok(if has_ended { Ending::Commit(tx, true) } else { Ending::RollBack(false) })
            })
            .await
    }

    /// Ends every session of `user`, and all access tokens that were given out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_sessions(self, user: UserId, now_ms: u64) -> Result<(), StoreError> {
        self.store
            .write(Write::EndSessions, Repeat("sessions end once"), |tx| async {
                let mut tx = tx;
                lock_row(&mut tx, LOCK_USER, user.as_i64()).await?;
                let row = sqlx::query("SELECT tokens_cut_at_ms FROM users WHERE id = ?").bind(user.as_i64());
                let Some(row) = row.fetch_optional(&mut *tx).await? else { return Ok(Ending::RollBack(())) };
                let known_ms = count(&row, "tokens_cut_at_ms")?;
                if known_ms == now_ms
                    && !exists(&mut tx, "SELECT 1 FROM sessions WHERE user_id = ?", user.as_i64()).await?
                {
                    // This very cut is committed.
                    return Ok(Ending::RollBack(()));
                }
                // A cut may come from a process whose clock is ahead. One that is only a little ahead counts; one that is far
                // ahead is replaced, or no token without a session would be good until then.
                let is_far_ahead = known_ms > now_ms.saturating_add(CUT_LEEWAY_MS);
                let at_ms = if is_far_ahead { now_ms } else { known_ms.max(now_ms) };
                let sql = "UPDATE users SET tokens_cut_at_ms = ? WHERE id = ?";
                sqlx::query(sql).bind(big(at_ms)?).bind(user.as_i64()).execute(&mut *tx).await?;
                cut_tokens(&mut tx, user, None, now_ms).await?;
                Ok(Ending::Commit(tx, ()))
            })
            .await
    }

    /// Whether an access token of `user` is good no more, although it has not expired: its session has ended, its
    /// user is blocked, or, where it has no session, all of the user's tokens were cut since it was signed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn is_token_cut(
        self,
        user: UserId,
        (session, issued_at_s): (Option<SessionId>, u64),
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT u.blocked, u.tokens_cut_at_ms, (SELECT COUNT(*) FROM sessions s WHERE s.id = ? \
                   AND s.user_id = u.id AND s.expires_at_ms > ?) AS sessions FROM users u WHERE u.id = ?";
        let query = sqlx::query(sql).bind(session.map_or(0, SessionId::as_i64)).bind(big(now_ms)?).bind(user.as_i64());
        let Some(row) = query.fetch_optional(self.store.readers()).await? else {
            // A token that a load test has signed needs no user, and no session has another one than its own.
            return Ok(session.is_some());
        };
        let is_cut = match session {
            Some(_) => count(&row, "sessions")? == 0,
            None => issued_at_s.saturating_mul(1000) <= count(&row, "tokens_cut_at_ms")?,
        };
        Ok(is_cut || count(&row, "blocked")? != 0)
    }
}

const LOCK_SESSION: &str = "UPDATE sessions SET expires_at_ms = expires_at_ms WHERE id = ?";

async fn replace_token(
    tx: &mut Tx,
    session: SessionId,
    (old_hash, new_hash): (&str, &str),
    (expires_at_ms, now_ms): (u64, u64),
) -> Result<(), StoreError> {
    let sql =
        "UPDATE sessions SET token_hash = ?, previous_hash = ?, expires_at_ms = ?, rotated_at_ms = ? WHERE id = ?";
    let query = sqlx::query(sql).bind(new_hash).bind(old_hash).bind(big(expires_at_ms)?).bind(big(now_ms)?);
    query.bind(session.as_i64()).execute(&mut **tx).await?;
    Ok(())
}

/// Ends one session with its access tokens; whether there was one.
async fn end_one(tx: &mut Tx, user: UserId, session: SessionId, now_ms: u64) -> Result<bool, StoreError> {
    let query = sqlx::query("DELETE FROM sessions WHERE id = ? AND user_id = ?");
    let ended = query.bind(session.as_i64()).bind(user.as_i64()).execute(&mut **tx).await?.rows_affected() == 1;
    if ended {
        tx.send([Outgoing::token_cut(&TokenCut { user, at_ms: now_ms, scope: CutScope::One(session) })]);
    }
    Ok(ended)
}

/// Ends the sessions of `user`, but for one, with their access tokens. Tokens without a session are cut by
/// `users.tokens_cut_at_ms`, which the caller sets.
pub(crate) async fn cut_tokens(
    tx: &mut Tx,
    user: UserId,
    but: Option<SessionId>,
    now_ms: u64,
) -> Result<(), StoreError> {
    let but_id = but.map_or(0, SessionId::as_i64);
    let newest = "SELECT COALESCE(MAX(id), 0) AS newest FROM sessions WHERE user_id = ? AND id <> ?";
    let row = sqlx::query(newest).bind(user.as_i64()).bind(but_id).fetch_one(&mut **tx).await?;
    // The process that began the session may have a clock that is ahead of this one, and the gateways go by the time in
    // the session's id.
    let at_ms = now_ms.max(snowflake::made_at_ms(row.try_get("newest")?));
    let query = sqlx::query("DELETE FROM sessions WHERE user_id = ? AND id <> ?");
    query.bind(user.as_i64()).bind(but_id).execute(&mut **tx).await?;
    let scope = but.map_or(CutScope::All, CutScope::AllBut);
    tx.send([Outgoing::token_cut(&TokenCut { user, at_ms, scope })]);
    Ok(())
}
