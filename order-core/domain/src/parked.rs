//! Entries that wait for a parked sale.

use contract::{
    ActivityId, OrderId,
    stock::{Entry, Event, Hold, HoldState, Snapshot},
};

use crate::SaleError;

/// Characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 500;

/// How many of `entries`, which are in the order of their `seq`, follow one another from `last` on. Entries up to
/// `last` are known already and count as well.
///
/// # Errors
/// [`SaleError::Gap`] where there are entries and none of them does.
pub fn next_in_line(activity: ActivityId, last: u64, entries: &[Entry]) -> Result<usize, SaleError> {
    let mut end = last;
    let follows = |entry: &&Entry| {
        let follows = entry.seq <= end.saturating_add(1);
        end = end.max(entry.seq);
        follows
    };
    match (entries.iter().take_while(follows).count(), entries.first()) {
        (0, Some(first)) => Err(SaleError::Gap { activity, last, found: first.seq }),
        (count, _) => Ok(count),
    }
}

/// Takes a ledger's snapshot on by the entries that wait for it, in the order of their `seq`. The log forgets entries
/// after a week, and the ledger has decided them all the same. Stops at the first that does not fit.
pub fn go_on(snapshot: &mut Snapshot, entries: impl IntoIterator<Item = Entry>) {
    let units = |hold: &Hold| u64::from(hold.reservation.quantity);
    let mut taken = snapshot.holds.iter().filter(|hold| hold.state != HoldState::Released).map(units).sum();
    for entry in entries {
        if entry.seq <= snapshot.seq {
            continue;
        }
        if entry.seq != snapshot.seq + 1 || apply(snapshot, &mut taken, entry.event).is_none() {
            return;
        }
        (snapshot.seq, snapshot.epoch) = (entry.seq, entry.epoch);
    }
}

/// `taken` are the units that are held or sold.
fn apply(snapshot: &mut Snapshot, taken: &mut u64, event: Event) -> Option<()> {
    match event {
        Event::Opened { .. } => return None,
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
