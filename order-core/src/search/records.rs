//! Records of the catalogue's topic, and how far the index has read them.

use std::{collections::BTreeMap, time::Duration};

use commit_log::{Consumer, Log, LogError, Partition, Record};
use contract::{
    ProductId,
    record::{ProductChanged, Record as _},
    topic,
};
use search::Position;
use tokio::time::{sleep, timeout};
use workers::WorkerError;

/// Records that are read at once.
pub(super) const BATCH_MAX: usize = 500;
/// The log may have records that nobody reads any more: if it delivers none for this long, they are gone.
const SILENCE: Duration = Duration::from_secs(5);
/// A reader that has just begun may not be able to go to an offset yet. It is tried so often, with this pause.
const SEEKS_MAX: usize = 100;
const SEEK_PAUSE: Duration = Duration::from_millis(100);

/// The next offset of each partition.
pub(super) type Offsets = BTreeMap<u32, u64>;

/// The changes of one product in a batch of records, taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProductChange {
    /// The highest version; 0 where none is named.
    pub version: i64,
    /// When the oldest of the changes was made, epoch milliseconds; 0 where none says.
    pub at_ms: u64,
    /// The last of the records.
    pub record: Record,
}

/// The records of one batch that the index does not have.
#[derive(Debug)]
pub(super) struct CatalogueBatch {
    pub changed: BTreeMap<ProductId, ProductChange>,
    /// The next offset of each partition after them.
    pub next: Offsets,
    /// What can't be decoded, and why.
    pub dead: Vec<(Record, String)>,
}

impl CatalogueBatch {
    pub(super) fn of(records: &[Record], next: &Offsets) -> Self {
        let mut batch = Self { changed: BTreeMap::new(), next: next.clone(), dead: Vec::new() };
        for record in records {
            let done = batch.next.entry(record.partition.index).or_default();
            if record.offset < *done {
                continue;
            }
            *done = record.offset + 1;
            match ProductChanged::decode(&record.value) {
                Ok(ProductChanged { product, version, at_ms }) => {
                    let first = || ProductChange { version, at_ms, record: record.clone() };
                    let change = batch.changed.entry(product).or_insert_with(first);
                    change.version = change.version.max(version);
                    change.record.clone_from(record);
                }
                Err(error) => batch.dead.push((record.clone(), error.to_string())),
            }
        }
        batch
    }
}

/// Whether records are missing between `next` and the first of `records` in any partition.
pub(super) fn has_gap(records: &[Record], next: &Offsets) -> bool {
    let mut seen: Vec<u32> = Vec::new();
    records.iter().any(|record| {
        let index = record.partition.index;
        let is_first = !seen.contains(&index);
        seen.push(index);
        seen.dedup();
        is_first && record.offset > next.get(&index).copied().unwrap_or(0)
    })
}

/// Reads the log from an offset on, in no group.
pub(super) struct Follower<L: Log> {
    log: L,
    consumer: L::Consumer,
    next: Offsets,
}

impl<L: Log> Follower<L> {
    /// Reads from `next` on.
    pub(super) async fn at(log: &L, next: Offsets) -> Result<Self, WorkerError> {
        let mut consumer = log.follow(&[topic::CATALOGUE]).await?;
        go_to(&mut consumer, &next);
        Ok(Self { log: log.clone(), consumer, next })
    }

    /// Where it is.
    pub(super) const fn next(&self) -> &Offsets {
        &self.next
    }

    /// Records before `ends`; `None` where there are no more.
    pub(super) async fn batch(&mut self, ends: &Offsets) -> Result<Option<CatalogueBatch>, WorkerError> {
        if has_reached(&self.next, ends) {
            return Ok(None);
        }
        let records = poll(&mut self.consumer).await?;
        let records = records.ok_or_else(|| WorkerError::Search("the log does not hand out its records".to_owned()))?;
        if has_gap(&records, &self.next) {
            return Err(WorkerError::Search("the log has forgotten records that were to be read".to_owned()));
        }
        let batch = CatalogueBatch::of(&records, &self.next);
        self.next.clone_from(&batch.next);
        Ok(Some(batch))
    }

    /// See [`ends`].
    pub(super) async fn ends(&mut self) -> Result<Offsets, WorkerError> {
        ends(&self.log).await
    }
}

/// The next records; `None` where none come.
async fn poll(consumer: &mut impl Consumer) -> Result<Option<Vec<Record>>, LogError> {
    let mut tries = 0;
    loop {
        match timeout(SILENCE, consumer.poll(BATCH_MAX)).await {
            Ok(Ok(records)) => return Ok(Some(records)),
            Ok(Err(error)) if tries == SEEKS_MAX => return Err(error),
            Ok(Err(_)) => tries += 1,
            Err(_) => return Ok(None),
        }
        sleep(SEEK_PAUSE).await;
    }
}

/// Has `consumer` read from `next` on.
pub(super) fn go_to(consumer: &mut impl Consumer, next: &Offsets) {
    for (index, offset) in next {
        consumer.rewind(&Partition { topic: topic::CATALOGUE.into(), index: *index }, *offset);
    }
}

/// Whether the log still has every record from `next` on, of which there are some.
pub(super) async fn has_all(log: &impl Log, next: &Offsets) -> Result<bool, WorkerError> {
    let mut oldest = log.follow(&[topic::CATALOGUE]).await?;
    let records = poll(&mut oldest).await?;
    Ok(records.is_some_and(|records| !has_gap(&records, next)))
}

/// Whether `next` is at `ends` or after them.
pub(super) fn has_reached(next: &Offsets, ends: &Offsets) -> bool {
    ends.iter().all(|(partition, end)| next.get(partition).copied().unwrap_or(0) >= *end)
}

/// The offset after the last record of each partition.
pub(super) async fn ends(log: &impl Log) -> Result<Offsets, WorkerError> {
    let ends = log.ends(topic::CATALOGUE).await?;
    Ok(ends.into_iter().map(|(partition, end)| (partition.index, end)).collect())
}

/// `partition:offset` of each partition.
pub(super) fn write(next: &Offsets) -> Option<Position> {
    let parts: Vec<String> = next.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    Position::new(parts.join(","))
}

pub(super) fn read(position: &Position) -> Option<Offsets> {
    let part = |text: &str| {
        let (partition, offset) = text.split_once(':')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    position.as_str().split(',').filter(|text| !text.is_empty()).map(part).collect()
}
