//! The terms of ledgers, and promises that wait for a term to open.

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    ActivityId, OperationId, OrderId,
    record::{Action, LedgerCommand},
    stock::{HoldState, Promise, RequestKey, Term},
};
use domain::{LeaseName, plan::TermRow};
use sqlx::{QueryBuilder, Row as _};

use crate::{
    StoreError,
    areas::Sales,
    db::{Db, DbRow, INSERT_ROWS_MAX, Tx, big, count, id, lock_row, push_in},
    leases::guard_lease,
    sales::activities::sale_of,
    sales::admission::RESTOCK_ASKED,
    sales::sale_store::order_state,
    sales::take_in::{RESTOCK, hold_word, reservation},
    tx::{Ending, Found, Write, look_up},
};

/// A sale whose ledger is to be opened for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerToOpen {
    /// Whose ledger.
    pub activity: ActivityId,
    /// Units.
    pub stock: u64,
    /// The rules.
    pub rules: contract::activity::Rules,
}

/// The row of `ledger_terms` that counts the terms of all ledgers.
const COUNTER: i64 = 1;

pub(crate) async fn terms_of(
    tx: &mut Tx,
    activities: impl ExactSizeIterator<Item = i64>,
) -> Result<BTreeMap<ActivityId, TermRow>, StoreError> {
    let mut query = QueryBuilder::<Db>::new("SELECT * FROM terms WHERE activity_id");
    push_in(&mut query, activities);
    query.build().fetch_all(&mut **tx).await?.iter().map(term_row).collect()
}

pub(crate) async fn all_terms(tx: &mut Tx) -> Result<BTreeMap<ActivityId, TermRow>, StoreError> {
    sqlx::query("SELECT * FROM terms").fetch_all(&mut **tx).await?.iter().map(term_row).collect()
}

fn term_row(row: &DbRow) -> Result<(ActivityId, TermRow), StoreError> {
    let (is_open, has_failed) = (count(row, "is_open")? != 0, count(row, "has_failed")? != 0);
    let term = TermRow { term: Term(count(row, "term")?), is_open, has_failed };
    Ok((id(row, "activity_id", ActivityId::from_i64)?, term))
}

pub(crate) async fn write_terms(tx: &mut Tx, terms: &BTreeMap<ActivityId, TermRow>) -> Result<(), StoreError> {
    for (activity, TermRow { term, is_open, has_failed }) in terms {
        let update = sqlx::query("UPDATE terms SET term = ?, is_open = ?, has_failed = ? WHERE activity_id = ?")
            .bind(big(term.0)?)
            .bind(i64::from(*is_open))
            .bind(i64::from(*has_failed))
            .bind(activity.as_i64());
        if update.execute(&mut **tx).await?.rows_affected() == 0 {
            sqlx::query("INSERT INTO terms (activity_id, term, is_open, has_failed) VALUES (?, ?, ?, ?)")
                .bind(activity.as_i64())
                .bind(big(term.0)?)
                .bind(i64::from(*is_open))
                .bind(i64::from(*has_failed))
                .execute(&mut **tx)
                .await?;
        }
    }
    Ok(())
}

pub(crate) async fn promises_of(tx: &mut Tx, activity: ActivityId) -> Result<Vec<Promise>, StoreError> {
    let rows = sqlx::query("SELECT * FROM promises WHERE activity_id = ? ORDER BY order_id")
        .bind(activity.as_i64())
        .fetch_all(&mut **tx)
        .await?;
    rows.iter().map(promise).collect()
}

fn promise(row: &DbRow) -> Result<Promise, StoreError> {
    Ok(Promise { reservation: reservation(row)?, at_ms: count(row, "at_ms")? })
}

/// Removes the promises of activities in which they are dealt with, and adds others; one that is there stays.
pub(crate) async fn write_promises(
    tx: &mut Tx,
    dealt_with: &BTreeSet<ActivityId>,
    set_aside: &[(ActivityId, Promise)],
) -> Result<(), StoreError> {
    for activity in dealt_with {
        let delete = sqlx::query("DELETE FROM promises WHERE activity_id = ?").bind(activity.as_i64());
        delete.execute(&mut **tx).await?;
    }
    for promises in set_aside.chunks(INSERT_ROWS_MAX) {
        let mut query = QueryBuilder::<Db>::new("SELECT order_id FROM promises WHERE order_id");
        push_in(&mut query, promises.iter().map(|(_, promise)| promise.reservation.order.as_i64()));
        let rows = query.build().fetch_all(&mut **tx).await?;
        let mut known: BTreeSet<OrderId> =
            rows.iter().map(|row| id(row, "order_id", OrderId::from_i64)).collect::<Result<_, _>>()?;
        for (activity, Promise { reservation, at_ms }) in promises {
            if !known.insert(reservation.order) {
                continue;
            }
            sqlx::query(
                "INSERT INTO promises (order_id, activity_id, user_id, request_key, quantity, at_ms) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(reservation.order.as_i64())
            .bind(activity.as_i64())
            .bind(reservation.user.as_i64())
            .bind(reservation.request.map(|RequestKey(bytes)| bytes.to_vec()))
            .bind(i64::from(reservation.quantity))
            .bind(big(*at_ms)?)
            .execute(&mut **tx)
            .await?;
        }
    }
    Ok(())
}

async fn draw_term(mut tx: Tx, above: i64, draw: i64, lease: Option<u64>) -> Result<Ending<Option<u64>>, StoreError> {
    if let Some(fencing_number) = lease
        && !guard_lease(&mut tx, LeaseName::Fence, fencing_number).await?
    {
        return Ok(Ending::RollBack(None));
    }
    sqlx::query(
        "UPDATE ledger_terms SET last_term = CASE WHEN last_term < ? THEN ? ELSE last_term END + 1, draw_id = ? \
         WHERE id = ?",
    )
    .bind(above)
    .bind(above)
    .bind(draw)
    .bind(COUNTER)
    .execute(&mut *tx)
    .await?;
    let row = sqlx::query("SELECT last_term FROM ledger_terms WHERE id = ?").bind(COUNTER);
    let term = count(&row.fetch_one(&mut *tx).await?, "last_term")?;
    Ok(Ending::Commit(tx, Some(term)))
}

/// Whether a draw is committed. Where another one has followed, that can't be seen; a term that nobody uses does no harm.
async fn find_draw(mut tx: Tx, draw: i64) -> Result<Found, StoreError> {
    lock_row(&mut tx, "UPDATE ledger_terms SET draw_id = draw_id WHERE id = ?", COUNTER).await?;
    let row = sqlx::query("SELECT draw_id FROM ledger_terms WHERE id = ?").bind(COUNTER).fetch_one(&mut *tx).await?;
    let last: i64 = row.try_get("draw_id")?;
    Ok(if last == draw { Found::Committed } else { Found::Repeatable })
}

impl Sales<'_> {
    /// Draws a term that is higher than every term drawn before, and than `above`, in the name of the fence with the
    /// fencing number `lease`; `None` where no other process could be the fence.
    ///
    /// # Errors
    /// If the database fails, or the lease of the fence has passed on.
    pub async fn next_term(self, above: Term, lease: Option<u64>) -> Result<Term, StoreError> {
        let (above, draw) = (big(above.0)?, self.store.next_id()?);
        let after_lost_commit = look_up(|tx, _| find_draw(tx, draw));
        let drawn = self.store.write(Write::DrawTerm, after_lost_commit, |tx| draw_term(tx, above, draw, lease));
        let passed_on =
            || StoreError::Unavailable("the lease of the fence has passed on to another process".to_owned());
        drawn.await?.map(Term).ok_or_else(passed_on)
    }

    /// The promises of an activity that wait until a term opens.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn promises(self, activity: ActivityId) -> Result<Vec<Promise>, StoreError> {
        let mut tx = self.store.begin_read().await?;
        promises_of(&mut tx, activity).await
    }

    /// The sales whose ledgers are to be opened, and whose opening the journal has not recorded.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn ledgers_to_open(self) -> Result<Vec<LedgerToOpen>, StoreError> {
        let rows = sqlx::query(
            "SELECT a.*, 0 AS ledger_open FROM activities a WHERE a.opening = 1 \
             AND NOT EXISTS (SELECT 1 FROM ledgers l WHERE l.activity_id = a.id) ORDER BY a.id",
        )
        .fetch_all(self.store.readers())
        .await?;
        let to_open = |row: &DbRow| {
            let sale = sale_of(row)?;
            Ok(LedgerToOpen { activity: sale.activity.id, stock: sale.stock, rules: sale.activity.rules })
        };
        rows.iter().map(to_open).collect()
    }

    /// What was decided of an activity's orders, units and end, and has not come back from its ledger: settles and
    /// releases of orders whose units the mirror has as held, restocks, and the end of the sale where the ledger's is later.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn decisions(self, activity: ActivityId) -> Result<Vec<LedgerCommand>, StoreError> {
        let mut tx = self.store.begin_read().await?;
        let rows = sqlx::query(
            "SELECT r.order_id AS order_id, o.status AS status, o.refund_from AS refund_from \
             FROM reservations r JOIN orders o ON o.id = r.order_id WHERE r.activity_id = ? AND r.state = ? \
             ORDER BY r.order_id",
        )
        .bind(activity.as_i64())
        .bind(hold_word(HoldState::Held))
        .fetch_all(&mut *tx)
        .await?;
        let mut actions = Vec::new();
        for row in &rows {
            actions.extend(order_state(row)?.command(id(row, "order_id", OrderId::from_i64)?));
        }
        let rows = sqlx::query(
            "SELECT i.message_id AS message_id, i.delta AS delta FROM inbox i WHERE i.source = ? AND i.subject_id = ? \
             AND i.delta <> 0 AND NOT EXISTS (SELECT 1 FROM inbox d WHERE d.source = ? AND \
             d.subject_id = i.subject_id AND d.message_id = i.message_id) ORDER BY i.message_id",
        )
        .bind(RESTOCK_ASKED)
        .bind(activity.as_i64())
        .bind(RESTOCK)
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            let operation = id(row, "message_id", OperationId::from_i64)?;
            actions.push(Action::Restock { operation, delta: row.try_get("delta")? });
        }
        let end = sqlx::query(
            "SELECT a.ends_at_ms AS ends_at_ms FROM activities a JOIN ledgers l ON l.activity_id = a.id \
             WHERE a.id = ? AND a.ends_at_ms < l.ends_at_ms",
        )
        .bind(activity.as_i64())
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(row) = end {
            actions.push(Action::End { ends_at_ms: count(&row, "ends_at_ms")? });
        }
        Ok(actions.into_iter().map(|action| LedgerCommand { activity, action }).collect())
    }
}
