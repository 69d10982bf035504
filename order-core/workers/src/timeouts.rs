//! Orders that were not paid in time.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
};

use commit_log::{Consumer, Log, LogError, Partition, Record};
use contract::{
    OrderId,
    record::{PaymentDeadline, Record as _},
    topic,
};
use domain::SaleStore;
use foundation::Clock;

use crate::{Worker, WorkerError, bury};

const GROUP: &str = "order-core.timeouts";
/// Records that are read ahead of a partition's head, and orders that are looked at in one transaction.
const BATCH_MAX: usize = 500;

/// Who is asked before unpaid orders are closed: their money may have come to a payment platform.
pub trait BeforeClosing: Send + Sync + 'static {
    /// Asks about the payments of `orders`, and takes in what has been paid. Orders whose platform does not answer in time
    /// are closed all the same.
    ///
    /// # Errors
    /// If the database fails.
    fn before_closing(&self, orders: &[OrderId]) -> impl Future<Output = Result<(), WorkerError>> + Send;
}

/// There are no payment platforms.
#[derive(Debug, Clone, Copy)]
pub struct NobodyToAsk;

impl BeforeClosing for NobodyToAsk {
    async fn before_closing(&self, _: &[OrderId]) -> Result<(), WorkerError> {
        Ok(())
    }
}

/// Closes unpaid orders. All records of a partition wait equally long, so while its head is not due,
/// none is: the partition pauses, and the others go on.
#[derive(Debug)]
pub struct Timeouts<L: Log, S, C, B = NobodyToAsk> {
    log: L,
    consumer: L::Consumer,
    store: S,
    clock: C,
    before: B,
    /// What was read and is not done, by partition; none of them is empty.
    waiting: BTreeMap<Partition, VecDeque<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    record: Record,
    /// What is no deadline is due at once, for the dead letters.
    deadline: Result<PaymentDeadline, String>,
}

impl Waiting {
    fn due_at_ms(&self) -> u64 {
        self.deadline.as_ref().map_or(0, |deadline| deadline.due_at_ms)
    }
}

impl<L: Log, S: SaleStore, C: Clock> Timeouts<L, S, C> {
    /// Joins the workers of every deadline topic that is there now.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn join(log: L, store: S, clock: C) -> Result<Self, WorkerError> {
        let topics = log.topics(topic::TIMEOUTS_PREFIX).await?;
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let consumer = log.join(GROUP, &topics).await?;
        Ok(Self { log, consumer, store, clock, before: NobodyToAsk, waiting: BTreeMap::new() })
    }

    /// The same, which asks `before` it closes orders.
    #[must_use]
    pub fn asking<B: BeforeClosing>(self, before: B) -> Timeouts<L, S, C, B> {
        let Self { log, consumer, store, clock, before: NobodyToAsk, waiting } = self;
        Timeouts { log, consumer, store, clock, before, waiting }
    }
}

impl<L: Log, S: SaleStore, C: Clock, B: BeforeClosing> Timeouts<L, S, C, B> {
    /// How many of each partition's head are due, at most [`BATCH_MAX`] together.
    fn due(&self, now_ms: u64) -> BTreeMap<Partition, usize> {
        let mut left = BATCH_MAX;
        let mut due = BTreeMap::new();
        for (partition, queue) in &self.waiting {
            let count = queue.iter().take(left).take_while(|waiting| waiting.due_at_ms() <= now_ms).count();
            left -= count;
            if count > 0 {
                due.insert(partition.clone(), count);
            }
        }
        due
    }

    async fn close(&mut self, due: BTreeMap<Partition, usize>, now_ms: u64) -> Result<(), WorkerError> {
        let mut orders: Vec<OrderId> = Vec::new();
        let mut dead = Vec::new();
        let mut offsets = Vec::new();
        for (partition, count) in &due {
            for waiting in self.waiting[partition].iter().take(*count) {
                match &waiting.deadline {
                    Ok(deadline) => orders.push(deadline.order),
                    Err(reason) => dead.push((waiting.record.clone(), reason.clone())),
                }
            }
            offsets
                .extend(self.waiting[partition].get(count - 1).map(|last| (partition.clone(), last.record.offset + 1)));
        }
        if !orders.is_empty() {
            self.before.before_closing(&orders).await?;
            self.store.close_unpaid(&orders, now_ms).await.map_err(WorkerError::store)?;
        }
        bury(&self.log, GROUP, dead).await?;
        match self.consumer.commit(offsets).await {
            Ok(()) => self.forget(&due),
            Err(LogError::Rebalanced) => self.begin_again(),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn forget(&mut self, done: &BTreeMap<Partition, usize>) {
        for (partition, count) in done {
            let Some(queue) = self.waiting.get_mut(partition) else { continue };
            queue.drain(..*count);
            if queue.is_empty() {
                self.waiting.remove(partition);
                self.consumer.resume(partition);
            }
        }
    }

    /// The group's partitions were reassigned: records that were read ahead may belong to another consumer now.
    fn begin_again(&mut self) {
        for (partition, queue) in std::mem::take(&mut self.waiting) {
            if let Some(first) = queue.front() {
                self.consumer.rewind(&partition, first.record.offset);
            }
            self.consumer.resume(&partition);
        }
    }

    fn take_up(&mut self, records: Vec<Record>) {
        for record in records {
            let deadline = PaymentDeadline::decode(&record.value).map_err(|error| error.to_string());
            self.consumer.pause(&record.partition);
            self.waiting.entry(record.partition.clone()).or_default().push_back(Waiting { record, deadline });
        }
    }
}

impl<L: Log, S: SaleStore, C: Clock, B: BeforeClosing> Worker for Timeouts<L, S, C, B> {
    const NAME: &'static str = "timeouts";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let now_ms = self.clock.now_ms();
        let due = self.due(now_ms);
        if !due.is_empty() {
            return self.close(due, now_ms).await;
        }
        let next_ms = self.waiting.values().filter_map(|queue| queue.front()).map(Waiting::due_at_ms).min();
        let head = async {
            match next_ms {
                Some(next_ms) => self.clock.sleep_until(next_ms).await,
                None => std::future::pending().await,
            }
        };
        let records = tokio::select! {
            biased;
            records = self.consumer.poll(BATCH_MAX) => records?,
            () = head => Vec::new(),
        };
        self.take_up(records);
        Ok(())
    }
}
