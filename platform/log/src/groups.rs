//! Who reads what: consumer groups as a pure state machine.
//!
//! Every change of a group's members moves its generation. A consumer that sees a new generation
//! asks for its partitions again; one that missed it can't commit what it no longer has.

use std::collections::{BTreeMap, BTreeSet};

use crate::{LogError, Partition};

/// A consumer within its group.
pub type MemberId = u64;

/// The groups of one log.
#[derive(Debug, Default)]
pub struct Groups {
    groups: BTreeMap<String, Group>,
    next_member: MemberId,
}

#[derive(Debug, Default)]
struct Group {
    generation: u64,
    /// Members in the order they joined, each with the partitions it wants a share of.
    members: BTreeMap<MemberId, BTreeSet<Partition>>,
    committed: BTreeMap<Partition, u64>,
}

impl Group {
    fn owner(&self, partition: &Partition) -> Option<MemberId> {
        let wanting: Vec<MemberId> =
            self.members.iter().filter(|(_, wanted)| wanted.contains(partition)).map(|(id, _)| *id).collect();
        let turn = usize::try_from(partition.index).ok()?.checked_rem(wanting.len())?;
        wanting.get(turn).copied()
    }
}

impl Groups {
    /// A new member of `group` that wants a share of `partitions`.
    pub fn join(&mut self, group: &str, partitions: impl IntoIterator<Item = Partition>) -> MemberId {
        let id = self.next_member;
        self.next_member += 1;
        let group = self.groups.entry(group.to_owned()).or_default();
        group.members.insert(id, partitions.into_iter().collect());
        group.generation += 1;
        id
    }

    /// The member is gone; its partitions go to the others.
    pub fn leave(&mut self, group: &str, member: MemberId) {
        if let Some(group) = self.groups.get_mut(group)
            && group.members.remove(&member).is_some()
        {
            group.generation += 1;
        }
    }

    /// Moves with every change of the group's members.
    pub fn generation(&self, group: &str) -> u64 {
        self.groups.get(group).map_or(0, |group| group.generation)
    }

    /// The partitions of `member` in this generation, each with the group's committed offset.
    pub fn assigned(&self, group: &str, member: MemberId) -> Vec<(Partition, Option<u64>)> {
        let Some(group) = self.groups.get(group) else { return Vec::new() };
        let Some(wanted) = group.members.get(&member) else { return Vec::new() };
        let own = wanted.iter().filter(|partition| group.owner(partition) == Some(member));
        own.map(|partition| (partition.clone(), group.committed.get(partition).copied())).collect()
    }

    /// Brings a member up to its group's generation: a partition that stays keeps its position, one that
    /// comes begins at the committed offset, one that went is gone.
    pub fn follow(
        &self,
        group: &str,
        member: MemberId,
        generation: &mut u64,
        positions: &mut BTreeMap<Partition, u64>,
    ) {
        let newest = self.generation(group);
        if std::mem::replace(generation, newest) == newest {
            return;
        }
        let before = std::mem::take(positions);
        for (partition, committed) in self.assigned(group, member) {
            let position = before.get(&partition).copied().or(committed).unwrap_or(0);
            positions.insert(partition, position);
        }
    }

    /// Whether `member` may commit all of `offsets` now.
    ///
    /// # Errors
    /// [`LogError::Rebalanced`] where a partition is another's.
    pub fn check_commit(&self, group: &str, member: MemberId, offsets: &[(Partition, u64)]) -> Result<(), LogError> {
        let group = self.groups.get(group).ok_or(LogError::Rebalanced)?;
        let own = offsets.iter().all(|(partition, _)| group.owner(partition) == Some(member));
        if own { Ok(()) } else { Err(LogError::Rebalanced) }
    }

    /// Remembers offsets that are durable. An offset never goes back.
    pub fn committed(&mut self, group: &str, offsets: impl IntoIterator<Item = (Partition, u64)>) {
        let group = self.groups.entry(group.to_owned()).or_default();
        for (partition, next) in offsets {
            let committed = group.committed.entry(partition).or_default();
            *committed = next.max(*committed);
        }
    }

    /// The next offset that `group` reads on `partition`; 0 where it has committed none.
    pub fn committed_offset(&self, group: &str, partition: &Partition) -> u64 {
        self.groups.get(group).and_then(|group| group.committed.get(partition)).copied().unwrap_or(0)
    }

    /// The offset that every group which ever committed on `partition` has passed.
    pub fn passed_by_all(&self, partition: &Partition) -> Option<u64> {
        self.groups.values().filter_map(|group| group.committed.get(partition)).min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(index: u32) -> Partition {
        Partition { topic: "t".into(), index }
    }

    #[test]
    fn partitions_are_shared_out_and_taken_over() {
        let mut groups = Groups::default();
        let own = |groups: &Groups, member| -> Vec<u32> {
            groups.assigned("g", member).into_iter().map(|(partition, _)| partition.index).collect()
        };
        let first = groups.join("g", (0..4).map(partition));
        assert_eq!(own(&groups, first), [0, 1, 2, 3]);
        let second = groups.join("g", (0..4).map(partition));
        assert_eq!((own(&groups, first), own(&groups, second)), (vec![0, 2], vec![1, 3]));
        assert_eq!(groups.check_commit("g", first, &[(partition(1), 9)]), Err(LogError::Rebalanced));
        assert_eq!(groups.check_commit("g", second, &[(partition(1), 9)]), Ok(()));
        groups.committed("g", [(partition(1), 9)]);
        groups.committed("g", [(partition(1), 3)]);
        groups.leave("g", second);
        assert_eq!(own(&groups, first), [0, 1, 2, 3]);
        assert_eq!(groups.assigned("g", first)[1], (partition(1), Some(9)));
        assert_eq!(groups.generation("g"), 3);
        assert_eq!(groups.passed_by_all(&partition(1)), Some(9));
        assert_eq!(groups.passed_by_all(&partition(2)), None);
    }
}
