//! What the buyers were told: every answer is counted, every yes is kept and compared.

use std::collections::{BTreeMap, HashMap, HashSet};

use contract::OrderId;
use serde::Deserialize;

use crate::judge::format::Answer;

/// Faults that are kept word for word; the rest are only counted.
const EXAMPLES_MAX: usize = 5;

/// What an answer means to a buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Yes or no, and that is it.
    Final,
    /// Nothing was decided: ask again.
    Again,
    /// The token is refused: so will be every other one.
    Hopeless,
}

/// The content of one answer to a buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub verdict: Verdict,
    pub answer: Answer,
    /// The order of a yes.
    pub order: Option<OrderId>,
}

/// A buyer's yes.
struct Accepted {
    order: OrderId,
    body: Box<[u8]>,
    answered_ns: u64,
}

/// Things that must not happen, counted, with a few in words.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub count: u64,
    pub examples: Vec<String>,
}

impl Faults {
    pub(crate) fn add(&mut self, what: String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(what);
        }
    }
}

#[derive(Default)]
pub(crate) struct Records {
    accepted: HashMap<u32, Accepted>,
    buyer_of: HashMap<OrderId, u32>,
    decided: HashSet<u32>,
    kinds: BTreeMap<String, u64>,
    /// Repeats that got the first answer again, byte for byte.
    pub repeats_same: u64,
    /// When the last buyer who had none before got an order.
    pub last_new_ns: u64,
    /// A second order for one user, or one order for two.
    pub twins: Faults,
    /// A repeat that did not get the first answer.
    pub repeats_differ: Faults,
    /// Answers that this sale gives no reason for.
    pub unexpected: Faults,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(default)]
    order_id: Option<OrderId>,
    #[serde(default, borrow)]
    code: Option<std::borrow::Cow<'a, str>>,
}

impl Records {
    /// Takes an answer to `user` down, whose request was sent at `sent_ns`.
    pub(crate) fn answered(&mut self, user: u32, status: u16, bytes: &[u8], sent_ns: u64, answered_ns: u64) -> Told {
        let body: Body<'_> = serde_json::from_slice(bytes).unwrap_or(Body { order_id: None, code: None });
        let code = body.code.as_deref().unwrap_or_default();
        let kind = if code.is_empty() { status.to_string() } else { format!("{status} {code}") };
        let verdict = match (status, code) {
            (202, _) => {
                match body.order_id {
                    Some(order) => self.accept(user, order, bytes, answered_ns),
                    None => self.unexpected.add(format!("user {user}: 202 without an order_id")),
                }
                Verdict::Final
            }
            (409, "sold_out") => {
                let before = self.accepted.get(&user).is_some_and(|accepted| accepted.answered_ns < sent_ns);
                if before {
                    self.repeats_differ.add(format!("user {user} had an order and then got {kind}"));
                }
                Verdict::Final
            }
            (401, _) => Verdict::Hopeless,
            (409, code) if code != "limit_reached" => Verdict::Again,
            (408 | 429 | 503, _) => Verdict::Again,
            _ => {
                self.unexpected.add(format!("user {user}: {kind}"));
                Verdict::Final
            }
        };
        if verdict == Verdict::Final {
            self.decided.insert(user);
        }
        let (answer, order) = match (status, code, body.order_id) {
            (202, _, Some(order)) => (Answer::Yes, Some(order)),
            (409, "sold_out", _) => (Answer::SoldOut, None),
            (409, "limit_reached", _) => (Answer::Limit, None),
            _ => (Answer::Refused, None),
        };
        *self.kinds.entry(kind).or_default() += 1;
        Told { verdict, answer, order }
    }

    fn accept(&mut self, user: u32, order: OrderId, body: &[u8], answered_ns: u64) {
        if let Some(first) = self.accepted.get(&user) {
            if first.order != order {
                self.twins.add(format!("user {user} got the orders {} and {order}", first.order));
            } else if *first.body != *body {
                self.repeats_differ.add(format!("user {user}: order {order} in other bytes"));
            } else {
                self.repeats_same += 1;
            }
            return;
        }
        if let Some(other) = self.buyer_of.insert(order, user) {
            self.twins.add(format!("order {order} went to the users {other} and {user}"));
        }
        self.last_new_ns = answered_ns;
        self.accepted.insert(user, Accepted { order, body: body.into(), answered_ns });
    }

    /// Users with an order.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.len() as u64
    }

    /// Users who were told yes or no.
    pub(crate) fn decided(&self) -> u64 {
        self.decided.len() as u64
    }

    /// Every order with its buyer, by order.
    pub(crate) fn orders(&self) -> Vec<(OrderId, u32)> {
        let mut orders: Vec<_> = self.accepted.iter().map(|(user, accepted)| (accepted.order, *user)).collect();
        orders.sort_unstable();
        orders
    }

    /// How often each kind of answer came.
    pub(crate) const fn kinds(&self) -> &BTreeMap<String, u64> {
        &self.kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yes(order: u32) -> String {
        format!(r#"{{"order_id":"{order}","activity_id":"1","quantity":1,"status":"queued"}}"#)
    }

    const SOLD_OUT: &str = r#"{"status":409,"code":"sold_out"}"#;

    #[test]
    fn answers_are_told_apart() {
        let check = |status: u16, body: &str, expect: Verdict, unexpected: u64| {
            let mut records = Records::default();
            assert_eq!(records.answered(1, status, body.as_bytes(), 0, 1).verdict, expect, "{status} {body}");
            assert_eq!(records.unexpected.count, unexpected, "{status} {body}");
        };
        check(202, &yes(7), Verdict::Final, 0);
        check(202, "{}", Verdict::Final, 1);
        check(409, SOLD_OUT, Verdict::Final, 0);
        check(409, r#"{"code":"limit_reached"}"#, Verdict::Final, 1);
        check(409, r#"{"code":"in_progress"}"#, Verdict::Again, 0);
        check(401, r#"{"code":"invalid_token"}"#, Verdict::Hopeless, 0);
        check(403, r#"{"code":"not_started"}"#, Verdict::Final, 1);
        check(404, "no json", Verdict::Final, 1);
        check(429, "", Verdict::Again, 0);
        check(503, r#"{"code":"frozen"}"#, Verdict::Again, 0);
    }

    #[test]
    fn twins_and_changed_answers_are_found() {
        let mut records = Records::default();
        let mut told = |user, status, body: &str, sent_ns| {
            records.answered(user, status, body.as_bytes(), sent_ns, sent_ns + 5);
        };
        told(1, 202, &yes(7), 0);
        told(1, 202, &yes(7), 10);
        told(1, 202, &yes(8), 20);
        told(1, 202, &yes(7).replace(':', ": "), 30);
        told(1, 409, SOLD_OUT, 3);
        told(1, 409, SOLD_OUT, 40);
        told(2, 202, &yes(7), 50);
        told(3, 202, &yes(9), 60);
        assert_eq!((records.accepted(), records.repeats_same, records.last_new_ns), (3, 1, 65));
        assert_eq!(records.twins.examples, ["user 1 got the orders 7 and 8", "order 7 went to the users 1 and 2"]);
        assert_eq!(
            records.repeats_differ.examples,
            ["user 1: order 7 in other bytes", "user 1 had an order and then got 409 sold_out"]
        );
        assert_eq!(records.kinds()["202"], 6);
    }
}
