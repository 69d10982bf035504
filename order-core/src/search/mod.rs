//! Search of products: the index as the API asks it, and the worker that keeps it at what the database says.

mod build;
mod compare;
pub mod control;
mod documents;
mod owner;
mod records;
mod second;
mod sync;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foundation::metrics::{Histogram, Registry};
use search::{IndexError, Page, SearchError, SearchIndex, SearchRequest, Suggestion};
use tokio::{
    sync::{Semaphore, mpsc},
    task::spawn_blocking,
};

pub use build::rebuild;
use control::RebuildOrder;
pub use owner::{Owner, Socket, bind};
pub use sync::SearchSync;
pub use verify::verify;

/// Searches that are answered at once; each occupies a thread.
const SEARCHES_MAX: usize = 32;

/// The search index. Clones are the same index.
#[derive(Clone)]
pub struct Search {
    index: Arc<dyn SearchIndex>,
    permits: Arc<Semaphore>,
    lag: Arc<Lag>,
    /// From the change of a product to the moment at which searches find it; `None` until it is shown in metrics.
    delays: Arc<OnceLock<Histogram>>,
    orders: mpsc::Sender<RebuildOrder>,
    /// For the worker; `None` once it has them.
    ordered: Arc<Mutex<Option<mpsc::Receiver<RebuildOrder>>>>,
}

/// How far the index is behind.
#[derive(Debug, Default)]
struct Lag {
    /// When the oldest change that is not in the index yet was read, epoch milliseconds; 0 if the index has them all.
    since_ms: AtomicU64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchFailed {
    #[error("too many searches are being answered")]
    Busy,
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error("the search died: {0}")]
    Died(String),
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search").field("lag", &self.lag).finish_non_exhaustive()
    }
}

impl Search {
    /// Shows in `metrics` how long changes take until they are found.
    pub fn show_delays(&self, metrics: &Registry) {
        let help = "Time from the change of a product until search found it.";
        self.delays.get_or_init(|| metrics.histogram("mall_search_visible_seconds", help));
    }

    /// A change of `at_ms` is found since `now_ms`. One of an unknown time does not count.
    fn note_delay(&self, at_ms: u64, now_ms: u64) {
        if let Some(delays) = self.delays.get()
            && at_ms > 0
        {
            delays.observe(Duration::from_millis(now_ms.saturating_sub(at_ms)));
        }
    }

    pub fn new(index: impl SearchIndex + 'static) -> Self {
        let (orders, ordered) = mpsc::channel(1);
        Self {
            index: Arc::new(index),
            permits: Arc::new(Semaphore::new(SEARCHES_MAX)),
            lag: Arc::default(),
            delays: Arc::default(),
            orders,
            ordered: Arc::new(Mutex::new(Some(ordered))),
        }
    }

    /// The rebuilds that are asked for; `None` where a worker has them already.
    fn take_orders(&self) -> Option<mpsc::Receiver<RebuildOrder>> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// # Errors
    /// See [`SearchFailed`].
    pub async fn search(&self, request: SearchRequest) -> Result<Page, SearchFailed> {
        self.ask(move |index| index.search(&request)).await
    }

    /// # Errors
    /// See [`SearchFailed`].
    pub async fn suggest(&self, q: String, limit: usize) -> Result<Vec<Suggestion>, SearchFailed> {
        self.ask(move |index| index.suggest(&q, limit)).await
    }

    /// How long the oldest change waits that the worker has read and the index does not hold yet, in milliseconds.
    pub fn lag_ms(&self, now_ms: u64) -> u64 {
        match self.lag.since_ms.load(Ordering::Relaxed) {
            0 => 0,
            since_ms => now_ms.saturating_sub(since_ms),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn SearchIndex) -> Result<T, SearchError> + Send + 'static,
    ) -> Result<T, SearchFailed> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| SearchFailed::Busy)?;
        let index = Arc::clone(&self.index);
        let asked = spawn_blocking(move || {
            let answer = ask(&*index);
            // A client that has gone away does not make room for another search before this one is over.
            drop(permit);
            answer
        });
        Ok(asked.await.map_err(|error| SearchFailed::Died(error.to_string()))??)
    }

    /// Has the worker's thread pool work on the index.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn SearchIndex) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let index = Arc::clone(&self.index);
        let worked = spawn_blocking(move || work(&*index)).await;
        worked.unwrap_or_else(|error| Err(IndexError::Unavailable(error.to_string())))
    }
}

/// The index failed, so a step of the worker did.
fn failed(error: IndexError) -> workers::WorkerError {
    workers::WorkerError::Search(error.to_string())
}
