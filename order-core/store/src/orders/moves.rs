//! Orders along their state machine. Each edge is one guarded UPDATE, with what follows from it in the same
//! transaction.

use contract::{ActivityId, AddressId, OrderId, RefundId, UserId};
use serde_json::json;
use sqlx::Row as _;

use crate::{
    StoreError,
    accounts::{addresses::address_of, audit_log::Change},
    areas::Orders,
    catalogue::products::to_json,
    db::{Tx, big, count, id, id_or_none, lock_row},
    money::queries::close_trades,
    orders::shop_orders::give_back_units,
    sales::sale_store::order_state,
    tx::{Ending, Found, Repeat, Write, look_up},
};
use domain::{
    Outgoing,
    order_state::{Fulfilment, Happening, OrderState},
};

/// What became of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// The order is in this state now.
    To(OrderState),
    /// It is in this state, from which the request does not lead on.
    Refused(OrderState),
    /// There is no such order.
    Unknown,
    /// It has no address to be sent to.
    NoAddress,
    /// Its buyer asks for another refund by now, this one.
    OtherRefund(RefundId),
}

/// What became of a new address for an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressSet {
    /// The order goes there.
    Done,
    /// The user has no such order.
    Unknown,
    /// The user has no such address.
    UnknownAddress,
    /// It is sent, or will not be.
    Refused(OrderState),
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
    pub(crate) to: OrderState,
    at_ms: u64,
}

impl Step {
    pub(crate) const fn new(order: OrderId, (from, to): (OrderState, OrderState), at_ms: u64) -> Self {
        Self { order, from, to, at_ms }
    }
}

impl Orders<'_> {
    /// Moves an order on, of `user` where one is named.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn move_order(
        self,
        order: OrderId,
        user: Option<UserId>,
        what: Happening,
        now_ms: u64,
    ) -> Result<Moved, StoreError> {
        let after_lost_commit = look_up(|tx, stepped: Result<Step, Moved>| find_step(tx, stepped.ok()));
        let stepped = self.store.write(Write::MoveOrder, after_lost_commit, |tx| async {
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

impl Orders<'_> {
    /// An order was sent; `shipment` holds the details, as JSON.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn ship(self, order: OrderId, shipment: &str, now_ms: u64) -> Result<Moved, StoreError> {
        let after_lost_commit = look_up(|tx, stepped: Result<Step, Moved>| find_step(tx, stepped.ok()));
        let stepped = self.store.write(Write::Ship, after_lost_commit, |tx| async {
            let mut tx = tx;
            let Some(standing) = standing(&mut tx, order).await? else {
                return Ok(Ending::RollBack(Err(Moved::Unknown)));
            };
            let Ok(to) = standing.state.apply(Happening::Ship) else {
                return Ok(Ending::RollBack(Err(Moved::Refused(standing.state))));
            };
            let row = sqlx::query("SELECT address FROM orders WHERE id = ?").bind(order.as_i64());
            if row.fetch_one(&mut *tx).await?.try_get::<Option<String>, _>("address")?.is_none() {
                return Ok(Ending::RollBack(Err(Moved::NoAddress)));
            }
            let left =
                "SELECT COUNT(*) AS shippable FROM order_lines WHERE order_id = ? AND quantity > refunded_quantity";
            let row = sqlx::query(left).bind(order.as_i64()).fetch_one(&mut *tx).await?;
            if count(&row, "shippable")? == 0 {
                // Its units are in the stock again, although a part of the money has stayed.
                return Ok(Ending::RollBack(Err(Moved::Refused(standing.state))));
            }
            let stepped = step(&mut tx, &standing, to, now_ms).await?;
            let query = sqlx::query("UPDATE orders SET shipment = ? WHERE id = ?");
            query.bind(shipment).bind(order.as_i64()).execute(&mut *tx).await?;
            let after = json!({ "status": to.as_str(), "shipment": shipment });
            tx.note(Change::new("order", order.as_i64(), json!({ "status": standing.state.as_str() }), after));
            Ok(Ending::Commit(tx, Ok(stepped)))
        });
        Ok(stepped.await?.map_or_else(|refused| refused, |step| Moved::To(step.to)))
    }
}

impl Orders<'_> {
    /// Has an order of `user` sent to one of their addresses, as it is now. Possible until the order is sent.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_order_address(
        self,
        (user, order): (UserId, OrderId),
        address: AddressId,
    ) -> Result<AddressSet, StoreError> {
        self.store
            .write(Write::SetOrderAddress, Repeat("it sets a value"), |tx| async {
                let mut tx = tx;
                let standing = standing(&mut tx, order).await?.filter(|standing| standing.user == user);
                let Some(standing) = standing else { return Ok(Ending::RollBack(AddressSet::Unknown)) };
                if !matches!(standing.state, OrderState::PendingPayment | OrderState::Bought(Fulfilment::Paid)) {
                    return Ok(Ending::RollBack(AddressSet::Refused(standing.state)));
                }
                let row = sqlx::query("SELECT * FROM addresses WHERE id = ? AND user_id = ?");
                let row = row.bind(address.as_i64()).bind(user.as_i64()).fetch_optional(&mut *tx).await?;
                let Some(row) = row else { return Ok(Ending::RollBack(AddressSet::UnknownAddress)) };
                let query = sqlx::query("UPDATE orders SET address = ? WHERE id = ?");
                query.bind(to_json(&address_of(&row)?.fields)?).bind(order.as_i64()).execute(&mut *tx).await?;
                Ok(Ending::Commit(tx, AddressSet::Done))
            })
            .await
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
    if state == OrderState::PendingPayment {
        close_trades(tx, &[order.as_i64()], now_ms).await?;
        if let Some((activity, action)) = activity.zip(to.command(order)) {
            tx.send([Outgoing::command(activity, action)]);
        }
    }
    match (to, activity) {
        (OrderState::Closed, None) => give_back_units(tx, &[order.as_i64()]).await?,
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
