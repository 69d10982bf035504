//! Documents of the index, as the database says they are.

use std::collections::{BTreeMap, BTreeSet};

use contract::ProductId;
use domain::{Outlook, SaleError};
use search::{Attribute, Category, Change, IndexError, Offer, Outcome, Product, SearchIndex};
use store::{SEARCH_ENTRIES_MAX, SearchEntry, Store};
use tokio::sync::mpsc;
use workers::WorkerError;

/// Pages that are read ahead of their reader.
pub(super) const PAGES_AHEAD: usize = 2;
/// How long a sold unit counts.
const SALES_MS: u64 = 30 * 24 * 3_600_000;

/// Products of the database by ascending id; the last message is `None`. A channel that closes without it has failed.
pub(super) type Pages = mpsc::Receiver<Option<Vec<Change>>>;

/// Units of each product that were sold lately.
pub(super) type Sold = BTreeMap<ProductId, u64>;

/// What the database says of some products.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub changes: Vec<Change>,
    /// Products whose rows can't be read as what they should be, and why.
    pub unreadable: Vec<(ProductId, String)>,
}

/// Reads every product of the database, page by page.
pub(super) async fn feed(store: &Store, pages: mpsc::Sender<Option<Vec<Change>>>) -> Result<(), WorkerError> {
    let rows = u32::try_from(SEARCH_ENTRIES_MAX).unwrap_or(u32::MAX);
    let mut after = None;
    loop {
        let ids = store.catalogue().product_ids(after, rows).await.map_err(WorkerError::store)?;
        let page = match ids.last() {
            None => None,
            Some(last) => {
                after = Some(*last);
                let Documents { changes, unreadable } = documents(store, &ids, None).await?;
                for (product, reason) in unreadable {
                    tracing::error!(%product, reason, "a product can't be read from the database; search leaves it out");
                }
                Some(changes)
            }
        };
        let is_last = page.is_none();
        if pages.send(page).await.is_err() || is_last {
            // A reader that has ended early has reported why.
            return Ok(());
        }
    }
}

/// What the database says now of `products`. Sales are 0 without `sold`.
pub(super) async fn documents(
    store: &Store,
    products: &[ProductId],
    sold: Option<&Sold>,
) -> Result<Documents, WorkerError> {
    let mut documents = Documents::default();
    for products in products.chunks(SEARCH_ENTRIES_MAX) {
        match store.catalogue().search_entries(products).await.map_err(SaleError::from) {
            Ok(entries) => documents.changes.extend(entries.into_iter().map(change)),
            // One product that can't be read does not hold up the others.
            Err(error) if error.outlook() == Outlook::WillNotPass => {
                one_by_one(store, products, &mut documents).await?
            }
            Err(error) => return Err(error.into()),
        }
    }
    for change in &mut documents.changes {
        if let Change::Put(product) = change {
            product.sales = sold.and_then(|sold| sold.get(&product.id)).copied().unwrap_or_default();
        }
    }
    Ok(documents)
}

async fn one_by_one(store: &Store, products: &[ProductId], documents: &mut Documents) -> Result<(), WorkerError> {
    for product in products {
        match store.catalogue().search_entries(&[*product]).await.map_err(SaleError::from) {
            Ok(entries) => documents.changes.extend(entries.into_iter().map(change)),
            Err(error) if error.outlook() == Outlook::WillNotPass => {
                documents.unreadable.push((*product, error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Units of each product that were sold lately, as of `now_ms`.
pub(super) async fn sold(store: &Store, now_ms: u64) -> Result<Sold, WorkerError> {
    store.catalogue().units_sold(now_ms.saturating_sub(SALES_MS)).await.map_err(WorkerError::store)
}

/// Every product of the index. What it says of their sales is not known, so no count of theirs is right.
pub(super) fn all_products(index: &dyn SearchIndex) -> Result<Sold, IndexError> {
    let mut all = BTreeMap::new();
    index.versions(&mut |product, _| {
        all.insert(product, u64::MAX);
    })?;
    Ok(all)
}

/// What the index should hold of an entry.
fn change(entry: SearchEntry) -> Change {
    let SearchEntry { product: id, version, on_shelf, title, subtitle, categories, skus, created_at_ms } = entry;
    if !on_shelf || skus.is_empty() {
        return Change::Remove { id, version };
    }
    let offers = skus.iter().map(|(_, price, stock)| Offer { price_cents: *price, in_stock: *stock > 0 }).collect();
    let attributes: BTreeSet<(String, String)> = skus.into_iter().flat_map(|(attributes, ..)| attributes).collect();
    let attributes = attributes.into_iter().map(|(name, value)| Attribute { name, value }).collect();
    let categories = categories.into_iter().map(|(id, name)| Category { id, name }).collect();
    let product = Product { id, version, title, subtitle, categories, attributes, offers, sales: 0, created_at_ms };
    Change::Put(Box::new(product))
}

/// One line for what can't be indexed; it does not hold up the rest.
pub(super) fn report(outcomes: &[Outcome]) {
    let rejected: Vec<&String> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Rejected(reason) => Some(reason),
            Outcome::Written | Outcome::Older => None,
        })
        .collect();
    if let Some(reason) = rejected.first() {
        tracing::error!(products = rejected.len(), reason, "products can't be indexed");
    }
}
