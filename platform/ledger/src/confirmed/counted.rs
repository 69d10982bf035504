//! What a gateway concludes from the journal about the orders that it has promised.

use std::collections::{BTreeMap, HashMap};

use contract::{
    ActivityId, OrderId,
    stock::{Entry, Event, Placed, Position, Term},
};

/// How far the journal of each ledger was read.
#[derive(Debug, Default)]
pub struct CountedOrders(HashMap<ActivityId, Counted>);

#[derive(Debug, Default)]
struct Counted {
    position: Position,
    /// Holds that do not count, and promises that were given up. They are decided when the term is open.
    stale: Vec<OrderId>,
}

/// What entries of the journal have settled.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Orders that are decided for good, in one way or the other: a gateway need not remember them.
    pub orders: Vec<OrderId>,
    /// Those of `orders` that were not decided by their number in a term that is open: in a recovery, or behind their term.
    pub out_of_turn: Vec<OrderId>,
    /// The last entry of each term that counts, as far as was read. It is final once a higher term has started.
    pub read: BTreeMap<(ActivityId, Term), u64>,
    /// Terms that have opened. What was promised in an older one and is not decided by now was lost.
    pub opened: BTreeMap<ActivityId, Term>,
}

impl CountedOrders {
    /// Takes the journal's next entries.
    pub fn take(&mut self, entries: &[Entry]) -> Settled {
        let mut settled = Settled::default();
        for entry in entries {
            let Counted { position, stale } = self.0.entry(entry.activity).or_default();
            let placed = position.advance(entry);
            if placed == Placed::Gap {
                position.jump(entry);
            }
            match (placed, entry.event) {
                (Placed::Next | Placed::Gap | Placed::Known, Event::Held(reservation)) => {
                    settled.orders.push(reservation.order);
                    if !position.is_open {
                        settled.out_of_turn.push(reservation.order);
                    }
                }
                // It is on the journal, so it becomes a failed order unless the ledger has it in its new term.
                (Placed::Stale, Event::Held(reservation)) | (_, Event::PromiseFailed { reservation, .. }) => {
                    stale.push(reservation.order);
                }
                _ => {}
            }
            if position.is_open {
                settled.orders.extend(stale.iter());
                settled.out_of_turn.append(stale);
            }
            settled.read.insert((entry.activity, position.term), position.seq);
            if matches!(entry.event, Event::TermOpened(_)) && position.is_open {
                settled.opened.insert(entry.activity, position.term);
            }
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use contract::{
        UserId,
        stock::{Reservation, TermCounts},
    };

    use super::*;

    fn entry(term: u64, seq: u64, event: Event) -> Entry {
        Entry { activity: ActivityId::from_i64(7).unwrap(), term: Term(term), epoch: 1, seq, at_ms: 0, event }
    }

    fn held(term: u64, seq: u64, id: i64) -> Entry {
        let (order, user) = (OrderId::from_i64(id).unwrap(), UserId::from_i64(id).unwrap());
        entry(term, seq, Event::Held(Reservation { order, user, request: None, quantity: 1 }))
    }

    fn orders(settled: &Settled) -> Vec<i64> {
        settled.orders.iter().map(|order| order.as_i64()).collect()
    }

    /// A hold that was left behind by a term is decided when the next one opens, and one that comes later is at once.
    #[test]
    fn a_hold_that_does_not_count_is_decided_once_a_term_is_open() {
        let mut counted = CountedOrders::default();
        let settled = counted.take(&[held(0, 1, 1), entry(4, 0, Event::TermStarted { nonce: 1 }), held(0, 2, 2)]);
        assert_eq!((orders(&settled), settled.opened.len()), (vec![1], 0));
        let counts = TermCounts { total: 0, held: 0, sold: 0, released: 0 };
        let settled = counted.take(&[entry(4, 1, Event::TermOpened(counts)), held(0, 3, 3)]);
        assert_eq!(orders(&settled), [2, 3]);
        assert_eq!(settled.opened.into_values().collect::<Vec<_>>(), [Term(4)]);
    }
}
