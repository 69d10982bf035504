//! Builds a second index from the database, next to the one that is searched, and puts it in its place.
//!
//! The log's end is noted before the database is read. The second index is searched only once it has followed the log from
//! there, and it says how far it has come. The process that builds it may therefore die at any moment: the worker that continues finds the index,
//! the old one or the new one, complete up to its own position.

use std::{collections::BTreeMap, future::Future};

use commit_log::Log;
use contract::ProductId;
use search::{Change, IndexError, Outcome, Rebuild};
use store::Store;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use workers::WorkerError;

use super::{
    Search,
    compare::ReadIndex,
    control::{Comparison, Progress, ProgressSender, RebuildResult, Stage},
    documents::{Documents, PAGES_AHEAD, Pages, Sold, documents, feed, report, sold},
    records::{CatalogueBatch, Follower, ends, write},
    second::SecondIndex,
    verify::{Compared, compare_all, outbox_passed},
};

/// How often the log is followed to its end before the swap: each time it has grown by less.
const ROUNDS_MAX: usize = 10;

/// A build that is under way. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Building {
    task: AbortOnDropHandle<Result<RebuildResult, WorkerError>>,
}

impl Building {
    /// Begins to build an index with the sales as of `now_ms`, and puts it in place. With `verify`, every document is compared
    /// with the database before that, otherwise the number of products.
    pub(super) fn begin<L: Log>(
        (log, store, search): (&L, &Store, &Search),
        now_ms: u64,
        verify: bool,
        progress: ProgressSender,
    ) -> Self {
        let work = build((log.clone(), store.clone(), search.clone()), now_ms, verify, progress);
        Self { task: AbortOnDropHandle::new(tokio::spawn(work)) }
    }

    /// Returns once it is in place or given up. Cancel-safe; not to be called again after it has returned.
    pub(super) async fn done(&mut self) -> Result<RebuildResult, WorkerError> {
        (&mut self.task).await.unwrap_or_else(|error| Err(WorkerError::Search(error.to_string())))
    }
}

/// Builds an index and puts it in place. Several processes may have the index on a server, and one of them or none may follow
/// the log meanwhile.
///
/// # Errors
/// If database, log or index fail.
pub async fn rebuild<L: Log>(
    (log, store, search): (&L, &Store, &Search),
    now_ms: u64,
    verify: bool,
    progress: watch::Sender<Progress>,
) -> Result<RebuildResult, WorkerError> {
    Building::begin((log, store, search), now_ms, verify, progress).done().await
}

async fn build<L: Log>(
    (log, store, search): (L, Store, Search),
    now_ms: u64,
    verify: bool,
    progress: watch::Sender<Progress>,
) -> Result<RebuildResult, WorkerError> {
    let total = store.catalogue().product_count().await.map_err(WorkerError::store)?;
    let sold = sold(&store, now_ms).await?;
    let follower = Follower::at(&log, ends(&log).await?).await?;
    let index = SecondIndex::begin(&search).await?;
    let mut second = Second { store: store.clone(), sold, follower, index };
    let mut comparison = second.add_all(total, &progress).await?;
    second.follow().await?;
    if verify {
        comparison = compare_all(&mut second, &store, &progress).await?;
    }
    for _ in 0..ROUNDS_MAX {
        if second.follow().await? == 0 {
            break;
        }
    }
    let Second { index, follower, .. } = second;
    let position = write(follower.next());
    comparison.position = position.as_ref().map_or_else(|| "none".to_owned(), |it| it.as_str().to_owned());
    if comparison.different > 0 {
        return Ok(RebuildResult { is_in_place: false, comparison });
    }
    progress.send_replace(Progress { stage: Stage::Swap, done: comparison.products, total });
    index.finish(position).await?;
    Ok(RebuildResult { is_in_place: true, comparison })
}

/// A second index, which follows the log.
struct Second<L: Log> {
    store: Store,
    sold: Sold,
    follower: Follower<L>,
    index: SecondIndex,
}

impl<L: Log> Second<L> {
    /// Adds every product of the database, a page at a time, and counts what is there then.
    async fn add_all(&mut self, total: u64, progress: &ProgressSender) -> Result<Comparison, WorkerError> {
        let (pages, receiver) = mpsc::channel(PAGES_AHEAD);
        let (sold, progress) = (self.sold.clone(), progress.clone());
        let adding = self.index.with(move |rebuild| {
            let added = add_pages(rebuild, receiver, &sold, total, &progress)?;
            count_all(rebuild, added)
        });
        let (fed, added) = tokio::join!(feed(&self.store, pages), adding);
        // A failure to read is why the index was given up.
        fed?;
        added
    }

    /// Indexes the products of the log up to its end, and returns their number.
    async fn follow(&mut self) -> Result<usize, WorkerError> {
        let (ends, mut products) = (self.follower.ends().await?, 0);
        while let Some(CatalogueBatch { changed, .. }) = self.follower.batch(&ends).await? {
            products += changed.len();
            // What can't be used is put aside by the worker that follows the log for the index in use.
            let ids: Vec<ProductId> = changed.into_keys().collect();
            let Documents { changes, .. } = documents(&self.store, &ids, Some(&self.sold)).await?;
            let outcomes = self.index.with(move |rebuild| rebuild.apply(&changes)).await?;
            report(&outcomes);
        }
        Ok(products)
    }
}

impl<L: Log> Compared for Second<L> {
    fn read<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut ReadIndex<'_>) -> Result<T, IndexError> + Send + 'static,
    ) -> impl Future<Output = Result<T, WorkerError>> + Send {
        self.index.with(move |rebuild| work(&mut |after, limit| rebuild.products(after, limit)))
    }

    async fn catch_up(&mut self) -> Result<(), WorkerError> {
        outbox_passed(&self.store).await?;
        self.follow().await.map(drop)
    }
}

/// Adds products page by page; how many were written.
fn add_pages(
    rebuild: &mut dyn Rebuild,
    mut pages: Pages,
    sold: &BTreeMap<ProductId, u64>,
    total: u64,
    progress: &ProgressSender,
) -> Result<u64, IndexError> {
    let (mut added, mut done) = (0, 0);
    loop {
        let page = pages.blocking_recv();
        let page = page.ok_or_else(|| IndexError::Unavailable("the products could not be read".to_owned()))?;
        let Some(page) = page else { return Ok(added) };
        done += u64::try_from(page.len()).unwrap_or_default();
        let listed = page.into_iter().filter_map(|change| match change {
            Change::Put(mut product) => {
                product.sales = sold.get(&product.id).copied().unwrap_or_default();
                Some(Change::Put(product))
            }
            Change::Remove { .. } => None,
        });
        let outcomes = rebuild.apply(&listed.collect::<Vec<_>>())?;
        let written = outcomes.iter().filter(|outcome| **outcome == Outcome::Written).count();
        added += u64::try_from(written).unwrap_or_default();
        report(&outcomes);
        progress.send_replace(Progress { stage: Stage::Build, done, total });
    }
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
