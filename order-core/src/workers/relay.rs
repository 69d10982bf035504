//! The outbox onto the log.

use commit_log::{Log, LogError, NewRecord};
use contract::topic;
use foundation::Clock;
use store::{OutboxRow, SaleStore};

use super::{Worker, WorkerError};

/// Rows of one append.
const ROWS_MAX: usize = 1000;
/// The outbox is looked into this often even where the bell did not ring: another process may have written to it.
const LOOK_EVERY_MS: u64 = 100;

/// Appends the outbox to the log, in order, and forgets a row once the log has it.
#[derive(Debug)]
pub struct Relay<L, S, C> {
    log: L,
    store: S,
    clock: C,
}

impl<L: Log, S: SaleStore, C: Clock> Relay<L, S, C> {
    /// One relay a database: two would mix up the order.
    pub const fn new(log: L, store: S, clock: C) -> Self {
        Self { log, store, clock }
    }

    async fn append(&self, rows: Vec<OutboxRow>) -> Result<(), LogError> {
        let record = |row: OutboxRow| NewRecord { topic: row.topic.into(), key: row.key, value: row.value };
        let result = self.log.append(rows.into_iter().map(record).collect()).await;
        if let Err(LogError::UnknownTopic(name)) = &result
            && let Some(delay) = name.strip_prefix(topic::TIMEOUTS_PREFIX)
            && let Ok(delay_ms) = delay.parse()
        {
            // Rows of a run that gave its orders another time to be paid.
            self.log.create_topics(vec![topic::timeouts(delay_ms)]).await?;
        }
        result
    }
}

impl<L: Log, S: SaleStore, C: Clock> Worker for Relay<L, S, C> {
    const NAME: &'static str = "relay";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let rows = self.store.outbox(ROWS_MAX).await?;
        if rows.is_empty() {
            tokio::select! {
                biased;
                () = self.store.outbox_bell().notified() => {}
                () = self.clock.sleep_until(self.clock.now_ms() + LOOK_EVERY_MS) => {}
            }
            return Ok(());
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        self.append(rows).await?;
        self.store.outbox_sent(&ids).await?;
        Ok(())
    }
}
