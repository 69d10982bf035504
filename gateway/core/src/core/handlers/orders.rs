//! An order's status, for its owner.

use contract::{OrderId, snowflake};

use super::{Decision, Handlers, Turn, WrittenAnswer};
use crate::{
    Answer, Now,
    board::{Status, status_json},
    core::decision::Follow,
    cuts::Bearer,
};

/// The log may be this far behind an answer, so a younger id may be an order's that is not known yet.
const JOURNAL_LAG_MAX_MS: u64 = 2_000;

impl Handlers {
    /// `GET /api/v1/seckill/orders/{order_id}`.
    pub(super) fn order(&mut self, turn: &mut Turn<'_, '_>, order: Option<OrderId>, now: Now) -> WrittenAnswer {
        match self.own_order(turn, order, now) {
            Ok(Follow { order, status, .. }) => {
                let retry_after_s = (status <= Status::Queued).then_some(1);
                turn.say_json(Answer::Read, retry_after_s, status_json(order, status))
            }
            Err(answered) => answered,
        }
    }

    /// `GET /api/v1/seckill/orders/{order_id}/events`.
    pub(super) fn order_events(&mut self, turn: &mut Turn<'_, '_>, order: Option<OrderId>, now: Now) -> Decision {
        self.own_order(turn, order, now).map_or_else(Decision::from, Decision::Follow)
    }

    /// The order, if it is the user's who asks.
    fn own_order(
        &mut self,
        turn: &mut Turn<'_, '_>,
        order: Option<OrderId>,
        now: Now,
    ) -> Result<Follow, WrittenAnswer> {
        let Bearer { user, expires_at_s, .. } = self.authorize_bearer(turn, now)?;
        let refusal = match order.map(|id| (id, self.board.order(id))) {
            Some((order, Some(known))) if known.owner == user => {
                return Ok(Follow { order, user, status: known.status, expires_at_s });
            }
            Some((_, Some(_))) => Answer::UnknownOrder,
            _ if !self.caught_up => Answer::Unavailable,
            Some((order, None)) if self.may_become_known(order, now) => {
                return Ok(Follow { order, user, status: Status::Queued, expires_at_s });
            }
            Some((order, None)) if self.board.may_have_forgotten(order) => Answer::Unavailable,
            Some((_, None)) | None => Answer::UnknownOrder,
        };
        Err(turn.refuse(refusal))
    }

    /// Whether the order is known, or so young that the log may still bring it.
    pub(in crate::core) fn may_become_known(&self, order: OrderId, now: Now) -> bool {
        let made_at_ms = snowflake::made_at_ms(order.as_i64());
        let is_young = made_at_ms.abs_diff(now.wall_ms) < JOURNAL_LAG_MAX_MS;
        is_young || self.board.order(order).is_some()
    }
}
