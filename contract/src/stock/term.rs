//! Terms: the incarnations of a ledger, and which entries of its journal count.
//!
//! A ledger in Redis is a cache that belongs to one term. When it may have lost entries, a new term is started on the
//! journal, and from there on entries of older terms no longer count, however late they arrive. All readers of the
//! journal decide what counts by [`Position::place`], so they cannot disagree.

use super::{Entry, Event, Term};

/// How far a reader has read one ledger's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The term that was started last.
    pub term: Term,
    /// Whether the term's recovery has ended ([`Event::TermOpened`]).
    pub is_open: bool,
    /// `seq` of the last entry that counts; it continues over terms.
    pub seq: u64,
}

impl Default for Position {
    fn default() -> Self {
        Self { term: Term::FIRST, is_open: true, seq: 0 }
    }
}

/// What an entry is to a reader at a [`Position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// The next numbered entry: it counts.
    Next,
    /// A mark that moves the position: a higher term starts, or the current one opens.
    Mark,
    /// Known already, or a mark that says nothing new.
    Known,
    /// An entry of an older term, behind the start of the current one. It does not count. Where its order is unknown, it is
    /// a promise that somebody must keep or compensate.
    Stale,
    /// A promise that will not be kept ([`Event::PromiseFailed`]). It has no number and changes no count.
    Failed,
    /// Entries before it are missing.
    Gap,
}

impl Position {
    /// What `entry` is to a reader that has read up to here.
    pub fn place(&self, entry: &Entry) -> Placed {
        match entry.event {
            Event::TermStarted { .. } if entry.term > self.term => Placed::Mark,
            Event::TermStarted { .. } => Placed::Known,
            Event::TermOpened { .. } if entry.term > self.term => Placed::Gap,
            Event::TermOpened { .. } if entry.term < self.term || self.is_open => Placed::Known,
            Event::TermOpened { .. } if entry.seq > self.seq => Placed::Gap,
            Event::TermOpened { .. } => Placed::Mark,
            Event::PromiseFailed { .. } => Placed::Failed,
            Event::Opened { .. }
            | Event::Held(_)
            | Event::Settled { .. }
            | Event::Released { .. }
            | Event::Restocked { .. }
            | Event::Ended { .. } => {
                if entry.term < self.term {
                    Placed::Stale
                } else if entry.term > self.term {
                    Placed::Gap
                } else if entry.seq <= self.seq {
                    Placed::Known
                } else if entry.seq == self.seq + 1 {
                    Placed::Next
                } else {
                    Placed::Gap
                }
            }
        }
    }

    /// Whether `entry` can change anything for a reader that has read up to here, also once it has read on.
    pub fn matters(&self, entry: &Entry) -> bool {
        match self.place(entry) {
            Placed::Known => false,
            Placed::Stale => matches!(entry.event, Event::Held(_)),
            Placed::Next | Placed::Mark | Placed::Failed | Placed::Gap => true,
        }
    }

    /// Moves behind `entry` across a [`Placed::Gap`], for a reader that goes on without what is missing. If the start of
    /// the term is missing, its opening is taken to be missing too.
    pub fn jump(&mut self, entry: &Entry) {
        let is_open = self.is_open || entry.term > self.term;
        *self = Self { term: entry.term, is_open, seq: entry.seq };
    }

    /// Moves behind `entry`, if it moves the position; what it was.
    pub fn advance(&mut self, entry: &Entry) -> Placed {
        let placed = self.place(entry);
        match (placed, entry.event) {
            (Placed::Mark, Event::TermStarted { .. }) => (self.term, self.is_open) = (entry.term, false),
            (Placed::Mark, _) => self.is_open = true,
            (Placed::Next, _) => self.seq = entry.seq,
            (Placed::Known | Placed::Stale | Placed::Failed | Placed::Gap, _) => {}
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ActivityId, OrderId, stock::TermCounts};

    fn entry(term: u64, seq: u64, event: Event) -> Entry {
        Entry { activity: ActivityId::from_i64(1).unwrap(), term: Term(term), epoch: 1, seq, at_ms: 0, event }
    }

    fn next(term: u64, seq: u64) -> Entry {
        entry(term, seq, Event::Settled { order: OrderId::from_i64(1).unwrap(), quantity: 1 })
    }

    fn started(term: u64) -> Entry {
        entry(term, 0, Event::TermStarted { nonce: 9 })
    }

    fn opened(term: u64, seq: u64) -> Entry {
        entry(term, seq, Event::TermOpened(TermCounts { total: 0, held: 0, sold: 0, released: 0 }))
    }

    #[test]
    fn what_counts_is_decided_by_term_and_number() {
        let journal = [
            (next(0, 1), Placed::Next),
            (next(0, 2), Placed::Next),
            (next(0, 2), Placed::Known),
            (next(0, 4), Placed::Gap),
            (opened(0, 2), Placed::Known),
            (started(5), Placed::Mark),
            (started(5), Placed::Known),
            (next(0, 3), Placed::Stale),
            (next(0, 2), Placed::Stale),
            (opened(5, 3), Placed::Gap),
            (next(5, 3), Placed::Next),
            (started(4), Placed::Known),
            (next(7, 4), Placed::Gap),
            (opened(7, 3), Placed::Gap),
            (opened(4, 3), Placed::Known),
            (opened(5, 3), Placed::Mark),
            (opened(5, 3), Placed::Known),
            (next(5, 4), Placed::Next),
            (started(7), Placed::Mark),
            (started(9), Placed::Mark),
            (opened(7, 4), Placed::Known),
            (next(7, 5), Placed::Stale),
            (opened(9, 4), Placed::Mark),
        ];
        let mut position = Position::default();
        for (step, (entry, expect)) in journal.iter().enumerate() {
            assert_eq!(position.advance(entry), *expect, "step {step}: {entry:?} at {position:?}");
        }
        assert_eq!(position, Position { term: Term(9), is_open: true, seq: 4 });
        // A second reading changes nothing.
        let read = position;
        for (entry, _) in &journal {
            let placed = position.advance(entry);
            assert!(matches!(placed, Placed::Known | Placed::Stale), "{entry:?} is {placed:?} the second time");
        }
        assert_eq!(position, read);
    }
}
