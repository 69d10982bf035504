//! Orders along their state machine. Each edge is one guarded UPDATE, with what follows from it in the same
//! transaction.

use contract::{ActivityId, OrderId, UserId};

use crate::{
    StoreError,
    db::{Store, Tx, big, count, id, id_or_none, lock_row},
    sale_sql::order_state,
    shop_orders::give_stock_back,
    tx::{Ending, Found, Write, look_up},
};
use domain::{
    Outgoing,
    order_state::{Fulfilment, Happening, OrderState},
};

/// What became of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// The order stands here now.
    To(OrderState),
    /// It stands here, and what was asked does not lead on from there.
    Refused(OrderState),
    /// There is no such order.
    Unknown,
}

/// An order as a move needs it.
pub(crate) struct Standing {
    pub(crate) order: OrderId,
    pub(crate) user: UserId,
    pub(crate) activity: Option<ActivityId>,
    pub(crate) state: OrderState,
}

/// A step that an order has made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    order: OrderId,
    from: OrderState,
    to: OrderState,
    at_ms: u64,
}

impl Store {
    /// Moves an order on, of `user` where one is named.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn move_order(
        &self,
        order: OrderId,
        user: Option<UserId>,
        what: Happening,
        now_ms: u64,
    ) -> Result<Moved, StoreError> {
        let after_lost_commit = look_up(|tx, stepped: Result<Step, Moved>| find_step(tx, stepped.ok()));
        let stepped = self.write(Write::MoveOrder, after_lost_commit, |tx| async {
            let mut tx = tx;
            let Some(standing) = standing(&mut tx, order).await? else {
                return Ok(Ending::RollBack(Err(Moved::Unknown)));
            };
            if user.is_some_and(|user| user != standing.user) {
                return Ok(Ending::RollBack(Err(Moved::Unknown)));
            }
            let Ok(to) = standing.state.apply(what) else {
                return Ok(Ending::RollBack(Err(Moved::Refused(standing.state))));
            };
            let stepped = step(&mut tx, &standing, to, now_ms).await?;
            Ok(Ending::Commit(tx, Ok(stepped)))
        });
        Ok(stepped.await?.map_or_else(|refused| refused, |step| Moved::To(step.to)))
    }
}

impl Store {
    /// An order was sent; `shipment` tells how, as JSON.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn ship(&self, order: OrderId, shipment: &str, now_ms: u64) -> Result<Moved, StoreError> {
        let after_lost_commit = look_up(|tx, stepped: Result<Step, Moved>| find_step(tx, stepped.ok()));
        let stepped = self.write(Write::Ship, after_lost_commit, |tx| async {
            let mut tx = tx;
            let Some(standing) = standing(&mut tx, order).await? else {
                return Ok(Ending::RollBack(Err(Moved::Unknown)));
            };
            let Ok(to) = standing.state.apply(Happening::Ship) else {
                return Ok(Ending::RollBack(Err(Moved::Refused(standing.state))));
            };
            let stepped = step(&mut tx, &standing, to, now_ms).await?;
            let query = sqlx::query("UPDATE orders SET shipment = ? WHERE id = ?");
            query.bind(shipment).bind(order.as_i64()).execute(&mut *tx).await?;
            Ok(Ending::Commit(tx, Ok(stepped)))
        });
        Ok(stepped.await?.map_or_else(|refused| refused, |step| Moved::To(step.to)))
    }
}

/// Makes an order's row this transaction's own.
pub(crate) const LOCK: &str = "UPDATE orders SET status = status WHERE id = ?";

/// Reads an order and makes it this transaction's own.
pub(crate) async fn standing(tx: &mut Tx, order: OrderId) -> Result<Option<Standing>, StoreError> {
    lock_row(tx, LOCK, order.as_i64()).await?;
    let row = sqlx::query("SELECT user_id, activity_id, status, refund_from FROM orders WHERE id = ?");
    let Some(row) = row.bind(order.as_i64()).fetch_optional(&mut **tx).await? else { return Ok(None) };
    Ok(Some(Standing {
        order,
        user: id(&row, "user_id", UserId::from_i64)?,
        activity: id_or_none(&row, "activity_id", ActivityId::from_i64)?,
        state: order_state(&row)?,
    }))
}

/// Whether the transaction that made `step` is committed.
pub(crate) async fn find_step(mut tx: Tx, step: Option<Step>) -> Result<Found, StoreError> {
    let Some(Step { order, from, to, at_ms }) = step else { return Ok(Found::Nothing) };
    let Some(standing) = standing(&mut tx, order).await? else { return Ok(Found::Nothing) };
    let row = sqlx::query("SELECT updated_at_ms FROM orders WHERE id = ?").bind(order.as_i64());
    let updated_at_ms = count(&row.fetch_one(&mut *tx).await?, "updated_at_ms")?;
    Ok(match standing.state {
        state if state == to => Found::from(updated_at_ms == at_ms),
        state if state == from => Found::Nothing,
        _ => Found::Unclear,
    })
}

/// Takes an order that is this transaction's own to `to`, and sends to the log what it must know of it.
pub(crate) async fn step(tx: &mut Tx, standing: &Standing, to: OrderState, now_ms: u64) -> Result<Step, StoreError> {
    let Standing { order, user, activity, state } = *standing;
    let refund_from = |state| match state {
        OrderState::Refunding(from) => Some(from.as_str()),
        OrderState::PendingPayment
        | OrderState::Bought(_)
        | OrderState::Refunded
        | OrderState::Closed
        | OrderState::Failed => None,
    };
    let stepped =
        sqlx::query("UPDATE orders SET status = ?, refund_from = ?, updated_at_ms = ? WHERE id = ? AND status = ?")
            .bind(to.as_str())
            .bind(refund_from(to))
            .bind(big(now_ms)?)
            .bind(order.as_i64())
            .bind(state.as_str())
            .execute(&mut **tx)
            .await?;
    if stepped.rows_affected() != 1 {
        return Err(StoreError::contradiction(format!("order {order} moved while it was locked")));
    }
    if state == OrderState::PendingPayment
        && let Some((activity, action)) = activity.zip(to.command(order))
    {
        tx.send([Outgoing::command(activity, action)]);
    }
    match (to, activity) {
        (OrderState::Closed, None) => give_stock_back(tx, order).await?,
        // What was never sent goes back on the shelf; the ledger of a sale has sold it for good.
        (OrderState::Refunded, _) if state == OrderState::Refunding(Fulfilment::Paid) => {
            give_stock_back(tx, order).await?;
        }
        (
            OrderState::PendingPayment
            | OrderState::Bought(_)
            | OrderState::Refunding(_)
            | OrderState::Refunded
            | OrderState::Closed
            | OrderState::Failed,
            _,
        ) => {}
    }
    if state.told() != to.told() {
        tx.send([Outgoing::event(order, user, to, now_ms)]);
    }
    Ok(Step { order, from: state, to, at_ms: now_ms })
}
