//! Leases: who does the work that one process at a time does.

use contract::{ActivityId, UserId, activity::EntryRule};
use domain::{LeaseName, LeaseRow, LeaseStore, Outgoing, SaleError};
use sqlx::{QueryBuilder, Row as _};

use crate::{
    StoreError,
    db::{Db, DbRow, INSERT_ROWS_MAX, Store, Tx, big, count, id, push_in},
    sales::{
        activities::{announce, locked},
        admission::entry_of,
    },
    tx::{Ending, Found, Repeat, Write, look_up},
};

async fn read(tx: &mut Tx, name: LeaseName) -> Result<LeaseRow, StoreError> {
    let row = sqlx::query("SELECT * FROM leases WHERE name = ?").bind(name.as_str()).fetch_one(&mut **tx).await?;
    lease_row(&row)
}

fn lease_row(row: &DbRow) -> Result<LeaseRow, StoreError> {
    let (fencing_number, renewals) = (count(row, "fencing_number")?, count(row, "renewals")?);
    Ok(LeaseRow { holder: row.try_get("holder")?, fencing_number, renewals, late_writes: count(row, "late_writes")? })
}

/// Makes the row this transaction's own, if the lease still has `fencing_number`; whether it has.
pub(crate) async fn guard_lease(tx: &mut Tx, name: LeaseName, fencing_number: u64) -> Result<bool, StoreError> {
    let sql = "UPDATE leases SET fencing_number = fencing_number WHERE name = ? AND fencing_number = ?";
    let guard = sqlx::query(sql).bind(name.as_str()).bind(big(fencing_number)?);
    Ok(guard.execute(&mut **tx).await?.rows_affected() == 1)
}

async fn move_row(mut tx: Tx, name: LeaseName, from: LeaseRow, to: LeaseRow) -> Result<Ending<bool>, StoreError> {
    let moved = sqlx::query(
        "UPDATE leases SET holder = ?, fencing_number = ?, renewals = ? \
         WHERE name = ? AND holder = ? AND fencing_number = ? AND renewals = ?",
    )
    .bind(to.holder)
    .bind(big(to.fencing_number)?)
    .bind(big(to.renewals)?)
    .bind(name.as_str())
    .bind(from.holder)
    .bind(big(from.fencing_number)?)
    .bind(big(from.renewals)?)
    .execute(&mut *tx)
    .await?;
    let is_moved = moved.rows_affected() == 1;
    Ok(if is_moved { Ending::Commit(tx, true) } else { Ending::RollBack(false) })
}

/// Whether a move is committed. If somebody else has moved the lease since, it does not matter: it is not held any more.
async fn find_move(mut tx: Tx, name: LeaseName, to: LeaseRow) -> Result<Found, StoreError> {
    let lock = sqlx::query("UPDATE leases SET renewals = renewals WHERE name = ?").bind(name.as_str());
    lock.execute(&mut *tx).await?;
    let row = read(&mut tx, name).await?;
    Ok(Found::from(LeaseRow { late_writes: row.late_writes, ..to } == row))
}

async fn forget_sent_by(mut tx: Tx, ids: &[i64], fencing_number: u64) -> Result<Ending<bool>, StoreError> {
    if !guard_lease(&mut tx, LeaseName::OutboxRelay, fencing_number).await? {
        let sql = "UPDATE leases SET late_writes = late_writes + 1 WHERE name = ?";
        sqlx::query(sql).bind(LeaseName::OutboxRelay.as_str()).execute(&mut *tx).await?;
        return Ok(Ending::Commit(tx, false));
    }
    for ids in ids.chunks(INSERT_ROWS_MAX) {
        let mut delete = QueryBuilder::<Db>::new("DELETE FROM outbox WHERE id");
        push_in(&mut delete, ids.iter().copied());
        delete.build().execute(&mut *tx).await?;
    }
    Ok(Ending::Commit(tx, true))
}

/// Sends a sale and those of its entry rules that were changed. Every change of them has the lock of the sale, so no older
/// row is sent behind a newer one.
async fn send_latest(mut tx: Tx, activity: ActivityId, since_ms: u64) -> Result<Ending<()>, StoreError> {
    let Some(sale) = locked(&mut tx, activity).await? else { return Ok(Ending::RollBack(())) };
    announce(&mut tx, &sale);
    let rows = sqlx::query(
        "SELECT user_id, version, entry FROM entry_rules WHERE activity_id = ? AND changed_at_ms >= ? ORDER BY user_id",
    )
    .bind(activity.as_i64())
    .bind(big(since_ms)?)
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let (user, version) = (id(row, "user_id", UserId::from_i64)?, count(row, "version")?);
        tx.send([Outgoing::entry_rule(&EntryRule { activity, user, version, entry: entry_of(row)? })]);
    }
    Ok(Ending::Commit(tx, ()))
}

impl LeaseStore for Store {
    async fn lease(&self, name: LeaseName) -> Result<LeaseRow, SaleError> {
        let query = sqlx::query("SELECT * FROM leases WHERE name = ?").bind(name.as_str());
        let row = query.fetch_one(self.readers()).await.map_err(StoreError::from)?;
        Ok(lease_row(&row)?)
    }

    async fn move_lease(&self, name: LeaseName, from: LeaseRow, to: LeaseRow) -> Result<bool, SaleError> {
        let after_lost_commit = look_up(|tx, _| find_move(tx, name, to));
        Ok(self.write(Write::MoveLease, after_lost_commit, |tx| move_row(tx, name, from, to)).await?)
    }

    async fn outbox_sent_by(&self, ids: &[i64], fencing_number: u64) -> Result<bool, SaleError> {
        let repeat = Repeat("rows are deleted once, and a late write that is counted twice is repaired once more");
        Ok(self.write(Write::OutboxSentBy, repeat, |tx| forget_sent_by(tx, ids, fencing_number)).await?)
    }

    async fn repeat_latest(&self, since_ms: u64) -> Result<(), SaleError> {
        let since = big(since_ms)?;
        let query = sqlx::query(
            "SELECT id FROM activities WHERE changed_at_ms >= ? \
             UNION SELECT activity_id FROM entry_rules WHERE changed_at_ms >= ? ORDER BY id",
        );
        let rows = query.bind(since).bind(since).fetch_all(self.readers()).await.map_err(StoreError::from)?;
        for row in &rows {
            let activity = id(row, "id", ActivityId::from_i64)?;
            let repeat = Repeat("readers ignore a version that they know");
            self.write(Write::RepeatLatest, repeat, |tx| send_latest(tx, activity, since_ms)).await?;
        }
        Ok(())
    }
}
