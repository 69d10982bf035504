//! Categories, products and SKUs.

use std::collections::BTreeMap;

use contract::{CategoryId, Cents, ProductId, SkuId, openapi};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::Row;
use utoipa::ToSchema;

use crate::{
    StoreError,
    accounts::audit_log::Change,
    areas::Catalogue,
    catalogue::search::{category_renamed, document_changed},
    db::{DbRow, Tx, big, count, id, id_or_none, lock_row},
    page::{Changed, Listed, Page, find_change},
    tx::{Ending, NewRow, Repeat, Write, look_up},
};

/// Characters of a category's name, and of an attribute's name or value.
pub const NAME_CHARS_MAX: usize = 64;
/// Characters of a title or subtitle.
pub const TITLE_CHARS_MAX: usize = 200;
/// Characters of a description.
pub const DESCRIPTION_CHARS_MAX: usize = 20_000;
/// Pictures of a product.
pub const IMAGES_MAX: usize = 20;
/// Characters of the text that says what a picture shows.
pub const ALT_CHARS_MAX: usize = 200;
/// Attributes of a SKU.
pub const ATTRIBUTES_MAX: usize = 10;
/// The highest price, in cents: ten thousand million yuan.
pub const PRICE_CENTS_MAX: i64 = 1_000_000_000_000;

/// A category of products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Category {
    /// Its id.
    pub category_id: CategoryId,
    /// The parent category.
    pub parent_id: Option<CategoryId>,
    /// Its name.
    pub name: String,
    /// Categories with smaller numbers come first.
    pub sort_order: i64,
    /// The version, which grows with every change.
    pub version: u64,
    /// When it was made, epoch milliseconds.
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    pub created_at: u64,
}

/// A product (SPU).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Product {
    /// Its id.
    pub product_id: ProductId,
    /// The category that it is in.
    pub category_id: CategoryId,
    /// Its name.
    pub title: String,
    /// The text below the title.
    pub subtitle: String,
    /// All about it.
    pub description: String,
    /// Its pictures.
    pub image_ids: Vec<String>,
    /// What its pictures show, by their ids; a picture without a text is decoration.
    pub image_alts: ImageAlts,
    /// Shoppers see it.
    pub on_shelf: bool,
    /// The version, which grows with every change.
    pub version: u64,
    /// When it was made, epoch milliseconds.
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    pub created_at: u64,
}

/// What the pictures of a product show, for people who do not see them.
pub type ImageAlts = BTreeMap<String, String>;

/// The attributes that distinguish the SKUs of a product: `{"颜色": "黑"}`.
pub type Attributes = BTreeMap<String, String>;

/// A stock keeping unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Sku {
    /// Its id.
    pub sku_id: SkuId,
    /// The product that it belongs to.
    pub product_id: ProductId,
    /// The attributes that distinguish it from the product's other SKUs.
    #[schema(value_type = BTreeMap<String, String>)]
    pub attributes: Attributes,
    /// The price of one unit.
    pub price_cents: Cents,
    /// Units that are in no flash sale and in no order.
    pub stock: u64,
    /// The version, which grows with every change.
    pub version: u64,
    /// When it was made, epoch milliseconds.
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    pub created_at: u64,
}

/// A new category, checked.
#[derive(Debug, Clone)]
pub struct NewCategory {
    /// The parent category.
    pub parent: Option<CategoryId>,
    /// Its name.
    pub name: String,
    /// Categories with smaller numbers come first.
    pub sort_order: i64,
}

/// A new product, checked. It starts off the shelf.
#[derive(Debug, Clone)]
pub struct NewProduct {
    /// The category that it is in.
    pub category: CategoryId,
    /// Its name.
    pub title: String,
    /// The text below the title.
    pub subtitle: String,
    /// All about it.
    pub description: String,
    /// Its pictures.
    pub image_ids: Vec<String>,
}

/// A new SKU, checked.
#[derive(Debug, Clone)]
pub struct NewSku {
    /// The product that it belongs to.
    pub product: ProductId,
    /// The attributes that distinguish it from the product's other SKUs.
    pub attributes: Attributes,
    /// What one costs; not below zero.
    pub price: Cents,
    /// Units.
    pub stock: u64,
}

/// Categories above a category at most.
const CATEGORY_DEPTH_MAX: u32 = 32;

/// Changes of a category; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CategoryPatch {
    /// Its name.
    #[schema(schema_with = openapi::name_or_null::<NAME_CHARS_MAX>)]
    pub name: Option<String>,
    /// Categories with smaller numbers come first.
    pub sort_order: Option<i64>,
}

/// Changes of a product; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProductPatch {
    /// Its name.
    #[schema(schema_with = openapi::name_or_null::<TITLE_CHARS_MAX>)]
    pub title: Option<String>,
    /// The text below the title.
    #[schema(schema_with = openapi::text_or_null::<TITLE_CHARS_MAX>)]
    pub subtitle: Option<String>,
    /// All about it.
    #[schema(schema_with = openapi::text_or_null::<DESCRIPTION_CHARS_MAX>)]
    pub description: Option<String>,
    /// The category that it is in.
    pub category_id: Option<CategoryId>,
    /// Its pictures.
    pub image_ids: Option<Vec<String>>,
    /// What its pictures show, by their ids. It names pictures of the product only.
    #[schema(schema_with = openapi::names_or_null::<IMAGES_MAX, ALT_CHARS_MAX>)]
    pub image_alts: Option<ImageAlts>,
}

/// Changes of a SKU; what is absent stays. Not its stock: that moves by guarded steps only.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SkuPatch {
    /// The attributes that distinguish it from the product's other SKUs.
    #[schema(schema_with = openapi::names_or_null::<ATTRIBUTES_MAX, NAME_CHARS_MAX>)]
    pub attributes: Option<Attributes>,
    /// The price of one unit.
    #[schema(schema_with = openapi::whole_or_null::<0, PRICE_CENTS_MAX>)]
    pub price_cents: Option<Cents>,
}

impl Catalogue<'_> {
    /// Makes a category; `None` where its parent does not exist.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_category(self, new: NewCategory, now_ms: u64) -> Result<Option<Category>, StoreError> {
        let id = self.store.next_id()?;
        let new = &new;
        self.store.write(Write::AddCategory, NewRow { lock: LOCK_CATEGORY, id }, |tx| async {
            let mut tx = tx;
            if let Some(parent) = new.parent
                && !exists(&mut tx, "SELECT 1 FROM categories WHERE id = ?", parent.as_i64()).await?
            {
                return Ok(Ending::RollBack(None));
            }
            sqlx::query(
                "INSERT INTO categories (id, parent_id, name, sort_order, version, created_at_ms) VALUES (?, ?, ?, ?, 1, ?)",
            )
            .bind(id)
            .bind(new.parent.map(CategoryId::as_i64))
            .bind(&new.name)
            .bind(new.sort_order)
            .bind(big(now_ms)?)
            .execute(&mut *tx)
            .await?;
            let category_id = CategoryId::from_i64(id).ok_or_else(|| StoreError::Ids(id.to_string()))?;
            let NewCategory { parent: parent_id, name, sort_order } = new.clone();
            let row = Category { category_id, parent_id, name, sort_order, version: 1, created_at: now_ms };
            tx.note(Change::new("category", id, Value::Null, json!(row)));
            Ok(Ending::Commit(tx, Some(row)))
        })
        .await
    }

    /// A category.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn category(self, category: CategoryId) -> Result<Option<Category>, StoreError> {
        let row = sqlx::query("SELECT * FROM categories WHERE id = ?").bind(category.as_i64());
        row.fetch_optional(self.store.readers()).await?.as_ref().map(category_of).transpose()
    }

    /// Categories, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn categories(self, page: Page) -> Result<Listed<Category>, StoreError> {
        let rows = sqlx::query("SELECT * FROM categories WHERE id < ? ORDER BY id DESC LIMIT ?")
            .bind(page.before)
            .bind(page.rows())
            .fetch_all(self.store.readers())
            .await?;
        let rows = rows.iter().map(category_of).collect::<Result<_, _>>()?;
        Ok(page.cut(rows, |category: &Category| category.category_id.as_i64()))
    }

    /// Changes a category that has `version`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn patch_category(
        self,
        category: CategoryId,
        version: u64,
        patch: CategoryPatch,
    ) -> Result<Changed<Category>, StoreError> {
        self.move_category(category, version, (patch, None)).await
    }

    /// [`Catalogue::patch_category`], with another parent where one is given: a category, or none. A category is never below
    /// itself.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn move_category(
        self,
        category: CategoryId,
        version: u64,
        (patch, parent): (CategoryPatch, Option<Option<CategoryId>>),
    ) -> Result<Changed<Category>, StoreError> {
        let after_lost_commit = look_up(|mut tx: Tx, changed: Changed<Category>| async move {
            let now = locked_category(&mut tx, category).await?;
            Ok(find_change(&changed, version, now, |row| row.version, Category::eq))
        });
        let patch = &patch;
        self.store.write(Write::PatchCategory, after_lost_commit, |tx| async {
            let mut tx = tx;
            if parent.is_some() {
                // All rows, so that of two moves that would make a circle together one sees the other.
                lock_row(&mut tx, "UPDATE categories SET version = version WHERE id > ?", 0).await?;
            }
            let row = locked_category(&mut tx, category).await?;
            let Some(mut row) = row else { return Ok(Ending::RollBack(Changed::Unknown)) };
            if row.version != version {
                return Ok(Ending::RollBack(Changed::VersionIs(row.version)));
            }
            let before = json!(row);
            row.version += 1;
            let mut is_renamed = patch.name.as_ref().is_some_and(|name| *name != row.name);
            if let Some(parent) = parent {
                if !may_be_below(&mut tx, category, parent).await? {
                    return Ok(Ending::RollBack(Changed::Invalid("parent_id")));
                }
                is_renamed |= row.parent_id != parent;
                row.parent_id = parent;
            }
            row.name = patch.name.clone().unwrap_or(row.name);
            row.sort_order = patch.sort_order.unwrap_or(row.sort_order);
            let sql = "UPDATE categories SET name = ?, parent_id = ?, sort_order = ?, version = ? WHERE id = ? AND version = ?";
            sqlx::query(sql)
                .bind(&row.name)
                .bind(row.parent_id.map(CategoryId::as_i64))
                .bind(row.sort_order)
                .bind(big(row.version)?)
                .bind(category.as_i64())
                .bind(big(version)?)
                .execute(&mut *tx)
                .await?;
            if is_renamed {
                category_renamed(&mut tx, category).await?;
            }
            tx.note(Change::new("category", category.as_i64(), before, json!(row)));
            Ok(Ending::Commit(tx, Changed::Done(row)))
        })
        .await
    }

    /// Makes a product; `None` where its category does not exist.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_product(self, new: NewProduct, now_ms: u64) -> Result<Option<Product>, StoreError> {
        let id = self.store.next_id()?;
        let new = &new;
        self.store
            .write(Write::AddProduct, NewRow { lock: LOCK_PRODUCT, id }, |tx| async {
                let mut tx = tx;
                if !exists(&mut tx, "SELECT 1 FROM categories WHERE id = ?", new.category.as_i64()).await? {
                    return Ok(Ending::RollBack(None));
                }
                sqlx::query(
                "INSERT INTO products (id, category_id, title, subtitle, description, image_ids, on_shelf, version, \
                 created_at_ms) VALUES (?, ?, ?, ?, ?, ?, 0, 1, ?)",
            )
            .bind(id)
            .bind(new.category.as_i64())
            .bind(&new.title)
            .bind(&new.subtitle)
            .bind(&new.description)
            .bind(to_json(&new.image_ids)?)
            .bind(big(now_ms)?)
            .execute(&mut *tx)
            .await?;
                let NewProduct { category: category_id, title, subtitle, description, image_ids } = new.clone();
                let product_id = ProductId::from_i64(id).ok_or_else(|| StoreError::Ids(id.to_string()))?;
                let (on_shelf, version, created_at) = (false, 1, now_ms);
                let row = Product {
                    product_id,
                    category_id,
                    title,
                    subtitle,
                    description,
                    image_ids,
                    image_alts: ImageAlts::new(),
                    on_shelf,
                    version,
                    created_at,
                };
                tx.note(Change::new("product", id, Value::Null, json!(row)));
                Ok(Ending::Commit(tx, Some(row)))
            })
            .await
    }

    /// A product.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn product(self, product: ProductId) -> Result<Option<Product>, StoreError> {
        let row = sqlx::query("SELECT * FROM products WHERE id = ?").bind(product.as_i64());
        row.fetch_optional(self.store.readers()).await?.as_ref().map(product_of).transpose()
    }

    /// Products, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn products(self, page: Page) -> Result<Listed<Product>, StoreError> {
        let rows = sqlx::query("SELECT * FROM products WHERE id < ? ORDER BY id DESC LIMIT ?")
            .bind(page.before)
            .bind(page.rows())
            .fetch_all(self.store.readers())
            .await?;
        let rows = rows.iter().map(product_of).collect::<Result<_, _>>()?;
        Ok(page.cut(rows, |product: &Product| product.product_id.as_i64()))
    }

    /// Changes a product that has `version`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn patch_product(
        self,
        product: ProductId,
        version: u64,
        patch: ProductPatch,
    ) -> Result<Changed<Product>, StoreError> {
        let after_lost_commit = look_up(|mut tx: Tx, changed: Changed<Product>| async move {
            let now = locked_product(&mut tx, product).await?;
            Ok(find_change(&changed, version, now, |row| row.version, Product::eq))
        });
        let patch = &patch;
        self.store
            .write(Write::PatchProduct, after_lost_commit, |tx| async {
                let mut tx = tx;
                let row = locked_product(&mut tx, product).await?;
                let Some(mut row) = row else { return Ok(Ending::RollBack(Changed::Unknown)) };
                if row.version != version {
                    return Ok(Ending::RollBack(Changed::VersionIs(row.version)));
                }
                let before = json!(row);
                row.version += 1;
                row.title = patch.title.clone().unwrap_or(row.title);
                row.subtitle = patch.subtitle.clone().unwrap_or(row.subtitle);
                row.description = patch.description.clone().unwrap_or(row.description);
                row.category_id = patch.category_id.unwrap_or(row.category_id);
                row.image_ids = patch.image_ids.clone().unwrap_or(row.image_ids);
                row.image_alts = patch.image_alts.clone().unwrap_or(row.image_alts);
                if patch.image_alts.is_none() {
                    row.image_alts.retain(|image, _| row.image_ids.contains(image));
                } else if !row.image_alts.keys().all(|image| row.image_ids.contains(image)) {
                    return Ok(Ending::RollBack(Changed::Invalid("image_alts")));
                }
                if !exists(&mut tx, "SELECT 1 FROM categories WHERE id = ?", row.category_id.as_i64()).await? {
                    return Ok(Ending::RollBack(Changed::Invalid("category_id")));
                }
                sqlx::query(
                    "UPDATE products SET title = ?, subtitle = ?, description = ?, category_id = ?, image_ids = ?, \
                 image_alts = ?, version = ? WHERE id = ? AND version = ?",
                )
                .bind(&row.title)
                .bind(&row.subtitle)
                .bind(&row.description)
                .bind(row.category_id.as_i64())
                .bind(to_json(&row.image_ids)?)
                .bind(to_json(&row.image_alts)?)
                .bind(big(row.version)?)
                .bind(product.as_i64())
                .bind(big(version)?)
                .execute(&mut *tx)
                .await?;
                document_changed(&mut tx, product).await?;
                tx.note(Change::new("product", product.as_i64(), before, json!(row)));
                Ok(Ending::Commit(tx, Changed::Done(row)))
            })
            .await
    }

    /// Puts a product on the shelf or takes it off; `None` if there is no such product.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn shelve(self, product: ProductId, on_shelf: bool) -> Result<Option<Product>, StoreError> {
        let repeat = Repeat("a product that is on or off the shelf already keeps its version");
        self.store
            .write(Write::Shelve, repeat, |tx| async {
                let mut tx = tx;
                let moved = sqlx::query(
                    "UPDATE products SET on_shelf = ?, version = version + 1 WHERE id = ? AND on_shelf <> ?",
                )
                .bind(i64::from(on_shelf))
                .bind(product.as_i64())
                .bind(i64::from(on_shelf))
                .execute(&mut *tx)
                .await?;
                if moved.rows_affected() == 0 {
                    return Ok(Ending::RollBack(()));
                }
                document_changed(&mut tx, product).await?;
                let state = |on_shelf: bool| json!({ "on_shelf": on_shelf });
                tx.note(Change::new("product", product.as_i64(), state(!on_shelf), state(on_shelf)));
                Ok(Ending::Commit(tx, ()))
            })
            .await?;
        self.product(product).await
    }
}

const LOCK_CATEGORY: &str = "UPDATE categories SET version = version WHERE id = ?";
const LOCK_PRODUCT: &str = "UPDATE products SET version = version WHERE id = ?";

/// A category and its row's lock.
async fn locked_category(tx: &mut Tx, category: CategoryId) -> Result<Option<Category>, StoreError> {
    lock_row(tx, LOCK_CATEGORY, category.as_i64()).await?;
    let row = sqlx::query("SELECT * FROM categories WHERE id = ?").bind(category.as_i64());
    row.fetch_optional(&mut **tx).await?.as_ref().map(category_of).transpose()
}

/// A product and its row's lock.
async fn locked_product(tx: &mut Tx, product: ProductId) -> Result<Option<Product>, StoreError> {
    lock_row(tx, LOCK_PRODUCT, product.as_i64()).await?;
    let row = sqlx::query("SELECT * FROM products WHERE id = ?").bind(product.as_i64());
    row.fetch_optional(&mut **tx).await?.as_ref().map(product_of).transpose()
}

/// Whether `category` may have this parent: it exists, and is neither the category itself nor below it.
async fn may_be_below(tx: &mut Tx, category: CategoryId, parent: Option<CategoryId>) -> Result<bool, StoreError> {
    let (mut above, mut steps) = (parent.map(CategoryId::as_i64), 0);
    while let Some(id) = above {
        let row =
            sqlx::query("SELECT parent_id FROM categories WHERE id = ?").bind(id).fetch_optional(&mut **tx).await?;
        let Some(row) = row.filter(|_| id != category.as_i64() && steps < CATEGORY_DEPTH_MAX) else { return Ok(false) };
        (above, steps) = (row.try_get("parent_id")?, steps + 1);
    }
    Ok(true)
}

/// Whether a query finds something for an id.
pub(crate) async fn exists(tx: &mut Tx, sql: &'static str, id: i64) -> Result<bool, StoreError> {
    Ok(sqlx::query(sql).bind(id).fetch_optional(&mut **tx).await?.is_some())
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::contradiction(error.to_string()))
}

pub(crate) fn from_json<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::contradiction(error.to_string()))
}

pub(crate) fn category_of(row: &DbRow) -> Result<Category, StoreError> {
    Ok(Category {
        category_id: id(row, "id", CategoryId::from_i64)?,
        parent_id: id_or_none(row, "parent_id", CategoryId::from_i64)?,
        name: row.try_get("name")?,
        sort_order: row.try_get("sort_order")?,
        version: count(row, "version")?,
        created_at: count(row, "created_at_ms")?,
    })
}

pub(crate) fn product_of(row: &DbRow) -> Result<Product, StoreError> {
    Ok(Product {
        product_id: id(row, "id", ProductId::from_i64)?,
        category_id: id(row, "category_id", CategoryId::from_i64)?,
        title: row.try_get("title")?,
        subtitle: row.try_get("subtitle")?,
        description: row.try_get("description")?,
        image_ids: from_json(row.try_get("image_ids")?)?,
        image_alts: match row.try_get::<Option<&str>, _>("image_alts")? {
            Some(texts) => from_json(texts)?,
            None => ImageAlts::new(),
        },
        on_shelf: count(row, "on_shelf")? != 0,
        version: count(row, "version")?,
        created_at: count(row, "created_at_ms")?,
    })
}
