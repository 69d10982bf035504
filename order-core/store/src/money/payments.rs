//! Incoming payments. Each is decided once, in whatever number and order its notices arrive.

use contract::{Cents, OrderId, PaymentId, RefundId, UserId};
use sqlx::Row;

use crate::{
    StoreError,
    areas::Money,
    catalogue::products::exists,
    catalogue::search::stock_moved,
    db::{Tx, big, count, id, is_taken, lock_row},
    money::queries::FIRST_QUERY_MS,
    money::refunds::{Purpose, send_back},
    orders::moves::{Standing, standing, step},
    tx::{Ending, Found, NewRow, Write, look_up},
};
use domain::{
    Outgoing,
    order_state::{Fulfilment, Happening, OrderState},
};

/// `payments.status` until money has come.
pub(crate) const OPEN: &str = "open";
/// Nobody can pay it any more, says the platform.
pub(crate) const CLOSED: &str = "closed";
/// `payments.status` once it has.
pub(crate) const SUCCEEDED: &str = "succeeded";

/// One try to pay for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The provider knows the money by it.
    pub id: PaymentId,
    /// For which order.
    pub order: OrderId,
    /// How much.
    pub amount: Cents,
    /// When the order is closed unless it is paid, epoch milliseconds.
    pub expires_at_ms: u64,
}

/// What became of the wish to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It waits for the money.
    Begun(Payment),
    /// The user has no such order.
    Unknown,
    /// It can't be paid (any more).
    Refused(OrderState),
}

/// Money has come, says its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The provider that sent it. It counts only for payments that were begun with that provider.
    pub method: &'static str,
    /// For which payment.
    pub payment: PaymentId,
    /// The provider's own name for it.
    pub trade_no: String,
    /// How much.
    pub amount: Cents,
}

/// What became of money that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// The order is paid.
    Paid,
    /// A repeated notice; nothing has changed.
    Again,
    /// Its order was closed meanwhile and its units were still there: this order has them, paid.
    HeldAgain(OrderId),
    /// There is nothing (more) to be paid for: the money goes back.
    GoesBack(RefundId),
    /// The provider has no such payment.
    Unknown,
    /// It is not the amount that was asked for.
    WrongAmount,
    /// The payment, or the provider's name for it, belongs to other money.
    OtherTrade,
}

impl Money<'_> {
    /// Begins to pay for `user`'s order; a payment by the same method that waits already is the same payment.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn begin_payment(
        self,
        (user, order): (UserId, OrderId),
        method: &str,
        now_ms: u64,
    ) -> Result<Begun, StoreError> {
        let number = self.store.next_id()?;
        self.store
            .write(Write::BeginPayment, NewRow { lock: LOCK, id: number }, |tx| async {
                let mut tx = tx;
                let standing = standing(&mut tx, order).await?.filter(|standing| standing.user == user);
                let Some(standing) = standing else { return Ok(Ending::RollBack(Begun::Unknown)) };
                let row = sqlx::query("SELECT total_cents, expires_at_ms FROM orders WHERE id = ?");
                let row = row.bind(order.as_i64()).fetch_one(&mut *tx).await?;
                let expires_at_ms = count(&row, "expires_at_ms")?;
                if standing.state != OrderState::PendingPayment || expires_at_ms <= now_ms {
                    return Ok(Ending::RollBack(Begun::Refused(standing.state)));
                }
                let amount = Cents::new(row.try_get("total_cents")?);
                let open = sqlx::query("SELECT id FROM payments WHERE order_id = ? AND method = ? AND status = ?");
                let open = open.bind(order.as_i64()).bind(method).bind(OPEN).fetch_optional(&mut *tx).await?;
                if let Some(open) = open {
                    return Ok(Ending::RollBack(Begun::Begun(Payment {
                        id: id(&open, "id", PaymentId::from_i64)?,
                        order,
                        amount,
                        expires_at_ms,
                    })));
                }
                sqlx::query(
                "INSERT INTO payments (id, order_id, method, status, amount_cents, created_at_ms, next_query_at_ms) \
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(number)
            .bind(order.as_i64())
            .bind(method)
            .bind(OPEN)
            .bind(amount.get())
            .bind(big(now_ms)?)
            .bind(big(now_ms.saturating_add(FIRST_QUERY_MS))?)
            .execute(&mut *tx)
            .await?;
                let id = PaymentId::from_i64(number).ok_or_else(|| StoreError::Ids(number.to_string()))?;
                Ok(Ending::Commit(tx, Begun::Begun(Payment { id, order, amount, expires_at_ms })))
            })
            .await
    }

    /// Takes in that money has come: the order is paid, once.
    ///
    /// # Errors
    /// If the database fails. The notice must be repeated then.
    pub async fn payment_arrived(self, notice: &Notice, now_ms: u64) -> Result<Arrived, StoreError> {
        // The id of the order, or of the refund, that late money becomes.
        let new = self.store.next_id()?;
        let after_lost_commit = look_up(|tx, arrived| find_payment(tx, notice, arrived));
        let taken = self.store.write(Write::TakePayment, after_lost_commit, |tx| {
            take_payment(tx, notice, new, (self.store.settings.late_hold_ms, now_ms))
        });
        match taken.await {
            Err(StoreError::Database(error)) if is_taken(&error) => Ok(Arrived::OtherTrade),
            taken => taken,
        }
    }
}

/// Makes a payment's row this transaction's own.
const LOCK: &str = "UPDATE payments SET status = status WHERE id = ?";

/// Whether a payment has paid its order.
const PAID_BY: &str = "SELECT 1 FROM payments p JOIN orders o ON o.id = p.order_id AND o.paid_by = p.id WHERE p.id = ?";

/// Whether the transaction that took `notice` in, with the outcome `arrived`, is committed.
async fn find_payment(mut tx: Tx, notice: &Notice, arrived: Arrived) -> Result<Found, StoreError> {
    lock_row(&mut tx, LOCK, notice.payment.as_i64()).await?;
    Ok(Found::from(match arrived {
        Arrived::Paid => exists(&mut tx, PAID_BY, notice.payment.as_i64()).await?,
        Arrived::HeldAgain(order) => exists(&mut tx, "SELECT 1 FROM orders WHERE id = ?", order.as_i64()).await?,
        Arrived::GoesBack(refund) => exists(&mut tx, "SELECT 1 FROM refunds WHERE id = ?", refund.as_i64()).await?,
        Arrived::Again | Arrived::Unknown | Arrived::WrongAmount | Arrived::OtherTrade => false,
    }))
}

async fn take_payment(
    mut tx: Tx,
    notice: &Notice,
    new: i64,
    (late_hold_ms, now_ms): (u64, u64),
) -> Result<Ending<Arrived>, StoreError> {
    let payment = notice.payment.as_i64();
    if !lock_row(&mut tx, LOCK, payment).await? {
        return Ok(Ending::RollBack(Arrived::Unknown));
    }
    let row =
        sqlx::query("SELECT order_id, method, status, amount_cents, provider_trade_no FROM payments WHERE id = ?");
    let row = row.bind(payment).fetch_one(&mut *tx).await?;
    if row.try_get::<&str, _>("method")? != notice.method {
        return Ok(Ending::RollBack(Arrived::Unknown));
    }
    if row.try_get::<i64, _>("amount_cents")? != notice.amount.get() {
        return Ok(Ending::RollBack(Arrived::WrongAmount));
    }
    // A closed trade takes no money, but its last notice may still be under way.
    if ![OPEN, CLOSED].contains(&row.try_get::<&str, _>("status")?) {
        let first: Option<&str> = row.try_get("provider_trade_no")?;
        return Ok(Ending::RollBack(if first == Some(&*notice.trade_no) {
            Arrived::Again
        } else {
            Arrived::OtherTrade
        }));
    }
    let sql = "UPDATE payments SET status = ?, provider_trade_no = ?, notified_at_ms = ?, next_query_at_ms = NULL WHERE id = ?";
    sqlx::query(sql).bind(SUCCEEDED).bind(&notice.trade_no).bind(big(now_ms)?).bind(payment).execute(&mut *tx).await?;
    let order = id(&row, "order_id", OrderId::from_i64)?;
    let standing = standing(&mut tx, order).await?;
    let standing = standing.ok_or_else(|| StoreError::contradiction("a payment without its order"))?;
    let arrived = match standing.state.apply(Happening::Pay) {
        Ok(to) => {
            step(&mut tx, &standing, to, now_ms).await?;
            let query = sqlx::query("UPDATE orders SET paid_by = ? WHERE id = ?");
            query.bind(payment).bind(order.as_i64()).execute(&mut *tx).await?;
            Arrived::Paid
        }
        Err(_) => take_late(&mut tx, &standing, notice, new, (late_hold_ms, now_ms)).await?,
    };
    Ok(Ending::Commit(tx, arrived))
}

/// Money for an order that can't be paid any more. An order of the shop is replaced by a new order if [`buys_again`]
/// allows it and its units are still in stock, and only once; the closed order stays closed. Units of a sale belong
/// to the next buyer. All other money goes back.
async fn take_late(
    tx: &mut Tx,
    standing: &Standing,
    notice: &Notice,
    new: i64,
    (late_hold_ms, now_ms): (u64, u64),
) -> Result<Arrived, StoreError> {
    let is_replaced = is_replaced(tx, standing.order).await?;
    let is_closed = standing.state == OrderState::Closed && standing.activity.is_none();
    if is_closed
        && !is_replaced
        && buys_again(tx, standing.order, now_ms.saturating_sub(late_hold_ms)).await?
        && take_units_again(tx, standing.order).await?
    {
        let again = OrderId::from_i64(new).ok_or_else(|| StoreError::Ids(new.to_string()))?;
        copy_as_paid(tx, (standing.order, again), notice.payment, now_ms).await?;
        let query = sqlx::query("UPDATE orders SET replaced_by = ? WHERE id = ? AND replaced_by IS NULL");
        let replaced = query.bind(again.as_i64()).bind(standing.order.as_i64()).execute(&mut **tx).await?;
        if replaced.rows_affected() != 1 {
            let order = standing.order;
            return Err(StoreError::contradiction(format!("order {order} was replaced while it was locked")));
        }
        let query = sqlx::query("UPDATE payments SET order_id = ? WHERE id = ?");
        query.bind(again.as_i64()).bind(notice.payment.as_i64()).execute(&mut **tx).await?;
        tx.send([Outgoing::event(again, standing.user, OrderState::Bought(Fulfilment::Paid), now_ms)]);
        return Ok(Arrived::HeldAgain(again));
    }
    let purpose = match standing.state {
        OrderState::Closed | OrderState::Failed if !is_replaced => Purpose::Late,
        OrderState::PendingPayment
        | OrderState::Bought(_)
        | OrderState::Refunding(_)
        | OrderState::Refunded
        | OrderState::Closed
        | OrderState::Failed => Purpose::Twice,
    };
    let refund = send_back(tx, new, (standing.order, notice.payment), (purpose, notice.amount), now_ms).await?;
    Ok(Arrived::GoesBack(refund))
}

/// Whether late money may buy a closed order again: the timeout closed it and not its buyer, not before
/// `closed_since_ms`, all its products are on the shelf at the same price, and the buyer is not blocked. Otherwise an
/// unpaid order would be an option to buy at an old price.
async fn buys_again(tx: &mut Tx, order: OrderId, closed_since_ms: u64) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT 1 FROM orders o WHERE o.id = ? AND o.timed_out_at_ms >= ? \
         AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = o.user_id AND u.blocked <> 0) \
         AND NOT EXISTS (SELECT 1 FROM order_lines l LEFT JOIN skus s ON s.id = l.sku_id \
         LEFT JOIN products p ON p.id = s.product_id WHERE l.order_id = o.id \
         AND (p.id IS NULL OR p.on_shelf = 0 OR s.price_cents <> l.price_cents))",
    );
    let row = row.bind(order.as_i64()).bind(big(closed_since_ms)?).fetch_optional(&mut **tx).await?;
    Ok(row.is_some())
}

/// Whether late money has replaced `order`, which the transaction has locked.
async fn is_replaced(tx: &mut Tx, order: OrderId) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT replaced_by FROM orders WHERE id = ?").bind(order.as_i64());
    Ok(row.fetch_one(&mut **tx).await?.try_get::<Option<i64>, _>("replaced_by")?.is_some())
}

/// Takes the units of a closed order out of the stock once more; `false`, and none is taken, where one lacks.
async fn take_units_again(tx: &mut Tx, order: OrderId) -> Result<bool, StoreError> {
    let rows = sqlx::query("SELECT sku_id, quantity FROM order_lines WHERE order_id = ? ORDER BY sku_id");
    let rows = rows.bind(order.as_i64()).fetch_all(&mut **tx).await?;
    let mut taken: Vec<(i64, i64)> = Vec::new();
    for row in &rows {
        let (sku, units): (i64, i64) = (row.try_get("sku_id")?, row.try_get("quantity")?);
        let query = sqlx::query("UPDATE skus SET stock = stock - ? WHERE id = ? AND stock >= ?");
        if query.bind(units).bind(sku).bind(units).execute(&mut **tx).await?.rows_affected() == 1 {
            taken.push((sku, units));
            continue;
        }
        for (sku, units) in taken {
            let query = sqlx::query("UPDATE skus SET stock = stock + ? WHERE id = ?");
            query.bind(units).bind(sku).execute(&mut **tx).await?;
        }
        return Ok(false);
    }
    for (sku, units) in taken {
        stock_moved(tx, sku, -units).await?;
    }
    Ok(!rows.is_empty())
}

/// Writes a new order with the lines, price and address of another one, paid.
async fn copy_as_paid(
    tx: &mut Tx,
    (from, to): (OrderId, OrderId),
    paid_by: PaymentId,
    now_ms: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO orders \
         (id, user_id, status, total_cents, created_at_ms, expires_at_ms, updated_at_ms, address, paid_by) \
         SELECT ?, user_id, ?, total_cents, ?, ?, ?, address, ? FROM orders WHERE id = ?",
    )
    .bind(to.as_i64())
    .bind(OrderState::Bought(Fulfilment::Paid).as_str())
    .bind(big(now_ms)?)
    .bind(big(now_ms)?)
    .bind(big(now_ms)?)
    .bind(paid_by.as_i64())
    .bind(from.as_i64())
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO order_lines (order_id, line_no, sku_id, title, price_cents, quantity) \
         SELECT ?, line_no, sku_id, title, price_cents, quantity FROM order_lines WHERE order_id = ?",
    )
    .bind(to.as_i64())
    .bind(from.as_i64())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
