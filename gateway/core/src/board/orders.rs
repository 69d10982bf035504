//! Orders by id, the newest of them.

use std::collections::{HashMap, VecDeque};

use contract::{OrderId, UserId, record::OrderStatus, snowflake};
use foldhash::fast::FixedState;

/// The status of an order. Orders move only forward in this list: a repeated record changes nothing, and `paid` is kept
/// when an older record of a closing arrives later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// The ledger holds its units; the journal was not read so far.
    Promised,
    /// Its entry was read on the journal.
    Queued,
    Created,
    Closed,
    /// Behind `Closed`, because the journal shows only that the units went back.
    Failed,
    Paid,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Promised | Self::Queued => "queued",
            Self::Created => OrderStatus::Created.as_str(),
            Self::Failed => OrderStatus::Failed.as_str(),
            Self::Closed => OrderStatus::Closed.as_str(),
            Self::Paid => OrderStatus::Paid.as_str(),
        }
    }

    /// Whether no further status is expected.
    pub(crate) const fn is_final(self) -> bool {
        match self {
            Self::Promised | Self::Queued | Self::Created => false,
            Self::Failed | Self::Closed | Self::Paid => true,
        }
    }
}

impl From<OrderStatus> for Status {
    fn from(status: OrderStatus) -> Self {
        match status {
            OrderStatus::Created => Self::Created,
            OrderStatus::Paid => Self::Paid,
            OrderStatus::Closed => Self::Closed,
            OrderStatus::Failed => Self::Failed,
        }
    }
}

/// An order as its owner may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub owner: UserId,
    pub status: Status,
}

/// The latest orders.
#[derive(Debug)]
pub(super) struct Orders {
    known: HashMap<OrderId, Order, FixedState>,
    oldest_first: VecDeque<OrderId>,
    max: usize,
    /// When the newest order that was forgotten was made, epoch milliseconds; 0 if none was.
    forgotten_to_ms: u64,
}

impl Orders {
    pub(super) fn new(max: usize, seed: u64) -> Self {
        Self {
            known: HashMap::with_hasher(FixedState::with_seed(seed)),
            oldest_first: VecDeque::new(),
            max,
            forgotten_to_ms: 0,
        }
    }

    pub(super) fn get(&self, order: OrderId) -> Option<Order> {
        self.known.get(&order).copied()
    }

    /// Whether an order that is not known may have been forgotten for want of room.
    pub(super) fn may_be_forgotten(&self, order: OrderId) -> bool {
        snowflake::made_at_ms(order.as_i64()) <= self.forgotten_to_ms
    }

    /// Moves an order forward that its journal shows as paid or closed. The order, if that changed it.
    pub(super) fn conclude(&mut self, id: OrderId, status: Status) -> Option<Order> {
        let owner = self.get(id).filter(|known| !known.status.is_final())?.owner;
        self.advance(id, owner, status).then_some(Order { owner, status })
    }

    /// Moves an order forward; whether its owner sees another status.
    pub(super) fn advance(&mut self, id: OrderId, owner: UserId, status: Status) -> bool {
        if let Some(order) = self.known.get_mut(&id) {
            let before = order.status;
            if order.owner == owner && before < status {
                order.status = status;
            }
            return before.as_str() != order.status.as_str();
        }
        if self.oldest_first.len() >= self.max
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
            self.forgotten_to_ms = self.forgotten_to_ms.max(snowflake::made_at_ms(oldest.as_i64()));
        }
        self.known.insert(id, Order { owner, status });
        self.oldest_first.push_back(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_only_moves_forward_and_the_oldest_is_forgotten() {
        let (order, user) = (|id| OrderId::from_i64(id).unwrap(), |id| UserId::from_i64(id).unwrap());
        let mut orders = Orders::new(2, 0);
        assert!(orders.advance(order(1), user(7), Status::Created));
        assert!(!orders.advance(order(1), user(7), Status::Queued));
        assert!(!orders.advance(order(1), user(8), Status::Paid), "the owner does not change");
        assert!(orders.advance(order(1), user(7), Status::Closed));
        assert!(orders.advance(order(1), user(7), Status::Paid));
        assert!(!orders.advance(order(1), user(7), Status::Closed));
        assert!(orders.advance(order(2), user(7), Status::Queued));
        assert!(orders.advance(order(3), user(7), Status::Queued));
        assert_eq!(orders.get(order(1)), None);
        assert_eq!(orders.known.len(), 2);
    }
}
