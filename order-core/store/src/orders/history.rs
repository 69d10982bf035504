//! What has happened to an order, as far as rows tell when.

use contract::{Cents, OrderId};
use sqlx::Row;

use crate::{
    StoreError,
    areas::Orders,
    db::{DbRow, count},
    money::payments::SUCCEEDED,
};

/// Rows of one kind that are read for an order.
const ROWS_MAX: i64 = 100;

/// One line of an order's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderEvent {
    /// When, epoch milliseconds.
    pub at_ms: u64,
    /// What.
    pub what: OrderHappening,
}

/// What can happen to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderHappening {
    /// It was made.
    Ordered,
    /// A payment was begun.
    PaymentBegun(Cents),
    /// A payment was accepted.
    Paid(Cents),
    /// Nobody paid in time.
    TimedOut,
    /// A refund was asked for, or had to be made; its present status.
    Refund(Cents, String),
}

impl Orders<'_> {
    /// The history of an order, the oldest first; empty where there is no such order.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn order_history(self, order: OrderId) -> Result<Vec<OrderEvent>, StoreError> {
        let id = order.as_i64();
        let query = sqlx::query("SELECT created_at_ms, timed_out_at_ms FROM orders WHERE id = ?").bind(id);
        let Some(row) = query.fetch_optional(self.store.readers()).await? else { return Ok(Vec::new()) };
        let mut events = vec![OrderEvent { at_ms: count(&row, "created_at_ms")?, what: OrderHappening::Ordered }];
        if row.try_get::<Option<i64>, _>("timed_out_at_ms")?.is_some() {
            events.push(OrderEvent { at_ms: count(&row, "timed_out_at_ms")?, what: OrderHappening::TimedOut });
        }
        let sql = "SELECT status, amount_cents, created_at_ms, notified_at_ms FROM payments WHERE order_id = ? ORDER BY id LIMIT ?";
        for row in sqlx::query(sql).bind(id).bind(ROWS_MAX).fetch_all(self.store.readers()).await? {
            payment_events(&row, &mut events)?;
        }
        let sql = "SELECT status, amount_cents, created_at_ms FROM refunds WHERE order_id = ? ORDER BY id LIMIT ?";
        for row in sqlx::query(sql).bind(id).bind(ROWS_MAX).fetch_all(self.store.readers()).await? {
            let what = OrderHappening::Refund(Cents::new(row.try_get("amount_cents")?), row.try_get("status")?);
            events.push(OrderEvent { at_ms: count(&row, "created_at_ms")?, what });
        }
        events.sort_by_key(|event| event.at_ms);
        Ok(events)
    }
}

fn payment_events(row: &DbRow, events: &mut Vec<OrderEvent>) -> Result<(), StoreError> {
    let amount = Cents::new(row.try_get("amount_cents")?);
    events.push(OrderEvent { at_ms: count(row, "created_at_ms")?, what: OrderHappening::PaymentBegun(amount) });
    let status: String = row.try_get("status")?;
    let notified_ms: Option<i64> = row.try_get("notified_at_ms")?;
    // A payment whose money went back later was accepted, too.
    if notified_ms.is_some() && (status == SUCCEEDED || status == "refunded") {
        events.push(OrderEvent { at_ms: count(row, "notified_at_ms")?, what: OrderHappening::Paid(amount) });
    }
    Ok(())
}
