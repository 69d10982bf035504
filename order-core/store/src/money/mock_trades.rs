//! Trades of the mock payment platform, and which of them still need a notice to the shop.

use contract::{Cents, PaymentId, RefundId};
use sqlx::Row;

use crate::{
    StoreError,
    db::{DbRow, Store, Tx, big, count, id, is_taken, lock_row},
    tx::{Ending, Found, Repeat, Write, look_up},
};

/// `mock_trades.status`: the buyer has paid.
const PAID: &str = "paid";
/// The buyer has the money back.
const REFUNDED: &str = "refunded";

/// A trade that was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockTrade {
    /// The shop's name for it.
    pub payment: PaymentId,
    /// The platform's own.
    pub trade_no: String,
    /// How much.
    pub amount: Cents,
    /// The address to which the notice is sent.
    pub notify_url: String,
    /// How many notices failed.
    pub tries: u32,
}

impl Store {
    /// The buyer pays; `false` where that was so already.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn add_mock_trade(&self, trade: &MockTrade, now_ms: u64) -> Result<bool, StoreError> {
        // A payment has one trade, and each try to pay has a number of its own.
        let after_lost_commit = look_up(|mut tx: Tx, _: bool| async move {
            lock_row(&mut tx, LOCK, trade.payment.as_i64()).await?;
            let row = sqlx::query("SELECT 1 FROM mock_trades WHERE payment_id = ? AND trade_no = ?");
            let row = row.bind(trade.payment.as_i64()).bind(&trade.trade_no).fetch_optional(&mut *tx).await?;
            Ok(Found::from(row.is_some()))
        });
        self.write(Write::AddMockTrade, after_lost_commit, |tx| async {
            let mut tx = tx;
            let inserted = sqlx::query(
                "INSERT INTO mock_trades (payment_id, trade_no, amount_cents, notify_url, status, tries, \
                 notify_at_ms) VALUES (?, ?, ?, ?, ?, 0, ?)",
            )
            .bind(trade.payment.as_i64())
            .bind(&trade.trade_no)
            .bind(trade.amount.get())
            .bind(&trade.notify_url)
            .bind(PAID)
            .bind(big(now_ms)?)
            .execute(&mut *tx)
            .await;
            match inserted {
                Err(error) if is_taken(&error) => Ok(Ending::RollBack(false)),
                inserted => Ok(Ending::Commit(tx, inserted?.rows_affected() == 1)),
            }
        })
        .await
    }

    /// Trades that the shop is to be told of now.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn due_mock_trades(&self, now_ms: u64, limit: u32) -> Result<Vec<MockTrade>, StoreError> {
        let rows = sqlx::query("SELECT * FROM mock_trades WHERE notify_at_ms <= ? ORDER BY notify_at_ms LIMIT ?")
            .bind(big(now_ms)?)
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await?;
        let trade = |row: &DbRow| {
            Ok(MockTrade {
                payment: id(row, "payment_id", PaymentId::from_i64)?,
                trade_no: row.try_get("trade_no")?,
                amount: Cents::new(row.try_get("amount_cents")?),
                notify_url: row.try_get("notify_url")?,
                tries: u32::try_from(count(row, "tries")?).unwrap_or(u32::MAX),
            })
        };
        rows.iter().map(trade).collect()
    }

    /// The shop was told once more; again at `next_ms`, or never.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn mock_trade_told(&self, payment: PaymentId, next_ms: Option<u64>) -> Result<(), StoreError> {
        let after_lost_commit = look_up(|mut tx: Tx, before: Option<u64>| async move {
            let Some(before) = before else { return Ok(Found::Nothing) };
            Ok(match tries(&mut tx, payment).await? {
                Some(now) if now == before + 1 => Found::Committed,
                Some(now) if now == before => Found::Nothing,
                _ => Found::Unclear,
            })
        });
        let written = self.write(Write::MockTradeTold, after_lost_commit, |tx| async {
            let mut tx = tx;
            let before = tries(&mut tx, payment).await?;
            sqlx::query("UPDATE mock_trades SET tries = tries + 1, notify_at_ms = ? WHERE payment_id = ?")
                .bind(next_ms.map(big).transpose()?)
                .bind(payment.as_i64())
                .execute(&mut *tx)
                .await?;
            Ok(Ending::Commit(tx, before))
        });
        written.await.map(drop)
    }

    /// Refunds a trade; the same `refund` may be repeated. `false` where there is no such trade of this amount, or
    /// another refund has returned its money.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn refund_mock_trade(
        &self,
        (payment, refund): (PaymentId, RefundId),
        amount: Cents,
    ) -> Result<bool, StoreError> {
        self.write(Write::RefundMockTrade, Repeat("the same refund may be repeated"), |tx| async {
            let mut tx = tx;
            let refunded = sqlx::query(
                "UPDATE mock_trades SET status = ?, refund_id = ? \
                 WHERE payment_id = ? AND amount_cents = ? AND (refund_id IS NULL OR refund_id = ?)",
            )
            .bind(REFUNDED)
            .bind(refund.as_i64())
            .bind(payment.as_i64())
            .bind(amount.get())
            .bind(refund.as_i64())
            .execute(&mut *tx)
            .await?;
            Ok(Ending::Commit(tx, refunded.rows_affected() == 1))
        })
        .await
    }
}

/// Makes a trade's row this transaction's own.
const LOCK: &str = "UPDATE mock_trades SET tries = tries WHERE payment_id = ?";

/// How often the shop was told of a trade, which becomes this transaction's own.
async fn tries(tx: &mut Tx, payment: PaymentId) -> Result<Option<u64>, StoreError> {
    lock_row(tx, LOCK, payment.as_i64()).await?;
    let row = sqlx::query("SELECT tries FROM mock_trades WHERE payment_id = ?").bind(payment.as_i64());
    row.fetch_optional(&mut **tx).await?.map(|row| count(&row, "tries")).transpose()
}
