//! Compares the running index with the database while both change.
//!
//! A product that differs in a first pass may have changed between two reads. Such products are read again once the index
//! has come to an offset of the log that lies after the first read: a product whose version in the database is still that of
//! the first read must be in the index with it. One that has changed again is compared again.

use std::{collections::BTreeMap, time::Duration};

use commit_log::Log;
use contract::ProductId;
use domain::SaleStore as _;
use search::{Change, IndexError, Product, SearchIndex};
use store::Store;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};
use workers::WorkerError;

use super::{
    Search,
    compare::{Pass, Suspect, compare, difference},
    control::{Comparison, DIFFERENCES_MAX, Difference, Progress, ProgressSender, Stage},
    documents::{PAGES_AHEAD, change, feed},
    records::{ends, read},
    sync::failed,
};

/// How long the index may take to come to the end of the log.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often products that go on changing are compared.
const ROUNDS_MAX: usize = 5;
/// Rows of the outbox that are waited for.
const OUTBOX_ROWS_MAX: usize = 10_000;

/// Compares the index with the database.
///
/// # Errors
/// Where database, log or index fail, or the index does not come to the end of the log in time.
pub async fn verify<L: Log>(
    log: &L,
    store: &Store,
    search: &Search,
    progress: &ProgressSender,
) -> Result<Comparison, WorkerError> {
    let Pass { products, mut suspects, more } = pass(store, search, progress).await?;
    let total = u64::try_from(suspects.len()).unwrap_or_default();
    let mut different = Vec::new();
    for _ in 0..ROUNDS_MAX {
        if suspects.is_empty() {
            break;
        }
        progress.send_replace(Progress { stage: Stage::Follow, done: 0, total });
        catch_up(log, store, search).await?;
        let mut again = Vec::new();
        for suspect in suspects {
            match look_again(store, search, suspect).await? {
                Seen::Same => {}
                Seen::Different(difference) => different.push(difference),
                Seen::Changing(suspect) => again.push(suspect),
            }
        }
        suspects = again;
    }
    if more > 0 && different.is_empty() {
        let reason = format!("{more} more products changed while they were compared; try it when less changes");
        return Err(WorkerError::Search(reason));
    }
    // The others could not be looked at again: they are counted as they were seen.
    let count = u64::try_from(different.len()).unwrap_or(u64::MAX).saturating_add(more);
    different.truncate(DIFFERENCES_MAX);
    let position = search.work(|index| index.position()).await.map_err(failed)?;
    let position = position.map_or_else(|| "none".to_owned(), |position| position.as_str().to_owned());
    Ok(Comparison { products, position, different: count, first: different })
}

/// One pass over everything.
async fn pass(store: &Store, search: &Search, progress: &ProgressSender) -> Result<Pass, WorkerError> {
    let (pages, receiver) = mpsc::channel(PAGES_AHEAD);
    let total = store.product_count().await.map_err(WorkerError::store)?;
    let progress: watch::Sender<Progress> = progress.clone();
    let comparing = search.work(move |index| {
        let mut read = |after, limit| index.products(after, limit);
        compare(receiver, &mut read, total, &progress)
    });
    let (fed, compared) = tokio::join!(feed(store, pages), comparing);
    fed?;
    compared.map_err(failed)
}

enum Seen {
    Same,
    Different(Difference),
    /// It has changed since.
    Changing(Suspect),
}

/// Compares one product, now that the index has all changes that were made when it was read.
async fn look_again(store: &Store, search: &Search, suspect: Suspect) -> Result<Seen, WorkerError> {
    let product = suspect.product;
    // The index first: it can't have a version that the database does not have a moment later.
    let indexed = search.work(move |index| one(index, product)).await.map_err(failed)?;
    let entries = store.search_entries(&[product]).await.map_err(WorkerError::store)?;
    let database: Option<Change> = entries.into_iter().next().map(change);
    let Some(what) = difference(database.as_ref(), indexed.as_ref()) else { return Ok(Seen::Same) };
    let (version, in_index) = (database.as_ref().map(Change::version), indexed.map(|product| product.version));
    let is_ahead = in_index > version;
    let is_behind = in_index.is_some() && in_index < suspect.version;
    if is_ahead || is_behind || version == suspect.version {
        return Ok(Seen::Different(Difference { product, what }));
    }
    Ok(Seen::Changing(Suspect { version, indexed: in_index, what, product }))
}

fn one(index: &dyn SearchIndex, product: ProductId) -> Result<Option<Product>, IndexError> {
    let before = ProductId::from_i64(product.as_i64() - 1);
    let found = index.products(before, 1)?;
    Ok(found.into_iter().find(|found| found.id == product))
}

/// Waits until the index holds every change that is in the database now.
async fn catch_up<L: Log>(log: &L, store: &Store, search: &Search) -> Result<(), WorkerError> {
    let by = Instant::now() + CATCH_UP_MAX;
    let behind = |what: &str| {
        let seconds = CATCH_UP_MAX.as_secs();
        Err(WorkerError::Search(format!("the index does not follow the log: for {seconds} s {what}")))
    };
    let waiting = store.outbox(OUTBOX_ROWS_MAX).await.map_err(WorkerError::store)?;
    if let Some(last) = waiting.last() {
        while let Some(first) = store.outbox(1).await.map_err(WorkerError::store)?.first() {
            if first.id > last.id {
                break;
            }
            if Instant::now() > by {
                return behind("changes have waited in the outbox");
            }
            sleep(LOOK_EVERY).await;
        }
    }
    let ends = ends(log).await?;
    loop {
        let position = search.work(|index| index.position()).await.map_err(failed)?;
        let reached: BTreeMap<u32, u64> = position.as_ref().and_then(read).unwrap_or_default();
        if ends.iter().all(|(partition, end)| reached.get(partition).is_some_and(|reached| reached >= end)) {
            return Ok(());
        }
        if Instant::now() > by {
            return behind("its offset has been before the log's end");
        }
        sleep(LOOK_EVERY).await;
    }
}
