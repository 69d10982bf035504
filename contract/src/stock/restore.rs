//! A ledger from what outlived it: a snapshot and the journal's entries after it.

use super::{Counters, Entry, Event, Hold, HoldState, Ledger, Placed, Position, Reservation, Share, Term, UNITS_MAX};
use crate::{ActivityId, OperationId, OrderId, activity::Rules};

/// A ledger's state at `seq`, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose ledger.
    pub activity: ActivityId,
    /// The rules now: those it was opened with, and the end of a sale that was ended before its time.
    pub rules: Rules,
    /// Units that the ledger manages.
    pub total: u64,
    /// The term that was started last.
    pub term: Term,
    /// Whether its recovery has ended.
    pub is_open: bool,
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
    /// The entry does not fit the state before it.
    #[error("activity {activity}: entry {seq} contradicts those before it: {reason}")]
    Contradiction {
        /// Whose ledger.
        activity: ActivityId,
        /// The entry.
        seq: u64,
        /// What is wrong.
        reason: Broken,
    },
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The sale was opened before.
    #[error("the sale was opened before")]
    OpenedTwice,
    /// The order has units already, or asks for none.
    #[error("the order has units already, or asks for none")]
    HeldTwice,
    /// There are not as many units.
    #[error("there are not as many units")]
    Units,
    /// The order is not held, or has another quantity.
    #[error("the order is not held with this quantity")]
    NotHeld,
    /// The restock was applied before.
    #[error("the restock was applied before")]
    RestockedTwice,
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
    /// Its state as a whole from the entries of its journal, from the first on.
    ///
    /// # Errors
    /// See [`Replay::take`].
    pub fn from_journal<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Result<Option<Self>, RestoreError> {
        let mut replay = Replay::default();
        for entry in entries {
            replay.take(entry)?;
        }
        Ok(replay.ledger)
    }

    /// The ledger that `snapshot` was taken of.
    ///
    /// # Errors
    /// [`RestoreError::Oversold`] where the counts can't be.
    pub fn restore(snapshot: &Snapshot) -> Result<Self, RestoreError> {
        let Snapshot { activity, rules, total, term, epoch, seq, .. } = *snapshot;
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
        ledger.counters = Counters { total, available, held, sold, term, epoch, seq };
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
            term: self.counters.term,
            is_open: true,
            epoch: self.counters.epoch,
            seq: self.counters.seq,
            holds,
            restocks: self.restocks.iter().copied().collect(),
        }
    }

    /// Takes in the next entry of its own term; entries it already has change nothing.
    ///
    /// # Errors
    /// [`RestoreError::Gap`] where entries are missing before it, [`RestoreError::Contradiction`] where it does not fit.
    pub fn replay(&mut self, entry: &Entry) -> Result<Replayed, RestoreError> {
        let (activity, last) = (self.activity, self.counters.seq);
        if entry.seq <= last {
            return Ok(Replayed::Known);
        }
        if entry.seq > last + 1 {
            return Err(RestoreError::Gap { activity, last, found: entry.seq });
        }
        if let Some(reason) = self.contradiction(entry.event) {
            return Err(RestoreError::Contradiction { activity, seq: entry.seq, reason });
        }
        self.evolve(entry);
        Ok(Replayed::Applied)
    }

    /// What [`Ledger::evolve`] would panic for.
    fn contradiction(&self, event: Event) -> Option<Broken> {
        let Counters { total, available, held, .. } = self.counters;
        let is_held = |order: OrderId, quantity: u32| {
            let hold = self.orders.get(&order);
            let fits = |hold: &Hold| {
                let share = self.shares.get(&hold.reservation.user);
                hold.state == HoldState::Held
                    && hold.reservation.quantity == quantity
                    && share.is_some_and(|share| share.quantity >= quantity)
            };
            hold.is_some_and(fits) && held >= u64::from(quantity)
        };
        match event {
            Event::Opened { .. } => Some(Broken::OpenedTwice),
            Event::Held(asked) if asked.quantity == 0 || self.orders.contains_key(&asked.order) => {
                Some(Broken::HeldTwice)
            }
            Event::Held(asked) => {
                let share = self.shares.get(&asked.user).map_or(0, |share| share.quantity);
                let fits = u64::from(asked.quantity) <= available && share.checked_add(asked.quantity).is_some();
                (!fits).then_some(Broken::Units)
            }
            Event::Settled { order, quantity } | Event::Released { order, quantity } => {
                (!is_held(order, quantity)).then_some(Broken::NotHeld)
            }
            Event::Restocked { operation, .. } if self.restocks.contains(&operation) => Some(Broken::RestockedTwice),
            Event::Restocked { delta, .. } => {
                let fits = available.checked_add_signed(delta).is_some()
                    && total.checked_add_signed(delta).is_some_and(|total| total <= UNITS_MAX);
                (!fits).then_some(Broken::Units)
            }
            Event::Ended { .. } | Event::TermStarted { .. } | Event::TermOpened(_) | Event::PromiseFailed { .. } => {
                None
            }
        }
    }
}

/// A yes that its buyer may have heard, of a hold that does not count or that the ledger may have lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// What was promised.
    pub reservation: Reservation,
    /// When, epoch milliseconds.
    pub at_ms: u64,
}

/// One ledger from a snapshot, or from nothing, and the journal that begins anywhere at or before its next entry.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    position: Position,
    ledger: Option<Ledger>,
    /// Those behind the start of the current term, as long as it is not open.
    promises: Vec<Promise>,
    /// The start of the current term was read. What is stale before it was dealt with when an earlier term opened.
    has_read_start: bool,
}

impl Replay {
    /// From a snapshot.
    ///
    /// # Errors
    /// [`RestoreError::Oversold`] where the counts can't be.
    pub fn from_snapshot(snapshot: &Snapshot) -> Result<Self, RestoreError> {
        let Snapshot { term, is_open, seq, .. } = *snapshot;
        let ledger = Some(Ledger::restore(snapshot)?);
        Ok(Self { position: Position { term, is_open, seq }, ledger, promises: Vec::new(), has_read_start: false })
    }

    /// The highest term that was started, and the last entry that counts.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The ledger; `None` before its opening.
    pub const fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// The ledger, in the term that was started last, and the promises that nobody has kept or given up.
    pub fn into_parts(self) -> (Option<Ledger>, Vec<Promise>) {
        (self.ledger, self.promises)
    }

    /// Takes in one entry of the ledger's journal.
    ///
    /// # Errors
    /// See [`Ledger::replay`]. Nothing has changed then.
    pub fn take(&mut self, entry: &Entry) -> Result<Placed, RestoreError> {
        let activity = entry.activity;
        let placed = self.position.place(entry);
        match (placed, entry.event) {
            (Placed::Gap, _) => {
                return Err(RestoreError::Gap { activity, last: self.position.seq, found: entry.seq });
            }
            (Placed::Next, Event::Opened { stock, rules }) if self.ledger.is_none() => {
                let mut ledger = Ledger::opened(activity, stock, rules);
                ledger.counters.term = entry.term;
                self.ledger = Some(ledger);
            }
            (Placed::Next, _) => match &mut self.ledger {
                Some(ledger) => drop(ledger.replay(entry)?),
                None => return Err(RestoreError::Gap { activity, last: 0, found: entry.seq }),
            },
            (Placed::Mark, Event::TermStarted { .. }) => {
                self.has_read_start = true;
                if let Some(ledger) = &mut self.ledger {
                    ledger.start_term(entry.term);
                }
            }
            (Placed::Mark, _) => self.promises.clear(),
            (Placed::Known, Event::TermStarted { .. }) => self.has_read_start |= entry.term == self.position.term,
            (Placed::Stale, Event::Held(reservation)) if self.has_read_start && !self.position.is_open => {
                self.promises.push(Promise { reservation, at_ms: entry.at_ms });
            }
            (Placed::Failed, Event::PromiseFailed { reservation, .. }) => {
                self.promises.retain(|promise| promise.reservation.order != reservation.order);
            }
            (Placed::Known | Placed::Stale | Placed::Failed, _) => {}
        }
        self.position.advance(entry);
        Ok(placed)
    }
}
