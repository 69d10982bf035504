//! What shoppers see of the catalogue.

use contract::{CategoryId, Cents, ProductId};
use serde::Serialize;
use sqlx::{QueryBuilder, Row};
use utoipa::ToSchema;

use crate::{
    StoreError,
    areas::Catalogue,
    catalogue::products::{Category, Product, Sku, category_of, from_json, product_of},
    catalogue::skus::sku_of,
    db::{Db, DbRow, id, push_in},
};

/// Categories of one mall at most, as far as shoppers see.
const CATEGORIES_MAX: i64 = 2_000;

/// A product in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Displayed {
    /// Its id.
    pub product_id: ProductId,
    /// The category that it is in.
    pub category_id: CategoryId,
    /// Its name.
    pub title: String,
    /// The text below the title.
    pub subtitle: String,
    /// Its pictures.
    pub image_ids: Vec<String>,
    /// The price of its cheapest SKU.
    pub price_cents: Cents,
}

/// A product with its SKUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// What they are SKUs of.
    pub product: Product,
    /// The oldest first.
    pub skus: Vec<Sku>,
}

/// In which order products are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// The newest first.
    #[default]
    Newest,
    /// The cheapest first.
    PriceUp,
    /// The dearest first.
    PriceDown,
}

/// Which products.
#[derive(Debug, Clone, Default)]
pub struct ShelfPage {
    /// Of these categories only.
    pub categories: Option<Vec<CategoryId>>,
    /// In this order.
    pub sort: Sort,
    /// Those after the one of this price and id.
    pub after: Option<(Cents, ProductId)>,
    /// The most rows.
    pub limit: u32,
}

impl Catalogue<'_> {
    /// Every category.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn all_categories(self) -> Result<Vec<Category>, StoreError> {
        let query = sqlx::query("SELECT * FROM categories ORDER BY sort_order, id LIMIT ?").bind(CATEGORIES_MAX);
        query.fetch_all(self.store.readers()).await?.iter().map(category_of).collect()
    }

    /// Products on the shelf that have a SKU.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn shelf(self, page: &ShelfPage) -> Result<Vec<Displayed>, StoreError> {
        if page.categories.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<Db>::new(
            "SELECT * FROM (SELECT p.id, p.category_id, p.title, p.subtitle, p.image_ids, \
             (SELECT MIN(s.price_cents) FROM skus s WHERE s.product_id = p.id) AS price_cents \
             FROM products p WHERE p.on_shelf = 1",
        );
        if let Some(categories) = &page.categories {
            query.push(" AND p.category_id");
            push_in(&mut query, categories.iter().map(|category| category.as_i64()));
        }
        query.push(") shown WHERE price_cents IS NOT NULL");
        if let Some((price, id)) = page.after {
            let (price, id) = (price.get(), id.as_i64());
            match page.sort {
                Sort::Newest => query.push(" AND id < ").push_bind(id),
                Sort::PriceUp => {
                    query.push(" AND (price_cents > ").push_bind(price).push(" OR (price_cents = ").push_bind(price);
                    query.push(" AND id < ").push_bind(id).push("))")
                }
                Sort::PriceDown => {
                    query.push(" AND (price_cents < ").push_bind(price).push(" OR (price_cents = ").push_bind(price);
                    query.push(" AND id < ").push_bind(id).push("))")
                }
            };
        }
        query.push(match page.sort {
            Sort::Newest => " ORDER BY id DESC LIMIT ",
            Sort::PriceUp => " ORDER BY price_cents, id DESC LIMIT ",
            Sort::PriceDown => " ORDER BY price_cents DESC, id DESC LIMIT ",
        });
        query.push_bind(i64::from(page.limit));
        let rows = query.build().fetch_all(self.store.readers()).await?;
        rows.iter().map(displayed_of).collect()
    }

    /// Those of `products` that shoppers see, in any order; at most [`crate::SEARCH_ENTRIES_MAX`].
    ///
    /// # Errors
    /// If the database fails.
    pub async fn displayed(self, products: &[ProductId]) -> Result<Vec<Displayed>, StoreError> {
        assert!(products.len() <= crate::SEARCH_ENTRIES_MAX, "{} products at once", products.len());
        if products.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<Db>::new(
            "SELECT * FROM (SELECT p.id, p.category_id, p.title, p.subtitle, p.image_ids, \
             (SELECT MIN(s.price_cents) FROM skus s WHERE s.product_id = p.id) AS price_cents \
             FROM products p WHERE p.on_shelf = 1 AND p.id",
        );
        push_in(&mut query, products.iter().map(|product| product.as_i64()));
        query.push(") shown WHERE price_cents IS NOT NULL");
        query.build().fetch_all(self.store.readers()).await?.iter().map(displayed_of).collect()
    }

    /// A product with its SKUs; `None` where shoppers do not see it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn detail(self, product: ProductId) -> Result<Option<Detail>, StoreError> {
        let mut tx = self.store.begin_read().await?;
        let row = sqlx::query("SELECT * FROM products WHERE id = ? AND on_shelf = 1").bind(product.as_i64());
        let Some(row) = row.fetch_optional(&mut *tx).await? else { return Ok(None) };
        let skus = sqlx::query("SELECT * FROM skus WHERE product_id = ? ORDER BY id").bind(product.as_i64());
        let skus = skus.fetch_all(&mut *tx).await?;
        tx.commit().await?;
        Ok(Some(Detail { product: product_of(&row)?, skus: skus.iter().map(sku_of).collect::<Result<_, _>>()? }))
    }

    /// Every product there ever was, after `after`, in the order of their ids.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn product_ids(self, after: Option<ProductId>, limit: u32) -> Result<Vec<ProductId>, StoreError> {
        let query = sqlx::query("SELECT id FROM products WHERE id > ? ORDER BY id LIMIT ?");
        let query = query.bind(after.map_or(-1, ProductId::as_i64)).bind(i64::from(limit));
        query.fetch_all(self.store.readers()).await?.iter().map(|row| id(row, "id", ProductId::from_i64)).collect()
    }
}

fn displayed_of(row: &DbRow) -> Result<Displayed, StoreError> {
    Ok(Displayed {
        product_id: id(row, "id", ProductId::from_i64)?,
        category_id: id(row, "category_id", CategoryId::from_i64)?,
        title: row.try_get("title")?,
        subtitle: row.try_get("subtitle")?,
        image_ids: from_json(row.try_get("image_ids")?)?,
        price_cents: Cents::new(row.try_get("price_cents")?),
    })
}
