//! Records on their way to the outbox.

use contract::{
    Activity, ActivityId, OrderId, ProductId, UserId,
    record::{
        Action, LedgerCommand, OrderEvent, PaymentDeadline, ProductChanged, Record, activity_key, order_key,
        product_key,
    },
    topic,
};

use crate::order_state::OrderState;

/// A record before it has an id in the outbox.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    pub(crate) key: [u8; 8],
    pub(crate) value: Vec<u8>,
}

impl Outgoing {
    pub(crate) fn command(activity: ActivityId, action: Action) -> Self {
        let value = LedgerCommand { activity, action }.to_bytes();
        Self { topic: topic::COMMANDS.to_owned(), key: activity_key(activity), value }
    }

    pub(crate) fn event(order: OrderId, user: UserId, state: OrderState, at_ms: u64) -> Self {
        let value = OrderEvent { order, user, status: state.told(), at_ms }.to_bytes();
        Self { topic: topic::ORDER_EVENTS.to_owned(), key: order_key(order), value }
    }

    pub(crate) fn deadline(pay_within_ms: u64, order: OrderId, due_at_ms: u64) -> Self {
        let value = PaymentDeadline { order, due_at_ms }.to_bytes();
        Self { topic: topic::timeouts(pay_within_ms).name, key: order_key(order), value }
    }

    pub(crate) fn product(product: ProductId) -> Self {
        let value = ProductChanged { product }.to_bytes();
        Self { topic: topic::CATALOGUE.to_owned(), key: product_key(product), value }
    }

    pub(crate) fn activity(activity: &Activity) -> Self {
        let value = activity.to_bytes();
        Self { topic: topic::ACTIVITIES.to_owned(), key: activity_key(activity.id), value }
    }
}
