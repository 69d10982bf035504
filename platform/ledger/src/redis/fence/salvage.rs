//! Derives the entries of a lost outbox from the ledger that wrote them.

use std::collections::HashMap;

use contract::{
    OrderId,
    stock::{Counters, Entry, Event, Hold, HoldState, Ledger, Snapshot},
};

/// Brings `ledger`, which is the journal's, to the state `found` in Redis, and returns the entries that lead there.
/// They may have happened in another order; in this one there are always enough units. Returns `None` and leaves
/// `ledger` unchanged if they don't lead exactly to Redis' `counters`, because another part was lost as well.
pub(super) fn salvage(ledger: &mut Ledger, found: &Snapshot, counters: Counters, now_ms: u64) -> Option<Vec<Entry>> {
    let events = events(&ledger.snapshot(), found)?;
    let mut salvaged = ledger.clone();
    let mut entries = Vec::with_capacity(events.len());
    for event in events {
        let Counters { epoch, seq, available, .. } = salvaged.counters();
        let fits = match event {
            Event::Held(reservation) => u64::from(reservation.quantity) <= available,
            Event::Restocked { delta, .. } => available.checked_add_signed(delta).is_some(),
            Event::Settled { .. } | Event::Released { .. } | Event::Ended { .. } => true,
            Event::Opened { .. } => false,
        };
        if !fits {
            return None;
        }
        let epoch = epoch + u64::from(event.returns_stock());
        let entry = Entry { activity: salvaged.activity(), epoch, seq: seq + 1, at_ms: now_ms, event };
        salvaged.replay(&entry).ok()?;
        entries.push(entry);
    }
    if salvaged.rules() != found.rules {
        return None;
    }
    let led_to = salvaged.counters();
    // Restarts of Redis begin epochs that no entry has.
    if (Counters { epoch: counters.epoch, ..led_to }) != counters || led_to.epoch > counters.epoch {
        return None;
    }
    *ledger = salvaged;
    Some(entries)
}

/// The events between two states of a ledger. Those that return units come first. `None` if they can't be derived.
fn events(before: &Snapshot, after: &Snapshot) -> Option<Vec<Event>> {
    let known: HashMap<OrderId, Hold> = before.holds.iter().map(|hold| (hold.reservation.order, *hold)).collect();
    let (mut turned, mut given_back, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for hold in &after.holds {
        match known.get(&hold.reservation.order) {
            Some(was) if asked(was) != asked(hold) => return None,
            Some(was) if was.state == hold.state => {}
            Some(was) if was.state == HoldState::Held => turned.push(end(hold)?),
            Some(_) => return None,
            None if hold.state == HoldState::Released => {
                given_back.extend([Event::Held(hold.reservation), end(hold)?]);
            }
            None => {
                kept.push(Event::Held(hold.reservation));
                kept.extend(end(hold));
            }
        }
    }
    let mut restocks = after.restocks.iter().filter(|operation| !before.restocks.contains(operation));
    let delta = i64::try_from(after.total).ok()?.checked_sub(i64::try_from(before.total).ok()?)?;
    let restocked = match (restocks.next(), restocks.next()) {
        (None, _) if delta == 0 => None,
        (Some(operation), None) if delta != 0 => Some(Event::Restocked { operation: *operation, delta }),
        // Only the sum of several is known.
        _ => return None,
    };
    let (first, last) = if delta > 0 { (restocked, None) } else { (None, restocked) };
    let ends_at_ms = after.rules.ends_at_ms;
    let ended = (ends_at_ms < before.rules.ends_at_ms).then_some(Event::Ended { ends_at_ms });
    Some(first.into_iter().chain(turned).chain(given_back).chain(kept).chain(last).chain(ended).collect())
}

/// The reservation without its request's key, which may be lost.
const fn asked(hold: &Hold) -> (i64, u32) {
    (hold.reservation.user.as_i64(), hold.reservation.quantity)
}

/// The event by which an order left the state held; `None` while it is held.
const fn end(hold: &Hold) -> Option<Event> {
    let (order, quantity) = (hold.reservation.order, hold.reservation.quantity);
    match hold.state {
        HoldState::Held => None,
        HoldState::Sold => Some(Event::Settled { order, quantity }),
        HoldState::Released => Some(Event::Released { order, quantity }),
    }
}
