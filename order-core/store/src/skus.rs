//! The SQL of SKUs.

use contract::{Cents, ProductId, SkuId};
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    catalogue::{NewSku, Sku, SkuPatch, exists, from_json, to_json},
    db::{Db, DbRow, Store, Tx, big, count, id, lock_row},
    page::{Changed, Listed, Page, find_change},
    search::document_changed,
    tx::{Ending, NewRow, Write, look_up},
};

impl Store {
    /// Makes a SKU; `None` where its product does not exist.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn add_sku(&self, new: NewSku, now_ms: u64) -> Result<Option<Sku>, StoreError> {
        let id = self.next_id()?;
        let new = &new;
        self.write(Write::AddSku, NewRow { lock: LOCK, id }, |tx| async {
            let mut tx = tx;
            if !exists(&mut tx, "SELECT 1 FROM products WHERE id = ?", new.product.as_i64()).await? {
                return Ok(Ending::RollBack(None));
            }
            sqlx::query(
                "INSERT INTO skus (id, product_id, attributes, price_cents, stock, version, created_at_ms) \
                 VALUES (?, ?, ?, ?, ?, 1, ?)",
            )
            .bind(id)
            .bind(new.product.as_i64())
            .bind(to_json(&new.attributes)?)
            .bind(new.price.get())
            .bind(big(new.stock)?)
            .bind(big(now_ms)?)
            .execute(&mut *tx)
            .await?;
            document_changed(&mut tx, new.product).await?;
            let NewSku { product: product_id, attributes, price: price_cents, stock } = new.clone();
            let sku_id = SkuId::from_i64(id).ok_or_else(|| StoreError::Ids(id.to_string()))?;
            Ok(Ending::Commit(
                tx,
                Some(Sku { sku_id, product_id, attributes, price_cents, stock, version: 1, created_at: now_ms }),
            ))
        })
        .await
    }

    /// A SKU.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn sku(&self, sku: SkuId) -> Result<Option<Sku>, StoreError> {
        let row = sqlx::query("SELECT * FROM skus WHERE id = ?").bind(sku.as_i64());
        row.fetch_optional(self.readers()).await?.as_ref().map(sku_of).transpose()
    }

    /// SKUs, the newest first, of one product where one is named.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn skus(&self, product: Option<ProductId>, page: Page) -> Result<Listed<Sku>, StoreError> {
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM skus WHERE id < ");
        query.push_bind(page.before);
        if let Some(product) = product {
            query.push(" AND product_id = ").push_bind(product.as_i64());
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.rows());
        let rows = query.build().fetch_all(self.readers()).await?;
        let rows = rows.iter().map(sku_of).collect::<Result<_, _>>()?;
        Ok(page.cut(rows, |sku: &Sku| sku.sku_id.as_i64()))
    }

    /// Changes a SKU that has `version`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn patch_sku(&self, sku: SkuId, version: u64, patch: SkuPatch) -> Result<Changed<Sku>, StoreError> {
        let after_lost_commit = look_up(|mut tx: Tx, changed: Changed<Sku>| async move {
            let now = locked_sku(&mut tx, sku).await?;
            // Its stock may have moved since.
            let same = |row: &Sku, now: &Sku| *row == Sku { stock: row.stock, ..now.clone() };
            Ok(find_change(&changed, version, now, |row| row.version, same))
        });
        let patch = &patch;
        self.write(Write::PatchSku, after_lost_commit, |tx| async {
            let mut tx = tx;
            let row = locked_sku(&mut tx, sku).await?;
            let Some(mut row) = row else { return Ok(Ending::RollBack(Changed::Unknown)) };
            if row.version != version {
                return Ok(Ending::RollBack(Changed::VersionIs(row.version)));
            }
            row.version += 1;
            row.attributes = patch.attributes.clone().unwrap_or(row.attributes);
            row.price_cents = patch.price_cents.unwrap_or(row.price_cents);
            sqlx::query("UPDATE skus SET attributes = ?, price_cents = ?, version = ? WHERE id = ? AND version = ?")
                .bind(to_json(&row.attributes)?)
                .bind(row.price_cents.get())
                .bind(big(row.version)?)
                .bind(sku.as_i64())
                .bind(big(version)?)
                .execute(&mut *tx)
                .await?;
            document_changed(&mut tx, row.product_id).await?;
            Ok(Ending::Commit(tx, Changed::Done(row)))
        })
        .await
    }
}

const LOCK: &str = "UPDATE skus SET version = version WHERE id = ?";

/// A SKU and its row's lock.
async fn locked_sku(tx: &mut Tx, sku: SkuId) -> Result<Option<Sku>, StoreError> {
    lock_row(tx, LOCK, sku.as_i64()).await?;
    let row = sqlx::query("SELECT * FROM skus WHERE id = ?").bind(sku.as_i64());
    row.fetch_optional(&mut **tx).await?.as_ref().map(sku_of).transpose()
}

pub(crate) fn sku_of(row: &DbRow) -> Result<Sku, StoreError> {
    Ok(Sku {
        sku_id: id(row, "id", SkuId::from_i64)?,
        product_id: id(row, "product_id", ProductId::from_i64)?,
        attributes: from_json(row.try_get("attributes")?)?,
        price_cents: Cents::new(row.try_get("price_cents")?),
        stock: count(row, "stock")?,
        version: count(row, "version")?,
        created_at: count(row, "created_at_ms")?,
    })
}
