//! What the ledgers of this process are rebuilt on.

use std::future::Future;

use contract::{ActivityId, stock::Snapshot};
use ledger::house::SnapshotSource;
use store::Store;
use tokio::runtime::Handle;

/// The database as the ledgers' source. The ledger thread has no runtime and the database needs one: it
/// is asked on the runtime that this was made on.
#[derive(Debug, Clone)]
pub struct Snapshots {
    store: Store,
    runtime: Handle,
}

impl Snapshots {
    /// Call it within the tokio runtime.
    pub fn new(store: Store) -> Self {
        Self { store, runtime: Handle::current() }
    }
}

impl SnapshotSource for Snapshots {
    fn snapshots(&self) -> impl Future<Output = Result<Vec<Snapshot>, String>> + Send {
        let store = self.store.clone();
        let asked = self.runtime.spawn(async move { domain::SaleStore::snapshots(&store).await });
        async move {
            let snapshots = asked.await.map_err(|error| error.to_string())?;
            snapshots.map_err(|error| error.to_string())
        }
    }

    fn opened(&self) -> impl Future<Output = Result<Vec<ActivityId>, String>> + Send {
        let store = self.store.clone();
        let asked = self.runtime.spawn(async move { store.opened_sales().await });
        async move {
            let opened = asked.await.map_err(|error| error.to_string())?;
            opened.map_err(|error| error.to_string())
        }
    }
}
