//! Builds a second index from the database, next to the one that is searched.

use std::collections::BTreeMap;

use contract::ProductId;
use search::{Change, IndexError, Outcome, Position, Product, Rebuild, SearchIndex};
use store::Store;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;
use workers::WorkerError;

use super::{
    Search,
    compare::{Pass, compare},
    control::{Comparison, DIFFERENCES_MAX, Difference, Progress, ProgressSender, Rebuilt, Stage},
    documents::{PAGES_AHEAD, Pages, feed, report},
    sync::failed,
};

/// A build that is under way. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Building {
    /// True once only the swap is left.
    ready: watch::Receiver<bool>,
    go: Option<oneshot::Sender<()>>,
    task: AbortOnDropHandle<Result<Rebuilt, WorkerError>>,
}

impl Building {
    /// Begins to build an index that holds the log up to `position` at least. With `verify`, every document is compared with
    /// the database, otherwise the number of products.
    pub(super) fn begin(
        store: &Store,
        search: &Search,
        position: Option<Position>,
        verify: bool,
        progress: ProgressSender,
    ) -> Self {
        let ((is_ready, ready), (go, may_swap)) = (watch::channel(false), oneshot::channel());
        let work = run(store.clone(), search.clone(), position, verify, Signals { progress, is_ready, may_swap });
        Self { ready, go: Some(go), task: AbortOnDropHandle::new(tokio::spawn(work)) }
    }

    /// Returns once the swap can be made, or nothing can. Cancel-safe.
    pub(super) async fn ready(&mut self) {
        // A sender that is gone has ended, and `swap` tells how.
        let (Ok(_) | Err(_)) = self.ready.wait_for(|is_ready| *is_ready).await;
    }

    /// Puts the new index in place. Cancel-safe; not to be called again after it has returned.
    pub(super) async fn swap(&mut self) -> Result<Rebuilt, WorkerError> {
        if let Some(go) = self.go.take() {
            // A builder that has failed does not wait for it.
            let (Ok(()) | Err(())) = go.send(());
        }
        (&mut self.task).await.unwrap_or_else(|error| Err(WorkerError::Search(error.to_string())))
    }
}

/// What a builder reports, and what it waits for.
struct Signals {
    progress: ProgressSender,
    is_ready: watch::Sender<bool>,
    may_swap: oneshot::Receiver<()>,
}

async fn run(
    store: Store,
    search: Search,
    position: Option<Position>,
    verify: bool,
    signals: Signals,
) -> Result<Rebuilt, WorkerError> {
    let total = store.product_count().await.map_err(WorkerError::store)?;
    let (pages, read) = mpsc::channel(PAGES_AHEAD);
    let (pages_again, read_again) = mpsc::channel(PAGES_AHEAD);
    let feeding = async {
        feed(&store, pages).await?;
        if verify { feed(&store, pages_again).await } else { Ok(()) }
    };
    let read_again = verify.then_some(read_again);
    let building = search.work(move |index| build(index, (read, read_again), position.as_ref(), total, signals));
    let (fed, built) = tokio::join!(feeding, building);
    // A failure to read is why the index was given up.
    fed?;
    built.map_err(failed)
}

fn build(
    index: &dyn SearchIndex,
    (pages, pages_again): (Pages, Option<Pages>),
    position: Option<&Position>,
    total: u64,
    Signals { progress, is_ready, may_swap }: Signals,
) -> Result<Rebuilt, IndexError> {
    let mut rebuild = index.rebuild()?;
    let added = add_all(rebuild.as_mut(), pages, total, &progress)?;
    let mut comparison = match pages_again {
        Some(pages) => compare_all(rebuild.as_mut(), pages, &added.versions, total, &progress)?,
        None => count_all(rebuild.as_mut(), added.products)?,
    };
    comparison.position = position.map_or_else(|| "none".to_owned(), |position| position.as_str().to_owned());
    if comparison.different > 0 {
        return Ok(Rebuilt { is_in_place: false, comparison });
    }
    progress.send_replace(Progress { stage: Stage::Swap, done: comparison.products, total });
    is_ready.send_replace(true);
    let gone = |_| IndexError::Unavailable("the worker that follows the log has ended".to_owned());
    may_swap.blocking_recv().map_err(gone)?;
    rebuild.finish(position)?;
    Ok(Rebuilt { is_in_place: true, comparison })
}

/// What was read while an index was built.
#[derive(Default)]
struct Added {
    /// Products that were written.
    products: u64,
    /// The version that was read of each product, on the shelf or not.
    versions: BTreeMap<ProductId, i64>,
}

fn add_all(
    rebuild: &mut dyn Rebuild,
    mut pages: Pages,
    total: u64,
    progress: &ProgressSender,
) -> Result<Added, IndexError> {
    let (mut added, mut done) = (Added::default(), 0);
    loop {
        let page = pages.blocking_recv();
        let page = page.ok_or_else(|| IndexError::Unavailable("the products could not be read".to_owned()))?;
        let Some(page) = page else { return Ok(added) };
        done += u64::try_from(page.len()).unwrap_or_default();
        added.versions.extend(page.iter().map(|change| (change.id(), change.version())));
        let listed = page.into_iter().filter_map(|change| match change {
            Change::Put(product) => Some(*product),
            Change::Remove { .. } => None,
        });
        let listed: Vec<Product> = listed.collect();
        let ids: Vec<ProductId> = listed.iter().map(|product| product.id).collect();
        let outcomes = rebuild.add(listed)?;
        for (id, outcome) in ids.iter().zip(&outcomes) {
            match outcome {
                Outcome::Written => added.products += 1,
                Outcome::Older => {}
                // No index can hold it, so it is no difference.
                Outcome::Rejected(_) => drop(added.versions.remove(id)),
            }
        }
        report(&outcomes);
        progress.send_replace(Progress { stage: Stage::Build, done, total });
    }
}

/// Compares every document of the second index with the database. Products that have changed since they were added do not
/// count: their records are after the position of the index, and are followed once it is in place.
fn compare_all(
    rebuild: &mut dyn Rebuild,
    pages: Pages,
    versions: &BTreeMap<ProductId, i64>,
    total: u64,
    progress: &ProgressSender,
) -> Result<Comparison, IndexError> {
    let Pass { products, suspects, more } =
        compare(pages, &mut |after, limit| rebuild.products(after, limit), total, progress)?;
    let has_changed = |product: ProductId, version: Option<i64>| version != versions.get(&product).copied();
    let different: Vec<Difference> = suspects
        .into_iter()
        .filter(|suspect| {
            let is_as_added = suspect.indexed.is_none_or(|indexed| versions.get(&suspect.product) == Some(&indexed));
            !is_as_added || !has_changed(suspect.product, suspect.version)
        })
        .map(|suspect| Difference { product: suspect.product, what: suspect.what })
        .collect();
    if more > 0 && different.is_empty() {
        let reason = format!("{more} more products changed while they were compared; try it when less changes");
        return Err(IndexError::Unavailable(reason));
    }
    let count = u64::try_from(different.len()).unwrap_or(u64::MAX).saturating_add(more);
    let first = different.into_iter().take(DIFFERENCES_MAX).collect();
    Ok(Comparison { products, different: count, first, ..Comparison::default() })
}

/// Compares the number of products in the second index with the number that was written.
fn count_all(rebuild: &mut dyn Rebuild, added: u64) -> Result<Comparison, IndexError> {
    let mut products = 0;
    rebuild.versions(&mut |_, _| products += 1)?;
    if products == added {
        return Ok(Comparison { products, ..Comparison::default() });
    }
    Err(IndexError::Unavailable(format!("{added} products were written to the new index, and {products} are there")))
}
