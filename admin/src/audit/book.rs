//! The journal's totals at each of its entries.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use commit_log::{Consumer, Log, LogError, Partition};
use contract::{
    ActivityId,
    record::{Entries, Record as _},
    stock::{Entry, Event, Placed, Position, TermCounts},
    topic,
};

/// Totals that are kept of one sale: those at its last entries. At 32 bytes each, 4 MiB a sale.
const POINTS_MAX: usize = 1 << 17;
/// Records of one step.
const BATCH_MAX: usize = 500;

/// Units of all entries up to one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Units that the ledger manages.
    pub total: u64,
    /// Units that were ever held.
    pub held: u64,
    /// Of them, paid for.
    pub settled: u64,
    /// Of them, given back.
    pub released: u64,
}

impl Totals {
    /// Units that are held still.
    pub const fn outstanding(&self) -> u64 {
        self.held.saturating_sub(self.settled).saturating_sub(self.released)
    }

    fn add(&mut self, event: &Event) {
        match event {
            Event::Opened { stock, .. } => self.total = *stock,
            Event::Held(asked) => self.held += u64::from(asked.quantity),
            Event::Settled { quantity, .. } => self.settled += u64::from(*quantity),
            Event::Released { quantity, .. } => self.released += u64::from(*quantity),
            Event::Restocked { delta, .. } => self.total = self.total.saturating_add_signed(*delta),
            Event::Ended { .. } | Event::TermStarted { .. } | Event::TermOpened(_) | Event::PromiseFailed { .. } => {}
        }
    }
}

impl From<TermCounts> for Totals {
    fn from(counts: TermCounts) -> Self {
        let TermCounts { total, held, sold, released } = counts;
        Self { total, held: held + sold + released, settled: sold, released }
    }
}

/// The totals of every sale. Clones are the same book.
#[derive(Debug, Clone, Default)]
pub struct Book {
    tracks: Arc<Mutex<BTreeMap<ActivityId, Track>>>,
    /// Partitions whose end, as it was when the follower began, has not been read to.
    unread: Arc<AtomicUsize>,
}

/// `points` ends with the totals at the last entry that counts. A journal that was not read from its opening or from
/// the opening of a term, or has a hole, has no points.
#[derive(Debug, Default)]
struct Track {
    position: Position,
    points: VecDeque<Totals>,
}

impl Book {
    /// The totals at entry `seq` of a sale; `None` where it has not been read, or too many followed it.
    /// At 0, before the opening, all are 0.
    pub fn at(&self, activity: ActivityId, seq: u64) -> Option<Totals> {
        if seq == 0 {
            return Some(Totals::default());
        }
        let tracks = self.tracks();
        let track = tracks.get(&activity)?;
        let from_end = usize::try_from(track.position.seq.checked_sub(seq)?).ok()?;
        let at = track.points.len().checked_sub(from_end + 1)?;
        track.points.get(at).copied()
    }

    /// Whether all is read that was on the journal when the follower began.
    pub fn is_read(&self) -> bool {
        self.unread.load(Ordering::Acquire) == 0
    }

    /// The last entry of a sale that was read.
    pub fn head_seq(&self, activity: ActivityId) -> u64 {
        self.tracks().get(&activity).map_or(0, |track| track.position.seq)
    }

    /// Every sale, and its last entry that was read.
    pub fn heads(&self) -> Vec<(ActivityId, u64)> {
        self.tracks().iter().map(|(activity, track)| (*activity, track.position.seq)).collect()
    }

    /// Adds an entry; one that is there already, or does not count, changes nothing.
    pub fn add(&self, entry: &Entry) {
        let mut tracks = self.tracks();
        let track = tracks.entry(entry.activity).or_default();
        match (track.position.advance(entry), entry.event) {
            (Placed::Next, _) if entry.seq == 1 || !track.points.is_empty() => {
                let mut totals = track.points.back().copied().unwrap_or_default();
                totals.add(&entry.event);
                track.points.push_back(totals);
                if track.points.len() > POINTS_MAX {
                    track.points.pop_front();
                }
            }
            (Placed::Next | Placed::Mark | Placed::Known | Placed::Stale | Placed::Failed, _) => {}
            (Placed::Gap, event) => {
                track.position.jump(entry);
                track.points.clear();
                if let Event::TermOpened(counts) = event {
                    track.points.push_back(counts.into());
                }
            }
        }
    }

    fn tracks(&self) -> MutexGuard<'_, BTreeMap<ActivityId, Track>> {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the journal into a [`Book`], from its oldest record on.
#[derive(Debug)]
pub struct Follower<L: Log> {
    consumer: L::Consumer,
    book: Book,
    /// The ends that have not been read to.
    ends: BTreeMap<Partition, u64>,
}

impl<L: Log> Follower<L> {
    /// A follower that fills `book`.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn follow(log: &L, book: Book) -> Result<Self, LogError> {
        let ends: BTreeMap<Partition, u64> =
            log.ends(topic::ORDERS).await?.into_iter().filter(|(_, end)| *end > 0).collect();
        book.unread.store(ends.len(), Ordering::Release);
        Ok(Self { consumer: log.follow(&[topic::ORDERS]).await?, book, ends })
    }

    /// Waits for entries and adds them.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn step(&mut self) -> Result<(), LogError> {
        for record in self.consumer.poll(BATCH_MAX).await? {
            match Entries::decode(&record.value) {
                Ok(entries) => entries.into_vec().iter().for_each(|entry| self.book.add(entry)),
                Err(error) => tracing::warn!(offset = record.offset, %error, "a record of the journal is no entry"),
            }
            if self.ends.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                self.ends.remove(&record.partition);
                self.book.unread.store(self.ends.len(), Ordering::Release);
            }
        }
        Ok(())
    }
}
