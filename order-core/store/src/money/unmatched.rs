//! Money that fits nothing in the shop, and the comparison with the platform's bill that finds it.

use contract::{Cents, PaymentId, RefundId};
use serde_json::json;
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    accounts::audit_log::Change,
    areas::Money,
    db::{Db, DbRow, big, count, is_taken, lock_row},
    money::{
        payments::{CLOSED, OPEN},
        refunds::DONE,
    },
    page::{Listed, Page},
    tx::{Ending, Repeat, Write},
};

/// Characters of a resolution.
pub const RESOLUTION_CHARS_MAX: usize = 200;

/// Why money fits nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// The shop has no such payment.
    UnknownPayment,
    /// The payment is for another amount.
    WrongAmount,
    /// The payment has other money, or this money another payment.
    OtherTrade,
    /// The shop has no such refund.
    UnknownRefund,
    /// The shop does not know that this refund was sent, or has another amount.
    OtherRefund,
    /// The shop has taken this money in, and the bill of that day does not have it.
    NotInBill,
}

impl Mismatch {
    /// The word in the database's `unmatched_money.reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownPayment => "unknown_payment",
            Self::WrongAmount => "wrong_amount",
            Self::OtherTrade => "other_trade",
            Self::UnknownRefund => "unknown_refund",
            Self::OtherRefund => "other_refund",
            Self::NotInBill => "not_in_bill",
        }
    }
}

/// Money that is to be noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The payment method.
    pub method: String,
    /// The platform's name for the trade.
    pub trade_no: String,
    pub mismatch: Mismatch,
    /// The id of the payment or the refund, where the platform names one.
    pub subject_id: Option<i64>,
    pub amount: Cents,
}

/// Money that fits nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    pub id: i64,
    pub method: String,
    pub trade_no: String,
    /// As [`Mismatch::as_str`] has it.
    pub reason: String,
    /// The id of a payment or a refund, where the platform names one.
    pub subject_id: Option<i64>,
    pub amount: Cents,
    pub seen_at_ms: u64,
    /// When an admin found out where it belongs.
    pub resolved_at_ms: Option<u64>,
    pub resolution: Option<String>,
}

/// Money that moved, in a platform's bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Billed {
    pub trade_no: String,
    pub payment: Option<PaymentId>,
    pub amount: Cents,
    /// Where the money went back: the refund, if the platform names one of the shop's.
    pub refund: Option<Option<RefundId>>,
}

/// What the shop knows of a row of a bill.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Fits,
    /// The payment waits for this money: its notice was lost.
    Waits(PaymentId),
    Misfits(Mismatch),
}

/// What came of the comparison with a bill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows that fit.
    pub fitting: u64,
    /// Payments whose notice was lost; the platform is asked about them now.
    pub waiting: u64,
    /// Rows, and payments that the bill lacks, that an admin has to look at.
    pub unmatched: u64,
}

const LOCK: &str = "UPDATE unmatched_money SET reason = reason WHERE id = ?";

impl Money<'_> {
    /// Notes money that fits nothing, once.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn note_unmatched(self, found: &Found, now_ms: u64) -> Result<(), StoreError> {
        let id = self.store.next_id()?;
        let seen_at_ms = big(now_ms)?;
        self.store
            .write(Write::NoteUnmatched, Repeat("money that is noted is left alone"), |tx| async {
                let mut tx = tx;
                let inserted = sqlx::query(
                    "INSERT INTO unmatched_money (id, method, trade_no, reason, subject_id, amount_cents, seen_at_ms) \
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
                )
                .bind(id)
                .bind(&found.method)
                .bind(&found.trade_no)
                .bind(found.mismatch.as_str())
                .bind(found.subject_id.unwrap_or(0))
                .bind(found.amount.get())
                .bind(seen_at_ms)
                .execute(&mut *tx)
                .await;
                match inserted {
                    Err(error) if is_taken(&error) => Ok(Ending::RollBack(())),
                    inserted => {
                        inserted?;
                        Ok(Ending::Commit(tx, ()))
                    }
                }
            })
            .await
    }

    /// Money that fits nothing, the newest first; with `resolved`, only what is or is not resolved.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn unmatched(self, resolved: Option<bool>, page: Page) -> Result<Listed<Unmatched>, StoreError> {
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM unmatched_money WHERE id < ");
        query.push_bind(page.before);
        match resolved {
            Some(true) => drop(query.push(" AND resolved_at_ms IS NOT NULL")),
            Some(false) => drop(query.push(" AND resolved_at_ms IS NULL")),
            None => {}
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.rows());
        let rows = query.build().fetch_all(self.store.readers()).await?;
        let items = rows.iter().map(unmatched).collect::<Result<_, _>>()?;
        Ok(page.cut(items, |row: &Unmatched| row.id))
    }

    /// How many rows no admin has resolved.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn unresolved_money(self) -> Result<u64, StoreError> {
        let query = sqlx::query("SELECT COUNT(*) AS unresolved FROM unmatched_money WHERE resolved_at_ms IS NULL");
        count(&query.fetch_one(self.store.readers()).await?, "unresolved")
    }

    /// An admin says where the money belongs; the first word stays. `None` without such money.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn resolve_unmatched(
        self,
        id: i64,
        resolution: &str,
        now_ms: u64,
    ) -> Result<Option<Unmatched>, StoreError> {
        let resolved_at_ms = big(now_ms)?;
        self.store
            .write(Write::ResolveUnmatched, Repeat("the first word stays"), |tx| async {
                let mut tx = tx;
                if !lock_row(&mut tx, LOCK, id).await? {
                    return Ok(Ending::RollBack(None));
                }
                let row =
                    sqlx::query("SELECT * FROM unmatched_money WHERE id = ?").bind(id).fetch_one(&mut *tx).await?;
                let mut row = unmatched(&row)?;
                if row.resolved_at_ms.is_some() {
                    return Ok(Ending::RollBack(Some(row)));
                }
                let sql = "UPDATE unmatched_money SET resolved_at_ms = ?, resolution = ? WHERE id = ?";
                sqlx::query(sql).bind(resolved_at_ms).bind(resolution).bind(id).execute(&mut *tx).await?;
                (row.resolved_at_ms, row.resolution) = (Some(now_ms), Some(resolution.to_owned()));
                let before = json!({ "reason": row.reason, "amount_cents": row.amount });
                tx.note(Change::new("unmatched_money", id, before, json!({ "resolution": resolution })));
                Ok(Ending::Commit(tx, Some(row)))
            })
            .await
    }

    /// Compares the bill of `method` for the time from `from_ms` to `to_ms` with the shop's books. What fits nothing is
    /// noted, and a payment whose notice was lost is asked about now. The same bill may come again.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn compare_bill(
        self,
        method: &str,
        rows: &[Billed],
        (from_ms, to_ms): (u64, u64),
        now_ms: u64,
    ) -> Result<Compared, StoreError> {
        let mut compared = Compared::default();
        for row in rows {
            match self.known(method, row).await? {
                Known::Fits => compared.fitting += 1,
                Known::Waits(payment) => {
                    self.ask_soon(payment, now_ms).await?;
                    compared.waiting += 1;
                }
                Known::Misfits(mismatch) => {
                    let subject_id = match row.refund {
                        Some(refund) => refund.map(RefundId::as_i64),
                        None => row.payment.map(PaymentId::as_i64),
                    };
                    let (method, trade_no) = (method.to_owned(), row.trade_no.clone());
                    let found = Found { method, trade_no, mismatch, subject_id, amount: row.amount };
                    self.note_unmatched(&found, now_ms).await?;
                    compared.unmatched += 1;
                }
            }
        }
        let paid: std::collections::BTreeSet<&str> =
            rows.iter().filter(|row| row.refund.is_none()).map(|row| row.trade_no.as_str()).collect();
        for (payment, trade_no, amount) in self.taken_in(method, (from_ms, to_ms)).await? {
            if !paid.contains(trade_no.as_str()) {
                let (method, mismatch) = (method.to_owned(), Mismatch::NotInBill);
                let found = Found { method, trade_no, mismatch, subject_id: Some(payment), amount };
                self.note_unmatched(&found, now_ms).await?;
                compared.unmatched += 1;
            }
        }
        Ok(compared)
    }

    async fn known(self, method: &str, row: &Billed) -> Result<Known, StoreError> {
        if let Some(refund) = row.refund {
            let Some(refund) = refund else { return Ok(Known::Misfits(Mismatch::UnknownRefund)) };
            let Some(refund) = self.refund(refund).await? else { return Ok(Known::Misfits(Mismatch::UnknownRefund)) };
            let fits = refund.status == DONE && refund.amount == row.amount && refund.method == method;
            return Ok(if fits { Known::Fits } else { Known::Misfits(Mismatch::OtherRefund) });
        }
        let Some(payment) = row.payment else { return Ok(Known::Misfits(Mismatch::UnknownPayment)) };
        let query = "SELECT status, amount_cents, provider_trade_no FROM payments WHERE id = ? AND method = ?";
        let query = sqlx::query(query).bind(payment.as_i64()).bind(method);
        let Some(found) = query.fetch_optional(self.store.readers()).await? else {
            return Ok(Known::Misfits(Mismatch::UnknownPayment));
        };
        if found.try_get::<i64, _>("amount_cents")? != row.amount.get() {
            return Ok(Known::Misfits(Mismatch::WrongAmount));
        }
        let trade_no: Option<&str> = found.try_get("provider_trade_no")?;
        Ok(match (found.try_get::<&str, _>("status")?, trade_no) {
            (OPEN | CLOSED, _) => Known::Waits(payment),
            (_, Some(trade_no)) if trade_no == row.trade_no => Known::Fits,
            _ => Known::Misfits(Mismatch::OtherTrade),
        })
    }

    /// Payments that were taken in within this time: id, trade and amount.
    async fn taken_in(
        self,
        method: &str,
        (from_ms, to_ms): (u64, u64),
    ) -> Result<Vec<(i64, String, Cents)>, StoreError> {
        let sql = "SELECT id, provider_trade_no, amount_cents FROM payments WHERE method = ? AND notified_at_ms >= ? \
                   AND notified_at_ms < ? AND provider_trade_no IS NOT NULL ORDER BY id";
        let query = sqlx::query(sql).bind(method).bind(big(from_ms)?).bind(big(to_ms)?);
        let rows = query.fetch_all(self.store.readers()).await?;
        let row = |row: &DbRow| {
            let amount = Cents::new(row.try_get("amount_cents")?);
            Ok((row.try_get("id")?, row.try_get("provider_trade_no")?, amount))
        };
        rows.iter().map(row).collect()
    }

    /// Has the platform asked about a payment at once, also one whose trade it has called closed.
    async fn ask_soon(self, payment: PaymentId, now_ms: u64) -> Result<(), StoreError> {
        let next_ms = big(now_ms)?;
        self.store.write(Write::AskSoon, Repeat("it sets values"), |tx| async {
            let mut tx = tx;
            let sql =
                "UPDATE payments SET status = ?, queries = 0, next_query_at_ms = ? WHERE id = ? AND status IN (?, ?)";
            let query = sqlx::query(sql).bind(OPEN).bind(next_ms).bind(payment.as_i64()).bind(OPEN).bind(CLOSED);
            query.execute(&mut *tx).await?;
            Ok(Ending::Commit(tx, ()))
        })
        .await
    }
}

fn unmatched(row: &DbRow) -> Result<Unmatched, StoreError> {
    let resolved: Option<i64> = row.try_get("resolved_at_ms")?;
    let subject_id: i64 = row.try_get("subject_id")?;
    Ok(Unmatched {
        id: row.try_get("id")?,
        method: row.try_get("method")?,
        trade_no: row.try_get("trade_no")?,
        reason: row.try_get("reason")?,
        subject_id: (subject_id != 0).then_some(subject_id),
        amount: Cents::new(row.try_get("amount_cents")?),
        seen_at_ms: count(row, "seen_at_ms")?,
        resolved_at_ms: resolved.map(|at_ms| u64::try_from(at_ms).unwrap_or(0)),
        resolution: row.try_get("resolution")?,
    })
}
