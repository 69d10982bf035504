//! An order's status, for its owner.

use std::fmt;

use contract::{OrderId, UserId, snowflake};

use super::{
    Core,
    connection::Phase,
    serve::{Answered, Turn},
};
use crate::{Answer, board::Status};

/// The log may be this far behind an answer; an id that is younger may be an order's.
const JOURNAL_LAG_MAX_MS: u64 = 2_000;

impl Core {
    /// `GET /api/v1/seckill/orders/{order_id}`.
    pub(super) fn order(&mut self, turn: &mut Turn<'_, '_>, order: Option<OrderId>) -> Phase {
        let Ok((_, order, status)) = self.own_order(turn, order) else { return Phase::Receiving };
        let retry_after_s = (status == Status::Queued).then_some(1);
        self.say_json(turn, Answer::Read, retry_after_s, status_json(order, status))
    }

    /// The order that is asked for, if it is the asker's.
    pub(super) fn own_order(
        &mut self,
        turn: &mut Turn<'_, '_>,
        order: Option<OrderId>,
    ) -> Result<(UserId, OrderId, Status), Answered> {
        let user = self.authorize(turn)?;
        let refusal = match order.map(|id| (id, self.board.order(id))) {
            Some((id, Some(order))) if order.owner == user => return Ok((user, id, order.status)),
            Some((_, Some(_))) => Answer::UnknownOrder,
            _ if !self.caught_up => Answer::Unavailable,
            Some((id, None)) if self.may_become_known(id) => return Ok((user, id, Status::Queued)),
            Some((_, None)) | None => Answer::UnknownOrder,
        };
        self.refuse_turn(turn, refusal);
        Err(Answered)
    }

    /// The order is known, or so young that the log may still bring it.
    pub(super) fn may_become_known(&self, order: OrderId) -> bool {
        let made_at_ms = snowflake::made_at_ms(order.as_i64());
        let now_ms = self.now.wall_ms;
        let young = made_at_ms.abs_diff(now_ms) < JOURNAL_LAG_MAX_MS;
        young || self.board.order(order).is_some()
    }
}

/// An order as the API shows it.
pub(super) fn status_json(order: OrderId, status: Status) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, r#"{{"order_id":"{order}","status":"{}"}}"#, status.as_str()))
}
