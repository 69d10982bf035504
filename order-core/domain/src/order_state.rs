//! The state of an order and what may happen to it. Pure: the SQL and the API ask here.

use contract::{
    OrderId,
    record::{Action, OrderStatus},
};

/// How far an order that was paid for has come; a refund that is refused goes back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fulfilment {
    /// Paid, not yet sent.
    Paid,
    /// Sent.
    Shipped,
    /// Received.
    Completed,
}

/// An order's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderState {
    /// Written, waiting for payment.
    PendingPayment,
    /// Paid.
    Bought(Fulfilment),
    /// The buyer asked for the money back.
    Refunding(Fulfilment),
    /// The money went back.
    Refunded,
    /// Not paid in time, or cancelled.
    Closed,
    /// Could not be written as an order; its units go back.
    Failed,
}

/// What may happen to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// The payment was accepted.
    Pay,
    /// It was not paid in time, or its buyer cancelled it.
    Close,
    /// The goods were sent.
    Ship,
    /// The buyer has the goods.
    Receive,
    /// The buyer asks for the money back.
    AskRefund,
    /// The money went back.
    Refund,
    /// A part of the money went back.
    RefundPart,
    /// The shop refuses to give it back.
    RefuseRefund,
}

/// The order's state does not allow what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {} can't {what:?}", from.as_str())]
pub struct InvalidTransition {
    /// The state of the order.
    pub from: OrderState,
    /// What was asked.
    pub what: Happening,
}

#[cfg(feature = "openapi")]
mod schema {
    use std::borrow::Cow;

    use utoipa::{
        PartialSchema, ToSchema,
        openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
    };

    use super::OrderState;

    impl PartialSchema for OrderState {
        fn schema() -> RefOr<Schema> {
            let mut words: Vec<_> = Self::ALL.iter().map(|state| state.as_str()).collect();
            words.dedup();
            ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
        }
    }

    impl ToSchema for OrderState {
        fn name() -> Cow<'static, str> {
            Cow::Borrowed("OrderStatus")
        }
    }
}

impl OrderState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::PendingPayment,
        Self::Bought(Fulfilment::Paid),
        Self::Bought(Fulfilment::Shipped),
        Self::Bought(Fulfilment::Completed),
        Self::Refunding(Fulfilment::Paid),
        Self::Refunding(Fulfilment::Shipped),
        Self::Refunding(Fulfilment::Completed),
        Self::Refunded,
        Self::Closed,
        Self::Failed,
    ];

    /// The state after `what`.
    ///
    /// # Errors
    /// [`InvalidTransition`] where there is no such edge.
    pub const fn apply(self, what: Happening) -> Result<Self, InvalidTransition> {
        let next = match (self, what) {
            (Self::PendingPayment, Happening::Pay) => Self::Bought(Fulfilment::Paid),
            (Self::PendingPayment, Happening::Close) => Self::Closed,
            (Self::Bought(Fulfilment::Paid), Happening::Ship) => Self::Bought(Fulfilment::Shipped),
            (Self::Bought(Fulfilment::Shipped), Happening::Receive) => Self::Bought(Fulfilment::Completed),
            (Self::Bought(fulfilment), Happening::AskRefund) => Self::Refunding(fulfilment),
            (Self::Refunding(_), Happening::Refund) => Self::Refunded,
            (Self::Refunding(fulfilment), Happening::RefuseRefund | Happening::RefundPart) => Self::Bought(fulfilment),
            (from, what) => return Err(InvalidTransition { from, what }),
        };
        Ok(next)
    }

    /// The word in API answers and in the database's `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PendingPayment => "pending_payment",
            Self::Bought(fulfilment) => fulfilment.as_str(),
            Self::Refunding(_) => "refunding",
            Self::Refunded => "refunded",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }

    /// The state that the columns `status` and `refund_from` name.
    pub fn parse(status: &str, refund_from: Option<&str>) -> Option<Self> {
        let from = refund_from.and_then(Fulfilment::parse);
        match (status, from) {
            ("refunding", Some(fulfilment)) => Some(Self::Refunding(fulfilment)),
            _ => Self::ALL.into_iter().find(|state| !matches!(state, Self::Refunding(_)) && state.as_str() == status),
        }
    }

    /// What the ledger of a sale does with the units of `order` in this state; `None` while that is open.
    pub const fn command(self, order: OrderId) -> Option<Action> {
        match self {
            Self::PendingPayment => None,
            // Sold for good: what comes back after a refund goes on the shelf.
            Self::Bought(_) | Self::Refunding(_) | Self::Refunded => Some(Action::Settle(order)),
            Self::Closed | Self::Failed => Some(Action::Release(order)),
        }
    }

    /// The record on the log that informs the order's owner.
    pub const fn told(self) -> OrderStatus {
        match self {
            Self::PendingPayment => OrderStatus::Created,
            Self::Bought(_) | Self::Refunding(_) | Self::Refunded => OrderStatus::Paid,
            Self::Closed => OrderStatus::Closed,
            Self::Failed => OrderStatus::Failed,
        }
    }
}

impl Fulfilment {
    /// The word in API answers and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Completed => "completed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Paid, Self::Shipped, Self::Completed].into_iter().find(|fulfilment| fulfilment.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HAPPENINGS: [Happening; 8] = [
        Happening::Pay,
        Happening::Close,
        Happening::Ship,
        Happening::Receive,
        Happening::AskRefund,
        Happening::Refund,
        Happening::RefundPart,
        Happening::RefuseRefund,
    ];

    #[test]
    fn every_edge_is_one_of_these() {
        use Fulfilment::{Completed, Paid, Shipped};
        use OrderState::{Bought, Closed, PendingPayment, Refunded, Refunding};
        let edges = [
            (PendingPayment, Happening::Pay, Bought(Paid)),
            (PendingPayment, Happening::Close, Closed),
            (Bought(Paid), Happening::Ship, Bought(Shipped)),
            (Bought(Shipped), Happening::Receive, Bought(Completed)),
            (Bought(Paid), Happening::AskRefund, Refunding(Paid)),
            (Bought(Shipped), Happening::AskRefund, Refunding(Shipped)),
            (Bought(Completed), Happening::AskRefund, Refunding(Completed)),
            (Refunding(Paid), Happening::Refund, Refunded),
            (Refunding(Shipped), Happening::Refund, Refunded),
            (Refunding(Completed), Happening::Refund, Refunded),
            (Refunding(Paid), Happening::RefundPart, Bought(Paid)),
            (Refunding(Shipped), Happening::RefundPart, Bought(Shipped)),
            (Refunding(Completed), Happening::RefundPart, Bought(Completed)),
            (Refunding(Paid), Happening::RefuseRefund, Bought(Paid)),
            (Refunding(Shipped), Happening::RefuseRefund, Bought(Shipped)),
            (Refunding(Completed), Happening::RefuseRefund, Bought(Completed)),
        ];
        for from in OrderState::ALL {
            for what in HAPPENINGS {
                let expect = edges.iter().find(|edge| (edge.0, edge.1) == (from, what)).map(|edge| edge.2);
                assert_eq!(from.apply(what).ok(), expect, "{from:?} {what:?}");
            }
        }
    }

    #[test]
    fn every_state_is_read_back_from_its_columns() {
        for state in OrderState::ALL {
            let from = match state {
                OrderState::Refunding(fulfilment) => Some(fulfilment.as_str()),
                OrderState::PendingPayment
                | OrderState::Bought(_)
                | OrderState::Refunded
                | OrderState::Closed
                | OrderState::Failed => None,
            };
            assert_eq!(OrderState::parse(state.as_str(), from), Some(state));
        }
        assert_eq!(OrderState::parse("refunding", None), None);
        assert_eq!(OrderState::parse("lost", None), None);
    }
}
