//! What staff have decided about dead letters, and whose audit is public.

use contract::ActivityId;
use serde_json::{Value, json};
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    accounts::audit_log::Change,
    areas::Sales,
    db::{Db, DbRow, Tx, big, count, lock_row, push_in},
    tx::{Ending, Repeat, Write},
};
use domain::Outgoing;

/// Characters of the reason for which a dead letter is dropped.
pub const LETTER_REASON_CHARS_MAX: usize = 200;

/// `decided_letters.decision`: the record was sent to its topic once more.
pub const REPLAYED: &str = "replayed";
/// `decided_letters.decision`: the record is given up.
const DROPPED: &str = "dropped";

/// A decision about a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedLetter {
    /// The letter's offset in its topic.
    pub letter: i64,
    /// `replayed` or `dropped`.
    pub decision: String,
    /// Why it was dropped.
    pub reason: String,
    /// When, epoch milliseconds.
    pub decided_at_ms: u64,
}

impl Sales<'_> {
    /// Sends the record of a dead letter to its topic once more, unless that was done before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn replay_letter(self, letter: i64, record: Outgoing, now_ms: u64) -> Result<(), StoreError> {
        let record = &record;
        self.store
            .write(Write::ReplayLetter, Repeat("a letter that was replayed is left alone"), |tx| async {
                let mut tx = tx;
                let before = locked_decision(&mut tx, letter).await?;
                if before.as_ref().is_some_and(|before| before.decision == REPLAYED) {
                    return Ok(Ending::RollBack(()));
                }
                decide(&mut tx, letter, (REPLAYED, ""), (before, now_ms)).await?;
                tx.send([record.clone()]);
                Ok(Ending::Commit(tx, ()))
            })
            .await
    }

    /// Keeps that a dead letter is given up for `reason`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn drop_letter(self, letter: i64, reason: &str, now_ms: u64) -> Result<(), StoreError> {
        self.store
            .write(Write::DropLetter, Repeat("it sets values"), |tx| async {
                let mut tx = tx;
                let before = locked_decision(&mut tx, letter).await?;
                if before.as_ref().is_some_and(|before| before.decision == REPLAYED) {
                    return Ok(Ending::RollBack(()));
                }
                decide(&mut tx, letter, (DROPPED, reason), (before, now_ms)).await?;
                Ok(Ending::Commit(tx, ()))
            })
            .await
    }

    /// The decisions about those of `letters` that were decided.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn decided_letters(self, letters: &[i64]) -> Result<Vec<DecidedLetter>, StoreError> {
        if letters.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM decided_letters WHERE id");
        push_in(&mut query, letters.iter().copied());
        query.build().fetch_all(self.store.readers()).await?.iter().map(decided).collect()
    }

    /// Lets anybody watch the audit of a sale, or no longer; `false` where there is no such sale.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn publish_audit(self, activity: ActivityId, is_public: bool) -> Result<bool, StoreError> {
        let number = activity.as_i64();
        self.store
            .write(Write::PublishAudit, Repeat("it sets a value"), |tx| async {
                let mut tx = tx;
                if super::activities::locked(&mut tx, activity).await?.is_none() {
                    return Ok(Ending::RollBack(false));
                }
                let row = sqlx::query("SELECT 1 FROM public_audits WHERE activity_id = ?").bind(number);
                let before = row.fetch_optional(&mut *tx).await?.is_some();
                let sql = match (before, is_public) {
                    (false, true) => "INSERT INTO public_audits (activity_id) VALUES (?)",
                    (true, false) => "DELETE FROM public_audits WHERE activity_id = ?",
                    (true, true) | (false, false) => return Ok(Ending::RollBack(true)),
                };
                sqlx::query(sql).bind(number).execute(&mut *tx).await?;
                let state = |is_public: bool| json!({ "public_audit": is_public });
                tx.note(Change::new("activity", number, state(before), state(is_public)));
                Ok(Ending::Commit(tx, true))
            })
            .await
    }

    /// Whether anybody may watch the audit of a sale.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn is_audit_public(self, activity: ActivityId) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT 1 FROM public_audits WHERE activity_id = ?").bind(activity.as_i64());
        Ok(row.fetch_optional(self.store.readers()).await?.is_some())
    }
}

/// The decision about a letter. It waits for a transaction that is about to commit one.
async fn locked_decision(tx: &mut Tx, letter: i64) -> Result<Option<DecidedLetter>, StoreError> {
    lock_row(tx, "UPDATE decided_letters SET reason = reason WHERE id = ?", letter).await?;
    let row = sqlx::query("SELECT * FROM decided_letters WHERE id = ?").bind(letter);
    row.fetch_optional(&mut **tx).await?.as_ref().map(decided).transpose()
}

async fn decide(
    tx: &mut Tx,
    letter: i64,
    (decision, reason): (&'static str, &str),
    (before, now_ms): (Option<DecidedLetter>, u64),
) -> Result<(), StoreError> {
    let sql = match &before {
        Some(_) => "UPDATE decided_letters SET decision = ?, reason = ?, decided_at_ms = ? WHERE id = ?",
        None => "INSERT INTO decided_letters (decision, reason, decided_at_ms, id) VALUES (?, ?, ?, ?)",
    };
    sqlx::query(sql).bind(decision).bind(reason).bind(big(now_ms)?).bind(letter).execute(&mut **tx).await?;
    let state = |decision: &str, reason: &str| json!({ "decision": decision, "reason": reason });
    let before = before.map_or(Value::Null, |before| state(&before.decision, &before.reason));
    tx.note(Change::new("dead_letter", letter, before, state(decision, reason)));
    Ok(())
}

fn decided(row: &DbRow) -> Result<DecidedLetter, StoreError> {
    Ok(DecidedLetter {
        letter: row.try_get("id")?,
        decision: row.try_get("decision")?,
        reason: row.try_get("reason")?,
        decided_at_ms: count(row, "decided_at_ms")?,
    })
}
