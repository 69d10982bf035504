//! The sale's part of the database in SQL.

use std::collections::BTreeMap;

use contract::{
    ActivityId, OperationId, OrderId, UserId,
    stock::{Hold, HoldState, Snapshot},
};
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    areas::Sales,
    db::{Db, DbRow, INSERT_ROWS_MAX, Store, Tx, big, count, id, id_or_none, push_in},
    money::queries::close_trades,
    orders::moves::{Moved, Step, find_step},
    orders::shop_orders::give_back_units,
    sales::parked::all_parked,
    sales::take_in::{RESTOCK, find_written, hold_row, hold_state, hold_word, ledger_row},
    sales::terms::all_terms,
    tx::{Ending, Repeat, Write, look_up},
};
use domain::{
    DatabaseCounts, Line, OutboxRow, Outgoing, PaidOutcome, Parked, REPEAT_ROWS_MAX, Retried, SaleStore, TakenIn,
    order_state::{Happening, OrderState},
    parked::go_on,
    plan::TermRow,
};

impl SaleStore for Store {
    type Error = StoreError;

    async fn take_in(&self, lines: &[Line], now_ms: u64) -> Result<TakenIn, StoreError> {
        let after_lost_commit = look_up(|tx, (_, row)| find_written(tx, row));
        let taken = self.write(Write::TakeIn, after_lost_commit, |tx| self.sales().take_in_lines(tx, lines, now_ms));
        taken.await.map(|(taken, _)| taken)
    }

    async fn park(
        &self,
        activity: ActivityId,
        reason: &str,
        lines: &[Line],
        times_ms: (u64, u64),
    ) -> Result<(), StoreError> {
        let repeat = Repeat("a parked sale keeps its first reason, and an entry is kept once");
        self.write(Write::Park, repeat, |tx| self.sales().park_entries(tx, activity, reason, lines, times_ms)).await
    }

    async fn parked(&self) -> Result<Vec<Parked>, StoreError> {
        self.sales().list_parked().await
    }

    async fn retry_parked(&self, activity: ActivityId, limit: usize, now_ms: u64) -> Result<Retried, StoreError> {
        let repeat = Repeat("entries that were taken in are not parked any more");
        self.write(Write::RetryParked, repeat, |tx| self.sales().retry_entries(tx, activity, limit, now_ms)).await
    }

    async fn note_failed_try(&self, activity: ActivityId, reason: &str, next_try_ms: u64) -> Result<(), StoreError> {
        let repeat = Repeat("a try is known by the time of the next one");
        self.write(Write::NoteFailedTry, repeat, |tx| self.sales().note_try(tx, activity, reason, next_try_ms)).await
    }

    async fn close_unpaid(&self, orders: &[OrderId], now_ms: u64) -> Result<usize, StoreError> {
        let mut closed = 0;
        for orders in orders.chunks(INSERT_ROWS_MAX) {
            let after_lost_commit = look_up(|tx, steps: Vec<Step>| find_step(tx, steps.first().copied()));
            closed +=
                self.write(Write::CloseUnpaid, after_lost_commit, |tx| close_chunk(tx, orders, now_ms)).await?.len();
        }
        Ok(closed)
    }

    async fn mark_paid(&self, order: OrderId, now_ms: u64) -> Result<PaidOutcome, StoreError> {
        Ok(match self.move_order(order, None, Happening::Pay, now_ms).await? {
            Moved::To(_) => PaidOutcome::Paid,
            Moved::Refused(state) => PaidOutcome::Refused(state),
            Moved::Unknown | Moved::NoAddress | Moved::OtherRefund(_) => PaidOutcome::UnknownOrder,
        })
    }

    async fn repeat_commands(&self, after: Option<OrderId>) -> Result<Option<OrderId>, StoreError> {
        let after = after.map_or(0, OrderId::as_i64);
        let rows_max = i64::try_from(REPEAT_ROWS_MAX).unwrap_or(i64::MAX);
        let looked_at: Option<i64> = sqlx::query(
            "SELECT MAX(order_id) AS last FROM \
             (SELECT order_id FROM reservations WHERE order_id > ? ORDER BY order_id LIMIT ?) AS page",
        )
        .bind(after)
        .bind(rows_max)
        .fetch_one(self.readers())
        .await?
        .try_get("last")?;
        let Some(last) = looked_at else { return Ok(None) };
        let rows = sqlx::query(
            "SELECT r.order_id AS order_id, r.activity_id AS activity_id, o.status AS status, \
             o.refund_from AS refund_from FROM reservations r JOIN orders o ON o.id = r.order_id \
             WHERE r.order_id > ? AND r.order_id <= ? AND r.state = ? AND o.status <> ? ORDER BY r.order_id",
        )
        .bind(after)
        .bind(last)
        .bind(hold_word(HoldState::Held))
        .bind(OrderState::PendingPayment.as_str())
        .fetch_all(self.readers())
        .await?;
        let command = |row: &DbRow| {
            let (order, activity) =
                (id(row, "order_id", OrderId::from_i64)?, id(row, "activity_id", ActivityId::from_i64)?);
            Ok(order_state(row)?.command(order).map(|action| Outgoing::command(activity, action)))
        };
        let commands: Vec<Outgoing> =
            rows.iter().map(command).filter_map(Result::transpose).collect::<Result<_, StoreError>>()?;
        if !commands.is_empty() {
            tracing::warn!(
                commands = commands.len(),
                "orders are decided and their units held; the ledgers hear it again"
            );
            // What an order's state says to its ledger never changes again, so nothing is guarded.
            let repeat = Repeat("a ledger that has carried a command out ignores it");
            self.write(Write::RepeatCommands, repeat, |tx| async {
                let mut tx = tx;
                tx.send(commands.iter().cloned());
                Ok(Ending::Commit(tx, ()))
            })
            .await?;
        }
        OrderId::from_i64(last).map(Some).ok_or_else(|| StoreError::contradiction(format!("order_id is {last}")))
    }

    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>, StoreError> {
        let rows = sqlx::query("SELECT id, topic, record_key, record FROM outbox ORDER BY id LIMIT ?")
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.readers())
            .await?;
        let read = |row: &DbRow| {
            let (id, topic) = (row.try_get("id")?, row.try_get("topic")?);
            Ok(OutboxRow { id, topic, key: row.try_get("record_key")?, value: row.try_get("record")? })
        };
        rows.iter().map(read).collect()
    }

    async fn outbox_sent(&self, ids: &[i64]) -> Result<(), StoreError> {
        for ids in ids.chunks(INSERT_ROWS_MAX) {
            self.write(Write::OutboxSent, Repeat("rows are deleted once"), |tx| forget_sent(tx, ids)).await?;
        }
        Ok(())
    }

    async fn outbox_filled(&self) {
        self.bell.notified().await;
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        let mut tx = self.begin_read().await?;
        let ledgers = sqlx::query("SELECT * FROM ledgers ORDER BY activity_id").fetch_all(&mut *tx).await?;
        let holds = sqlx::query("SELECT * FROM reservations ORDER BY order_id").fetch_all(&mut *tx).await?;
        let restocks = sqlx::query("SELECT subject_id, message_id FROM inbox WHERE source = ? ORDER BY message_id")
            .bind(RESTOCK)
            .fetch_all(&mut *tx)
            .await?;
        let mut parked = all_parked(&mut tx).await?;
        let terms = all_terms(&mut tx).await?;
        tx.commit().await?;

        let mut holds_of: BTreeMap<ActivityId, Vec<Hold>> = BTreeMap::new();
        for row in &holds {
            let row = hold_row(row)?;
            holds_of.entry(row.activity).or_default().push(row.hold);
        }
        let mut restocks_of: BTreeMap<ActivityId, Vec<OperationId>> = BTreeMap::new();
        for row in &restocks {
            let operation = id(row, "message_id", OperationId::from_i64)?;
            restocks_of.entry(id(row, "subject_id", ActivityId::from_i64)?).or_default().push(operation);
        }
        let mut snapshot = |row: &DbRow| {
            let activity = id(row, "activity_id", ActivityId::from_i64)?;
            let row = ledger_row(row)?;
            let holds = holds_of.remove(&activity).unwrap_or_default();
            let restocks = restocks_of.remove(&activity).unwrap_or_default();
            let (total, epoch, seq) = (row.total, row.epoch, row.seq);
            let TermRow { term, is_open, .. } = terms.get(&activity).copied().unwrap_or_default();
            let rules = row.rules;
            let mut snapshot = Snapshot { activity, rules, total, term, is_open, epoch, seq, holds, restocks };
            go_on(&mut snapshot, parked.remove(&activity).unwrap_or_default());
            Ok(snapshot)
        };
        ledgers.iter().map(&mut snapshot).collect()
    }

    async fn audit_counts(&self, activity: ActivityId) -> Result<Option<DatabaseCounts>, StoreError> {
        let mut tx = self.begin_read().await?;
        let ledger = sqlx::query("SELECT * FROM ledgers WHERE activity_id = ?")
            .bind(activity.as_i64())
            .fetch_optional(&mut *tx)
            .await?;
        let Some(ledger) = ledger else { return Ok(None) };
        let ledger = ledger_row(&ledger)?;
        let groups = sqlx::query(
            "SELECT r.state AS state, o.status AS status, o.refund_from AS refund_from, COUNT(o.id) AS orders, \
             CAST(SUM(r.quantity) AS SIGNED) AS units \
             FROM reservations r LEFT JOIN orders o ON o.id = r.order_id AND o.activity_id = r.activity_id \
             WHERE r.activity_id = ? GROUP BY r.state, o.status, o.refund_from",
        )
        .bind(activity.as_i64())
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;

        let mut counts = DatabaseCounts {
            epoch: ledger.epoch,
            seq: ledger.seq,
            total: ledger.total,
            stock_left: ledger.stock_left,
            ..DatabaseCounts::default()
        };
        for row in &groups {
            let units = count(row, "units")?;
            let status: Option<&str> = row.try_get("status")?;
            counts.by_status.add(status.map(|_| order_state(row)).transpose()?, units);
            counts.orders += count(row, "orders")?;
            match hold_state(row.try_get("state")?)? {
                HoldState::Held => counts.by_hold.held += units,
                HoldState::Sold => counts.by_hold.sold += units,
                HoldState::Released => counts.by_hold.released += units,
            }
        }
        Ok(Some(counts))
    }
}

impl Sales<'_> {
    /// The sales whose opening the journal has recorded.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn opened_sales(self) -> Result<Vec<ActivityId>, StoreError> {
        let rows = sqlx::query("SELECT activity_id FROM ledgers").fetch_all(self.store.readers()).await?;
        rows.iter().map(|row| id(row, "activity_id", ActivityId::from_i64)).collect()
    }
}

async fn forget_sent(mut tx: Tx, ids: &[i64]) -> Result<Ending<()>, StoreError> {
    let mut delete = QueryBuilder::<Db>::new("DELETE FROM outbox WHERE id");
    push_in(&mut delete, ids.iter().copied());
    delete.build().execute(&mut *tx).await?;
    Ok(Ending::Commit(tx, ()))
}

/// Closes those of `orders` that are not paid in time, with a few statements for all of them.
async fn close_chunk(mut tx: Tx, orders: &[OrderId], now_ms: u64) -> Result<Ending<Vec<Step>>, StoreError> {
    let (pending, now) = (OrderState::PendingPayment, big(now_ms)?);
    // Locks the rows: an order may be paid at this moment.
    let mut lock = QueryBuilder::<Db>::new("UPDATE orders SET status = status WHERE status = ");
    lock.push_bind(pending.as_str()).push(" AND expires_at_ms <= ").push_bind(now).push(" AND id");
    push_in(&mut lock, orders.iter().map(|order| order.as_i64()));
    if lock.build().execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(Ending::RollBack(Vec::new()));
    }
    let mut query = QueryBuilder::<Db>::new("SELECT id, user_id, activity_id FROM orders WHERE status = ");
    query.push_bind(pending.as_str()).push(" AND expires_at_ms <= ").push_bind(now).push(" AND id");
    push_in(&mut query, orders.iter().map(|order| order.as_i64()));
    query.push(" ORDER BY id");
    let due = query.build().fetch_all(&mut *tx).await?;

    let (mut steps, mut of_shop) = (Vec::with_capacity(due.len()), Vec::new());
    for row in &due {
        let order = id(row, "id", OrderId::from_i64)?;
        let to = pending.apply(Happening::Close).map_err(|error| StoreError::contradiction(error.to_string()))?;
        match id_or_none(row, "activity_id", ActivityId::from_i64)? {
            Some(activity) => tx.send(to.command(order).map(|action| Outgoing::command(activity, action))),
            None => of_shop.push(order.as_i64()),
        }
        tx.send([Outgoing::event(order, id(row, "user_id", UserId::from_i64)?, to, now_ms)]);
        steps.push(Step::new(order, (pending, to), now_ms));
    }
    let ids = || due.iter().map(|row| row.try_get("id")).collect::<Result<Vec<i64>, _>>();
    let mut close = QueryBuilder::<Db>::new("UPDATE orders SET status = ");
    close.push_bind(OrderState::Closed.as_str()).push(", updated_at_ms = ").push_bind(now);
    close.push(", timed_out_at_ms = ").push_bind(now).push(" WHERE id");
    push_in(&mut close, ids()?);
    close.build().execute(&mut *tx).await?;
    close_trades(&mut tx, &ids()?, now_ms).await?;
    give_back_units(&mut tx, &of_shop).await?;
    Ok(Ending::Commit(tx, steps))
}

/// The state that a row's `status` and `refund_from` name.
pub(crate) fn order_state(row: &DbRow) -> Result<OrderState, StoreError> {
    let status: &str = row.try_get("status")?;
    OrderState::parse(status, row.try_get("refund_from")?)
        .ok_or_else(|| StoreError::contradiction(format!("an order is {status:?}")))
}
