//! Removes rows that can't matter any more.

use foundation::Clock;
use store::{Ends, REMOVED_MAX, Store};
use workers::{Worker, WorkerError};

/// How long the sweeper rests once nothing is left to remove.
const LOOK_EVERY_MS: u64 = 60_000;
/// Between two steps while there is more: a backlog must not keep other writes from a database with one writer.
const PAUSE_MS: u64 = 100;

/// Removes rows of every [`Ends`], in small transactions.
#[derive(Debug)]
pub(crate) struct Sweeper<C> {
    store: Store,
    clock: C,
}

impl<C: Clock> Sweeper<C> {
    pub(crate) const fn new(store: Store, clock: C) -> Self {
        Self { store, clock }
    }
}

impl<C: Clock> Worker for Sweeper<C> {
    const NAME: &'static str = "sweeper";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let mut has_more = false;
        for table in Ends::ALL {
            let removed = self.store.remove_ended(table, self.clock.now_ms()).await;
            has_more |= removed.map_err(WorkerError::store)? == REMOVED_MAX;
        }
        let pause_ms = if has_more { PAUSE_MS } else { LOOK_EVERY_MS };
        self.clock.sleep_until(self.clock.now_ms() + pause_ms).await;
        Ok(())
    }
}
