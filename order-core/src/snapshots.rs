//! What the ledgers of this process are rebuilt on.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use contract::stock::Snapshot;
#[cfg(feature = "redis")]
use contract::{
    ActivityId,
    record::LedgerCommand,
    stock::{Promise, Term},
};
#[cfg(feature = "redis")]
use ledger::redis::fence::{Opening, RecoverySource};
use ledger::restore::SnapshotSource;
use store::Store;
use tokio::{runtime::Handle, task::JoinHandle};
#[cfg(feature = "redis")]
use workers::FencingNumber;

/// The database as the ledgers' source. The ledger thread has no runtime and the database needs one: it
/// is asked on the runtime that this was made on.
#[derive(Debug, Clone)]
pub struct Snapshots {
    store: Store,
    runtime: Handle,
    /// In whose name terms are drawn, where another process could be the fence.
    #[cfg(feature = "redis")]
    lease: Option<FencingNumber>,
}

impl Snapshots {
    /// Call it within the tokio runtime.
    pub fn new(store: Store) -> Self {
        let runtime = Handle::current();
        Self {
            store,
            runtime,
            #[cfg(feature = "redis")]
            lease: None,
        }
    }

    /// This source, for a fence that works while it holds a lease.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn led_by(self, lease: FencingNumber) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// Asks the database on its own runtime. The question is on its way before the answer is waited for.
    fn ask<T, E, F>(&self, ask: impl FnOnce(Store) -> F) -> Asked<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let asked = ask(self.store.clone());
        Asked(self.runtime.spawn(async move { asked.await.map_err(|error| error.to_string()) }))
    }
}

/// An answer of the database that is under way.
struct Asked<T>(JoinHandle<Result<T, String>>);

impl<T> Future for Asked<T> {
    type Output = Result<T, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|joined| joined.unwrap_or_else(|error| Err(error.to_string())))
    }
}

impl SnapshotSource for Snapshots {
    fn snapshots(&self) -> impl Future<Output = Result<Vec<Snapshot>, String>> + Send {
        self.ask(|store| async move { domain::SaleStore::snapshots(&store).await })
    }
}

#[cfg(feature = "redis")]
impl RecoverySource for Snapshots {
    fn opened(&self) -> impl Future<Output = Result<Vec<ActivityId>, String>> + Send {
        self.ask(|store| async move { store.sales().opened_sales().await })
    }

    async fn to_open(&self) -> Result<Vec<Opening>, String> {
        let found = self.ask(|store| async move { store.sales().ledgers_to_open().await }).await?;
        let opening =
            |found: store::LedgerToOpen| Opening { activity: found.activity, stock: found.stock, rules: found.rules };
        Ok(found.into_iter().map(opening).collect())
    }

    fn next_term(&self, above: Term) -> impl Future<Output = Result<Term, String>> + Send {
        let lease = self.lease.as_ref().map(FencingNumber::get);
        self.ask(move |store| async move { store.sales().next_term(above, lease).await })
    }

    fn decisions(&self, activity: ActivityId) -> impl Future<Output = Result<Vec<LedgerCommand>, String>> + Send {
        self.ask(move |store| async move { store.sales().decisions(activity).await })
    }

    fn promises(&self, activity: ActivityId) -> impl Future<Output = Result<Vec<Promise>, String>> + Send {
        self.ask(move |store| async move { store.sales().promises(activity).await })
    }
}
