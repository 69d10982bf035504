//! Orders as server-sent events (WHATWG HTML section 9.2).

use contract::OrderId;

use super::{
    ConnId, Core,
    connection::{Connection, Phase, Streaming},
    orders::status_json,
    serve::Turn,
};
use crate::{
    Answer,
    board::{Order, Status},
    http::{Headers, Persist, chunk, chunks_end, respond},
};

impl Core {
    /// `GET /api/v1/seckill/orders/{order_id}/events`: the status now, each change, and the end after
    /// a final one. The connection closes with the stream.
    pub(super) fn order_events(&mut self, turn: &mut Turn<'_, '_>, order: Option<OrderId>) -> Phase {
        let Ok((user, order, status)) = self.own_order(turn, order) else { return Phase::Receiving };
        if self.streams >= self.config.streams_max && !turn.exchange.head_only {
            return self.refuse_turn(turn, Answer::Unavailable);
        }
        self.stats.count(Answer::Stream);
        turn.exchange.persist = Persist::Close;
        let headers = Headers { content_type: Some("text/event-stream"), streams: true, ..Headers::default() };
        respond(turn.out, &turn.exchange, Answer::Stream, &headers, b"");
        let http_1_0 = turn.exchange.http_1_0;
        if turn.exchange.head_only {
            return Phase::Receiving;
        }
        chunk(turn.out, http_1_0, event(order, status).as_bytes());
        if status.is_final() {
            chunks_end(turn.out, http_1_0);
            return Phase::Receiving;
        }
        self.streams += 1;
        self.watchers.entry(order).or_default().push(turn.id);
        Phase::Streaming(Streaming { order, user, http_1_0 })
    }

    /// Sends what changed to those who follow it.
    pub(super) fn tell_watchers(&mut self) {
        while let Some((id, order)) = self.board.poll_changed() {
            for watcher in self.watchers.get(&id).cloned().unwrap_or_default() {
                self.with(watcher, |core, connection| core.tell_watcher(watcher, connection, order));
            }
        }
    }

    fn tell_watcher(&mut self, id: ConnId, connection: &mut Connection, order: Order) {
        let Phase::Streaming(streaming) = connection.phase else { return };
        let owns = order.owner == streaming.user;
        // The stream began with `queued`; the journal's word of it is no change.
        if owns && order.status != Status::Queued {
            chunk(&mut connection.out, streaming.http_1_0, event(streaming.order, order.status).as_bytes());
        }
        if !owns || order.status.is_final() {
            self.end_stream(id, connection, streaming);
        }
        self.announce(id, connection);
    }

    /// Ends the stream after what was sent; the connection closes.
    pub(super) fn end_stream(&mut self, id: ConnId, connection: &mut Connection, streaming: Streaming) {
        chunks_end(&mut connection.out, streaming.http_1_0);
        connection.phase = Phase::Receiving;
        connection.closing = true;
        self.unwatch(id, streaming.order);
    }

    /// Takes a stream off the list.
    pub(super) fn unwatch(&mut self, id: ConnId, order: OrderId) {
        let Some(watchers) = self.watchers.get_mut(&order) else { return };
        let before = watchers.len();
        watchers.retain(|watcher| *watcher != id);
        self.streams -= before - watchers.len();
        if watchers.is_empty() {
            self.watchers.remove(&order);
        }
    }
}

fn event(order: OrderId, status: Status) -> String {
    format!("event: status\ndata: {}\n\n", status_json(order, status))
}
