//! The SQL of SKUs.

use contract::{Cents, OperationId, ProductId, SkuId};
use serde_json::{Value, json};
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    accounts::audit_log::Change,
    areas::Catalogue,
    catalogue::products::{NewSku, Sku, SkuPatch, exists, from_json, to_json},
    catalogue::search::{document_changed, stock_moved},
    db::{Db, DbRow, Tx, big, count, id, lock_row},
    page::{Changed, Listed, Page, find_change},
    tx::{Ending, NewRow, Repeat, Write, look_up},
};

impl Catalogue<'_> {
    /// Makes a SKU; `None` where its product does not exist.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_sku(self, new: NewSku, now_ms: u64) -> Result<Option<Sku>, StoreError> {
        let id = self.store.next_id()?;
        let new = &new;
        self.store
            .write(Write::AddSku, NewRow { lock: LOCK, id }, |tx| async {
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
                let row = Sku { sku_id, product_id, attributes, price_cents, stock, version: 1, created_at: now_ms };
                tx.note(Change::new("sku", id, Value::Null, json!(row)));
                Ok(Ending::Commit(tx, Some(row)))
            })
            .await
    }

    /// A SKU.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sku(self, sku: SkuId) -> Result<Option<Sku>, StoreError> {
        let row = sqlx::query("SELECT * FROM skus WHERE id = ?").bind(sku.as_i64());
        row.fetch_optional(self.store.readers()).await?.as_ref().map(sku_of).transpose()
    }

    /// SKUs, the newest first, of one product where one is named.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn skus(self, product: Option<ProductId>, page: Page) -> Result<Listed<Sku>, StoreError> {
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM skus WHERE id < ");
        query.push_bind(page.before);
        if let Some(product) = product {
            query.push(" AND product_id = ").push_bind(product.as_i64());
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.rows());
        let rows = query.build().fetch_all(self.store.readers()).await?;
        let rows = rows.iter().map(sku_of).collect::<Result<_, _>>()?;
        Ok(page.cut(rows, |sku: &Sku| sku.sku_id.as_i64()))
    }

    /// Changes a SKU that has `version`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn patch_sku(self, sku: SkuId, version: u64, patch: SkuPatch) -> Result<Changed<Sku>, StoreError> {
        let after_lost_commit = look_up(|mut tx: Tx, changed: Changed<Sku>| async move {
            let now = locked_sku(&mut tx, sku).await?;
            // Its stock may have moved since.
            let same = |row: &Sku, now: &Sku| *row == Sku { stock: row.stock, ..now.clone() };
            Ok(find_change(&changed, version, now, |row| row.version, same))
        });
        let patch = &patch;
        self.store
            .write(Write::PatchSku, after_lost_commit, |tx| async {
                let mut tx = tx;
                let row = locked_sku(&mut tx, sku).await?;
                let Some(mut row) = row else { return Ok(Ending::RollBack(Changed::Unknown)) };
                if row.version != version {
                    return Ok(Ending::RollBack(Changed::VersionIs(row.version)));
                }
                let before = json!(row);
                row.version += 1;
                row.attributes = patch.attributes.clone().unwrap_or(row.attributes);
                row.price_cents = patch.price_cents.unwrap_or(row.price_cents);
                sqlx::query(
                    "UPDATE skus SET attributes = ?, price_cents = ?, version = ? WHERE id = ? AND version = ?",
                )
                .bind(to_json(&row.attributes)?)
                .bind(row.price_cents.get())
                .bind(big(row.version)?)
                .bind(sku.as_i64())
                .bind(big(version)?)
                .execute(&mut *tx)
                .await?;
                document_changed(&mut tx, row.product_id).await?;
                tx.note(Change::new("sku", sku.as_i64(), before, json!(row)));
                Ok(Ending::Commit(tx, Changed::Done(row)))
            })
            .await
    }
}

impl Catalogue<'_> {
    /// Changes the stock of a SKU by `delta`, for a reason that the audit log keeps. An `operation` that was carried out
    /// before changes nothing.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn change_stock(
        self,
        sku: SkuId,
        operation: OperationId,
        (delta, reason): (i64, &str),
        now_ms: u64,
    ) -> Result<StockChanged, StoreError> {
        let at_ms = big(now_ms)?;
        let repeat = Repeat("the operation's row in the inbox says that it was carried out");
        self.store
            .write(Write::ChangeStock, repeat, |tx| async {
                let mut tx = tx;
                let Some(mut row) = locked_sku(&mut tx, sku).await? else {
                    return Ok(Ending::RollBack(StockChanged::Unknown));
                };
                let known = sqlx::query("SELECT 1 FROM inbox WHERE source = ? AND subject_id = ? AND message_id = ?");
                let known = known.bind(STOCK_CHANGED).bind(sku.as_i64()).bind(operation.as_i64());
                if known.fetch_optional(&mut *tx).await?.is_some() {
                    return Ok(Ending::RollBack(StockChanged::Done(row)));
                }
                let Some(stock) = row.stock.checked_add_signed(delta).filter(|stock| *stock <= STOCK_MAX) else {
                    return Ok(Ending::RollBack(StockChanged::OutOfBounds(row.stock)));
                };
                let before = json!({ "stock": row.stock });
                row.stock = stock;
                let update = sqlx::query("UPDATE skus SET stock = ? WHERE id = ?").bind(big(stock)?).bind(sku.as_i64());
                update.execute(&mut *tx).await?;
                stock_moved(&mut tx, sku.as_i64(), delta).await?;
                sqlx::query("INSERT INTO inbox (source, subject_id, message_id, at_ms, delta) VALUES (?, ?, ?, ?, ?)")
                    .bind(STOCK_CHANGED)
                    .bind(sku.as_i64())
                    .bind(operation.as_i64())
                    .bind(at_ms)
                    .bind(delta)
                    .execute(&mut *tx)
                    .await?;
                let after = json!({ "stock": stock, "delta": delta, "reason": reason });
                tx.note(Change::new("sku", sku.as_i64(), before, after));
                Ok(Ending::Commit(tx, StockChanged::Done(row)))
            })
            .await
    }
}

/// `inbox.source` of changes of a SKU's stock.
const STOCK_CHANGED: &str = "stock-changed";
/// The most units of a SKU.
const STOCK_MAX: u64 = 1_000_000_000;

/// What became of a change of a SKU's stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StockChanged {
    /// The SKU after it, or as it is now if the operation was carried out before.
    Done(Sku),
    /// There is no such SKU.
    Unknown,
    /// The SKU has this number of units; the change would leave less than none or too many.
    OutOfBounds(u64),
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
