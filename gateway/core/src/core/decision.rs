//! What the handlers decide about a request.

use contract::{ActivityId, OrderId, UserId, stock::RequestKey};

use super::turn::WrittenAnswer;
use crate::board::Status;

/// What is to be done for a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Decision {
    /// Nothing: the answer is written.
    Answered,
    /// The ledger must be asked.
    Reserve(Request),
    /// The shell must be asked for the text of `/metrics`.
    Metrics,
    /// The client follows an order.
    Follow(Follow),
}

/// The reservation that a client asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub activity: ActivityId,
    pub user: UserId,
    pub key: Option<RequestKey>,
    pub quantity: u32,
}

/// An order whose owner follows it, and its status now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Follow {
    pub order: OrderId,
    pub user: UserId,
    pub status: Status,
    /// When the token expires, epoch seconds.
    pub expires_at_s: u64,
}

impl From<WrittenAnswer> for Decision {
    fn from(WrittenAnswer: WrittenAnswer) -> Self {
        Self::Answered
    }
}
