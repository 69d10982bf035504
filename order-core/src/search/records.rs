//! Records of the catalogue's topic, and how far the index has read them.

use std::collections::BTreeMap;

use commit_log::{Log, Record};
use contract::{
    ProductId,
    record::{ProductChanged, Record as _},
    topic,
};
use search::Position;
use workers::WorkerError;

/// What the records of one batch say of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// The highest version; 0 where none is named.
    pub version: i64,
    /// When the oldest of the changes was made, epoch milliseconds; 0 where none says.
    pub at_ms: u64,
}

/// The records of one batch that the index does not have.
#[derive(Debug)]
pub(super) struct Taken {
    pub changed: BTreeMap<ProductId, Told>,
    /// The next offset of each partition after them.
    pub next: BTreeMap<u32, u64>,
    /// What can't be decoded, and why.
    pub dead: Vec<(Record, String)>,
}

impl Taken {
    pub(super) fn of(records: &[Record], next: &BTreeMap<u32, u64>) -> Self {
        let mut taken = Self { changed: BTreeMap::new(), next: next.clone(), dead: Vec::new() };
        for record in records {
            let done = taken.next.entry(record.partition.index).or_default();
            if record.offset < *done {
                continue;
            }
            *done = record.offset + 1;
            match ProductChanged::decode(&record.value) {
                Ok(ProductChanged { product, version, at_ms }) => {
                    let told = taken.changed.entry(product).or_insert(Told { version, at_ms });
                    told.version = told.version.max(version);
                }
                Err(error) => taken.dead.push((record.clone(), error.to_string())),
            }
        }
        taken
    }
}

/// The offset after the last record of each partition.
pub(super) async fn ends(log: &impl Log) -> Result<BTreeMap<u32, u64>, WorkerError> {
    let ends = log.ends(topic::CATALOGUE).await?;
    Ok(ends.into_iter().map(|(partition, end)| (partition.index, end)).collect())
}

/// `partition:offset` of each partition.
pub(super) fn write(next: &BTreeMap<u32, u64>) -> Option<Position> {
    let parts: Vec<String> = next.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    Position::new(parts.join(","))
}

pub(super) fn read(position: &Position) -> Option<BTreeMap<u32, u64>> {
    let part = |text: &str| {
        let (partition, offset) = text.split_once(':')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    position.as_str().split(',').filter(|text| !text.is_empty()).map(part).collect()
}
