//! The POST: what is refused here, what the ledger is asked, what its answer becomes.

use contract::{
    OrderId, UserId,
    stock::{BatchReply, Outcome, Reservation},
    ticket::Subject,
};

use super::{
    ConnId, Core,
    connection::{Phase, Reserving},
    serve::{Answered, Turn},
};
use crate::{
    Answer, Now,
    http::{Headers, Persist, put_decimal, respond},
    order_request::{OrderRequest, is_idempotency_key, request_key},
    pipe::{self, BatchId, Unavailable, Waiting},
};

impl Core {
    /// `POST /api/v1/seckill/orders`.
    pub(super) fn reserve(&mut self, turn: &mut Turn<'_, '_>) -> Phase {
        let asked = match OrderRequest::read(turn.head.fields.content_type, turn.body) {
            Ok(asked) => asked,
            Err(refusal) => return self.refuse_body(turn, &refusal),
        };
        let activity = asked.activity_id;
        if !self.caught_up {
            return self.refuse_turn(turn, Answer::Unavailable);
        }
        if !self.gate.screen.may_have_activity(activity) {
            return self.refuse_turn(turn, Answer::UnknownActivity);
        }
        let Ok(user) = self.authorize(turn) else { return Phase::Receiving };
        let key = turn.head.fields.idempotency_key;
        if key.is_some_and(|key| !is_idempotency_key(key)) {
            return self.refuse_turn(turn, Answer::InvalidIdempotencyKey);
        }
        if let Some(answer) = self.board.refusal(activity, user, self.now.wall_ms) {
            self.stats.refused_locally += 1;
            return self.refuse_turn(turn, answer);
        }
        let (door, has_bought) = self.board.door(activity, user);
        let (ticket, subject) = (asked.ticket.as_deref(), Subject { activity, user });
        if let Some(answer) = self.tickets.refusal(door, ticket, subject, has_bought, self.now.wall_ms) {
            return self.refuse_turn(turn, answer);
        }
        let order = match self.next_order() {
            Some(order) if !self.pipe.is_full() => order,
            Some(_) | None => return self.refuse_turn(turn, Answer::Unavailable),
        };
        let request = key.and_then(|key| request_key(user, key));
        let reservation = Reservation { order, user, request, quantity: asked.quantity };
        match self.pipe.submit(activity, turn.id, reservation) {
            Ok(ticket) => {
                let exchange = turn.exchange;
                Phase::Reserving(Reserving { ticket, exchange, activity, quantity: asked.quantity })
            }
            Err(pipe::Full) => self.refuse_turn(turn, Answer::Unavailable),
        }
    }

    fn next_order(&mut self) -> Option<OrderId> {
        OrderId::from_i64(self.ids.next(self.now.wall_ms).ok()?)
    }

    /// The user who asks, within the user's limit.
    pub(super) fn authorize(&mut self, turn: &mut Turn<'_, '_>) -> Result<UserId, Answered> {
        let Some(user) = self.gate.user(turn.head.fields.authorization, self.now) else {
            self.refuse_turn(turn, Answer::InvalidToken);
            return Err(Answered);
        };
        match self.gate.take_user(user, self.now) {
            Ok(rate) => {
                let tighter = |rate: &crate::http::RateState| {
                    turn.exchange.rate.is_none_or(|client| rate.remaining < client.remaining)
                };
                turn.exchange.rate = rate.filter(tighter).or(turn.exchange.rate);
                Ok(user)
            }
            Err(limited) => {
                self.limited(turn, limited);
                Err(Answered)
            }
        }
    }

    /// The ledger's reply to a batch, or that there is none. A reply to a batch that is no longer in
    /// flight changes nothing.
    pub fn handle_reply(&mut self, batch: BatchId, reply: Result<BatchReply, Unavailable>, now: Now) {
        self.now = now;
        let Some((sent, repeats_only)) = self.pipe.conclude(batch) else { return };
        match reply {
            Ok(reply) if pipe::fits(&sent, &reply) => {
                let asked = sent.iter().map(|waiting| &waiting.reservation);
                self.board.handle_reply(batch.activity(), asked, &reply, repeats_only);
                for (waiting, outcome) in sent.iter().zip(reply.outcomes) {
                    self.conclude(waiting, Ok(outcome));
                }
            }
            reply @ (Ok(_) | Err(_)) => {
                let why = reply.err().unwrap_or(Unavailable::Unknown);
                self.stats.batches_unavailable += 1;
                for waiting in &sent {
                    self.conclude(waiting, Err(why));
                }
            }
        }
        self.pipe.give_back(batch.activity(), sent);
        self.tell_watchers();
    }

    /// The link to the ledger is lost: no reply comes to any batch in flight.
    pub fn handle_link_lost(&mut self, now: Now) {
        for batch in self.pipe.in_flight() {
            self.handle_reply(batch, Err(Unavailable::Unknown), now);
        }
    }

    fn conclude(&mut self, waiting: &Waiting, outcome: Result<Outcome, Unavailable>) {
        let mut waited_for = false;
        self.with(waiting.conn, |core, connection| {
            let Phase::Reserving(mut reserving) = connection.phase else { return };
            if reserving.ticket != waiting.ticket {
                return;
            }
            waited_for = true;
            if core.draining {
                reserving.exchange.persist = Persist::Close;
            }
            core.tell(&reserving, outcome, &mut connection.out);
            core.resume(waiting.conn, connection, &reserving.exchange);
            core.announce(waiting.conn, connection);
        });
        self.stats.outcomes_late += u64::from(!waited_for);
    }

    fn tell(&mut self, reserving: &Reserving, outcome: Result<Outcome, Unavailable>, out: &mut Vec<u8>) {
        let refusal = match outcome {
            Ok(Outcome::Held { order, .. }) => return self.accept(reserving, order, out),
            Ok(Outcome::SoldOut) => Answer::SoldOut,
            Ok(Outcome::LimitReached) => Answer::LimitReached,
            Ok(Outcome::NotStarted) => Answer::NotStarted,
            Ok(Outcome::Ended) => Answer::Ended,
            Ok(Outcome::RateLimited) => Answer::RateLimited,
            Ok(Outcome::KeyReused) => Answer::IdempotencyKeyReused,
            Err(Unavailable::Frozen) => Answer::Frozen,
            Ok(Outcome::Done | Outcome::UnknownOrder | Outcome::Conflict | Outcome::Refused)
            | Err(Unavailable::Unknown) => Answer::Unavailable,
        };
        self.refuse(out, &reserving.exchange, refusal);
    }

    /// The same bytes for the same order, however often and however late it is asked for.
    fn accept(&mut self, reserving: &Reserving, order: OrderId, out: &mut Vec<u8>) {
        self.stats.count(Answer::Accepted);
        let body = &mut self.scratch;
        body.clear();
        body.extend_from_slice(br#"{"order_id":""#);
        put_decimal(body, order.as_i64().unsigned_abs());
        body.extend_from_slice(br#"","activity_id":""#);
        put_decimal(body, reserving.activity.as_i64().unsigned_abs());
        body.extend_from_slice(br#"","quantity":"#);
        put_decimal(body, reserving.quantity.into());
        body.extend_from_slice(br#","status":"queued"}"#);
        let headers = Headers { content_type: Some("application/json"), location: Some(order), ..Headers::default() };
        respond(out, &reserving.exchange, Answer::Accepted, &headers, &[body]);
    }

    /// Whether `id` waits for the ledger.
    pub fn is_reserving(&self, id: ConnId) -> bool {
        self.connections.get(id).is_some_and(|connection| matches!(connection.phase, Phase::Reserving(_)))
    }
}
