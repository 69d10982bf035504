//! Trades of the mock payment platform, and which of them still need a notice to the shop.

use contract::{Cents, PaymentId, RefundId, snowflake::first_at_ms};
use sqlx::Row;

use crate::{
    StoreError,
    areas::Money,
    db::{DbRow, Tx, big, count, id, is_taken, lock_row},
    money::unmatched::Billed,
    tx::{Ending, Found, Repeat, Write, look_up},
};

/// `mock_trades.status`: the buyer has the page before them.
const WAITING: &str = "waiting";
/// The shop has closed it.
const CLOSED: &str = "closed";
/// The buyer has paid.
const PAID: &str = "paid";
/// The buyer has the money back.
const REFUNDED: &str = "refunded";

/// Payments, and refunds, in a bill at most.
const BILL_ROWS_MAX: i64 = 100_000;

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

/// What a trade is at the mock platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockStatus {
    pub trade_no: String,
    pub amount: Cents,
    /// `waiting`, `paid`, `closed` or `refunded`.
    pub status: String,
}

impl Money<'_> {
    /// A buyer opens the page: the trade waits for them, unless it was known before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn open_mock_trade(self, trade: &MockTrade) -> Result<(), StoreError> {
        self.store
            .write(Write::OpenMockTrade, Repeat("a trade that is known is left alone"), |tx| async {
                let mut tx = tx;
                match insert(&mut tx, trade, WAITING, None).await {
                    Err(error) if is_taken(&error) => Ok(Ending::RollBack(())),
                    inserted => {
                        inserted?;
                        Ok(Ending::Commit(tx, ()))
                    }
                }
            })
            .await
    }

    /// A trade, if there is one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn mock_trade(self, payment: PaymentId) -> Result<Option<MockStatus>, StoreError> {
        let row = sqlx::query("SELECT trade_no, amount_cents, status FROM mock_trades WHERE payment_id = ?");
        let row = row.bind(payment.as_i64()).fetch_optional(self.store.readers()).await?;
        let status = |row: DbRow| {
            let (trade_no, status) = (row.try_get("trade_no")?, row.try_get("status")?);
            Ok(MockStatus { trade_no, amount: Cents::new(row.try_get("amount_cents")?), status })
        };
        row.map(status).transpose()
    }

    /// The amount of a refund that was sent, if it was.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn mock_refund(self, refund: RefundId) -> Result<Option<Cents>, StoreError> {
        let row = sqlx::query("SELECT amount_cents FROM mock_refunds WHERE id = ?").bind(refund.as_i64());
        let row = row.fetch_optional(self.store.readers()).await?;
        Ok(row.map(|row| row.try_get("amount_cents")).transpose()?.map(Cents::new))
    }

    /// Closes a trade that waits for its buyer; whether it is closed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn close_mock_trade(self, payment: PaymentId) -> Result<bool, StoreError> {
        let repeat = Repeat("a trade that is closed stays closed");
        self.store
            .write(Write::CloseMockTrade, repeat, |tx| async {
                let mut tx = tx;
                let query = sqlx::query("UPDATE mock_trades SET status = ? WHERE payment_id = ? AND status = ?");
                let query = query.bind(CLOSED).bind(payment.as_i64()).bind(WAITING);
                query.execute(&mut *tx).await?;
                let row = sqlx::query("SELECT status FROM mock_trades WHERE payment_id = ?").bind(payment.as_i64());
                let row = row.fetch_optional(&mut *tx).await?;
                let is_closed =
                    row.map(|row| row.try_get::<String, _>("status")).transpose()?.as_deref() == Some(CLOSED);
                Ok(if is_closed { Ending::Commit(tx, true) } else { Ending::RollBack(false) })
            })
            .await
    }

    /// The buyer pays; `false` where that was so already, or the trade is closed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_mock_trade(self, trade: &MockTrade, now_ms: u64) -> Result<bool, StoreError> {
        // A payment has one trade, and each try to pay has a number of its own.
        let after_lost_commit = look_up(|mut tx: Tx, _: bool| async move {
            lock_row(&mut tx, LOCK, trade.payment.as_i64()).await?;
            let row = sqlx::query("SELECT 1 FROM mock_trades WHERE payment_id = ? AND trade_no = ? AND status = ?");
            let row =
                row.bind(trade.payment.as_i64()).bind(&trade.trade_no).bind(PAID).fetch_optional(&mut *tx).await?;
            Ok(Found::from(row.is_some()))
        });
        self.store.write(Write::AddMockTrade, after_lost_commit, |tx| async {
            let mut tx = tx;
            let notify_at_ms = Some(big(now_ms)?);
            let query =
                "UPDATE mock_trades SET trade_no = ?, status = ?, notify_at_ms = ? WHERE payment_id = ? AND status = ?";
            let query = sqlx::query(query).bind(&trade.trade_no).bind(PAID).bind(notify_at_ms);
            let paid = query.bind(trade.payment.as_i64()).bind(WAITING).execute(&mut *tx).await?;
            if paid.rows_affected() == 1 {
                return Ok(Ending::Commit(tx, true));
            }
            let inserted = insert(&mut tx, trade, PAID, notify_at_ms).await;
            match inserted {
                Err(error) if is_taken(&error) => Ok(Ending::RollBack(false)),
                inserted => {
                    inserted?;
                    Ok(Ending::Commit(tx, true))
                }
            }
        })
        .await
    }

    /// Trades whose notice is due now.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn due_mock_trades(self, now_ms: u64, limit: u32) -> Result<Vec<MockTrade>, StoreError> {
        let rows = sqlx::query("SELECT * FROM mock_trades WHERE notify_at_ms <= ? ORDER BY notify_at_ms LIMIT ?")
            .bind(big(now_ms)?)
            .bind(i64::from(limit))
            .fetch_all(self.store.readers())
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

    /// Money that moved at the mock platform: payments whose trade number begins with `prefix`, which is a day, and refunds
    /// that were asked for in this time.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn mock_bill(self, prefix: &str, (from_ms, to_ms): (u64, u64)) -> Result<Vec<Billed>, StoreError> {
        let sql = "SELECT payment_id, trade_no, amount_cents FROM mock_trades WHERE status IN (?, ?) AND trade_no LIKE ? \
                   ORDER BY payment_id LIMIT ?";
        let query = sqlx::query(sql).bind(PAID).bind(REFUNDED).bind(format!("{prefix}%")).bind(BILL_ROWS_MAX);
        let mut rows = query.fetch_all(self.store.readers()).await?;
        let paid = rows.len();
        let sql = "SELECT r.id AS id, r.payment_id AS payment_id, r.amount_cents AS amount_cents, t.trade_no AS trade_no \
                   FROM mock_refunds r JOIN mock_trades t ON t.payment_id = r.payment_id WHERE r.id >= ? AND r.id < ? \
                   ORDER BY r.id LIMIT ?";
        let query = sqlx::query(sql).bind(first_at_ms(from_ms)).bind(first_at_ms(to_ms)).bind(BILL_ROWS_MAX);
        rows.extend(query.fetch_all(self.store.readers()).await?);
        let billed = |(at, row): (usize, &DbRow)| {
            let refund = if at < paid { None } else { Some(Some(id(row, "id", RefundId::from_i64)?)) };
            let (trade_no, amount) = (row.try_get("trade_no")?, Cents::new(row.try_get("amount_cents")?));
            Ok(Billed { trade_no, payment: Some(id(row, "payment_id", PaymentId::from_i64)?), amount, refund })
        };
        rows.iter().enumerate().map(billed).collect()
    }

    /// Counts a notice to the shop; the next one is due at `next_ms`, if any.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn mock_trade_told(self, payment: PaymentId, next_ms: Option<u64>) -> Result<(), StoreError> {
        let after_lost_commit = look_up(|mut tx: Tx, before: Option<u64>| async move {
            let Some(before) = before else { return Ok(Found::Nothing) };
            Ok(match tries(&mut tx, payment).await? {
                Some(now) if now == before + 1 => Found::Committed,
                Some(now) if now == before => Found::Nothing,
                _ => Found::Unclear,
            })
        });
        let written = self.store.write(Write::MockTradeTold, after_lost_commit, |tx| async {
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

    /// Refunds a trade, or a part of it; the same `refund` may be repeated. `false` where there is no such trade, or
    /// its refunds would exceed it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn refund_mock_trade(
        self,
        (payment, refund): (PaymentId, RefundId),
        amount: Cents,
    ) -> Result<bool, StoreError> {
        self.store.write(Write::RefundMockTrade, Repeat("the same refund may be repeated"), |tx| async {
            let mut tx = tx;
            if !lock_row(&mut tx, LOCK, payment.as_i64()).await? {
                return Ok(Ending::RollBack(false));
            }
            let row = sqlx::query("SELECT payment_id, amount_cents FROM mock_refunds WHERE id = ?");
            if let Some(row) = row.bind(refund.as_i64()).fetch_optional(&mut *tx).await? {
                let first: (i64, i64) = (row.try_get("payment_id")?, row.try_get("amount_cents")?);
                return Ok(Ending::RollBack(first == (payment.as_i64(), amount.get())));
            }
            let row = sqlx::query(
                "SELECT t.status AS status, t.amount_cents AS paid, CAST(COALESCE(SUM(r.amount_cents), 0) AS SIGNED) AS refunded \
                 FROM mock_trades t LEFT JOIN mock_refunds r ON r.payment_id = t.payment_id WHERE t.payment_id = ? \
                 GROUP BY t.payment_id, t.amount_cents, t.status",
            );
            let row = row.bind(payment.as_i64()).fetch_one(&mut *tx).await?;
            let left = row.try_get::<i64, _>("paid")? - row.try_get::<i64, _>("refunded")?;
            if row.try_get::<&str, _>("status")? != PAID || !(1..=left).contains(&amount.get()) {
                return Ok(Ending::RollBack(false));
            }
            sqlx::query("INSERT INTO mock_refunds (id, payment_id, amount_cents) VALUES (?, ?, ?)")
                .bind(refund.as_i64())
                .bind(payment.as_i64())
                .bind(amount.get())
                .execute(&mut *tx)
                .await?;
            if amount.get() == left {
                let query = sqlx::query("UPDATE mock_trades SET status = ? WHERE payment_id = ?");
                query.bind(REFUNDED).bind(payment.as_i64()).execute(&mut *tx).await?;
            }
            Ok(Ending::Commit(tx, true))
        })
        .await
    }
}

async fn insert(tx: &mut Tx, trade: &MockTrade, status: &str, notify_at_ms: Option<i64>) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO mock_trades (payment_id, trade_no, amount_cents, notify_url, status, tries, notify_at_ms) \
                  VALUES (?, ?, ?, ?, ?, 0, ?)";
    let query = sqlx::query(insert).bind(trade.payment.as_i64()).bind(&trade.trade_no).bind(trade.amount.get());
    query.bind(&trade.notify_url).bind(status).bind(notify_at_ms).execute(&mut **tx).await.map(drop)
}

/// Locks a trade's row for this transaction.
const LOCK: &str = "UPDATE mock_trades SET tries = tries WHERE payment_id = ?";

/// How many notices of a trade the shop got; locks the row for this transaction.
async fn tries(tx: &mut Tx, payment: PaymentId) -> Result<Option<u64>, StoreError> {
    lock_row(tx, LOCK, payment.as_i64()).await?;
    let row = sqlx::query("SELECT tries FROM mock_trades WHERE payment_id = ?").bind(payment.as_i64());
    row.fetch_optional(&mut **tx).await?.map(|row| count(&row, "tries")).transpose()
}
