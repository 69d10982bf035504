//! Money that goes back: asked for, decided, sent, and only then gone.

use contract::{Cents, OrderId, PaymentId, RefundId, UserId};
use sqlx::Row;

use crate::{
    StoreError,
    db::{DbRow, Store, Tx, big, id, retried},
    moves::{Moved, standing, step},
    order_state::{Happening, OrderState},
    payments::SUCCEEDED,
};

/// `refunds.status`: a buyer asks.
const REQUESTED: &str = "requested";
/// The provider is to be told.
const APPROVED: &str = "approved";
/// The shop keeps the money.
const REFUSED: &str = "refused";
/// The provider has sent it.
const DONE: &str = "done";
/// `payments.status` of money that went back.
const REFUNDED: &str = "refunded";

/// What became of the wish to have the money back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedRefund {
    /// The shop decides.
    Asked(RefundId),
    /// The user has no such order.
    Unknown,
    /// There is no money to give back in this state.
    Refused(OrderState),
}

/// Money that a provider is to send back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRefund {
    /// The provider knows it by this, and sends it once however often it is asked.
    pub refund: RefundId,
    /// Of which payment.
    pub payment: PaymentId,
    /// Which provider.
    pub method: String,
    /// The provider's own name for the payment.
    pub trade_no: String,
    /// How much.
    pub amount: Cents,
}

impl Store {
    /// `user` wants the money for an order back.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn ask_refund(
        &self,
        (user, order): (UserId, OrderId),
        reason: &str,
        now_ms: u64,
    ) -> Result<AskedRefund, StoreError> {
        retried(|| async {
            let mut tx = self.begin_write().await?;
            let standing = standing(&mut tx, order).await?.filter(|standing| standing.user == user);
            let Some(standing) = standing else { return Ok(AskedRefund::Unknown) };
            let Ok(to) = standing.state.apply(Happening::AskRefund) else {
                return Ok(AskedRefund::Refused(standing.state));
            };
            let row = sqlx::query("SELECT id, amount_cents FROM payments WHERE order_id = ? AND status = ?");
            let row = row.bind(order.as_i64()).bind(SUCCEEDED).fetch_optional(&mut *tx).await?;
            let Some(payment) = row else { return Ok(AskedRefund::Refused(standing.state)) };
            let amount = Cents::new(payment.try_get("amount_cents")?);
            let payment = id(&payment, "id", PaymentId::from_i64)?;
            let refund = self.insert_refund(&mut tx, (order, payment), amount, (REQUESTED, reason), now_ms).await?;
            let records = step(&mut tx, &standing, to, now_ms).await?;
            self.send(&mut tx, records).await?;
            tx.commit().await?;
            self.bell.notify_one();
            Ok(AskedRefund::Asked(refund))
        })
        .await
    }

    /// The shop gives the money for an order back, or does not. Given back, the order is refunded once its
    /// provider has sent the money.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn decide_refund(&self, order: OrderId, approve: bool, now_ms: u64) -> Result<Moved, StoreError> {
        retried(|| async {
            let mut tx = self.begin_write().await?;
            let Some(standing) = standing(&mut tx, order).await? else { return Ok(Moved::Unknown) };
            let Ok(back) = standing.state.apply(Happening::RefuseRefund) else {
                return Ok(Moved::Refused(standing.state));
            };
            let decided = sqlx::query("UPDATE refunds SET status = ? WHERE order_id = ? AND status = ?")
                .bind(if approve { APPROVED } else { REFUSED })
                .bind(order.as_i64())
                .bind(REQUESTED)
                .execute(&mut *tx)
                .await?;
            if decided.rows_affected() == 0 {
                // It was decided before, and the money is on its way.
                return Ok(Moved::Refused(standing.state));
            }
            if !approve {
                let records = step(&mut tx, &standing, back, now_ms).await?;
                self.send(&mut tx, records).await?;
            }
            tx.commit().await?;
            self.bell.notify_one();
            Ok(Moved::To(if approve { standing.state } else { back }))
        })
        .await
    }

    /// Money that providers are to send back, the oldest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn due_refunds(&self, limit: u32) -> Result<Vec<DueRefund>, StoreError> {
        let rows = sqlx::query(
            "SELECT r.id, r.payment_id, r.amount_cents, p.method, p.provider_trade_no FROM refunds r \
             JOIN payments p ON p.id = r.payment_id WHERE r.status = ? ORDER BY r.id LIMIT ?",
        )
        .bind(APPROVED)
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        let due = |row: &DbRow| {
            let trade_no: Option<String> = row.try_get("provider_trade_no")?;
            Ok(DueRefund {
                refund: id(row, "id", RefundId::from_i64)?,
                payment: id(row, "payment_id", PaymentId::from_i64)?,
                method: row.try_get("method")?,
                trade_no: trade_no.unwrap_or_default(),
                amount: Cents::new(row.try_get("amount_cents")?),
            })
        };
        rows.iter().map(due).collect()
    }

    /// The provider has sent it. Telling so again changes nothing.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn refund_done(&self, due: &DueRefund, now_ms: u64) -> Result<(), StoreError> {
        retried(|| async {
            let mut tx = self.begin_write().await?;
            let done = sqlx::query("UPDATE refunds SET status = ? WHERE id = ? AND status = ?")
                .bind(DONE)
                .bind(due.refund.as_i64())
                .bind(APPROVED)
                .execute(&mut *tx)
                .await?;
            if done.rows_affected() == 0 {
                return Ok(());
            }
            let query = sqlx::query("UPDATE payments SET status = ? WHERE id = ?");
            query.bind(REFUNDED).bind(due.payment.as_i64()).execute(&mut *tx).await?;
            let row = sqlx::query("SELECT order_id FROM refunds WHERE id = ?");
            let row = row.bind(due.refund.as_i64()).fetch_one(&mut *tx).await?;
            let standing = standing(&mut tx, id(&row, "order_id", OrderId::from_i64)?).await?;
            // Money that came for nothing leaves its order where it is.
            if let Some(standing) = standing
                && let Ok(to) = standing.state.apply(Happening::Refund)
            {
                let records = step(&mut tx, &standing, to, now_ms).await?;
                self.send(&mut tx, records).await?;
            }
            tx.commit().await?;
            self.bell.notify_one();
            Ok(())
        })
        .await
    }

    /// Money that came for nothing goes back by itself.
    pub(crate) async fn add_refund(
        &self,
        tx: &mut Tx,
        of: (OrderId, PaymentId),
        amount: Cents,
        now_ms: u64,
    ) -> Result<RefundId, StoreError> {
        self.insert_refund(tx, of, amount, (APPROVED, "there was nothing to be paid any more"), now_ms).await
    }

    async fn insert_refund(
        &self,
        tx: &mut Tx,
        (order, payment): (OrderId, PaymentId),
        amount: Cents,
        (status, reason): (&str, &str),
        now_ms: u64,
    ) -> Result<RefundId, StoreError> {
        let number = self.next_id()?;
        sqlx::query(
            "INSERT INTO refunds (id, order_id, payment_id, status, amount_cents, reason, created_at_ms) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(number)
        .bind(order.as_i64())
        .bind(payment.as_i64())
        .bind(status)
        .bind(amount.get())
        .bind(reason)
        .bind(big(now_ms)?)
        .execute(&mut **tx)
        .await?;
        RefundId::from_i64(number).ok_or_else(|| StoreError::Ids(number.to_string()))
    }
}
