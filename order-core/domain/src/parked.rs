//! Entries that wait for a parked sale.

use contract::{
    ActivityId, OrderId,
    stock::{Entry, Event, Hold, HoldState, Placed, Position, Snapshot},
};

use crate::{Line, SaleError};

/// Characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 500;

/// How many of `lines`, which are in the order of the journal, a ledger at `position` can take in one after the other.
/// Those that are known already, or do not count, are among them.
///
/// # Errors
/// [`SaleError::Gap`] where there are lines and the first of them does not follow.
pub fn next_in_line(activity: ActivityId, mut position: Position, lines: &[Line]) -> Result<usize, SaleError> {
    let last = position.seq;
    let count = lines.iter().take_while(|line| position.advance(&line.entry) != Placed::Gap).count();
    match (count, lines.first()) {
        (0, Some(first)) => Err(SaleError::Gap { activity, last, found: first.entry.seq }),
        (count, _) => Ok(count),
    }
}

/// Takes a ledger's snapshot on by the entries that wait for it, in the order of the journal. The log forgets entries
/// after a week, and the ledger has decided them all the same. Stops at the first that does not fit.
pub fn go_on(snapshot: &mut Snapshot, entries: impl IntoIterator<Item = Entry>) {
    let units = |hold: &Hold| u64::from(hold.reservation.quantity);
    let mut taken = snapshot.holds.iter().filter(|hold| hold.state != HoldState::Released).map(units).sum();
    let mut position = Position { term: snapshot.term, is_open: snapshot.is_open, seq: snapshot.seq };
    for entry in entries {
        match position.place(&entry) {
            Placed::Gap => return,
            Placed::Next if apply(snapshot, &mut taken, entry.event).is_none() => return,
            Placed::Next => snapshot.epoch = entry.epoch,
            Placed::Mark | Placed::Known | Placed::Stale | Placed::Failed => {}
        }
        position.advance(&entry);
        (snapshot.term, snapshot.is_open, snapshot.seq) = (position.term, position.is_open, position.seq);
    }
}

/// `taken` are the units that are held or sold.
fn apply(snapshot: &mut Snapshot, taken: &mut u64, event: Event) -> Option<()> {
    match event {
        Event::Opened { .. } | Event::TermStarted { .. } | Event::TermOpened(_) | Event::PromiseFailed { .. } => {
            return None;
        }
        Event::Held(reservation) => {
            let place = snapshot.holds.binary_search_by_key(&reservation.order, |hold| hold.reservation.order).err()?;
            let units = u64::from(reservation.quantity);
            if units == 0 || *taken + units > snapshot.total {
                return None;
            }
            *taken += units;
            snapshot.holds.insert(place, Hold { reservation, state: HoldState::Held });
        }
        Event::Settled { order, quantity } => turn(snapshot, order, quantity, HoldState::Sold)?,
        Event::Released { order, quantity } => {
            turn(snapshot, order, quantity, HoldState::Released)?;
            *taken -= u64::from(quantity);
        }
        Event::Restocked { operation, delta } => {
            let total = snapshot.total.checked_add_signed(delta).filter(|total| total >= taken)?;
            let place = snapshot.restocks.binary_search(&operation).err()?;
            snapshot.restocks.insert(place, operation);
            snapshot.total = total;
        }
        Event::Ended { ends_at_ms } => snapshot.rules = snapshot.rules.ended_at(ends_at_ms),
    }
    Some(())
}

fn turn(snapshot: &mut Snapshot, order: OrderId, quantity: u32, state: HoldState) -> Option<()> {
    let place = snapshot.holds.binary_search_by_key(&order, |hold| hold.reservation.order).ok()?;
    let hold = snapshot.holds.get_mut(place)?;
    let fits = hold.state == HoldState::Held && hold.reservation.quantity == quantity;
    fits.then(|| hold.state = state)
}

/// The start of a reason that is kept.
pub fn shortened(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}
