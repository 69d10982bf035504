//! Opening the ledger of a sale.
//!
//! A sale's units are either its row's, which an end or a change gives back to the SKU, or its ledger's, which
//! alone gives them back. The row says which: `opening` is written before the ledger is asked to open, and an end
//! or a change reads it under the row's lock. The mirror could not say it, because it follows the ledger later.

use contract::ActivityId;
use serde_json::json;

use crate::{
    Sale, StoreError,
    accounts::audit_log::Change,
    areas::Sales,
    db::{Tx, big, id},
    sales::activities::{locked, move_stock},
    tx::{Ending, Repeat, Write},
};

/// Whether a sale's ledger may be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// The ledger is to be opened with the sale's stock and rules. It may have been opened already.
    Open(Sale),
    /// The journal says that it was opened. It is never opened a second time: it may have sold.
    Opened(Sale),
    /// There is no such sale.
    Unknown,
    /// The sale ended before its ledger was opened; its units are the SKU's again.
    Over,
    /// The sale is a draft.
    Draft,
}

/// Gives the units of a sale whose ledger was never opened back to the SKU.
pub(crate) async fn give_back_unopened(tx: &mut Tx, sale: &mut Sale) -> Result<(), StoreError> {
    assert!(!sale.opening, "the units of an open ledger are not the row's to give");
    let given_back = move_stock(tx, sale.activity.sku, 0, sale.stock).await?;
    assert!(given_back, "units can always go back to a SKU");
    sale.stock = 0;
    Ok(())
}

impl Sales<'_> {
    /// Decides that a sale's ledger is opened, unless the sale is over. Everybody who opens a ledger asks here
    /// first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn decide_opening(self, activity: ActivityId, now_ms: u64) -> Result<Opening, StoreError> {
        let repeat = Repeat("an opening that was decided stays so, and the units of a sale that is over go back once");
        self.store
            .write(Write::DecideOpening, repeat, |tx| async {
                let mut tx = tx;
                let Some(mut sale) = locked(&mut tx, activity).await? else {
                    return Ok(Ending::RollBack(Opening::Unknown));
                };
                if sale.ledger_open {
                    return Ok(Ending::RollBack(Opening::Opened(sale)));
                }
                if sale.opening {
                    return Ok(Ending::RollBack(Opening::Open(sale)));
                }
                let is_over = sale.activity.rules.ends_at_ms <= now_ms;
                if sale.is_draft && !is_over {
                    return Ok(Ending::RollBack(Opening::Draft));
                }
                if is_over {
                    give_back_unopened(&mut tx, &mut sale).await?;
                }
                sale.opening = !is_over;
                sqlx::query("UPDATE activities SET opening = ?, stock = ? WHERE id = ?")
                    .bind(i64::from(sale.opening))
                    .bind(big(sale.stock)?)
                    .bind(activity.as_i64())
                    .execute(&mut *tx)
                    .await?;
                let state = |opening: bool| json!({ "opening": opening });
                tx.note(Change::new("activity", activity.as_i64(), state(false), state(!is_over)));
                Ok(Ending::Commit(tx, if is_over { Opening::Over } else { Opening::Open(sale) }))
            })
            .await
    }

    /// Sales that have no ledger as far as the journal was taken in, and for which [`Sales::decide_opening`] is
    /// due: those whose opening was decided, those that start within `lead_ms` or have started and are no drafts, and
    /// those that ended with units that their SKU has yet to get back.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sales_to_open(self, now_ms: u64, lead_ms: u64) -> Result<Vec<ActivityId>, StoreError> {
        let rows = sqlx::query(
            "SELECT a.id FROM activities a WHERE (a.opening = 1 OR (a.starts_at_ms <= ? AND ((a.ends_at_ms > ? AND \
             a.draft = 0) OR (a.ends_at_ms <= ? AND a.stock > 0)))) AND NOT EXISTS (SELECT 1 FROM ledgers l WHERE l.activity_id = a.id) \
             ORDER BY a.starts_at_ms",
        )
        .bind(big(now_ms.saturating_add(lead_ms))?)
        .bind(big(now_ms)?)
        .bind(big(now_ms)?)
        .fetch_all(self.store.readers())
        .await?;
        rows.iter().map(|row| id(row, "id", ActivityId::from_i64)).collect()
    }
}
