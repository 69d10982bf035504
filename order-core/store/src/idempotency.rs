//! First answers under an Idempotency-Key.

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::{
    StoreError,
    db::{Store, Tx, big, count, is_taken},
    tx::{Ending, Found, Repeat, Write, look_up},
};

/// An answer is kept this long, in milliseconds.
pub(crate) const KEPT_MS: u64 = 24 * 3600 * 1000;
/// A request that runs longer has died with its process, in milliseconds.
const RUNNING_MS: u64 = 60_000;

/// What a request is answered that is carried out once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once {
    /// This, now or the first time.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
        /// It is the first answer again.
        again: bool,
    },
    /// The first request under the key still runs.
    Running,
    /// The first request under the key had another body.
    Differs,
}

#[derive(Debug, Clone)]
enum Begun {
    First,
    Running,
    Differs,
    Again { status: u16, body: String },
}

/// Characters of a key that its column has room for.
const KEY_CHARS_MAX: usize = 128;

/// A key as it is stored: one that is too long for its column by its digest.
pub(crate) fn stored_key(key: &str) -> Cow<'_, str> {
    if key.len() <= KEY_CHARS_MAX {
        return Cow::Borrowed(key);
    }
    let digest = Sha256::digest(key.as_bytes());
    Cow::Owned(digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}")))
}

impl Store {
    /// Carries a request out unless `key`, unique within `scope`, has been answered before. Answers from
    /// 500 on are not kept: the next request under the key is a first one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn once<E: From<StoreError>>(
        &self,
        (scope, key): (&str, &str),
        body: &[u8],
        now_ms: u64,
        carry_out: impl Future<Output = Result<(u16, String), E>>,
    ) -> Result<Once, E> {
        let key = &*stored_key(key);
        let hash = Sha256::digest(body);
        // In place of an answer, the row of a running request has the id of this run.
        let run = self.next_id()?.to_string();
        match self.begin_request(scope, key, &hash, &run, now_ms).await? {
            Begun::First => {}
            Begun::Running => return Ok(Once::Running),
            Begun::Differs => return Ok(Once::Differs),
            Begun::Again { status, body } => return Ok(Once::Answer { status, body, again: true }),
        }
        match carry_out.await {
            Ok((status, body)) if status < 500 => {
                self.keep_answer(scope, key, status, &body).await?;
                Ok(Once::Answer { status, body, again: false })
            }
            Ok((status, body)) => {
                self.forget_request(scope, key, &run).await?;
                Ok(Once::Answer { status, body, again: false })
            }
            Err(error) => {
                // Where this fails, too, the key is free after a minute; the first error says more.
                if let Err(kept) = self.forget_request(scope, key, &run).await {
                    tracing::warn!(scope, error = %kept, "a request that failed keeps its Idempotency-Key for a minute");
                }
                Err(error)
            }
        }
    }

    async fn begin_request(
        &self,
        scope: &str,
        key: &str,
        body_hash: &[u8],
        run: &str,
        now_ms: u64,
    ) -> Result<Begun, StoreError> {
        let after_lost_commit = look_up(|mut tx: Tx, _: Begun| async move {
            let lock = "UPDATE idempotency SET status = status WHERE scope = ? AND request_key = ?";
            sqlx::query(lock).bind(scope).bind(key).execute(&mut *tx).await?;
            let row = sqlx::query("SELECT answer FROM idempotency WHERE scope = ? AND request_key = ?");
            let row = row.bind(scope).bind(key).fetch_optional(&mut *tx).await?;
            let answer = row.map(|row| row.try_get::<String, _>("answer")).transpose()?;
            Ok(Found::from(answer.as_deref() == Some(run)))
        });
        self.write(Write::BeginRequest, after_lost_commit, |tx| async {
            let mut tx = tx;
            // Old rows of other keys are the sweeper's.
            let sql = "DELETE FROM idempotency WHERE scope = ? AND request_key = ? \
                       AND (created_at_ms <= ? OR (status = 0 AND created_at_ms <= ?))";
            sqlx::query(sql)
                .bind(scope)
                .bind(key)
                .bind(big(now_ms.saturating_sub(KEPT_MS))?)
                .bind(big(now_ms.saturating_sub(RUNNING_MS))?)
                .execute(&mut *tx)
                .await?;
            let inserted = sqlx::query(
                "INSERT INTO idempotency (scope, request_key, body_hash, status, answer, created_at_ms) \
             VALUES (?, ?, ?, 0, ?, ?)",
            )
            .bind(scope)
            .bind(key)
            .bind(body_hash)
            .bind(run)
            .bind(big(now_ms)?)
            .execute(&mut *tx)
            .await;
            match inserted {
                Err(error) if is_taken(&error) => {}
                inserted => {
                    inserted?;
                    return Ok(Ending::Commit(tx, Begun::First));
                }
            }
            let row =
                sqlx::query("SELECT body_hash, status, answer FROM idempotency WHERE scope = ? AND request_key = ?")
                    .bind(scope)
                    .bind(key)
                    .fetch_one(&mut *tx)
                    .await?;
            let first_hash: Vec<u8> = row.try_get("body_hash")?;
            let status = count(&row, "status")?;
            let begun = match u16::try_from(status) {
                _ if first_hash != body_hash => Begun::Differs,
                Ok(0) | Err(_) => Begun::Running,
                Ok(status) => Begun::Again { status, body: row.try_get("answer")? },
            };
            Ok(Ending::RollBack(begun))
        })
        .await
    }

    async fn keep_answer(&self, scope: &str, key: &str, status: u16, answer: &str) -> Result<(), StoreError> {
        self.write(Write::KeepAnswer, Repeat("it sets values"), |tx| async {
            let mut tx = tx;
            sqlx::query("UPDATE idempotency SET status = ?, answer = ? WHERE scope = ? AND request_key = ?")
                .bind(i64::from(status))
                .bind(answer)
                .bind(scope)
                .bind(key)
                .execute(&mut *tx)
                .await?;
            Ok(Ending::Commit(tx, ()))
        })
        .await
    }

    async fn forget_request(&self, scope: &str, key: &str, run: &str) -> Result<(), StoreError> {
        let repeat = Repeat("the row has the id of this run, and a later request under the key has another one");
        self.write(Write::ForgetRequest, repeat, |tx| async {
            let mut tx = tx;
            sqlx::query("DELETE FROM idempotency WHERE scope = ? AND request_key = ? AND status = 0 AND answer = ?")
                .bind(scope)
                .bind(key)
                .bind(run)
                .execute(&mut *tx)
                .await?;
            Ok(Ending::Commit(tx, ()))
        })
        .await
    }
}
