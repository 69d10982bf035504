//! The dead letters on the log: records that a worker has given up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use commit_log::Record;
use contract::{
    record::{DeadLetter, Record as _},
    topic,
};

use crate::reader::Keep;

/// Letters that are kept; later ones replace the oldest.
const LETTERS_MAX: usize = 1_000;

/// A dead letter, and the key of its record.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) id: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) letter: DeadLetter,
}

/// The last dead letters, by their offset. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Letters(Arc<Mutex<BTreeMap<i64, Arc<Letter>>>>);

impl Letters {
    pub(crate) fn find(&self, id: i64) -> Option<Arc<Letter>> {
        self.letters().get(&id).cloned()
    }

    /// Letters below `before`, the newest first, at most `limit`.
    pub(crate) fn page(&self, before: i64, limit: usize) -> Vec<Arc<Letter>> {
        self.letters().range(..before).rev().take(limit).map(|(_, letter)| Arc::clone(letter)).collect()
    }

    fn letters(&self) -> MutexGuard<'_, BTreeMap<i64, Arc<Letter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keep for Letters {
    const TOPIC: &'static str = topic::DEAD_LETTERS;

    fn keep(&self, record: &Record) {
        let Ok(id) = i64::try_from(record.offset) else { return };
        let letter = match DeadLetter::decode(&record.value) {
            Ok(letter) => letter,
            Err(error) => {
                tracing::warn!(offset = record.offset, %error, "a record of the dead letters can't be decoded");
                return;
            }
        };
        let mut letters = self.letters();
        letters.insert(id, Arc::new(Letter { id, key: record.key.clone(), letter }));
        if letters.len() > LETTERS_MAX {
            letters.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use commit_log::Partition;

    use super::*;

    #[test]
    fn the_last_letters_are_kept() {
        let letters = Letters::default();
        let (topic, group, reason) = ("t".to_owned(), "g".to_owned(), "r".to_owned());
        let letter = DeadLetter { topic, partition: 0, offset: 0, group, reason, value: Vec::new() };
        for offset in 0..3_000 {
            let partition = Partition { topic: topic::DEAD_LETTERS.into(), index: 0 };
            letters.keep(&Record { partition, offset, key: Vec::new(), value: letter.to_bytes() });
        }
        assert_eq!(letters.letters().len(), LETTERS_MAX);
        let ids: Vec<i64> = letters.page(i64::MAX, 2).iter().map(|letter| letter.id).collect();
        assert_eq!(
            (ids, letters.find(1_999).is_none(), letters.find(2_000).is_some()),
            (vec![2_999, 2_998], true, true)
        );
    }
}
