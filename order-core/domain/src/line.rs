//! Entries at their places on the journal.

use contract::stock::{Entry, Event};

/// An entry, and the offset of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The record's offset in the partition of the activity.
    pub offset: u64,
    /// What the record has.
    pub entry: Entry,
}

impl Line {
    /// The lines of a journal of one term of one activity, where each entry is a record of its own.
    pub fn in_order(entries: &[Entry]) -> Vec<Self> {
        entries.iter().map(|entry| Self { offset: entry.seq, entry: *entry }).collect()
    }

    /// The entries of `lines`.
    pub fn entries(lines: &[Self]) -> Vec<Entry> {
        lines.iter().map(|line| line.entry).collect()
    }

    /// Whether entries of older terms stop counting here.
    pub const fn starts_term(&self) -> bool {
        matches!(self.entry.event, Event::TermStarted { .. })
    }

    /// The place of a line that waits, among those behind the same start of a term: by `seq`, so that an entry that was
    /// missing comes where it belongs however late it turns up. Marks come behind the entry whose number they have.
    pub const fn rank(&self) -> u64 {
        let twice = self.entry.seq.saturating_mul(2);
        match self.entry.event {
            Event::TermStarted { .. } => 0,
            Event::TermOpened(_) | Event::PromiseFailed { .. } => twice.saturating_add(1),
            Event::Opened { .. }
            | Event::Held(_)
            | Event::Settled { .. }
            | Event::Released { .. }
            | Event::Restocked { .. }
            | Event::Ended { .. } => twice,
        }
    }

    /// Puts lines of one activity that wait in the order in which they are taken in.
    pub fn sort(lines: &mut [Self]) {
        lines.sort_by_key(|line| line.offset);
        let mut start = 0;
        let mut keys = Vec::with_capacity(lines.len());
        for line in lines.iter() {
            if line.starts_term() {
                start = line.offset;
            }
            keys.push((start, line.rank(), line.offset));
        }
        let mut keyed: Vec<_> = keys.into_iter().zip(lines.iter().copied()).collect();
        keyed.sort_by_key(|(key, _)| *key);
        for (place, (_, line)) in lines.iter_mut().zip(keyed) {
            *place = line;
        }
    }
}
