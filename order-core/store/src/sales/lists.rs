//! Flash sales for staff, with filters, the newest first, and those that run.

use contract::{ActivityId, ProductId, SkuId};
use sqlx::QueryBuilder;

use super::activities::sale_of;
use crate::{
    Sale, StoreError,
    areas::Sales,
    db::{Db, big, id},
    page::{Listed, Page},
};

/// Where a published sale is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SalePhase {
    /// It starts later.
    Scheduled,
    /// It has started and not ended; it may be paused.
    Running,
    /// It has ended.
    Ended,
}

/// Running sales that [`Sales::running_sales_of`] names.
const RUNNING_MAX: i64 = 20;

impl Sales<'_> {
    /// Flash sales; with a phase, only those in it, and no drafts.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_sales(
        self,
        phase: Option<SalePhase>,
        now_ms: u64,
        page: Page,
    ) -> Result<Listed<Sale>, StoreError> {
        let now_ms = big(now_ms)?;
        let mut query = QueryBuilder::<Db>::new(SALES);
        query.push(" WHERE a.id < ").push_bind(page.before);
        match phase {
            Some(SalePhase::Scheduled) => {
                query.push(" AND a.starts_at_ms > ").push_bind(now_ms).push(" AND a.ends_at_ms > ").push_bind(now_ms);
            }
            Some(SalePhase::Running) => {
                query.push(" AND a.starts_at_ms <= ").push_bind(now_ms).push(" AND a.ends_at_ms > ").push_bind(now_ms);
            }
            Some(SalePhase::Ended) => {
                query.push(" AND a.ends_at_ms <= ").push_bind(now_ms);
            }
            None => {}
        }
        if phase.is_some() {
            query.push(" AND a.draft = 0");
        }
        query.push(" ORDER BY a.id DESC LIMIT ").push_bind(page.rows());
        let rows = query.build().fetch_all(self.store.readers()).await?;
        let rows = rows.iter().map(sale_of).collect::<Result<_, _>>()?;
        Ok(page.cut(rows, |sale: &Sale| sale.activity.id.as_i64()))
    }

    /// A sale of `sku` that runs at some time between `from_ms` and `to_ms`, if there is one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn overlapping_sale(
        self,
        sku: SkuId,
        (from_ms, to_ms): (u64, u64),
    ) -> Result<Option<ActivityId>, StoreError> {
        let query =
            sqlx::query("SELECT id FROM activities WHERE sku_id = ? AND starts_at_ms < ? AND ends_at_ms > ? LIMIT 1");
        let row =
            query.bind(sku.as_i64()).bind(big(to_ms)?).bind(big(from_ms)?).fetch_optional(self.store.readers()).await?;
        row.map(|row| id(&row, "id", ActivityId::from_i64)).transpose()
    }

    /// Sales of a product's SKUs that run now, at most [`RUNNING_MAX`].
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn running_sales_of(self, product: ProductId, now_ms: u64) -> Result<Vec<ActivityId>, StoreError> {
        let sql = "SELECT a.id AS id FROM activities a JOIN skus s ON s.id = a.sku_id WHERE s.product_id = ? \
                   AND a.draft = 0 AND a.starts_at_ms <= ? AND a.ends_at_ms > ? ORDER BY a.id LIMIT ?";
        let query = sqlx::query(sql).bind(product.as_i64()).bind(big(now_ms)?).bind(big(now_ms)?).bind(RUNNING_MAX);
        let rows = query.fetch_all(self.store.readers()).await?;
        rows.iter().map(|row| id(row, "id", ActivityId::from_i64)).collect()
    }
}

const SALES: &str = "SELECT a.*, CASE WHEN l.activity_id IS NULL THEN 0 ELSE 1 END AS ledger_open \
     FROM activities a LEFT JOIN ledgers l ON l.activity_id = a.id";
