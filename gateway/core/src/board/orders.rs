//! Orders by id, the newest of them.

use std::collections::{HashMap, VecDeque};

use contract::{OrderId, UserId, record::OrderStatus};
use foldhash::fast::FixedState;

/// The status of an order. Orders move only forward in this list: a repeated record changes nothing, and `paid` is kept
/// when an older record of a closing arrives later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Queued,
    Created,
    Failed,
    Closed,
    Paid,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Created => OrderStatus::Created.as_str(),
            Self::Failed => OrderStatus::Failed.as_str(),
            Self::Closed => OrderStatus::Closed.as_str(),
            Self::Paid => OrderStatus::Paid.as_str(),
        }
    }

    /// Whether no further status is expected.
    pub(crate) const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Created => false,
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
}

impl Orders {
    pub(super) fn new(max: usize, seed: u64) -> Self {
        Self { known: HashMap::with_hasher(FixedState::with_seed(seed)), oldest_first: VecDeque::new(), max }
    }

    pub(super) fn get(&self, order: OrderId) -> Option<Order> {
        self.known.get(&order).copied()
    }

    /// Moves an order forward; whether it moved.
    pub(super) fn advance(&mut self, id: OrderId, owner: UserId, status: Status) -> bool {
        if let Some(order) = self.known.get_mut(&id) {
            let moves = order.owner == owner && order.status < status;
            if moves {
                order.status = status;
            }
            return moves;
        }
        if self.oldest_first.len() >= self.max
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
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
