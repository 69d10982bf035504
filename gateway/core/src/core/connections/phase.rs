//! What a connection is doing.

use contract::{ActivityId, OrderId, UserId};

use crate::{http::Exchange, ids::WaitId};

/// What a connection is doing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    /// Between requests, or inside one.
    Receiving,
    /// Its reservation is in the queue.
    Reserving(Reserving),
    /// The shell was asked for the text of `/metrics`.
    Metrics(Exchange),
    /// It follows an order.
    Streaming(Streaming),
}

/// A request whose reservation is in the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserving {
    pub wait: WaitId,
    pub exchange: Exchange,
    pub activity: ActivityId,
    pub quantity: u32,
}

/// A stream of one order's events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streaming {
    pub order: OrderId,
    pub user: UserId,
    pub http_1_0: bool,
    /// When the token that it was opened with expires, epoch seconds.
    pub expires_at_s: u64,
}

/// What a deadline bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The first request of a new connection, or its first byte.
    FirstRequest,
    Request,
    Header,
    Body,
    Reply,
    Heartbeat,
}

/// What follows a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct AfterRequest {
    pub phase: Phase,
    /// It was the connection's last request.
    pub is_last: bool,
}
