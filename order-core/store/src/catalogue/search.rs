//! What the search index holds of products, and the counter that grows with every change of it.

use std::collections::BTreeMap;

use contract::{CategoryId, Cents, ProductId};
use domain::{Outgoing, order_state::OrderState};
use foundation::{Clock as _, SystemClock};
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    areas::Catalogue,
    catalogue::products::{Attributes, Category, from_json},
    db::{Db, DbRow, INSERT_ROWS_MAX, big, count, id, push_in},
    tx::Tx,
};

/// Products that are read at once.
pub const SEARCH_ENTRIES_MAX: usize = INSERT_ROWS_MAX;
/// A category within another one within … no deeper than this is followed.
const DEPTH_MAX: usize = 16;

/// A product as the search index holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchEntry {
    pub product: ProductId,
    /// Grows with every change of the other fields.
    pub version: i64,
    pub on_shelf: bool,
    pub title: String,
    pub subtitle: String,
    /// From the root to its own category.
    pub categories: Vec<(CategoryId, String)>,
    /// Attributes, price and stock of its SKUs.
    pub skus: Vec<(Attributes, Cents, u64)>,
    pub created_at_ms: u64,
}

impl Catalogue<'_> {
    /// The entries of those of `products` that exist, at most [`SEARCH_ENTRIES_MAX`], all of one instant.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn search_entries(self, products: &[ProductId]) -> Result<Vec<SearchEntry>, StoreError> {
        assert!(products.len() <= SEARCH_ENTRIES_MAX, "{} products at once", products.len());
        if products.is_empty() {
            return Ok(Vec::new());
        }
        let ids = || products.iter().map(|product| product.as_i64());
        let mut tx = self.store.begin_read().await?;
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM products WHERE id");
        push_in(&mut query, ids());
        let rows = query.push(" ORDER BY id").build().fetch_all(&mut *tx).await?;
        let mut query =
            QueryBuilder::<Db>::new("SELECT product_id, attributes, price_cents, stock FROM skus WHERE product_id");
        push_in(&mut query, ids());
        let skus = query.push(" ORDER BY id").build().fetch_all(&mut *tx).await?;
        tx.commit().await?;
        let categories = self.all_categories().await?;
        let categories = categories.iter().map(|category| (category.category_id, category)).collect();

        let mut skus_of: BTreeMap<i64, Vec<(Attributes, Cents, u64)>> = BTreeMap::new();
        for row in &skus {
            let sku =
                (from_json(row.try_get("attributes")?)?, Cents::new(row.try_get("price_cents")?), count(row, "stock")?);
            skus_of.entry(row.try_get("product_id")?).or_default().push(sku);
        }
        let entry = |row: &DbRow| {
            let product = id(row, "id", ProductId::from_i64)?;
            Ok(SearchEntry {
                product,
                version: row.try_get("search_version")?,
                on_shelf: count(row, "on_shelf")? != 0,
                title: row.try_get("title")?,
                subtitle: row.try_get("subtitle")?,
                categories: path(&categories, id(row, "category_id", CategoryId::from_i64)?),
                skus: skus_of.remove(&product.as_i64()).unwrap_or_default(),
                created_at_ms: count(row, "created_at_ms")?,
            })
        };
        rows.iter().map(entry).collect()
    }

    /// Products that there are, on the shelf or not.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn product_count(self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) AS products FROM products").fetch_one(self.store.readers()).await?;
        count(&row, "products")
    }

    /// Units of each product in orders that were made since `since_ms` and paid.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn units_sold(self, since_ms: u64) -> Result<BTreeMap<ProductId, u64>, StoreError> {
        let open = [OrderState::PendingPayment, OrderState::Closed, OrderState::Failed, OrderState::Refunded];
        let mut query = QueryBuilder::<Db>::new(
            "SELECT s.product_id AS product_id, CAST(SUM(l.quantity) AS SIGNED) AS units FROM orders o \
             JOIN order_lines l ON l.order_id = o.id JOIN skus s ON s.id = l.sku_id WHERE o.created_at_ms >= ",
        );
        query.push_bind(big(since_ms)?);
        for state in open {
            query.push(" AND o.status <> ").push_bind(state.as_str());
        }
        let rows = query.push(" GROUP BY s.product_id").build().fetch_all(self.store.readers()).await?;
        rows.iter().map(|row| Ok((id(row, "product_id", ProductId::from_i64)?, count(row, "units")?))).collect()
    }
}

/// Counts a change of the document of `product`, and sends a record of it.
pub(crate) async fn document_changed(tx: &mut Tx, product: ProductId) -> Result<(), StoreError> {
    let query = sqlx::query("UPDATE products SET search_version = search_version + 1 WHERE id = ?");
    query.bind(product.as_i64()).execute(&mut **tx).await?;
    let query = sqlx::query("SELECT id, search_version FROM products WHERE id = ?").bind(product.as_i64());
    // Without its row there is no document, and nothing that another transaction could wait for.
    let row = query.fetch_optional(&mut **tx).await?;
    tx.send([row.as_ref().map_or_else(|| Ok(Outgoing::product(product, 0, 0)), record_of)?]);
    Ok(())
}

/// The record of a change that has just been counted. Its time only serves to measure how long the index takes.
fn record_of(row: &DbRow) -> Result<Outgoing, StoreError> {
    let product = id(row, "id", ProductId::from_i64)?;
    Ok(Outgoing::product(product, row.try_get("search_version")?, SystemClock.now_ms()))
}

/// `tx` has moved the stock of `sku` by `delta`: the document of its product changes where that was to or from zero.
/// Other changes of stock are not in the document, so that an order does not wait for the product's row.
pub(crate) async fn stock_moved(tx: &mut Tx, sku: i64, delta: i64) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT product_id, stock FROM skus WHERE id = ?").bind(sku);
    let Some(row) = row.fetch_optional(&mut **tx).await? else { return Ok(()) };
    let after: i64 = row.try_get("stock")?;
    if (after == 0) == (after - delta == 0) {
        return Ok(());
    }
    document_changed(tx, id(&row, "product_id", ProductId::from_i64)?).await
}

/// The name of `category` has changed: so have the documents of all products in it and below it.
pub(crate) async fn category_renamed(tx: &mut Tx, category: CategoryId) -> Result<(), StoreError> {
    let mut below = vec![category.as_i64()];
    let mut at = 0;
    while let Some(parent) = below.get(at).copied() {
        let rows = sqlx::query("SELECT id FROM categories WHERE parent_id = ? ORDER BY id").bind(parent);
        for row in rows.fetch_all(&mut **tx).await? {
            let child: i64 = row.try_get("id")?;
            if !below.contains(&child) {
                below.push(child);
            }
        }
        at += 1;
    }
    for categories in below.chunks(INSERT_ROWS_MAX) {
        let mut update =
            QueryBuilder::<Db>::new("UPDATE products SET search_version = search_version + 1 WHERE category_id");
        push_in(&mut update, categories.iter().copied());
        update.build().execute(&mut **tx).await?;
        let mut query = QueryBuilder::<Db>::new("SELECT id, search_version FROM products WHERE category_id");
        push_in(&mut query, categories.iter().copied());
        let rows = query.push(" ORDER BY id").build().fetch_all(&mut **tx).await?;
        tx.send(rows.iter().map(record_of).collect::<Result<Vec<_>, StoreError>>()?);
    }
    Ok(())
}

/// From the root to `category`.
fn path(all: &BTreeMap<CategoryId, &Category>, category: CategoryId) -> Vec<(CategoryId, String)> {
    let mut path = Vec::new();
    let mut next = Some(category);
    while let Some(category) = next.and_then(|id| all.get(&id)) {
        if path.len() == DEPTH_MAX {
            break;
        }
        path.push((category.category_id, category.name.clone()));
        next = category.parent_id;
    }
    path.reverse();
    path
}
