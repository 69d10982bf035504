//! The POST that asks for units: what is refused before the ledger is asked, cheapest check first.

use contract::ticket::Subject;

use super::{Decision, Handlers, Turn};
use crate::{
    Answer, Now,
    core::decision::Request,
    order_request::{OrderRequest, is_idempotency_key, request_key},
    tickets::TicketProof,
};

impl Handlers {
    /// `POST /api/v1/seckill/orders`.
    pub(super) fn reserve(&mut self, turn: &mut Turn<'_, '_>, now: Now) -> Decision {
        let asked = match OrderRequest::read(turn.head.fields.content_type, turn.body) {
            Ok(asked) => asked,
            Err(refusal) => return turn.refuse_body(&refusal).into(),
        };
        let activity = asked.activity_id;
        if !self.caught_up {
            return turn.refuse(Answer::Unavailable).into();
        }
        if !self.gate.may_have_activity(activity) {
            return turn.refuse(Answer::UnknownActivity).into();
        }
        let user = match self.authorize(turn, now) {
            Ok(user) => user,
            Err(answered) => return answered.into(),
        };
        let key = turn.head.fields.idempotency_key;
        if key.is_some_and(|key| !is_idempotency_key(key)) {
            return turn.refuse(Answer::InvalidIdempotencyKey).into();
        }
        if let Some(answer) = self.board.refusal(activity, user, now.wall_ms) {
            self.refused_locally += 1;
            return turn.refuse(answer).into();
        }
        let (door, has_bought) = self.board.door(activity, user);
        let shown = TicketProof { ticket: asked.ticket.as_deref(), subject: Subject { activity, user }, has_bought };
        if let Some(answer) = self.tickets.refusal(door, &shown, now.wall_ms) {
            return turn.refuse(answer).into();
        }
        let key = key.and_then(|key| request_key(user, key));
        Decision::Reserve(Request { activity, user, key, quantity: asked.quantity })
    }
}
