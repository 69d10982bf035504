//! First answers under an Idempotency-Key.
//!
//! A process may end after it has made something and before it has kept the answer. So the transaction that makes it also
//! writes its id into the key's row, and the next request under the key is answered with what was made.

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

/// The right to carry out the request under a key, until it is answered or has run for a minute.
#[derive(Debug, Clone)]
pub struct RequestClaim {
    scope: String,
    key: String,
    /// In place of an answer, the row of a running request has the id of this run.
    run: String,
}

#[derive(Debug, Clone)]
enum Begun {
    First,
    Running,
    Differs,
    /// The row with this id is made, and nobody was answered yet.
    Made(i64),
    Again {
        status: u16,
        body: String,
    },
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

impl RequestClaim {
    /// Writes into the key's row that this request has made the row `made`.
    pub(crate) async fn note_made(&self, tx: &mut Tx, made: i64) -> Result<(), StoreError> {
        let sql = "UPDATE idempotency SET made_id = COALESCE(made_id, ?) \
                   WHERE scope = ? AND request_key = ? AND status = 0 AND answer = ?";
        let noted = sqlx::query(sql).bind(made).bind(&self.scope).bind(&self.key).bind(&self.run);
        if noted.execute(&mut **tx).await?.rows_affected() == 0 {
            let reason = "this request ran for so long that another one with its Idempotency-Key has begun";
            return Err(StoreError::Unavailable(reason.to_owned()));
        }
        Ok(())
    }
}

impl Store {
    /// This store, in which the first row that a write makes belongs to the request with `claim`.
    #[must_use]
    pub fn making(&self, claim: RequestClaim) -> Self {
        let mut store = self.clone();
        store.claim = Some(claim.into());
        store
    }

    /// Carries a request out unless `key`, unique within `scope`, has been answered before. Answers from
    /// 500 on are not kept: the next request under the key is a first one.
    ///
    /// `carry_out` makes something in [`Store::making`] with the claim that it gets. Where the process ended before the
    /// answer was kept, `read` makes the answer from the id of what was made, however often that happens. Where work has an id of
    /// its own under the key, and changes nothing the second time, `carry_out` needs no claim and runs again.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn once<E: From<StoreError>, C, R>(
        &self,
        (scope, key): (&str, &str),
        body: &[u8],
        now_ms: u64,
        carry_out: impl FnOnce(RequestClaim) -> C,
        read: impl FnOnce(i64) -> R,
    ) -> Result<Once, E>
    where
        C: Future<Output = Result<(u16, String), E>>,
        R: Future<Output = Result<(u16, String), E>>,
    {
        let run = self.next_id()?.to_string();
        let claim = RequestClaim { scope: scope.to_owned(), key: stored_key(key).into_owned(), run };
        let (carried_out, again) = match self.begin_request(&claim, &Sha256::digest(body), now_ms).await? {
            Begun::First => (carry_out(claim.clone()).await, false),
            Begun::Made(id) => (read(id).await, true),
            Begun::Running => return Ok(Once::Running),
            Begun::Differs => return Ok(Once::Differs),
            Begun::Again { status, body } => return Ok(Once::Answer { status, body, again: true }),
        };
        match carried_out {
            Ok((status, body)) if status < 500 => {
                let (status, body) = self.keep_answer(&claim, status, body).await?;
                Ok(Once::Answer { status, body, again })
            }
            Ok((status, body)) => {
                self.forget_request(&claim).await?;
                Ok(Once::Answer { status, body, again })
            }
            Err(error) => {
                // Where this fails, too, the key is free after a minute; the first error says more.
                if let Err(kept) = self.forget_request(&claim).await {
                    tracing::warn!(scope, error = %kept, "a request that failed keeps its Idempotency-Key for a minute");
                }
                Err(error)
            }
        }
    }

    async fn begin_request(&self, claim: &RequestClaim, body_hash: &[u8], now_ms: u64) -> Result<Begun, StoreError> {
        let RequestClaim { scope, key, run } = claim;
        let after_lost_commit = look_up(|mut tx: Tx, _: Begun| async move {
            let lock = "UPDATE idempotency SET status = status WHERE scope = ? AND request_key = ?";
            sqlx::query(lock).bind(scope).bind(key).execute(&mut *tx).await?;
            let row = sqlx::query("SELECT answer FROM idempotency WHERE scope = ? AND request_key = ?");
            let row = row.bind(scope).bind(key).fetch_optional(&mut *tx).await?;
            let answer = row.map(|row| row.try_get::<String, _>("answer")).transpose()?;
            Ok(Found::from(answer.as_ref() == Some(run)))
        });
        self.write(Write::BeginRequest, after_lost_commit, |tx| async {
            let mut tx = tx;
            // Old rows of other keys are the sweeper's.
            let sql = "DELETE FROM idempotency WHERE scope = ? AND request_key = ? \
                       AND (created_at_ms <= ? OR (status = 0 AND made_id IS NULL AND created_at_ms <= ?))";
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
            let sql = "SELECT body_hash, status, answer, made_id FROM idempotency WHERE scope = ? AND request_key = ?";
            let row = sqlx::query(sql).bind(scope).bind(key).fetch_one(&mut *tx).await?;
            let first_hash: Vec<u8> = row.try_get("body_hash")?;
            let status = count(&row, "status")?;
            let begun = match u16::try_from(status) {
                _ if first_hash != body_hash => Begun::Differs,
                Ok(0) | Err(_) => row.try_get::<Option<i64>, _>("made_id")?.map_or(Begun::Running, Begun::Made),
                Ok(status) => Begun::Again { status, body: row.try_get("answer")? },
            };
            Ok(Ending::RollBack(begun))
        })
        .await
    }

    /// Keeps the answer of a request; where another one under the key has kept one first, that one counts.
    async fn keep_answer(
        &self,
        claim: &RequestClaim,
        status: u16,
        answer: String,
    ) -> Result<(u16, String), StoreError> {
        let (RequestClaim { scope, key, run: _ }, answer) = (claim, &answer);
        self.write(Write::KeepAnswer, Repeat("an answer that was kept stays"), |tx| async {
            let mut tx = tx;
            let sql =
                "UPDATE idempotency SET status = ?, answer = ? WHERE scope = ? AND request_key = ? AND status = 0";
            let kept = sqlx::query(sql).bind(i64::from(status)).bind(answer).bind(scope).bind(key);
            if kept.execute(&mut *tx).await?.rows_affected() > 0 {
                return Ok(Ending::Commit(tx, (status, answer.clone())));
            }
            let sql = "SELECT status, answer FROM idempotency WHERE scope = ? AND request_key = ?";
            let row = sqlx::query(sql).bind(scope).bind(key).fetch_optional(&mut *tx).await?;
            let first =
                row.map(|row| Ok::<_, StoreError>((count(&row, "status")?, row.try_get("answer")?))).transpose()?;
            let first = first.and_then(|(status, answer)| Some((u16::try_from(status).ok()?, answer)));
            // A row that is gone was kept for as long as an answer is.
            Ok(Ending::RollBack(first.unwrap_or_else(|| (status, answer.clone()))))
        })
        .await
    }

    async fn forget_request(&self, claim: &RequestClaim) -> Result<(), StoreError> {
        let RequestClaim { scope, key, run } = claim;
        let repeat = Repeat("the row has the id of this run, and a later request under the key has another one");
        self.write(Write::ForgetRequest, repeat, |tx| async {
            let mut tx = tx;
            // What was made is answered by the next request.
            let sql = "DELETE FROM idempotency \
                       WHERE scope = ? AND request_key = ? AND status = 0 AND answer = ? AND made_id IS NULL";
            sqlx::query(sql).bind(scope).bind(key).bind(run).execute(&mut *tx).await?;
            Ok(Ending::Commit(tx, ()))
        })
        .await
    }
}
