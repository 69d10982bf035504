//! Reading the local log.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::{LocalLog, Read, writer::Request};
use crate::{Consumer, Cursor, LogError, Partition, Record, groups::MemberId};

/// A member of a group, or a follower.
pub struct LocalConsumer {
    log: LocalLog,
    membership: Option<Membership>,
    cursor: Cursor,
    /// The partition whose turn it is, so that a busy one does not starve the others.
    turn: usize,
    changed: watch::Receiver<u64>,
}

struct Membership {
    group: Arc<str>,
    member: MemberId,
    generation: u64,
}

impl LocalConsumer {
    pub(super) fn member(log: LocalLog, group: &str, member: MemberId) -> Self {
        let mut consumer = Self::follower(log, Vec::new());
        consumer.membership = Some(Membership { group: group.into(), member, generation: 0 });
        consumer
    }

    pub(super) fn follower(log: LocalLog, partitions: Vec<Partition>) -> Self {
        let changed = log.shared.changed.subscribe();
        let cursor = Cursor::new(partitions.into_iter().map(|partition| (partition, 0)));
        Self { log, membership: None, cursor, turn: 0, changed }
    }

    /// Takes the group's newest assignment.
    fn follow_group(&mut self) {
        let Some(Membership { group, member, generation }) = &mut self.membership else { return };
        self.cursor.follow(&self.log.shared.state().groups, group, *member, generation);
    }

    /// Partitions with records to read, beginning with the one whose turn it is.
    fn readable(&self) -> Vec<(i64, Partition, u64)> {
        let state = self.log.shared.state();
        let mut readable: Vec<_> = self
            .cursor
            .readable()
            .filter_map(|(partition, position)| {
                let topic = state.topics.get(&partition.topic)?;
                let end = *topic.ends.get(partition.index as usize)?;
                (position < end).then(|| (topic.id, partition.clone(), position))
            })
            .collect();
        let turn = self.turn.checked_rem(readable.len()).unwrap_or(0);
        readable.rotate_left(turn);
        readable
    }

    async fn read(&self, topic: i64, partition: Partition, offset: u64, max: usize) -> Result<Vec<Record>, LogError> {
        let (reply, answer) = oneshot::channel();
        let read = Read { topic, partition, offset, max, reply };
        self.log.reader.try_send(read).map_err(|_| LogError::Full("too many reads wait"))?;
        answer.await.unwrap_or(Err(LogError::Closed))
    }
}

impl Consumer for LocalConsumer {
    async fn poll(&mut self, max: usize) -> Result<Vec<Record>, LogError> {
        loop {
            self.changed.mark_unchanged();
            self.follow_group();
            let mut records = Vec::new();
            for (topic, partition, position) in self.readable() {
                let left = max.saturating_sub(records.len());
                if left == 0 {
                    break;
                }
                records.extend(self.read(topic, partition, position, left).await?);
            }
            if !records.is_empty() {
                self.cursor.pass(&records);
                self.turn = self.turn.wrapping_add(1);
                return Ok(records);
            }
            if self.changed.changed().await.is_err() {
                return Err(LogError::Closed);
            }
        }
    }

    async fn commit(&mut self, offsets: Vec<(Partition, u64)>) -> Result<(), LogError> {
        let Some(Membership { group, member, .. }) = &self.membership else { return Ok(()) };
        let (group, member) = (group.clone(), *member);
        self.log.ask(|reply| Request::Commit { group, member, offsets, reply }).await
    }

    fn rewind(&mut self, partition: &Partition, offset: u64) {
        self.cursor.rewind(partition, offset);
    }

    fn pause(&mut self, partition: &Partition) {
        self.cursor.pause(partition);
    }

    fn resume(&mut self, partition: &Partition) {
        self.cursor.resume(partition);
    }
}

impl Drop for LocalConsumer {
    fn drop(&mut self) {
        if let Some(Membership { group, member, .. }) = &self.membership {
            self.log.shared.state().groups.leave(group, *member);
            self.log.shared.wake();
        }
    }
}
