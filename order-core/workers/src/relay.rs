//! The outbox onto the log.

use std::{collections::BTreeMap, sync::Arc};

use commit_log::{LANDS_WITHIN_MS, Log, LogError, NewRecord};
use contract::{
    record::{OrderEvent, OrderEvents, Record as _, order_key},
    topic::{self, partition_of},
};
use domain::{LeaseStore, OutboxRow, SaleStore};
use foundation::Clock;

use crate::{
    Worker, WorkerError,
    lease::{self, Held, Lease},
};

/// Rows of one append.
const ROWS_MAX: usize = 1000;
/// The outbox is looked into this often even where the bell did not ring: another process may have written to it.
const LOOK_EVERY_MS: u64 = 100;

/// An append whose outcome is not known, or of a former holder of the lease, has landed after this time or never will.
const LANDED_MS: u64 = LANDS_WITHIN_MS + 5_000;
/// Changes that are this old were on the log before any append that can still land now.
const REPEATED_MS: u64 = 600_000;

/// Appends the outbox to the log, in order, and forgets a row once the log has it.
///
/// An append that lands late may reach a compacted topic behind a newer record of its key, and would be the one that is
/// kept. So the newest row of every activity and entry rule that was changed lately is appended once more, when no such
/// append can land any more: after the start, after a takeover, and after an append whose outcome was not known.
#[derive(Debug)]
pub struct Relay<L, S, C> {
    log: L,
    store: S,
    clock: C,
    /// `None` in a process that has the database for itself.
    lease: Option<Lease<S>>,
    /// When the newest rows are sent once more.
    repeat_at_ms: Option<u64>,
    /// Late writes of former holders that a repeat was planned for.
    late_writes: u64,
}

impl<L: Log, S: SaleStore + LeaseStore, C: Clock> Relay<L, S, C> {
    /// The relay of a database that no other process uses: two would mix up the order.
    pub fn new(log: L, store: S, clock: C) -> Self {
        let repeat_at_ms = Some(clock.now_ms().saturating_add(LANDED_MS));
        Self { log, store, clock, lease: None, repeat_at_ms, late_writes: 0 }
    }

    /// This relay, which works while it holds `lease`.
    #[must_use]
    pub fn led_by(self, lease: Lease<S>) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// Holds the lease. `Ok(None)` if another process does.
    async fn hold(&mut self) -> Result<Option<Holder>, WorkerError> {
        let Some(lease) = &mut self.lease else { return Ok(Some(Holder::Alone)) };
        let now_ms = self.clock.now_ms();
        let Some(Held { fencing_number, is_new, late_writes }) = lease.hold(now_ms).await? else { return Ok(None) };
        if is_new || late_writes > self.late_writes {
            self.late_writes = late_writes;
            self.repeat_at_ms = Some(now_ms.saturating_add(LANDED_MS));
        }
        Ok(Some(Holder::Leased(fencing_number)))
    }

    async fn repeat_latest(&mut self) -> Result<(), WorkerError> {
        let now_ms = self.clock.now_ms();
        if self.repeat_at_ms.is_none_or(|due_ms| due_ms > now_ms) {
            return Ok(());
        }
        self.store.repeat_latest(now_ms.saturating_sub(REPEATED_MS)).await?;
        self.repeat_at_ms = None;
        Ok(())
    }

    /// Forgets rows that the log has.
    async fn forget(&mut self, ids: &[i64], holder: Holder) -> Result<(), WorkerError> {
        match holder {
            Holder::Alone => self.store.outbox_sent(ids).await.map_err(WorkerError::store),
            Holder::Leased(fencing_number) => {
                if !self.store.outbox_sent_by(ids, fencing_number).await?
                    && let Some(lease) = &mut self.lease
                {
                    lease.lose();
                }
                Ok(())
            }
        }
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

/// In what capacity a relay works.
#[derive(Debug, Clone, Copy)]
enum Holder {
    Alone,
    /// With this fencing number.
    Leased(u64),
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

impl<L: Log, S: SaleStore + LeaseStore, C: Clock> Worker for Relay<L, S, C> {
    const NAME: &'static str = "relay";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let Some(holder) = self.hold().await? else {
            self.clock.sleep_until(self.clock.now_ms() + lease::LOOK_EVERY_MS).await;
            return Ok(());
        };
        self.repeat_latest().await?;
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
        if let Err(error) = self.append(rows).await {
            self.repeat_at_ms = Some(self.clock.now_ms().saturating_add(LANDED_MS));
            return Err(error.into());
        }
        self.forget(&ids, holder).await
    }

    async fn end(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.give_back(&self.clock).await;
        }
    }
}
