//! Compares the running index with the database while both change.
//!
//! A product that differs in a first pass may have changed between two reads. Such products are read again once the index
//! has come to an offset of the log that lies after the first read: a product whose version in the database is still that of
//! the first read must be in the index with it. One that has changed again is compared again.

use std::{collections::VecDeque, future::Future, time::Duration};

use commit_log::Log;
use contract::ProductId;
use domain::SaleStore as _;
use search::{Change, IndexError, Product};
use store::Store;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};
use workers::WorkerError;

use super::{
    Search,
    compare::{Pass, ReadIndex, Suspect, compare, difference, is_listed},
    control::{Comparison, DIFFERENCES_MAX, Difference, Progress, ProgressSender, Stage},
    documents::{Documents, PAGES_AHEAD, documents, feed},
    failed,
    records::{ends, has_reached, read},
};

/// How long the index may take to come to the end of the log.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often products that go on changing are compared.
const ROUNDS_MAX: usize = 5;
/// Rows of the outbox that are waited for.
const OUTBOX_ROWS_MAX: usize = 10_000;

/// An index that is compared with the database.
pub(super) trait Compared {
    /// Passes `work` the products of the index, on a thread that may block.
    fn read<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut ReadIndex<'_>) -> Result<T, IndexError> + Send + 'static,
    ) -> impl Future<Output = Result<T, WorkerError>> + Send;

    /// Returns once the index holds every change that is in the database now.
    fn catch_up(&mut self) -> impl Future<Output = Result<(), WorkerError>> + Send;
}

/// Compares the index with the database.
///
/// # Errors
/// If database, log or index fail, or the index does not come to the end of the log in time.
pub async fn verify<L: Log>(
    log: &L,
    store: &Store,
    search: &Search,
    progress: &ProgressSender,
) -> Result<Comparison, WorkerError> {
    let mut running = Running { log, store, search };
    let mut comparison = compare_all(&mut running, store, progress).await?;
    let position = search.work(|index| index.position()).await.map_err(failed)?;
    comparison.position = position.map_or_else(|| "none".to_owned(), |position| position.as_str().to_owned());
    Ok(comparison)
}

/// Compares every product; the position is left to the caller.
pub(super) async fn compare_all(
    index: &mut impl Compared,
    store: &Store,
    progress: &ProgressSender,
) -> Result<Comparison, WorkerError> {
    let Pass { mut products, suspects, more } = pass(index, store, progress).await?;
    let total = u64::try_from(suspects.len()).unwrap_or_default();
    let mut suspects = VecDeque::from(suspects);
    let mut different = Vec::new();
    for _ in 0..ROUNDS_MAX {
        if suspects.is_empty() {
            break;
        }
        progress.send_replace(Progress { stage: Stage::Follow, done: 0, total });
        index.catch_up().await?;
        for suspect in std::mem::take(&mut suspects) {
            // The number is that of the products as they were compared last.
            products -= u64::from(suspect.is_listed);
            let (verdict, is_listed) = look_again(index, store, suspect).await?;
            products += u64::from(is_listed);
            match verdict {
                Verdict::Same => {}
                Verdict::Different(difference) => different.push(difference),
                Verdict::Changing(suspect) => suspects.push_back(suspect),
            }
        }
    }
    if more > 0 && different.is_empty() {
        let reason = format!("{more} more products changed while they were compared; try it when less changes");
        return Err(WorkerError::Search(reason));
    }
    // The others could not be looked at again: they are counted as they were seen.
    let count = u64::try_from(different.len()).unwrap_or(u64::MAX).saturating_add(more);
    different.truncate(DIFFERENCES_MAX);
    Ok(Comparison { products, different: count, first: different, ..Comparison::default() })
}

/// One pass over everything.
async fn pass(index: &mut impl Compared, store: &Store, progress: &ProgressSender) -> Result<Pass, WorkerError> {
    let (pages, receiver) = mpsc::channel(PAGES_AHEAD);
    let total = store.catalogue().product_count().await.map_err(WorkerError::store)?;
    let progress: watch::Sender<Progress> = progress.clone();
    let comparing = index.read(move |read| compare(receiver, read, total, &progress));
    let (fed, compared) = tokio::join!(feed(store, pages), comparing);
    fed?;
    compared
}

enum Verdict {
    Same,
    Different(Difference),
    /// It has changed since.
    Changing(Suspect),
}

/// Compares one product, now that the index has all changes that were made when it was read; and whether it is on the shelf now.
async fn look_again(
    index: &mut impl Compared,
    store: &Store,
    suspect: Suspect,
) -> Result<(Verdict, bool), WorkerError> {
    let product = suspect.product;
    // The index first: it can't have a version that the database does not have a moment later.
    let indexed = index.read(move |read| one(read, product)).await?;
    let Documents { changes, .. } = documents(store, &[product], None).await?;
    let database: Option<Change> = changes.into_iter().next();
    let is_listed = is_listed(database.as_ref());
    let Some(what) = difference(database.as_ref(), indexed.as_ref()) else { return Ok((Verdict::Same, is_listed)) };
    let (version, in_index) = (database.as_ref().map(Change::version), indexed.map(|product| product.version));
    let is_ahead = in_index > version;
    let is_behind = in_index.is_some() && in_index < suspect.version;
    if is_ahead || is_behind || version == suspect.version {
        return Ok((Verdict::Different(Difference { product, what }), is_listed));
    }
    Ok((Verdict::Changing(Suspect { version, is_listed, what, product }), is_listed))
}

fn one(read: &mut ReadIndex<'_>, product: ProductId) -> Result<Option<Product>, IndexError> {
    let before = ProductId::from_i64(product.as_i64() - 1);
    let found = read(before, 1)?;
    Ok(found.into_iter().find(|found| found.id == product))
}

/// The index that is searched, which a worker of this process or another one has follow the log.
struct Running<'a, L> {
    log: &'a L,
    store: &'a Store,
    search: &'a Search,
}

impl<L: Log> Compared for Running<'_, L> {
    fn read<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut ReadIndex<'_>) -> Result<T, IndexError> + Send + 'static,
    ) -> impl Future<Output = Result<T, WorkerError>> + Send {
        let reading = self.search.work(move |index| work(&mut |after, limit| index.products(after, limit)));
        async { reading.await.map_err(failed) }
    }

    async fn catch_up(&mut self) -> Result<(), WorkerError> {
        let by = outbox_passed(self.store).await?;
        let ends = ends(self.log).await?;
        loop {
            let position = self.search.work(|index| index.position()).await.map_err(failed)?;
            if position.as_ref().and_then(read).is_some_and(|reached| has_reached(&reached, &ends)) {
                return Ok(());
            }
            if Instant::now() > by {
                return Err(behind("its offset has been before the log's end"));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Waits until the log has every change that is in the database now; returns until when all of that may take.
pub(super) async fn outbox_passed(store: &Store) -> Result<Instant, WorkerError> {
    let by = Instant::now() + CATCH_UP_MAX;
    let waiting = store.outbox(OUTBOX_ROWS_MAX).await.map_err(WorkerError::store)?;
    let Some(last) = waiting.last() else { return Ok(by) };
    while let Some(first) = store.outbox(1).await.map_err(WorkerError::store)?.first() {
        if first.id > last.id {
            break;
        }
        if Instant::now() > by {
            return Err(behind("changes have waited in the outbox"));
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(by)
}

fn behind(what: &str) -> WorkerError {
    let seconds = CATCH_UP_MAX.as_secs();
    WorkerError::Search(format!("the index does not follow the log: for {seconds} s {what}"))
}
