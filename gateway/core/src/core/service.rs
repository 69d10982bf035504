//! What the connections are served by: the desk, and behind it the queue to the ledger.

use contract::{OrderId, stock::Reservation};

use super::{
    decision::{Decision, Request},
    desk::Desk,
    turn::Turn,
};
use crate::{
    Now,
    ids::{ConnId, WaitId},
    queue::ReservationQueue,
};

/// Lent to the wire for one call.
pub(super) struct Service<'a> {
    desk: &'a mut Desk,
    queue: &'a mut ReservationQueue,
    now: Now,
}

impl<'a> Service<'a> {
    pub(super) const fn new(desk: &'a mut Desk, queue: &'a mut ReservationQueue, now: Now) -> Self {
        Self { desk, queue, now }
    }

    pub(super) fn answer(&mut self, turn: &mut Turn<'_, '_>) -> Decision {
        self.desk.answer(turn, self.now)
    }

    /// Queues a reservation for the ledger. `None` if too many are queued, or no order id can be made now.
    pub(super) fn submit(&mut self, conn: ConnId, request: &Request) -> Option<WaitId> {
        if self.queue.is_full() {
            return None;
        }
        let order = self.desk.next_order(self.now)?;
        let Request { activity, user, key, quantity } = *request;
        self.queue.submit(activity, conn, Reservation { order, user, request: key, quantity }).ok()
    }

    /// Whether the order is known, or so young that the log may still bring it.
    pub(super) fn may_become_known(&self, order: OrderId) -> bool {
        self.desk.may_become_known(order, self.now)
    }
}
