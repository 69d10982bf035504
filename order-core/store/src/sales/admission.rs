//! What an admin does to a sale while it runs: pause, end, restock, and say who may take part.

use contract::{
    Activity, ActivityId, OperationId, UserId,
    activity::{Entry, EntryRule},
    record::Action,
};
use foundation::{Clock as _, SystemClock};
use serde_json::{Value, json};
use sqlx::Row;

use crate::{
    Sale, StoreError,
    accounts::audit_log::Change,
    areas::Sales,
    db::{DbRow, Tx, big, count, id},
    page::{Listed, Page},
    sales::activities::{move_stock, rewrite_sale, shown},
    sales::take_in::RESTOCK,
    sales::{activities::locked, opening::give_back_unopened},
    tx::{Ending, Repeat, Write},
};
use domain::Outgoing;

/// Users named in one call at most.
pub const ENTRY_RULES_MAX: usize = 1_000;

/// `inbox.source` of restocks whose units have left their SKU.
pub(crate) const RESTOCK_ASKED: &str = "restock-asked";

/// What became of a change of a sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steered {
    /// The sale as it is now; it may have been so already.
    Done(Sale),
    /// There is no such sale.
    Unknown,
    /// It is over.
    Over,
}

/// What became of units for a sale that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restocked {
    /// They have left the SKU and are on their way to the ledger; they may have been so already.
    Sent,
    /// There is no such sale.
    Unknown,
    /// It is over.
    Over,
    /// The SKU has only so much.
    InsufficientStock(u64),
}

impl Sales<'_> {
    /// Stops a sale from letting anybody in, or lets it go on.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn pause_sale(self, activity: ActivityId, paused: bool, now_ms: u64) -> Result<Steered, StoreError> {
        self.store
            .write(Write::PauseSale, Repeat("a sale that is paused or goes on already keeps its version"), |tx| async {
                let mut tx = tx;
                let Some(mut sale) = locked(&mut tx, activity).await? else {
                    return Ok(Ending::RollBack(Steered::Unknown));
                };
                let Activity { version, rules, admission, .. } = &mut sale.activity;
                if rules.ends_at_ms <= now_ms {
                    return Ok(Ending::RollBack(Steered::Over));
                }
                if admission.paused == paused {
                    return Ok(Ending::RollBack(Steered::Done(sale)));
                }
                admission.paused = paused;
                *version += 1;
                rewrite_sale(&mut tx, &sale).await?;
                let state = |paused: bool| json!({ "paused": paused });
                tx.note(Change::new("activity", activity.as_i64(), state(!paused), state(paused)));
                Ok(Ending::Commit(tx, Steered::Done(sale)))
            })
            .await
    }

    /// Ends a sale now. Its units go back to the SKU where its ledger was never to be opened; otherwise the
    /// ledger is sent the end, and its units come back by the journal.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_sale(self, activity: ActivityId, now_ms: u64) -> Result<Steered, StoreError> {
        self.store
            .write(Write::EndSale, Repeat("a sale that has ended is left alone"), |tx| async {
                let mut tx = tx;
                let Some(mut sale) = locked(&mut tx, activity).await? else {
                    return Ok(Ending::RollBack(Steered::Unknown));
                };
                let before = shown(&sale);
                let Activity { version, rules, .. } = &mut sale.activity;
                if rules.ends_at_ms <= now_ms {
                    return Ok(Ending::RollBack(Steered::Done(sale)));
                }
                *version += 1;
                *rules = rules.ended_at(now_ms);
                if sale.opening {
                    tx.send([Outgoing::command(activity, Action::End { ends_at_ms: now_ms })]);
                } else {
                    give_back_unopened(&mut tx, &mut sale).await?;
                }
                rewrite_sale(&mut tx, &sale).await?;
                tx.note(Change::new("activity", activity.as_i64(), before, shown(&sale)));
                Ok(Ending::Commit(tx, Steered::Done(sale)))
            })
            .await
    }

    /// An operation that nobody has asked for.
    ///
    /// # Errors
    /// If no id can be made now.
    pub fn new_operation(self) -> Result<OperationId, StoreError> {
        let id = self.store.next_id()?;
        OperationId::from_i64(id).ok_or_else(|| StoreError::Ids(id.to_string()))
    }

    /// Takes `units` from the SKU for a sale whose ledger is open and sends them there. An `operation` that
    /// was asked for before changes nothing.
    ///
    /// # Errors
    /// If the database fails, or the units do not fit.
    pub async fn restock_sale(
        self,
        activity: ActivityId,
        operation: OperationId,
        units: u64,
        now_ms: u64,
    ) -> Result<Restocked, StoreError> {
        let delta = big(units)?;
        self.store
            .write(
                Write::RestockSale,
                Repeat("the operation's row in the inbox says that it was asked for"),
                |tx| async {
                    let mut tx = tx;
                    let Some(sale) = locked(&mut tx, activity).await? else {
                        return Ok(Ending::RollBack(Restocked::Unknown));
                    };
                    if self.is_in_inbox(&mut tx, RESTOCK_ASKED, activity, operation).await? {
                        return Ok(Ending::RollBack(Restocked::Sent));
                    }
                    if sale.activity.rules.ends_at_ms <= now_ms {
                        return Ok(Ending::RollBack(Restocked::Over));
                    }
                    if !move_stock(&mut tx, sale.activity.sku, units, 0).await? {
                        let row = sqlx::query("SELECT stock FROM skus WHERE id = ?").bind(sale.activity.sku.as_i64());
                        return Ok(Ending::RollBack(Restocked::InsufficientStock(count(
                            &row.fetch_one(&mut *tx).await?,
                            "stock",
                        )?)));
                    }
                    sqlx::query("UPDATE activities SET stock = stock + ? WHERE id = ?")
                        .bind(delta)
                        .bind(activity.as_i64())
                        .execute(&mut *tx)
                        .await?;
                    sqlx::query(
                        "INSERT INTO inbox (source, subject_id, message_id, at_ms, delta) VALUES (?, ?, ?, ?, ?)",
                    )
                    .bind(RESTOCK_ASKED)
                    .bind(activity.as_i64())
                    .bind(operation.as_i64())
                    .bind(big(now_ms)?)
                    .bind(delta)
                    .execute(&mut *tx)
                    .await?;
                    tx.send([Outgoing::command(activity, Action::Restock { operation, delta })]);
                    let state = |stock: u64| json!({ "stock": stock });
                    let change =
                        Change::new("activity", activity.as_i64(), state(sale.stock), state(sale.stock + units));
                    tx.note(change);
                    Ok(Ending::Commit(tx, Restocked::Sent))
                },
            )
            .await
    }

    /// Whether the journal has recorded a restock.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn is_restocked(self, activity: ActivityId, operation: OperationId) -> Result<bool, StoreError> {
        let mut tx = self.store.begin_read().await?;
        self.is_in_inbox(&mut tx, RESTOCK, activity, operation).await
    }

    async fn is_in_inbox(
        self,
        tx: &mut Tx,
        source: &str,
        activity: ActivityId,
        operation: OperationId,
    ) -> Result<bool, StoreError> {
        let found = sqlx::query("SELECT 1 FROM inbox WHERE source = ? AND subject_id = ? AND message_id = ?")
            .bind(source)
            .bind(activity.as_i64())
            .bind(operation.as_i64());
        Ok(found.fetch_optional(&mut **tx).await?.is_some())
    }

    /// Sales that ended before `before_ms` and have units left under their ledger, as far as the journal was
    /// taken in.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sales_to_clear(self, before_ms: u64) -> Result<Vec<ActivityId>, StoreError> {
        let rows = sqlx::query(
            "SELECT a.id FROM activities a JOIN ledgers l ON l.activity_id = a.id \
             WHERE a.ends_at_ms < ? AND l.stock_left > 0 ORDER BY a.id",
        )
        .bind(big(before_ms)?)
        .fetch_all(self.store.readers())
        .await?;
        rows.iter().map(|row| id(row, "id", ActivityId::from_i64)).collect()
    }

    /// Says of `users`, at most [`ENTRY_RULES_MAX`], whether they may take part. `false`: there is no such sale.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn say_entry(self, activity: ActivityId, users: &[UserId], entry: Entry) -> Result<bool, StoreError> {
        assert!(users.len() <= ENTRY_RULES_MAX, "{} users at once", users.len());
        self.store
            .write(Write::SayEntry, Repeat("a rule that says so already keeps its version"), |tx| async {
                let mut tx = tx;
                if locked(&mut tx, activity).await?.is_none() {
                    return Ok(Ending::RollBack(false));
                }
                let said = json!({ "entry": entry_word(entry), "user_ids": users });
                tx.note(Change::new("activity", activity.as_i64(), Value::Null, said));
                for user in users {
                    if let Some(rule) = say_of_one(&mut tx, activity, *user, entry).await? {
                        tx.send([Outgoing::entry_rule(&rule)]);
                    }
                }
                Ok(Ending::Commit(tx, true))
            })
            .await
    }

    /// The users of whom `entry` was said, the newest ids first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn entry_list(
        self,
        activity: ActivityId,
        entry: Entry,
        page: Page,
    ) -> Result<Listed<UserId>, StoreError> {
        let rows = sqlx::query(
            "SELECT user_id FROM entry_rules WHERE activity_id = ? AND entry = ? AND user_id < ? \
             ORDER BY user_id DESC LIMIT ?",
        )
        .bind(activity.as_i64())
        .bind(entry_word(entry))
        .bind(page.before)
        .bind(page.rows())
        .fetch_all(self.store.readers())
        .await?;
        let users = rows.iter().map(|row| id(row, "user_id", UserId::from_i64)).collect::<Result<_, _>>()?;
        Ok(page.cut(users, |user| user.as_i64()))
    }
}

/// The rule after it; `None` where it says so already. The caller has the lock of the activity.
async fn say_of_one(
    tx: &mut Tx,
    activity: ActivityId,
    user: UserId,
    entry: Entry,
) -> Result<Option<EntryRule>, StoreError> {
    let known = sqlx::query("SELECT version, entry FROM entry_rules WHERE activity_id = ? AND user_id = ?")
        .bind(activity.as_i64())
        .bind(user.as_i64())
        .fetch_optional(&mut **tx)
        .await?;
    let (version, before) = match &known {
        Some(row) => (count(row, "version")?, entry_of(row)?),
        None => (0, Entry::Unlisted),
    };
    if before == entry {
        return Ok(None);
    }
    let sql = if known.is_some() {
        "UPDATE entry_rules SET version = ?, entry = ?, changed_at_ms = ? WHERE activity_id = ? AND user_id = ?"
    } else {
        "INSERT INTO entry_rules (version, entry, changed_at_ms, activity_id, user_id) VALUES (?, ?, ?, ?, ?)"
    };
    let rule = EntryRule { activity, user, version: version + 1, entry };
    sqlx::query(sql)
        .bind(big(rule.version)?)
        .bind(entry_word(entry))
        .bind(big(SystemClock.now_ms())?)
        .bind(activity.as_i64())
        .bind(user.as_i64())
        .execute(&mut **tx)
        .await?;
    Ok(Some(rule))
}

const fn entry_word(entry: Entry) -> &'static str {
    match entry {
        Entry::Unlisted => "unlisted",
        Entry::Allowed => "allowed",
        Entry::Blocked => "blocked",
    }
}

pub(crate) fn entry_of(row: &DbRow) -> Result<Entry, StoreError> {
    let word: &str = row.try_get("entry")?;
    [Entry::Unlisted, Entry::Allowed, Entry::Blocked]
        .into_iter()
        .find(|entry| entry_word(*entry) == word)
        .ok_or_else(|| StoreError::contradiction(format!("an entry rule says {word:?}")))
}
