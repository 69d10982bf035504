//! Products for staff, with filters, the newest first.

use contract::CategoryId;
use sqlx::QueryBuilder;

use super::products::product_of;
use crate::{
    Product, StoreError,
    areas::Catalogue,
    db::{Db, literal},
    page::{Listed, Page},
};

/// Which products; what is absent does not restrict.
#[derive(Debug, Clone, Default)]
pub struct ProductQuery {
    /// Of this category.
    pub category: Option<CategoryId>,
    /// On the shelf, or off it.
    pub on_shelf: Option<bool>,
    /// Whose title has this text in it.
    pub title: Option<String>,
}

impl Catalogue<'_> {
    /// Products.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_products(self, which: &ProductQuery, page: Page) -> Result<Listed<Product>, StoreError> {
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM products WHERE id < ");
        query.push_bind(page.before);
        if let Some(category) = which.category {
            query.push(" AND category_id = ").push_bind(category.as_i64());
        }
        if let Some(on_shelf) = which.on_shelf {
            query.push(" AND on_shelf = ").push_bind(i64::from(on_shelf));
        }
        if let Some(title) = &which.title {
            query.push(" AND title LIKE ").push_bind(format!("%{}%", literal(title))).push(" ESCAPE '!'");
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.rows());
        let rows = query.build().fetch_all(self.store.readers()).await?;
        let rows = rows.iter().map(product_of).collect::<Result<_, _>>()?;
        Ok(page.cut(rows, |product: &Product| product.product_id.as_i64()))
    }
}
