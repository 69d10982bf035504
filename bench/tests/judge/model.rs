//! A shop that sells correctly, and what its clients write down. Every request takes effect at one moment between its
//! sending and its answer.

use std::collections::HashMap;

use serde_json::{Value, json};

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

#[derive(Clone)]
enum Step {
    Buy {
        user: u64,
        key: u64,
        quantity: u64,
    },
    Cancel {
        order: usize,
    },
    /// The time to pay is over; no client sees it happen.
    Close {
        order: usize,
    },
    Read {
        order: usize,
    },
}

#[derive(Clone)]
struct Call {
    sent: u64,
    effect: u64,
    answered: u64,
    step: Step,
}

struct Order {
    user: u64,
    quantity: u64,
    closed: bool,
    /// A client knows it.
    known: bool,
}

struct Shop {
    random: Random,
    stock: u64,
    limit: u64,
    closes: bool,
    calls: Vec<Call>,
    orders: Vec<Order>,
    by_request: HashMap<(u64, u64), usize>,
    lines: Vec<(u64, Value)>,
}

/// The lines of one history.
pub(crate) fn history(seed: u64) -> Vec<Value> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for _ in 0..8 {
        random.next();
    }
    let (stock, limit, closes) = (1 + random.below(20), random.below(4), random.one_in(3));
    let header = json!({ "format": "sale-history", "version": 1, "stock": stock, "per_user_limit": limit,
        "may_close": closes, "has_end": true, "system": format!("model {seed}") });
    let mut shop = Shop {
        random,
        stock,
        limit,
        closes,
        calls: Vec::new(),
        orders: Vec::new(),
        by_request: HashMap::new(),
        lines: Vec::new(),
    };
    shop.plan();
    shop.run();
    // Clients write a call down when it is over.
    shop.lines.sort_by_key(|(at, _)| *at);
    let mut lines: Vec<Value> = std::iter::once(header).chain(shop.lines.into_iter().map(|(_, line)| line)).collect();
    let count = lines.len() + 1;
    lines.push(json!({ "call": "end", "lines": count }));
    lines
}

impl Shop {
    fn call(&mut self, sent: u64, step: Step) {
        let longest = if self.random.one_in(5) { 400 } else { 30 };
        let effect = sent + self.random.below(longest);
        let answered = effect + self.random.below(longest);
        self.calls.push(Call { sent, effect, answered, step });
    }

    fn plan(&mut self) {
        let (users, requests) = (1 + self.random.below(40), 10 + self.random.below(80));
        let mut sent = 0;
        let mut earlier: Vec<(u64, u64, u64)> = Vec::new();
        for key in 0..requests {
            sent += self.random.below(20);
            // A repeat has the user, the key and the quantity of the first request.
            let (user, key, quantity) = if !earlier.is_empty() && self.random.one_in(5) {
                let at = self.random.below(earlier.len() as u64);
                earlier[usize::try_from(at).unwrap()]
            } else {
                let quantity = if self.limit > 1 && self.random.one_in(3) { 2 } else { 1 };
                (self.random.below(users), key, quantity)
            };
            earlier.push((user, key, quantity));
            self.call(sent, Step::Buy { user, key, quantity });
        }
    }

    fn run(&mut self) {
        while let Some(at) = (0..self.calls.len()).min_by_key(|at| self.calls[*at].effect) {
            let call = self.calls.swap_remove(at);
            match call.step {
                Step::Buy { user, key, quantity } => self.buy(&call, user, key, quantity),
                Step::Cancel { order } => self.cancel(&call, order),
                Step::Close { order } => self.orders[order].closed = true,
                Step::Read { order } => self.read(&call, order),
            }
        }
    }

    fn held(&self, user: Option<u64>) -> u64 {
        let held = self.orders.iter().filter(|order| !order.closed && user.is_none_or(|user| order.user == user));
        held.map(|order| order.quantity).sum()
    }

    fn buy(&mut self, call: &Call, user: u64, key: u64, quantity: u64) {
        let mut line = json!({ "call": "buy", "user": format!("u{user}"), "key": format!("k{key}"), "quantity": quantity,
            "sent_ns": call.sent, "answered_ns": call.answered });
        let lost = self.random.one_in(12);
        if self.random.one_in(if lost { 2 } else { 15 }) {
            line["answer"] = if lost { "none" } else { "refused" }.into();
        } else if let Some(order) = self.by_request.get(&(user, key)).copied() {
            self.say_yes(&mut line, call, order, lost);
        } else if self.limit > 0 && self.held(Some(user)) + quantity > self.limit {
            line["answer"] = if lost { "none" } else { "limit" }.into();
        } else if self.held(None) + quantity > self.stock {
            line["answer"] = if lost { "none" } else { "sold_out" }.into();
        } else {
            let order = self.orders.len();
            self.orders.push(Order { user, quantity, closed: false, known: false });
            self.by_request.insert((user, key), order);
            self.say_yes(&mut line, call, order, lost);
            if self.closes && self.random.one_in(2) {
                let at = call.effect + 1 + self.random.below(300);
                self.calls.push(Call { sent: at, effect: at, answered: at, step: Step::Close { order } });
            }
        }
        if line["answer"] == "none" {
            line.as_object_mut().unwrap().remove("answered_ns");
        }
        self.lines.push((call.answered, line));
    }

    fn say_yes(&mut self, line: &mut Value, call: &Call, order: usize, lost: bool) {
        if lost {
            line["answer"] = "none".into();
            return;
        }
        line["answer"] = "yes".into();
        line["order"] = format!("o{order}").into();
        line["body"] = format!("order {order}").into();
        if self.orders[order].known {
            return;
        }
        self.orders[order].known = true;
        for _ in 0..1 + self.random.below(3) {
            let after = call.answered + 1 + self.random.below(500);
            self.call(after, Step::Read { order });
        }
        if self.random.one_in(6) {
            let after = call.answered + 1 + self.random.below(200);
            self.call(after, Step::Cancel { order });
        }
    }

    fn cancel(&mut self, call: &Call, order: usize) {
        let carried_out = !self.orders[order].closed && !self.random.one_in(4);
        let lost = self.random.one_in(4);
        self.orders[order].closed |= carried_out;
        let mut line = json!({ "call": "cancel", "user": format!("u{}", self.orders[order].user), "order": format!("o{order}"),
            "sent_ns": call.sent, "answered_ns": call.answered, "done": carried_out && !lost });
        if lost {
            line.as_object_mut().unwrap().remove("answered_ns");
        }
        self.lines.push((call.answered, line));
    }

    fn read(&mut self, call: &Call, order: usize) {
        let Order { user, quantity, closed, .. } = self.orders[order];
        let state = if closed { "closed" } else { "pending" };
        let line = json!({ "call": "read", "user": format!("u{user}"), "order": format!("o{order}"), "sent_ns": call.sent,
            "answered_ns": call.answered, "found": true, "owner": format!("u{user}"), "quantity": quantity, "state": state });
        self.lines.push((call.answered, line));
    }
}
