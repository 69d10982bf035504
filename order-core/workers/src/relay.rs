//! The outbox onto the log.

use std::{collections::BTreeMap, sync::Arc};

use commit_log::{Log, LogError, NewRecord};
use contract::{
    record::{OrderEvent, OrderEvents, Record as _, order_key},
    topic::{self, partition_of},
};
use domain::{OutboxRow, SaleStore};
use foundation::Clock;

use crate::{Worker, WorkerError};

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
        let result = self.log.append(records(rows)).await;
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

/// What to append for `rows`. Events of orders are many and small: those of one partition share records; all else
/// stays as it is, in its order.
fn records(rows: Vec<OutboxRow>) -> Vec<NewRecord> {
    let (mut records, mut events) = (Vec::new(), BTreeMap::<u32, Vec<OrderEvent>>::new());
    for OutboxRow { topic, key, value, .. } in rows {
        if topic == topic::ORDER_EVENTS
            && let Ok(read) = OrderEvents::decode(&value)
        {
            events.entry(partition_of(&key, topic::ORDER_EVENTS_PARTITIONS)).or_default().extend(read.into_vec());
        } else {
            records.push(NewRecord { topic: topic.into(), key, value });
        }
    }
    let topic: Arc<str> = topic::ORDER_EVENTS.into();
    let record = |events: OrderEvents| NewRecord {
        topic: topic.clone(),
        key: order_key(events.first()).to_vec(),
        value: events.to_bytes(),
    };
    records.extend(events.values().flat_map(|events| OrderEvents::group(events)).map(record));
    records
}

impl<L: Log, S: SaleStore, C: Clock> Worker for Relay<L, S, C> {
    const NAME: &'static str = "relay";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let rows = self.store.outbox(ROWS_MAX).await.map_err(WorkerError::store)?;
        if rows.is_empty() {
            tokio::select! {
                biased;
                () = self.store.outbox_filled() => {}
                () = self.clock.sleep_until(self.clock.now_ms() + LOOK_EVERY_MS) => {}
            }
            return Ok(());
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        self.append(rows).await?;
        self.store.outbox_sent(&ids).await.map_err(WorkerError::store)?;
        Ok(())
    }
}
