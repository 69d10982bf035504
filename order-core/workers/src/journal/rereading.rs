//! The journal once more, from its oldest record, for a database that lacks entries: it may be older than the
//! group's offsets, because it was restored from a backup.

use std::collections::{BTreeMap, BTreeSet};

use commit_log::{Consumer, Log, LogError, Partition, Record};
use contract::{ActivityId, record::activity_key, topic};
use domain::SaleStore;
use foundation::Clock;

use super::{Journal, read};
use crate::{WorkerError, rewind};

/// Records that are read at a time. Few, because new records wait meanwhile.
const READ_MAX: usize = 32;

/// Reads some partitions without being a member of the group. It commits nothing.
pub(super) struct Rereading<C> {
    consumer: C,
    /// The partitions that are being read, and where they ended when that began.
    ends: BTreeMap<Partition, u64>,
}

impl<C: Consumer> Rereading<C> {
    pub(super) async fn poll(&mut self) -> Result<Vec<Record>, LogError> {
        self.consumer.poll(READ_MAX).await
    }

    /// Whether all partitions were read to their ends.
    fn is_done_after(&mut self, records: &[Record]) -> bool {
        for record in records {
            if self.ends.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                self.consumer.pause(&record.partition);
                self.ends.remove(&record.partition);
            }
        }
        self.ends.is_empty()
    }
}

impl<L: Log, S: SaleStore, C: Clock> Journal<L, S, C> {
    /// Begins to read the partition of `activity` again, unless that is under way.
    pub(super) async fn read_again(&mut self, activity: ActivityId) -> Result<(), WorkerError> {
        let ends = self.log.ends(topic::ORDERS).await?;
        let Some(partitions) = u32::try_from(ends.len()).ok().filter(|partitions| *partitions > 0) else {
            return Ok(());
        };
        let index = topic::partition_of(&activity_key(activity), partitions);
        let Some((partition, end)) = ends.iter().find(|(partition, _)| partition.index == index) else { return Ok(()) };
        let rereading = match &mut self.rereading {
            Some(rereading) => rereading,
            none => {
                let mut consumer = self.log.follow(&[topic::ORDERS]).await?;
                for (other, _) in &ends {
                    consumer.pause(other);
                }
                none.insert(Rereading { consumer, ends: BTreeMap::new() })
            }
        };
        if !rereading.ends.contains_key(partition) {
            tracing::warn!(
                partition = index,
                "entries are missing; the partition is read again from its oldest record"
            );
            rereading.ends.insert(partition.clone(), *end);
            rereading.consumer.rewind(partition, 0);
            rereading.consumer.resume(partition);
        }
        Ok(())
    }

    /// Takes in records that are read again. Those that hold no entries were buried the first time. Where they can't be
    /// read, the next retry of a parked sale starts again.
    pub(super) async fn take_old(&mut self, records: Result<Vec<Record>, LogError>) -> Result<(), WorkerError> {
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                tracing::debug!(%error, "the journal can't be read again");
                self.rereading = None;
                return Ok(());
            }
        };
        let (lines, ..) = read(&records);
        let taken = match self.take(&lines).await {
            // What parked sales lacked may be there now.
            Ok(set_aside) if set_aside > 0 => {
                let sales: BTreeSet<ActivityId> = lines.iter().map(|line| line.entry.activity).collect();
                self.take_parked_of(&sales.into_iter().collect::<Vec<_>>()).await
            }
            taken => taken.map(drop),
        };
        let Some(rereading) = &mut self.rereading else { return taken };
        if taken.is_err() {
            rewind(&mut rereading.consumer, &records);
        } else if rereading.is_done_after(&records) {
            self.rereading = None;
        }
        taken
    }
}
