//! Payments whose money has not come: when the platform is asked about them, and when their trades are closed.

use contract::{OrderId, PaymentId};
use domain::order_state::OrderState;
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    areas::Money,
    db::{Db, DbRow, Tx, big, count, id, push_in},
    money::payments::{CLOSED, OPEN},
    tx::{Ending, Repeat, Write},
};

/// The first question about a payment comes so long after it began, in milliseconds; the notice is usually faster.
pub const FIRST_QUERY_MS: u64 = 30_000;

/// A payment whose money has not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPayment {
    pub payment: PaymentId,
    pub order: OrderId,
    /// The platform, by the name of its payment method.
    pub method: String,
    /// How often the platform was asked.
    pub queries: u64,
    /// The order waits for this payment. Otherwise the trade is to be closed.
    pub is_wanted: bool,
    /// The buyer can't pay after this, epoch milliseconds.
    pub expires_at_ms: u64,
}

const SELECT: &str = "SELECT p.id AS id, p.order_id AS order_id, p.method AS method, p.queries AS queries, \
     o.status AS status, o.expires_at_ms AS expires_at_ms FROM payments p JOIN orders o ON o.id = p.order_id";

impl Money<'_> {
    /// Open payments of `orders`, at most `limit`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn open_payments(self, orders: &[OrderId], limit: u32) -> Result<Vec<OpenPayment>, StoreError> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<Db>::new(SELECT);
        query.push(" WHERE p.status = ").push_bind(OPEN).push(" AND p.order_id");
        push_in(&mut query, orders.iter().map(|order| order.as_i64()));
        query.push(" ORDER BY p.id LIMIT ").push_bind(i64::from(limit));
        query.build().fetch_all(self.store.readers()).await?.iter().map(open_payment).collect()
    }

    /// Open payments about which the platform is to be asked now, those that wait longest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn due_queries(self, now_ms: u64, limit: u32) -> Result<Vec<OpenPayment>, StoreError> {
        let mut query = QueryBuilder::<Db>::new(SELECT);
        query.push(" WHERE p.next_query_at_ms <= ").push_bind(big(now_ms)?).push(" AND p.status = ").push_bind(OPEN);
        query.push(" ORDER BY p.next_query_at_ms, p.id LIMIT ").push_bind(i64::from(limit));
        query.build().fetch_all(self.store.readers()).await?.iter().map(open_payment).collect()
    }

    /// The platform was asked, and the payment is still open: it is asked again at `next_ms`, or never.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn query_later(self, open: &OpenPayment, next_ms: Option<u64>) -> Result<(), StoreError> {
        let next_ms = next_ms.map(big).transpose()?;
        self.store
            .write(Write::QueryLater, Repeat("a question is known by its number"), |tx| async {
                let mut tx = tx;
                let sql = "UPDATE payments SET queries = queries + 1, next_query_at_ms = ? \
                       WHERE id = ? AND status = ? AND queries = ?";
                let query = sqlx::query(sql).bind(next_ms).bind(open.payment.as_i64()).bind(OPEN);
                query.bind(big(open.queries)?).execute(&mut *tx).await?;
                Ok(Ending::Commit(tx, ()))
            })
            .await
    }

    /// Nobody can pay this any more. Money that comes all the same is taken in as late money.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn trade_closed(self, payment: PaymentId) -> Result<(), StoreError> {
        self.store
            .write(Write::TradeClosed, Repeat("a payment that is closed stays closed"), |tx| async {
                let mut tx = tx;
                let sql = "UPDATE payments SET status = ?, next_query_at_ms = NULL WHERE id = ? AND status = ?";
                sqlx::query(sql).bind(CLOSED).bind(payment.as_i64()).bind(OPEN).execute(&mut *tx).await?;
                Ok(Ending::Commit(tx, ()))
            })
            .await
    }
}

/// Has the platform asked soon about the open payments of orders that do not wait for payment any more: their trades are
/// to be closed.
pub(crate) async fn close_trades(tx: &mut Tx, orders: &[i64], now_ms: u64) -> Result<(), StoreError> {
    let mut query = QueryBuilder::<Db>::new("UPDATE payments SET next_query_at_ms = ");
    query.push_bind(big(now_ms)?).push(" WHERE status = ").push_bind(OPEN).push(" AND order_id");
    push_in(&mut query, orders.iter().copied());
    query.build().execute(&mut **tx).await?;
    Ok(())
}

fn open_payment(row: &DbRow) -> Result<OpenPayment, StoreError> {
    Ok(OpenPayment {
        payment: id(row, "id", PaymentId::from_i64)?,
        order: id(row, "order_id", OrderId::from_i64)?,
        method: row.try_get("method")?,
        queries: count(row, "queries")?,
        is_wanted: row.try_get::<&str, _>("status")? == OrderState::PendingPayment.as_str(),
        expires_at_ms: count(row, "expires_at_ms")?,
    })
}
