//! Fills the database of a mall that does not run with generated products, to have something to search.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::value_parser;
use search::{
    Product,
    generator::{self, Item},
};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

/// Products of one transaction.
const CHUNK: usize = 5_000;
/// Units of a SKU that is in stock.
const STOCK: i64 = 100;

/// Which products.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct CatalogueOptions {
    /// The mall's data directory, with a database that `mall migrate` has made
    #[arg(long, value_name = "DIR", env = "MALL_DATA_DIR", default_value = "data")]
    data_dir: PathBuf,
    /// How many products
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    products: u32,
    /// Seed of the generator; the same products for the same seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Writes the products, all on the shelf. The report is one line.
pub(crate) fn run(options: &CatalogueOptions) -> Result<String, String> {
    let path = options.data_dir.join("mall.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let items = generator::products(options.seed, usize::try_from(options.products).unwrap_or(usize::MAX));
    let filled = runtime.block_on(fill(&path, &items));
    filled.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(format!("catalogue: {} products are in {}\n", items.len(), path.display()))
}

async fn fill(path: &Path, items: &[Item]) -> Result<(), sqlx::Error> {
    let mut database = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await?;
    // The name and the parent of each category.
    let mut categories: BTreeMap<i64, (&str, Option<i64>)> = BTreeMap::new();
    for Item { product, .. } in items {
        let mut parent = None;
        for category in &product.categories {
            categories.insert(category.id.as_i64(), (&category.name, parent));
            parent = Some(category.id.as_i64());
        }
    }
    let mut transaction = database.begin().await?;
    // SQLite looks at them at the end of the transaction.
    sqlx::query("PRAGMA defer_foreign_keys = ON").execute(&mut *transaction).await?;
    for (id, (name, parent)) in categories {
        let insert = "INSERT INTO categories (id, parent_id, name, sort_order, version, created_at_ms) VALUES (?, ?, ?, 0, 1, 0)";
        sqlx::query(insert).bind(id).bind(parent).bind(name).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    for items in items.chunks(CHUNK) {
        let mut transaction = database.begin().await?;
        for Item { product, .. } in items {
            add(&mut transaction, product).await?;
        }
        transaction.commit().await?;
    }
    database.close().await
}

async fn add(database: &mut SqliteConnection, product: &Product) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO products (id, category_id, title, subtitle, description, image_ids, on_shelf, version, created_at_ms) \
                  VALUES (?, ?, ?, ?, '', '[]', 1, 1, ?)";
    let id = product.id.as_i64();
    let created_at_ms = i64::try_from(product.created_at_ms).unwrap_or(i64::MAX);
    sqlx::query(insert)
        .bind(id)
        .bind(product.categories.last().map_or(0, |category| category.id.as_i64()))
        .bind(&product.title)
        .bind(&product.subtitle)
        .bind(created_at_ms)
        .execute(&mut *database)
        .await?;
    // A name has one value in a SKU: further ones, such as a second colour, are those of the next SKU.
    let mut skus: Vec<BTreeMap<&str, &str>> = vec![BTreeMap::new(); product.offers.len()];
    for attribute in &product.attributes {
        if let Some(sku) = skus.iter_mut().find(|sku| !sku.contains_key(attribute.name.as_str())) {
            sku.insert(&attribute.name, &attribute.value);
        }
    }
    for ((number, attributes), offer) in (0..).zip(&skus).zip(&product.offers) {
        let insert = "INSERT INTO skus (id, product_id, attributes, price_cents, stock, version, created_at_ms) \
                      VALUES (?, ?, ?, ?, ?, 1, ?)";
        sqlx::query(insert)
            .bind(id * 10 + number)
            .bind(id)
            .bind(serde_json::json!(attributes).to_string())
            .bind(offer.price_cents.get())
            .bind(if offer.in_stock { STOCK } else { 0 })
            .bind(created_at_ms)
            .execute(&mut *database)
            .await?;
    }
    Ok(())
}
