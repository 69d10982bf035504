//! Where a consumer reads on, for logs that keep no such place themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Partition, Record,
    groups::{Groups, MemberId},
};

/// The next offset of every partition that a consumer has, and which of them are paused.
#[derive(Debug, Default)]
pub struct Cursor {
    positions: BTreeMap<Partition, u64>,
    paused: BTreeSet<Partition>,
}

impl Cursor {
    /// Each partition with the offset of its next record.
    pub fn new(positions: impl IntoIterator<Item = (Partition, u64)>) -> Self {
        Self { positions: positions.into_iter().collect(), paused: BTreeSet::new() }
    }

    /// Takes the newest assignment of the group, see [`Groups::follow`].
    pub fn follow(&mut self, groups: &Groups, group: &str, member: MemberId, generation: &mut u64) {
        groups.follow(group, member, generation, &mut self.positions);
        self.paused.retain(|partition| self.positions.contains_key(partition));
    }

    /// Partitions that are not paused, each with the offset of its next record.
    pub fn readable(&self) -> impl Iterator<Item = (&Partition, u64)> {
        let unpaused = self.positions.iter().filter(|(partition, _)| !self.paused.contains(partition));
        unpaused.map(|(partition, position)| (partition, *position))
    }

    /// Moves behind `records`. Call it once they are handed out, so that a dropped poll loses nothing.
    pub fn pass(&mut self, records: &[Record]) {
        for record in records {
            self.positions.insert(record.partition.clone(), record.offset + 1);
        }
    }

    /// See [`crate::Consumer::rewind`]. A partition that the consumer no longer has stays away.
    pub fn rewind(&mut self, partition: &Partition, offset: u64) {
        if let Some(position) = self.positions.get_mut(partition) {
            *position = offset;
        }
    }

    /// See [`crate::Consumer::pause`].
    pub fn pause(&mut self, partition: &Partition) {
        self.paused.insert(partition.clone());
    }

    /// See [`crate::Consumer::resume`].
    pub fn resume(&mut self, partition: &Partition) {
        self.paused.remove(partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(index: u32) -> Partition {
        Partition { topic: "t".into(), index }
    }

    fn readable(cursor: &Cursor) -> Vec<(u32, u64)> {
        cursor.readable().map(|(partition, offset)| (partition.index, offset)).collect()
    }

    #[test]
    fn a_cursor_follows_its_group() {
        let mut groups = Groups::default();
        let (first, mut generation) = (groups.join("g", [partition(0), partition(1)]), 0);
        let mut cursor = Cursor::default();
        cursor.follow(&groups, "g", first, &mut generation);
        assert_eq!(readable(&cursor), [(0, 0), (1, 0)]);
        cursor.pass(&[Record { partition: partition(0), offset: 4, key: Vec::new(), value: Vec::new() }]);
        cursor.pause(&partition(1));
        assert_eq!(readable(&cursor), [(0, 5)]);
        cursor.resume(&partition(1));
        cursor.rewind(&partition(0), 2);
        cursor.rewind(&partition(7), 2);
        assert_eq!(readable(&cursor), [(0, 2), (1, 0)]);
        // A partition that goes to another member and comes back is not paused any more.
        cursor.pause(&partition(1));
        let second = groups.join("g", [partition(0), partition(1)]);
        cursor.follow(&groups, "g", first, &mut generation);
        assert_eq!(readable(&cursor), [(0, 2)]);
        groups.leave("g", second);
        cursor.follow(&groups, "g", first, &mut generation);
        assert_eq!(readable(&cursor), [(0, 2), (1, 0)]);
    }
}
