//! How far the journal worker is behind the log, for the metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use commit_log::{Log, Partition};
use contract::{stock::Event, topic};
use foundation::{
    Clock,
    metrics::{Gauge, Histogram, Registry, STAGE_HELP, stage},
};
use workers::{TakenIn, Worker, WorkerError};

/// Between two looks at the log's ends, in milliseconds.
const LOOK_EVERY_MS: u64 = 1_000;

/// What `/metrics` shows of the journal worker.
#[derive(Debug, Clone)]
pub(crate) struct JournalFigures {
    database: Histogram,
    order: Histogram,
    records: Gauge,
    seconds: Gauge,
    /// The offset after the last record that was taken in, of each partition that this process reads.
    next: Arc<Mutex<BTreeMap<Partition, u64>>>,
}

impl JournalFigures {
    pub(crate) fn new(metrics: &Registry) -> Self {
        let order_help = "From the ledger's yes to the order's row in the database.";
        let records_help =
            "Records of the journal that the database has yet to take in, of partitions that are read here.";
        let seconds_help = "For how long at least the oldest of these records has been waiting.";
        Self {
            database: metrics.histogram(&stage("database"), STAGE_HELP),
            order: metrics.histogram("mall_order_write_delay_seconds", order_help),
            records: metrics.gauge("mall_journal_lag_records", records_help),
            seconds: metrics.gauge("mall_journal_lag_seconds", seconds_help),
            next: Arc::default(),
        }
    }

    pub(crate) fn take(&self, taken: &TakenIn<'_>) {
        let since = |ms: u64| Duration::from_millis(taken.done_ms.saturating_sub(ms));
        self.database.observe(since(taken.begun_ms));
        for entry in taken.lines.iter().map(|line| &line.entry).filter(|entry| matches!(entry.event, Event::Held(_))) {
            self.order.observe(since(entry.at_ms));
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        for (partition, offset) in taken.next {
            next.insert(partition.clone(), *offset);
        }
    }
}

/// Compares the log's ends with what was taken in.
#[derive(Debug)]
pub(crate) struct JournalLag<L, C> {
    log: L,
    clock: C,
    figures: JournalFigures,
    waits: BTreeMap<Partition, Wait>,
}

/// An end of a partition that was seen and not yet reached.
#[derive(Debug, Clone, Copy)]
struct Wait {
    end: u64,
    since_ms: u64,
}

impl<L: Log, C: Clock> JournalLag<L, C> {
    pub(crate) const fn new(log: L, clock: C, figures: JournalFigures) -> Self {
        Self { log, clock, figures, waits: BTreeMap::new() }
    }

    fn compare(&mut self, ends: &[(Partition, u64)], now_ms: u64) {
        let mut lag = 0;
        let next = self.figures.next.lock().unwrap_or_else(PoisonError::into_inner);
        for (partition, end) in ends {
            // A partition of which nothing was read is another process's, or has nothing new.
            let Some(next) = next.get(partition) else { continue };
            lag += end.saturating_sub(*next);
            if self.waits.get(partition).is_some_and(|wait| *next >= wait.end) {
                self.waits.remove(partition);
            }
            if next < end {
                self.waits.entry(partition.clone()).or_insert(Wait { end: *end, since_ms: now_ms });
            }
        }
        let oldest = self.waits.values().map(|wait| now_ms.saturating_sub(wait.since_ms)).max().unwrap_or(0);
        self.figures.records.set(i64::try_from(lag).unwrap_or(i64::MAX));
        self.figures.seconds.set(i64::try_from(oldest / 1_000).unwrap_or(i64::MAX));
    }
}

impl<L: Log, C: Clock> Worker for JournalLag<L, C> {
    const NAME: &'static str = "journal_lag";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let ends = self.log.ends(topic::ORDERS).await?;
        self.compare(&ends, self.clock.now_ms());
        self.clock.sleep_until(self.clock.now_ms() + LOOK_EVERY_MS).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use support::{HandClock, MemoryLog};

    use super::*;

    #[tokio::test]
    async fn the_oldest_record_that_waits_is_timed() {
        let clock = HandClock::new();
        let figures = JournalFigures::new(&Registry::default());
        let mut lag = JournalLag::new(MemoryLog::with_topics(1_000).await, clock, figures.clone());
        let partition = |index| Partition { topic: topic::ORDERS.into(), index };
        let take = |next: u64| {
            let next = [(partition(0), next)];
            figures.take(&TakenIn { lines: &[], begun_ms: 0, done_ms: 0, next: &next });
        };
        let mut is = |ends: [u64; 2], now_ms: u64, records: i64, seconds: i64| {
            let ends = [(partition(0), ends[0]), (partition(1), ends[1])];
            lag.compare(&ends, now_ms);
            assert_eq!((figures.records.get(), figures.seconds.get()), (records, seconds), "at {now_ms}");
        };
        // Nothing was read here yet: another process may have the partitions.
        is([5, 5], 0, 0, 0);
        take(5);
        is([5, 5], 1_000, 0, 0);
        is([7, 9], 2_000, 2, 0);
        is([9, 9], 7_000, 4, 5);
        // What was seen first is taken in; what came after it waits since it was seen.
        take(7);
        is([9, 9], 8_000, 2, 0);
        is([9, 9], 20_000, 2, 12);
        take(9);
        is([9, 9], 21_000, 0, 0);
    }
}
