//! A ledger from what outlived it: a snapshot and the journal's entries after it.

use std::collections::HashMap;

use super::{Counters, Entry, Event, Hold, HoldState, Ledger, Share};
use crate::{ActivityId, OperationId, activity::Rules};

/// A ledger's state at `seq`, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose ledger.
    pub activity: ActivityId,
    /// The rules now: those it was opened with, and the end of a sale that was ended before its time.
    pub rules: Rules,
    /// Units under the ledger.
    pub total: u64,
    /// Epoch at `seq`.
    pub epoch: u64,
    /// `seq` of the last entry taken in.
    pub seq: u64,
    /// Every order, oldest first.
    pub holds: Vec<Hold>,
    /// Every restock that was applied.
    pub restocks: Vec<OperationId>,
}

/// Why a snapshot or an entry can't be taken in: what outlived the ledger contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// More units are held and sold than there are.
    #[error("activity {activity}: more units held and sold than its total")]
    Oversold {
        /// Whose ledger.
        activity: ActivityId,
    },
    /// Entries are missing between the ledger's last and this one.
    #[error("activity {activity}: entry {found} follows {last}")]
    Gap {
        /// Whose ledger.
        activity: ActivityId,
        /// The ledger's last entry.
        last: u64,
        /// The entry that was offered.
        found: u64,
    },
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// It was the next one.
    Applied,
    /// The ledger already had it.
    Known,
}

impl Ledger {
    /// The ledger that `snapshot` was taken of.
    ///
    /// # Errors
    /// [`RestoreError::Oversold`] where the counts can't be.
    pub fn restore(snapshot: &Snapshot) -> Result<Self, RestoreError> {
        let Snapshot { activity, rules, total, epoch, seq, .. } = *snapshot;
        let mut ledger = Self::opened(activity, total, rules);
        let (mut held, mut sold) = (0_u64, 0_u64);
        for hold in &snapshot.holds {
            let asked = &hold.reservation;
            match hold.state {
                HoldState::Held => held += u64::from(asked.quantity),
                HoldState::Sold => sold += u64::from(asked.quantity),
                HoldState::Released => {}
            }
            if hold.state != HoldState::Released {
                let share = ledger.shares.entry(asked.user).or_insert(Share { quantity: 0, latest: asked.order });
                share.quantity = share.quantity.saturating_add(asked.quantity);
                share.latest = asked.order;
            }
            if let Some(request) = asked.request {
                ledger.requests.insert(request, asked.order);
            }
            ledger.orders.insert(asked.order, *hold);
        }
        let available = total.checked_sub(held + sold).ok_or(RestoreError::Oversold { activity })?;
        ledger.counters = Counters { total, available, held, sold, epoch, seq };
        ledger.restocks.extend(&snapshot.restocks);
        ledger.assert_conserved();
        Ok(ledger)
    }

    /// The state now, from which another process can go on.
    pub fn snapshot(&self) -> Snapshot {
        let mut holds: Vec<Hold> = self.orders.values().copied().collect();
        holds.sort_unstable_by_key(|hold| hold.reservation.order);
        Snapshot {
            activity: self.activity,
            rules: self.rules,
            total: self.counters.total,
            epoch: self.counters.epoch,
            seq: self.counters.seq,
            holds,
            restocks: self.restocks.iter().copied().collect(),
        }
    }

    /// Takes in one entry of the journal; entries it already has change nothing.
    ///
    /// # Errors
    /// [`RestoreError::Gap`] where entries are missing before it.
    pub fn replay(&mut self, entry: &Entry) -> Result<Replayed, RestoreError> {
        let last = self.counters.seq;
        if entry.seq <= last {
            return Ok(Replayed::Known);
        }
        if entry.seq > last + 1 {
            return Err(RestoreError::Gap { activity: self.activity, last, found: entry.seq });
        }
        self.evolve(entry);
        Ok(Replayed::Applied)
    }

    /// Folds a journal that begins anywhere at or before the next entry of each ledger in `ledgers`;
    /// an `Opened` entry of an activity that is not there yet opens it.
    ///
    /// # Errors
    /// [`RestoreError::Gap`] where entries are missing.
    pub fn fold(ledgers: &mut HashMap<ActivityId, Self>, entry: &Entry) -> Result<Replayed, RestoreError> {
        if let Some(ledger) = ledgers.get_mut(&entry.activity) {
            return ledger.replay(entry);
        }
        match entry.event {
            Event::Opened { stock, rules } if entry.seq == 1 => {
                ledgers.insert(entry.activity, Self::opened(entry.activity, stock, rules));
                Ok(Replayed::Applied)
            }
            Event::Opened { .. }
            | Event::Held(_)
            | Event::Settled { .. }
            | Event::Released { .. }
            | Event::Restocked { .. }
            | Event::Ended { .. } => Err(RestoreError::Gap { activity: entry.activity, last: 0, found: entry.seq }),
        }
    }
}
