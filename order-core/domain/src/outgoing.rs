//! Records on their way to the outbox.

use contract::{
    Activity, ActivityId, OrderId, ProductId, UserId,
    activity::EntryRule,
    record::{
        Action, LedgerCommand, OrderEvent, OrderEvents, PaymentDeadline, ProductChanged, Record, TokenCut,
        activity_key, entry_rule_key, order_key, product_key, user_key,
    },
    topic,
};

use crate::order_state::OrderState;

/// A record before it has an id in the outbox.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub topic: String,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

impl Outgoing {
    pub fn command(activity: ActivityId, action: Action) -> Self {
        let value = LedgerCommand { activity, action }.to_bytes();
        Self { topic: topic::COMMANDS.to_owned(), key: activity_key(activity).to_vec(), value }
    }

    pub fn event(order: OrderId, user: UserId, state: OrderState, at_ms: u64) -> Self {
        let value = OrderEvents::from(OrderEvent { order, user, status: state.told(), at_ms }).to_bytes();
        Self { topic: topic::ORDER_EVENTS.to_owned(), key: order_key(order).to_vec(), value }
    }

    pub fn deadline(pay_within_ms: u64, order: OrderId, due_at_ms: u64) -> Self {
        let value = PaymentDeadline { order, due_at_ms }.to_bytes();
        Self { topic: topic::timeouts(pay_within_ms).name, key: order_key(order).to_vec(), value }
    }

    pub fn product(product: ProductId, version: i64, at_ms: u64) -> Self {
        let value = ProductChanged { product, version, at_ms }.to_bytes();
        Self { topic: topic::CATALOGUE.to_owned(), key: product_key(product).to_vec(), value }
    }

    pub fn activity(activity: &Activity) -> Self {
        let value = activity.to_bytes();
        Self { topic: topic::ACTIVITIES.to_owned(), key: activity_key(activity.id).to_vec(), value }
    }

    pub fn entry_rule(rule: &EntryRule) -> Self {
        let value = rule.to_bytes();
        Self { topic: topic::ENTRY_RULES.to_owned(), key: entry_rule_key(rule.activity, rule.user).to_vec(), value }
    }

    pub fn token_cut(cut: &TokenCut) -> Self {
        Self { topic: topic::TOKEN_CUTS.to_owned(), key: user_key(cut.user).to_vec(), value: cut.to_bytes() }
    }
}
