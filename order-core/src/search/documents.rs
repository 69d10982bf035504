//! Documents of the index, as the database says they are.

use std::collections::BTreeSet;

use search::{Attribute, Category, Change, Outcome, Product};
use store::{SEARCH_ENTRIES_MAX, SearchEntry, Store};
use tokio::sync::mpsc;
use workers::WorkerError;

/// Pages that are read ahead of their reader.
pub(super) const PAGES_AHEAD: usize = 2;

/// Products of the database by ascending id; the last message is `None`. A channel that closes without it has failed.
pub(super) type Pages = mpsc::Receiver<Option<Vec<Change>>>;

/// Reads every product of the database, page by page.
pub(super) async fn feed(store: &Store, pages: mpsc::Sender<Option<Vec<Change>>>) -> Result<(), WorkerError> {
    let rows = u32::try_from(SEARCH_ENTRIES_MAX).unwrap_or(u32::MAX);
    let mut after = None;
    loop {
        let ids = store.product_ids(after, rows).await.map_err(WorkerError::store)?;
        let page = match ids.last() {
            None => None,
            Some(last) => {
                after = Some(*last);
                let entries = store.search_entries(&ids).await.map_err(WorkerError::store)?;
                Some(entries.into_iter().map(change).collect())
            }
        };
        let is_last = page.is_none();
        if pages.send(page).await.is_err() || is_last {
            // A reader that has ended early has reported why.
            return Ok(());
        }
    }
}

/// What the index should hold of an entry.
pub(super) fn change(entry: SearchEntry) -> Change {
    let SearchEntry { product: id, version, on_shelf, title, subtitle, categories, skus, created_at_ms } = entry;
    if !on_shelf || skus.is_empty() {
        return Change::Remove { id, version };
    }
    let in_stock = skus.iter().any(|(_, _, stock)| *stock > 0);
    let prices_cents = skus.iter().map(|(_, price, _)| *price).collect();
    let attributes: BTreeSet<(String, String)> = skus.into_iter().flat_map(|(attributes, ..)| attributes).collect();
    let attributes = attributes.into_iter().map(|(name, value)| Attribute { name, value }).collect();
    let categories = categories.into_iter().map(|(id, name)| Category { id, name }).collect();
    let product = Product {
        id,
        version,
        title,
        subtitle,
        categories,
        attributes,
        prices_cents,
        in_stock,
        sales: 0,
        created_at_ms,
    };
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
