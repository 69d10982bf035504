//! The audit log: every change by staff. [`Store::acting`] names the person, and `Store::write` adds the entry to the
//! transaction of the change, so that there is no change without its entry and no entry without its change.

use contract::UserId;
use serde_json::Value;
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    areas::Accounts,
    db::{Db, DbRow, Tx, big, count, id, is_taken},
    page::{Listed, Page},
    tx::{Ending, Repeat, Write},
};

/// The person in whose name a store writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The account.
    pub admin: UserId,
    /// Its name at that time.
    pub username: String,
    /// The address that the request came from.
    pub address: String,
    /// When it came, epoch milliseconds.
    pub at_ms: u64,
}

/// The row that a write changes, for the audit log.
#[derive(Debug)]
pub(crate) struct Change {
    subject: &'static str,
    subject_id: i64,
    before: Value,
    after: Value,
}

impl Change {
    /// `Null` where the row did not exist, or does not any more.
    pub(crate) const fn new(subject: &'static str, subject_id: i64, before: Value, after: Value) -> Self {
        Self { subject, subject_id, before, after }
    }

    /// The id of the row, if it is new.
    pub(crate) fn made(&self) -> Option<i64> {
        self.before.is_null().then_some(self.subject_id)
    }
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its id; later entries have higher ones.
    pub id: i64,
    /// The account.
    pub admin: UserId,
    /// Its name at that time.
    pub username: String,
    /// The address that the request came from.
    pub address: String,
    /// When it came, epoch milliseconds.
    pub at_ms: u64,
    /// The name of the write.
    pub action: String,
    /// The kind of row, such as `product`.
    pub subject: Option<String>,
    /// Its id.
    pub subject_id: Option<i64>,
    /// The row before the change, as JSON.
    pub before: Option<Value>,
    /// The row after the change, as JSON.
    pub after: Option<Value>,
}

/// Which entries; what is absent does not restrict.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Changes by this account.
    pub admin: Option<UserId>,
    /// Writes of this name.
    pub action: Option<String>,
    /// Changes of this kind of row.
    pub subject: Option<String>,
    /// Changes of the row with this id.
    pub subject_id: Option<i64>,
    /// Not before this, epoch milliseconds.
    pub since_ms: Option<u64>,
    /// Before this, epoch milliseconds.
    pub until_ms: Option<u64>,
}

impl Accounts<'_> {
    /// Adds an action to the audit log that writes nothing to the database itself, such as a command to a ledger.
    ///
    /// # Errors
    /// If the database fails.
    ///
    /// # Panics
    /// If the store acts for nobody.
    pub async fn note_action(
        self,
        (subject, subject_id): (&'static str, i64),
        before: Value,
        after: Value,
    ) -> Result<(), StoreError> {
        assert!(self.store.actor.is_some(), "an action of nobody");
        let (before, after) = (&before, &after);
        self.store
            .write(Write::NoteAction, Repeat("an entry that exists is left alone"), |tx| async {
                let mut tx = tx;
                tx.note(Change::new(subject, subject_id, before.clone(), after.clone()));
                Ok(Ending::Commit(tx, ()))
            })
            .await
    }

    /// Entries of the audit log, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit_log(self, which: &AuditQuery, page: Page) -> Result<Listed<AuditEntry>, StoreError> {
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM audit_log WHERE id < ");
        query.push_bind(page.before);
        if let Some(admin) = which.admin {
            query.push(" AND admin_id = ").push_bind(admin.as_i64());
        }
        if let Some(action) = &which.action {
            query.push(" AND action = ").push_bind(action.clone());
        }
        if let Some(subject) = &which.subject {
            query.push(" AND subject = ").push_bind(subject.clone());
        }
        if let Some(subject_id) = which.subject_id {
            query.push(" AND subject_id = ").push_bind(subject_id);
        }
        if let Some(since_ms) = which.since_ms {
            query.push(" AND at_ms >= ").push_bind(big(since_ms)?);
        }
        if let Some(until_ms) = which.until_ms {
            query.push(" AND at_ms < ").push_bind(big(until_ms)?);
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.rows());
        let rows = query.build().fetch_all(self.store.readers()).await?;
        let items = rows.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(page.cut(items, |entry: &AuditEntry| entry.id))
    }
}

/// Adds the entry `number` to the transaction. A repeated transaction may find that the first one was committed with
/// the entry; the entry is left alone then.
pub(crate) async fn write_entry(
    tx: &mut Tx,
    number: i64,
    actor: &Actor,
    (write, change): (Write, Option<Change>),
) -> Result<(), StoreError> {
    let json = |value: Value| (!value.is_null()).then(|| value.to_string());
    let (subject, subject_id, before, after) = match change {
        Some(Change { subject, subject_id, before, after }) => {
            (Some(subject), Some(subject_id), json(before), json(after))
        }
        None => (None, None, None, None),
    };
    let inserted = sqlx::query(
        "INSERT INTO audit_log (id, at_ms, admin_id, username, address, action, subject, subject_id, state_before, \
         state_after) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(number)
    .bind(big(actor.at_ms)?)
    .bind(actor.admin.as_i64())
    .bind(&actor.username)
    .bind(&actor.address)
    .bind(write.name())
    .bind(subject)
    .bind(subject_id)
    .bind(before)
    .bind(after)
    .execute(&mut **tx)
    .await;
    match inserted {
        Err(error) if is_taken(&error) => Ok(()),
        inserted => Ok(inserted.map(drop)?),
    }
}

fn entry(row: &DbRow) -> Result<AuditEntry, StoreError> {
    let json = |column: &str| {
        let text: Option<&str> = row.try_get(column)?;
        text.map(crate::catalogue::products::from_json).transpose()
    };
    Ok(AuditEntry {
        id: row.try_get("id")?,
        admin: id(row, "admin_id", UserId::from_i64)?,
        username: row.try_get("username")?,
        address: row.try_get("address")?,
        at_ms: count(row, "at_ms")?,
        action: row.try_get("action")?,
        subject: row.try_get("subject")?,
        subject_id: row.try_get("subject_id")?,
        before: json("state_before")?,
        after: json("state_after")?,
    })
}
