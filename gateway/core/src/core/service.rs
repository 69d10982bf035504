//! What serves the connections: the handlers of requests, and the queue to the ledger.

use contract::{OrderId, stock::Reservation};

use super::{
    decision::{Decision, Request},
    handlers::Handlers,
    tracer::Tracer,
    turn::Turn,
};
use crate::{
    Now,
    ids::{ConnId, WaitId},
    queue::ReservationQueue,
};

/// Lent to the connections for one call.
pub(super) struct Service<'a> {
    handlers: &'a mut Handlers,
    queue: &'a mut ReservationQueue,
    tracer: Option<&'a mut Tracer>,
    now: Now,
}

impl<'a> Service<'a> {
    pub(super) const fn new(
        handlers: &'a mut Handlers,
        queue: &'a mut ReservationQueue,
        tracer: Option<&'a mut Tracer>,
        now: Now,
    ) -> Self {
        Self { handlers, queue, tracer, now }
    }

    pub(super) fn answer(&mut self, turn: &mut Turn<'_, '_>) -> Decision {
        self.handlers.answer(turn, self.now)
    }

    /// Queues a reservation for the ledger. `None` if too many are queued, or no order id can be made now.
    pub(super) fn submit(
        &mut self,
        conn: ConnId,
        request: &Request,
        (traceparent, trace_id): (Option<&[u8]>, u128),
    ) -> Option<WaitId> {
        if self.queue.is_full() {
            return None;
        }
        let order = self.handlers.next_order(self.now)?;
        let Request { activity, user, key, quantity } = *request;
        let wait = self.queue.submit(activity, conn, Reservation { order, user, request: key, quantity }).ok()?;
        if let Some(tracer) = &mut self.tracer {
            tracer.begin((wait, order, activity), traceparent, trace_id, self.now.mono);
        }
        Some(wait)
    }

    /// Whether the order is known, or so young that the log may still bring it.
    pub(super) fn may_become_known(&self, order: OrderId) -> bool {
        self.handlers.may_become_known(order, self.now)
    }
}
