//! Journal entries of sales that the database can't take in at present, kept until it can.

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    ActivityId,
    record::{Entries, Record as _},
    stock::{Entry, Position},
};
use serde_json::{Value, json};
use sqlx::{QueryBuilder, Row as _, any::AnyArguments, query::Query};

use crate::{
    StoreError,
    accounts::audit_log::Change,
    areas::Sales,
    db::{Db, DbRow, INSERT_ROWS_MAX, Tx, big, count, id, lock_row, push_in},
    page::{Listed, Page},
    sales::take_in::{known, write_plan},
    tx::{Ending, Repeat, Write},
};
use domain::{
    Line, PARKED_LISTED_MAX, Parked, Retried, TAKE_IN_MAX,
    parked::{next_in_line, shortened},
    plan::Plan,
};

/// Characters of the reason for which a parked sale is dropped.
pub const PARKED_REASON_CHARS_MAX: usize = 200;
/// Makes a parked sale's row this transaction's own.
const LOCK: &str = "UPDATE parked_activities SET tries = tries WHERE activity_id = ?";

/// Everything that waits, by sale and in the order of the journal.
pub(crate) async fn all_parked(tx: &mut Tx) -> Result<BTreeMap<ActivityId, Vec<Entry>>, StoreError> {
    let rows = sqlx::query("SELECT id, journal_offset, entry FROM parked_entries ORDER BY activity_id, place, seq, id");
    let mut parked: BTreeMap<ActivityId, Vec<Entry>> = BTreeMap::new();
    for row in rows.fetch_all(&mut **tx).await? {
        let (_, Line { entry, .. }) = read(&row)?;
        parked.entry(entry.activity).or_default().push(entry);
    }
    Ok(parked)
}

/// An entry from outside may have any number, and is kept all the same.
fn bounded(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What is kept of a line.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    offset: i64,
    rank: i64,
    entry: Vec<u8>,
}

impl Waiting {
    fn new(line: &Line) -> Self {
        let record = Entries::group(std::slice::from_ref(&line.entry)).next();
        let entry = record.map(|record| record.to_bytes()).unwrap_or_default();
        Self { offset: bounded(line.offset), rank: bounded(line.rank()), entry }
    }

    /// A start of a term has the least rank.
    const fn starts_term(&self) -> bool {
        self.rank == 0
    }
}

fn read(row: &DbRow) -> Result<(i64, Line), StoreError> {
    let bytes: Vec<u8> = row.try_get("entry")?;
    let entries = Entries::decode(&bytes).map_err(|error| StoreError::contradiction(error.to_string()))?.into_vec();
    let [entry] = entries[..] else { return Err(StoreError::contradiction("not one entry is parked in a row")) };
    Ok((row.try_get("id")?, Line { offset: count(row, "journal_offset")?, entry }))
}

/// Which of the sales that `lines` are of are parked.
pub(crate) async fn parked_among(tx: &mut Tx, lines: &[Line]) -> Result<BTreeSet<ActivityId>, StoreError> {
    let activities: BTreeSet<ActivityId> = lines.iter().map(|line| line.entry.activity).collect();
    let mut query = QueryBuilder::<Db>::new("SELECT activity_id FROM parked_activities WHERE activity_id");
    push_in(&mut query, activities.iter().map(|activity| activity.as_i64()));
    let rows = query.build().fetch_all(&mut **tx).await?;
    rows.iter().map(|row| id(row, "activity_id", ActivityId::from_i64)).collect()
}

impl Sales<'_> {
    /// Keeps lines of parked sales that the database does not have yet; how many those were.
    pub(crate) async fn set_aside(self, tx: &mut Tx, lines: &[Line]) -> Result<usize, StoreError> {
        let mut by_activity: BTreeMap<ActivityId, Vec<&Line>> = BTreeMap::new();
        for line in lines {
            by_activity.entry(line.entry.activity).or_default().push(line);
        }
        let mut kept = 0;
        for (activity, lines) in by_activity {
            if !lock_row(tx, LOCK, activity.as_i64()).await? {
                return Err(StoreError::Unavailable(format!("sale {activity} is not parked any more")));
            }
            let known = known_of(tx, activity, &lines).await?;
            let new: Vec<Waiting> = lines
                .into_iter()
                .filter(|line| known.position.matters(&line.entry))
                .map(Waiting::new)
                .filter(|row| !known.waiting.contains(row))
                .collect();
            kept += new.len();
            self.insert_parked(tx, activity, new).await?;
        }
        Ok(kept)
    }

    async fn insert_parked(self, tx: &mut Tx, activity: ActivityId, lines: Vec<Waiting>) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        let known = sqlx::query("SELECT journal_offset FROM parked_entries WHERE activity_id = ? AND seq = 0")
            .bind(activity.as_i64())
            .fetch_all(&mut **tx)
            .await?;
        let mut starts = known.iter().map(|row| row.try_get("journal_offset")).collect::<Result<BTreeSet<i64>, _>>()?;
        for start in lines.iter().filter(|line| line.starts_term()).map(|line| line.offset) {
            starts.insert(start);
            // Lines that came before it and are behind it on the journal.
            sqlx::query(
                "UPDATE parked_entries SET place = ? WHERE activity_id = ? AND journal_offset > ? AND place < ?",
            )
            .bind(start)
            .bind(activity.as_i64())
            .bind(start)
            .bind(start)
            .execute(&mut **tx)
            .await?;
        }
        let mut rows = Vec::with_capacity(lines.len());
        for line in lines {
            let place = starts.range(..=line.offset).next_back().copied().unwrap_or(0);
            rows.push((self.store.next_id()?, place, line));
        }
        for rows in rows.chunks(INSERT_ROWS_MAX) {
            let mut insert = QueryBuilder::<Db>::new(
                "INSERT INTO parked_entries (id, activity_id, place, seq, journal_offset, entry) ",
            );
            insert.push_values(rows, |mut values, (id, place, line)| {
                values.push_bind(*id).push_bind(activity.as_i64()).push_bind(*place);
                values.push_bind(line.rank).push_bind(line.offset).push_bind(&line.entry[..]);
            });
            insert.build().execute(&mut **tx).await?;
        }
        Ok(())
    }

    pub(crate) async fn park_entries(
        self,
        mut tx: Tx,
        activity: ActivityId,
        reason: &str,
        lines: &[Line],
        (now_ms, next_try_ms): (u64, u64),
    ) -> Result<Ending<()>, StoreError> {
        if !lock_row(&mut tx, LOCK, activity.as_i64()).await? {
            sqlx::query(
                "INSERT INTO parked_activities (activity_id, reason, since_ms, tries, next_try_ms) \
                 VALUES (?, ?, ?, 0, ?)",
            )
            .bind(activity.as_i64())
            .bind(shortened(reason))
            .bind(big(now_ms)?)
            .bind(big(next_try_ms)?)
            .execute(&mut *tx)
            .await?;
        }
        self.set_aside(&mut tx, lines).await?;
        Ok(Ending::Commit(tx, ()))
    }

    pub(crate) async fn retry_entries(
        self,
        mut tx: Tx,
        activity: ActivityId,
        limit: usize,
        now_ms: u64,
    ) -> Result<Ending<Retried>, StoreError> {
        assert!((1..=TAKE_IN_MAX).contains(&limit), "{limit} entries at once");
        if !lock_row(&mut tx, LOCK, activity.as_i64()).await? {
            return Ok(Ending::RollBack(Retried::NotParked));
        }
        let rows = sqlx::query(
            "SELECT id, journal_offset, entry FROM parked_entries WHERE activity_id = ? ORDER BY place, seq, id LIMIT ?",
        )
        .bind(activity.as_i64())
        .bind(i64::try_from(limit + 1).unwrap_or(i64::MAX))
        .fetch_all(&mut *tx)
        .await?;
        let more = rows.len() > limit;
        let (ids, lines): (Vec<i64>, Vec<Line>) =
            rows.iter().take(limit).map(read).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let mut taken = 0;
        if !lines.is_empty() {
            let known = known(&mut tx, &Line::entries(&lines)).await?;
            taken = next_in_line(activity, known.position(activity), &lines)?;
            let next = Line::entries(&lines[..taken]);
            let plan = Plan::new(&known, &next, self.store.settings.pay_within_ms, now_ms)?;
            write_plan(&mut tx, plan, now_ms).await?;
            let mut delete = QueryBuilder::<Db>::new("DELETE FROM parked_entries WHERE id");
            push_in(&mut delete, ids[..taken].iter().copied());
            delete.build().execute(&mut *tx).await?;
        }
        let done = taken == lines.len() && !more;
        if done {
            let delete = sqlx::query("DELETE FROM parked_activities WHERE activity_id = ?").bind(activity.as_i64());
            delete.execute(&mut *tx).await?;
        }
        Ok(Ending::Commit(tx, if done { Retried::Done } else { Retried::More }))
    }

    pub(crate) async fn note_try(
        self,
        mut tx: Tx,
        activity: ActivityId,
        reason: &str,
        next_try_ms: u64,
    ) -> Result<Ending<()>, StoreError> {
        sqlx::query(
            "UPDATE parked_activities SET reason = ?, tries = tries + 1, next_try_ms = ? \
             WHERE activity_id = ? AND next_try_ms <> ?",
        )
        .bind(shortened(reason))
        .bind(big(next_try_ms)?)
        .bind(activity.as_i64())
        .bind(big(next_try_ms)?)
        .execute(&mut *tx)
        .await?;
        Ok(Ending::Commit(tx, ()))
    }

    pub(crate) async fn list_parked(self) -> Result<Vec<Parked>, StoreError> {
        let mut query = QueryBuilder::<Db>::new(SELECT);
        query.push(" ORDER BY since_ms, activity_id LIMIT ");
        query.push_bind(i64::try_from(PARKED_LISTED_MAX).unwrap_or(i64::MAX));
        query.build().fetch_all(self.store.readers()).await?.iter().map(parked).collect()
    }

    /// Parked sales, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn parked_page(self, page: Page) -> Result<Listed<Parked>, StoreError> {
        let mut query = QueryBuilder::<Db>::new(SELECT);
        query.push(" WHERE activity_id < ").push_bind(page.before);
        query.push(" ORDER BY activity_id DESC LIMIT ").push_bind(page.rows());
        let rows = query.build().fetch_all(self.store.readers()).await?;
        let items = rows.iter().map(parked).collect::<Result<_, _>>()?;
        Ok(page.cut(items, |parked: &Parked| parked.activity.as_i64()))
    }

    /// Has a parked sale tried again at once, also one that was dropped; the sale, where it is parked.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn retry_soon(self, activity: ActivityId, now_ms: u64) -> Result<Option<Parked>, StoreError> {
        let sql = "UPDATE parked_activities SET next_try_ms = ?, dropped_reason = NULL WHERE activity_id = ?";
        let now_ms = big(now_ms)?;
        let update = |tx| update_parked(tx, activity, sqlx::query(sql).bind(now_ms).bind(activity.as_i64()));
        self.store.write(Write::RetrySoon, Repeat("it sets values"), update).await
    }

    /// Gives a parked sale up for `reason`: it is neither tried nor warned of any more, until somebody has it tried
    /// again. Its entries stay. The sale, where it is parked.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn drop_parked(self, activity: ActivityId, reason: &str) -> Result<Option<Parked>, StoreError> {
        let sql = "UPDATE parked_activities SET dropped_reason = ? WHERE activity_id = ?";
        let update = |tx| update_parked(tx, activity, sqlx::query(sql).bind(reason).bind(activity.as_i64()));
        self.store.write(Write::DropParked, Repeat("it sets values"), update).await
    }
}

async fn update_parked(
    mut tx: Tx,
    activity: ActivityId,
    update: Query<'_, Db, AnyArguments>,
) -> Result<Ending<Option<Parked>>, StoreError> {
    let before = read_parked(&mut tx, activity).await?;
    update.execute(&mut *tx).await?;
    let after = read_parked(&mut tx, activity).await?;
    let state =
        |parked: &Option<Parked>| parked.as_ref().map_or(Value::Null, |parked| json!({ "dropped": parked.dropped }));
    tx.note(Change::new("parked_sale", activity.as_i64(), state(&before), state(&after)));
    Ok(Ending::Commit(tx, after))
}

async fn read_parked(tx: &mut Tx, activity: ActivityId) -> Result<Option<Parked>, StoreError> {
    let mut query = QueryBuilder::<Db>::new(SELECT);
    query.push(" WHERE activity_id = ").push_bind(activity.as_i64());
    query.build().fetch_optional(&mut **tx).await?.as_ref().map(parked).transpose()
}

const SELECT: &str = "SELECT p.*, (SELECT COUNT(*) FROM parked_entries e WHERE e.activity_id = p.activity_id) AS entries \
     FROM parked_activities p";

fn parked(row: &DbRow) -> Result<Parked, StoreError> {
    Ok(Parked {
        activity: id(row, "activity_id", ActivityId::from_i64)?,
        reason: row.try_get("reason")?,
        since_ms: count(row, "since_ms")?,
        tries: count(row, "tries")?,
        next_try_ms: count(row, "next_try_ms")?,
        entries: count(row, "entries")?,
        dropped: row.try_get("dropped_reason")?,
    })
}

/// What the database has of one sale already.
struct KnownLines {
    position: Position,
    waiting: BTreeSet<Waiting>,
}

async fn known_of(tx: &mut Tx, activity: ActivityId, lines: &[&Line]) -> Result<KnownLines, StoreError> {
    let known = known(tx, &lines.iter().map(|line| line.entry).collect::<Vec<_>>()).await?;
    let offsets = || lines.iter().map(|line| bounded(line.offset));
    let (least, most) = (offsets().min().unwrap_or(0), offsets().max().unwrap_or(0));
    let rows = sqlx::query(
        "SELECT journal_offset, seq, entry FROM parked_entries \
         WHERE activity_id = ? AND journal_offset >= ? AND journal_offset <= ?",
    )
    .bind(activity.as_i64())
    .bind(least)
    .bind(most)
    .fetch_all(&mut **tx)
    .await?;
    let waiting = |row: &DbRow| {
        let (offset, rank) = (row.try_get("journal_offset")?, row.try_get("seq")?);
        Ok::<_, StoreError>(Waiting { offset, rank, entry: row.try_get("entry")? })
    };
    let waiting = rows.iter().map(waiting).collect::<Result<_, _>>()?;
    Ok(KnownLines { position: known.position(activity), waiting })
}
