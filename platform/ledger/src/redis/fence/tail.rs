//! What the journal knows of each ledger, read on as it grows.

use std::collections::{BTreeMap, HashMap};

use commit_log::{Consumer, Log, LogError, Partition};
use contract::{
    ActivityId,
    record::{Entries, Record as _},
    stock::{Event, Term},
    topic,
};

/// Records read at a time.
const READ_RECORDS_MAX: usize = 1024;

/// What matters of one ledger.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    term: Term,
    is_opened: bool,
}

/// The journal from its oldest record to where it was read last.
pub(super) struct Tail<L: Log> {
    log: L,
    consumer: Option<L::Consumer>,
    next: HashMap<Partition, u64>,
    ledgers: BTreeMap<ActivityId, Known>,
}

impl<L: Log> Tail<L> {
    pub(super) fn new(log: L) -> Self {
        Self { log, consumer: None, next: HashMap::new(), ledgers: BTreeMap::new() }
    }

    /// Reads up to the journal's end as it is now.
    pub(super) async fn catch_up(&mut self) -> Result<(), LogError> {
        let ends = self.log.ends(topic::ORDERS).await?;
        let read_to = |next: &HashMap<Partition, u64>, (partition, end): &(Partition, u64)| {
            next.get(partition).copied().unwrap_or_default() >= *end
        };
        while !ends.iter().all(|end| read_to(&self.next, end)) {
            let consumer = match &mut self.consumer {
                Some(consumer) => consumer,
                none => none.insert(self.log.follow(&[topic::ORDERS]).await?),
            };
            for record in consumer.poll(READ_RECORDS_MAX).await? {
                // A recovery reads the journal again, and reports what can't be read.
                let entries = Entries::decode(&record.value).map(Entries::into_vec).unwrap_or_default();
                for entry in entries {
                    let known = self.ledgers.entry(entry.activity).or_default();
                    known.term = known.term.max(entry.term);
                    known.is_opened |= !matches!(entry.event, Event::TermStarted { .. });
                }
                self.next.insert(record.partition, record.offset + 1);
            }
        }
        Ok(())
    }

    /// The ledgers of which there is more than the start of a term.
    pub(super) fn opened(&self) -> impl Iterator<Item = ActivityId> {
        self.ledgers.iter().filter(|(_, known)| known.is_opened).map(|(activity, _)| *activity)
    }

    /// The highest term of a ledger.
    pub(super) fn term(&self, activity: ActivityId) -> Term {
        self.ledgers.get(&activity).map_or(Term::FIRST, |known| known.term)
    }
}
