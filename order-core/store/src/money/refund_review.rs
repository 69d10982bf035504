//! Refunds as staff see them: what a buyer asks for, and what could not be sent.

use std::collections::BTreeMap;

use contract::{Cents, OrderId, PaymentId, RefundId};
use domain::order_state::{Fulfilment, OrderState};
use serde_json::json;
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    accounts::audit_log::Change,
    areas::Money,
    db::{Db, DbRow, Tx, big, count, id, lock_row, push_in, quantity},
    money::{
        payments::SUCCEEDED,
        refunds::{APPROVED, PARKED, Purpose, REQUESTED, purpose_of},
    },
    page::{Listed, Page},
    tx::{Ending, Repeat, Write},
};

/// The words of `refunds.status`.
pub const REFUND_STATUSES: [&str; 5] = [REQUESTED, APPROVED, "refused", "done", PARKED];

/// The method of payments of zero, which no platform knows of.
const NO_METHOD: &str = "none";

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    pub id: RefundId,
    pub order: OrderId,
    pub payment: PaymentId,
    /// The method of the payment.
    pub method: String,
    /// One of [`REFUND_STATUSES`].
    pub status: String,
    pub purpose: Purpose,
    pub amount: Cents,
    /// The buyer's words, or why the money goes back by itself.
    pub reason: String,
    pub created_at_ms: u64,
    /// Tries to send it that failed.
    pub tries: u64,
    /// When it is tried next, epoch milliseconds. It counts only while the refund is approved.
    pub next_try_at_ms: u64,
    /// Why the latest try failed.
    pub last_error: Option<String>,
    /// Units by line of the order; empty for an amount, or for all that is left.
    pub lines: BTreeMap<u32, u32>,
}

const SELECT: &str = "SELECT r.*, p.method AS method FROM refunds r JOIN payments p ON p.id = r.payment_id";
const LOCK: &str = "UPDATE refunds SET status = status WHERE id = ?";

impl Money<'_> {
    /// Refunds, the newest first, of one status where one is named.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn refunds(self, status: Option<&str>, page: Page) -> Result<Listed<Refund>, StoreError> {
        let mut query = QueryBuilder::<Db>::new(SELECT);
        query.push(" WHERE r.id < ").push_bind(page.before);
        if let Some(status) = status {
            query.push(" AND r.status = ").push_bind(status.to_owned());
        }
        query.push(" ORDER BY r.id DESC LIMIT ").push_bind(page.rows());
        let rows = query.build().fetch_all(self.store.readers()).await?;
        Ok(page.cut(self.with_units(&rows).await?, |refund| refund.id.as_i64()))
    }

    /// A refund.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn refund(self, refund: RefundId) -> Result<Option<Refund>, StoreError> {
        let mut query = QueryBuilder::<Db>::new(SELECT);
        query.push(" WHERE r.id = ").push_bind(refund.as_i64());
        let row = query.build().fetch_optional(self.store.readers()).await?;
        Ok(self.with_units(row.as_slice()).await?.pop())
    }

    /// The open requests of buyers, by order.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn requests_of(
        self,
        orders: impl IntoIterator<Item = OrderId>,
    ) -> Result<BTreeMap<OrderId, Refund>, StoreError> {
        let orders: Vec<i64> = orders.into_iter().map(OrderId::as_i64).collect();
        if orders.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut query = QueryBuilder::<Db>::new(SELECT);
        query.push(" WHERE r.status = ").push_bind(REQUESTED);
        query.push(" AND r.purpose = ").push_bind(Purpose::Order.as_str()).push(" AND r.order_id");
        push_in(&mut query, orders);
        let rows = query.build().fetch_all(self.store.readers()).await?;
        Ok(self.with_units(&rows).await?.into_iter().map(|refund| (refund.order, refund)).collect())
    }

    /// Has a parked refund, or an approved one that waits for its next try, tried at once and as often as a new one.
    /// The refund after that; it is unchanged if its status is any other. `None` without such a refund.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn retry_refund(self, refund: RefundId, now_ms: u64) -> Result<Option<Refund>, StoreError> {
        let next_try_at_ms = big(now_ms)?;
        self.store
            .write(Write::RetryRefund, Repeat("it sets values"), |tx| async {
                let mut tx = tx;
                if !lock_row(&mut tx, LOCK, refund.as_i64()).await? {
                    return Ok(Ending::RollBack(()));
                }
                let row = sqlx::query("SELECT status, tries FROM refunds WHERE id = ?").bind(refund.as_i64());
                let row = row.fetch_one(&mut *tx).await?;
                let (status, tries): (&str, i64) = (row.try_get("status")?, row.try_get("tries")?);
                if ![APPROVED, PARKED].contains(&status) {
                    return Ok(Ending::RollBack(()));
                }
                let before = json!({ "status": status, "tries": tries });
                let query = sqlx::query("UPDATE refunds SET status = ?, tries = 0, next_try_at_ms = ? WHERE id = ?");
                query.bind(APPROVED).bind(next_try_at_ms).bind(refund.as_i64()).execute(&mut *tx).await?;
                tx.note(Change::new("refund", refund.as_i64(), before, json!({ "status": APPROVED, "tries": 0 })));
                Ok(Ending::Commit(tx, ()))
            })
            .await?;
        self.refund(refund).await
    }

    async fn with_units(self, rows: &[DbRow]) -> Result<Vec<Refund>, StoreError> {
        let mut lines: BTreeMap<RefundId, BTreeMap<u32, u32>> = BTreeMap::new();
        if !rows.is_empty() {
            let ids: Vec<i64> = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
            let mut query =
                QueryBuilder::<Db>::new("SELECT refund_id, line_no, quantity FROM refund_lines WHERE refund_id");
            push_in(&mut query, ids);
            for row in query.build().fetch_all(self.store.readers()).await? {
                let of = lines.entry(id(&row, "refund_id", RefundId::from_i64)?).or_default();
                of.insert(quantity(&row, "line_no")?, quantity(&row, "quantity")?);
            }
        }
        let mut refund = |row: &DbRow| {
            let refund = id(row, "id", RefundId::from_i64)?;
            Ok(Refund {
                id: refund,
                order: id(row, "order_id", OrderId::from_i64)?,
                payment: id(row, "payment_id", PaymentId::from_i64)?,
                method: row.try_get("method")?,
                status: row.try_get("status")?,
                purpose: purpose_of(row)?,
                amount: Cents::new(row.try_get("amount_cents")?),
                reason: row.try_get("reason")?,
                created_at_ms: count(row, "created_at_ms")?,
                tries: count(row, "tries")?,
                next_try_at_ms: count(row, "next_try_at_ms")?,
                last_error: row.try_get("last_error")?,
                lines: lines.remove(&refund).unwrap_or_default(),
            })
        };
        rows.iter().map(&mut refund).collect()
    }
}

/// An order of zero was paid without a payment. It gets one of zero, under the order's own id, when its refund needs it.
pub(crate) async fn pay_for_nothing(tx: &mut Tx, order: OrderId, now_ms: u64) -> Result<(), StoreError> {
    let paid = OrderState::Bought(Fulfilment::Paid).as_str();
    let [shipped, completed] = [Fulfilment::Shipped, Fulfilment::Completed].map(Fulfilment::as_str);
    let is_free = "SELECT 1 FROM orders WHERE id = ? AND total_cents = 0 AND paid_by IS NULL AND status IN (?, ?, ?)";
    let query = sqlx::query(is_free).bind(order.as_i64()).bind(paid).bind(shipped).bind(completed);
    if query.fetch_optional(&mut **tx).await?.is_none() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO payments (id, order_id, method, status, amount_cents, created_at_ms) VALUES (?, ?, ?, ?, 0, ?)",
    )
    .bind(order.as_i64())
    .bind(order.as_i64())
    .bind(NO_METHOD)
    .bind(SUCCEEDED)
    .bind(big(now_ms)?)
    .execute(&mut **tx)
    .await?;
    sqlx::query("UPDATE orders SET paid_by = id WHERE id = ?").bind(order.as_i64()).execute(&mut **tx).await?;
    Ok(())
}
