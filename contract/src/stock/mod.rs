//! The stock ledger of one flash sale: who says yes.
//!
//! A pure state machine. [`Ledger::apply`] decides what a command does and writes at most one
//! [`Entry`] for it; [`Ledger::replay`] folds entries into the same state. The journal of entries is
//! therefore the ledger: a snapshot and the entries after it give exactly the same state.
//!
//! After every step `total = available + held + sold`; a step that would break it panics, because a
//! ledger that can't count must not go on saying yes.
//!
//! Refusals change nothing and are not kept: memory grows with buyers, not with the crowd.

mod entry;
mod restore;
pub mod script;
mod term;
#[cfg(test)]
mod tests;
mod window;

use std::collections::{BTreeSet, HashMap};

pub use entry::{Entry, Event, FailedReason, Term, TermCounts};
pub use restore::{Broken, Promise, Replay, Replayed, RestoreError, Snapshot};
pub use term::{Placed, Position};
use window::Attempts;
pub use window::Window;

/// Units of one ledger, at most: every count is exact in JSON and in Lua, 2^53 - 1.
pub const UNITS_MAX: u64 = (1 << 53) - 1;

use crate::{ActivityId, OperationId, OrderId, UserId, activity::Rules};

/// Digest of an Idempotency-Key and the user who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub [u8; 16]);

/// One user asking for units of the ledger's activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// The id the order gets if the answer is yes, made before the ledger is asked.
    pub order: OrderId,
    /// Who asks.
    pub user: UserId,
    /// Present where the client named the request; a repeat of it gets the first answer.
    pub request: Option<RequestKey>,
    /// Units; at least 1.
    pub quantity: u32,
}

/// What can be asked of a ledger that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Hold units for a user.
    Reserve(Reservation),
    /// Give the first answer to a reservation again; nothing new is held, as after the end of the sale. A gateway
    /// that knows of the end asks so, because the ledger may not know of it yet.
    Repeat(Reservation),
    /// The order was paid: held becomes sold.
    Settle(OrderId),
    /// The order was closed unpaid: held becomes available.
    Release(OrderId),
    /// An admin adds (or, below zero, takes) units, once per operation.
    Restock {
        /// Applied at most once.
        operation: OperationId,
        /// Units; not 0.
        delta: i64,
    },
    /// An admin ends the sale. A sale that is over stays as it is.
    End {
        /// The first instant after the sale, epoch milliseconds; an instant to come counts as now.
        ends_at_ms: u64,
    },
}

/// The ledger's answer. Sold out is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Units are held for `order`. `repeated`: they already were, and this is the first answer again.
    Held {
        /// The order that has the units.
        order: OrderId,
        /// The request had been answered before.
        repeated: bool,
    },
    /// The command took effect, or had taken effect before.
    Done,
    /// Fewer units are available than were asked for.
    SoldOut,
    /// The user would have more than the limit.
    LimitReached,
    /// The sale has not begun.
    NotStarted,
    /// The sale is over.
    Ended,
    /// The user has tried too often of late.
    RateLimited,
    /// The request's key was used for another quantity.
    KeyReused,
    /// The ledger knows no such order.
    UnknownOrder,
    /// The order's state does not allow it: settling what was released, or releasing what was sold.
    Conflict,
    /// The restock would take units that are held or sold, or overflow.
    Refused,
}

/// Where an order's units are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldState {
    /// Waiting for payment.
    Held,
    /// Paid.
    Sold,
    /// Closed; the units went back.
    Released,
}

/// An order as the ledger knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// What was asked.
    pub reservation: Reservation,
    /// Where the units are.
    pub state: HoldState,
}

/// The counters at one instant, in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Units that the ledger manages.
    pub total: u64,
    /// Units that are available.
    pub available: u64,
    /// Units waiting for payment.
    pub held: u64,
    /// Units paid for.
    pub sold: u64,
    /// See [`Entry::term`].
    pub term: Term,
    /// See [`Entry::epoch`].
    pub epoch: u64,
    /// `seq` of the last entry.
    pub seq: u64,
}

/// The answer to a batch of reservations of one activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchReply {
    /// One for each reservation, in their order.
    pub outcomes: Vec<Outcome>,
    /// The counters after the batch.
    pub counters: Counters,
}

/// What one user has of this activity.
#[derive(Debug, Clone, Copy)]
struct Share {
    quantity: u32,
    latest: OrderId,
}

/// The ledger of one activity.
#[derive(Debug, Clone)]
pub struct Ledger {
    activity: ActivityId,
    rules: Rules,
    counters: Counters,
    orders: HashMap<OrderId, Hold>,
    requests: HashMap<RequestKey, OrderId>,
    /// Users with units that are held or sold.
    shares: HashMap<UserId, Share>,
    restocks: BTreeSet<OperationId>,
    window: Window,
    attempts: Attempts,
}

impl Ledger {
    /// A new ledger and its first entry.
    pub fn open(activity: ActivityId, stock: u64, rules: Rules, now_ms: u64) -> (Self, Entry) {
        let event = Event::Opened { stock, rules };
        let entry = Entry { activity, term: Term::FIRST, epoch: 1, seq: 1, at_ms: now_ms, event };
        (Self::opened(activity, stock, rules), entry)
    }

    /// A new ledger whose first term is `term`, and its first entry.
    pub fn open_in(term: Term, activity: ActivityId, stock: u64, rules: Rules, now_ms: u64) -> (Self, Entry) {
        let (mut ledger, entry) = Self::open(activity, stock, rules, now_ms);
        ledger.counters.term = term;
        (ledger, Entry { term, ..entry })
    }

    /// Starts a higher term: a new epoch in which nothing said before about stock holds.
    ///
    /// # Panics
    /// If `term` is not higher.
    pub fn start_term(&mut self, term: Term) {
        assert!(term > self.counters.term, "term {term} after {}", self.counters.term);
        self.counters.term = term;
        self.counters.epoch += 1;
    }

    /// Units that are reported when a term opens.
    pub fn term_counts(&self) -> TermCounts {
        let Counters { total, held, sold, .. } = self.counters;
        let released = self.orders.values().filter(|hold| hold.state == HoldState::Released);
        let released = released.map(|hold| u64::from(hold.reservation.quantity)).sum();
        TermCounts { total, held, sold, released }
    }

    /// Holds units that a buyer was promised and the ledger forgot. It looks at units and at whether the buyer has another
    /// order meanwhile, and not at times, since the promise was right when it was made. An order that is known stays as it
    /// is: nothing is appended.
    ///
    /// # Errors
    /// Why the promise can't be kept.
    pub fn adopt(&mut self, promised: Reservation, at_ms: u64, journal: &mut Vec<Entry>) -> Result<(), FailedReason> {
        if self.orders.contains_key(&promised.order) {
            return Ok(());
        }
        let owned = self.shares.get(&promised.user).map_or(0, |share| share.quantity);
        let wanted = owned.checked_add(promised.quantity);
        let is_answered = promised.request.is_some_and(|request| self.requests.contains_key(&request));
        if is_answered || wanted.is_none_or(|wanted| wanted > self.rules.per_user_limit) {
            return Err(FailedReason::AnotherOrder);
        }
        if promised.quantity == 0 || u64::from(promised.quantity) > self.counters.available {
            return Err(FailedReason::SoldOut);
        }
        let entry = self.next_entry(Event::Held(promised), at_ms);
        self.evolve(&entry);
        journal.push(entry);
        Ok(())
    }

    fn next_entry(&self, event: Event, at_ms: u64) -> Entry {
        let Counters { term, epoch, seq, .. } = self.counters;
        let epoch = epoch + u64::from(event.returns_stock());
        Entry { activity: self.activity, term, epoch, seq: seq + 1, at_ms, event }
    }

    fn opened(activity: ActivityId, stock: u64, rules: Rules) -> Self {
        Self {
            activity,
            rules,
            counters: Counters {
                total: stock,
                available: stock,
                held: 0,
                sold: 0,
                term: Term::FIRST,
                epoch: 1,
                seq: 1,
            },
            orders: HashMap::new(),
            requests: HashMap::new(),
            shares: HashMap::new(),
            restocks: BTreeSet::new(),
            window: Window::default(),
            attempts: Attempts::default(),
        }
    }

    /// Limits how often a user may try from now on; at first there is no limit.
    pub fn set_window(&mut self, window: Window) {
        self.window = window;
    }

    /// Whose ledger this is.
    pub fn activity(&self) -> ActivityId {
        self.activity
    }

    /// The counters now.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The rules it was opened with; the end is earlier where the sale was ended before its time.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// An order that was given units.
    pub fn hold(&self, order: OrderId) -> Option<&Hold> {
        self.orders.get(&order)
    }

    /// Answers `command`; where it changes something, the change's entry is appended to `journal`.
    pub fn apply(&mut self, command: Command, now_ms: u64, journal: &mut Vec<Entry>) -> Outcome {
        let (outcome, event) = self.decide(command, now_ms);
        if let Some(event) = event {
            let entry = self.next_entry(event, now_ms);
            self.evolve(&entry);
            journal.push(entry);
        }
        outcome
    }

    fn decide(&mut self, command: Command, now_ms: u64) -> (Outcome, Option<Event>) {
        match command {
            Command::Repeat(reservation) => (self.first_answer(&reservation).unwrap_or(Outcome::Ended), None),
            Command::Reserve(reservation) => match self.refusal(&reservation, now_ms) {
                Some(outcome) => (outcome, None),
                None => (Outcome::Held { order: reservation.order, repeated: false }, Some(Event::Held(reservation))),
            },
            Command::Settle(order) => match self.orders.get(&order).map(|hold| (hold.state, hold.reservation.quantity))
            {
                None => (Outcome::UnknownOrder, None),
                Some((HoldState::Sold, _)) => (Outcome::Done, None),
                Some((HoldState::Released, _)) => (Outcome::Conflict, None),
                Some((HoldState::Held, quantity)) => (Outcome::Done, Some(Event::Settled { order, quantity })),
            },
            Command::Release(order) => {
                match self.orders.get(&order).map(|hold| (hold.state, hold.reservation.quantity)) {
                    None => (Outcome::UnknownOrder, None),
                    Some((HoldState::Released, _)) => (Outcome::Done, None),
                    Some((HoldState::Sold, _)) => (Outcome::Conflict, None),
                    Some((HoldState::Held, quantity)) => (Outcome::Done, Some(Event::Released { order, quantity })),
                }
            }
            Command::Restock { operation, .. } if self.restocks.contains(&operation) => (Outcome::Done, None),
            Command::Restock { operation, delta } => {
                let fits = self.counters.available.checked_add_signed(delta).is_some()
                    && self.counters.total.checked_add_signed(delta).is_some_and(|total| total <= UNITS_MAX);
                if fits && delta != 0 {
                    (Outcome::Done, Some(Event::Restocked { operation, delta }))
                } else {
                    (Outcome::Refused, None)
                }
            }
            Command::End { .. } if self.rules.ends_at_ms <= now_ms => (Outcome::Done, None),
            // The caller's clock may be ahead of this one; nothing is sold until this one has caught up.
            Command::End { ends_at_ms } => (Outcome::Done, Some(Event::Ended { ends_at_ms: ends_at_ms.min(now_ms) })),
        }
    }

    /// The answer to a reservation that was answered before, by its key or by its user's only order.
    fn first_answer(&self, asked: &Reservation) -> Option<Outcome> {
        if let Some(order) = asked.request.and_then(|request| self.requests.get(&request)) {
            let first = &self.orders[order].reservation;
            let same = first.quantity == asked.quantity && first.user == asked.user;
            return Some(if same { Outcome::Held { order: *order, repeated: true } } else { Outcome::KeyReused });
        }
        let share = self.shares.get(&asked.user).filter(|_| self.rules.per_user_limit == 1 && asked.quantity == 1)?;
        Some(Outcome::Held { order: share.latest, repeated: true })
    }

    /// The answer to a reservation that holds nothing new; `None` where units are to be held.
    /// A repeat is answered before the window and the stock are checked: it gets its first answer
    /// even after the last unit or the last minute.
    fn refusal(&mut self, asked: &Reservation, now_ms: u64) -> Option<Outcome> {
        if let Some(answer) = self.first_answer(asked) {
            return Some(answer);
        }
        let owned = self.shares.get(&asked.user).map_or(0, |share| share.quantity);
        let wanted = owned.checked_add(asked.quantity);
        if now_ms < self.rules.starts_at_ms {
            Some(Outcome::NotStarted)
        } else if now_ms >= self.rules.ends_at_ms {
            Some(Outcome::Ended)
        } else if !self.attempts.admit(self.window, asked.user, now_ms) {
            Some(Outcome::RateLimited)
        } else if asked.quantity == 0 || wanted.is_none_or(|wanted| wanted > self.rules.per_user_limit) {
            Some(Outcome::LimitReached)
        } else if self.orders.contains_key(&asked.order) {
            Some(Outcome::Conflict)
        } else if u64::from(asked.quantity) > self.counters.available {
            Some(Outcome::SoldOut)
        } else {
            None
        }
    }

    /// Takes one entry into the state. The entry must be the next one and must fit.
    fn evolve(&mut self, entry: &Entry) {
        assert_eq!(entry.activity, self.activity, "an entry of another activity");
        assert_eq!(entry.seq, self.counters.seq + 1, "a gap in the journal");
        let counters = &mut self.counters;
        counters.seq = entry.seq;
        counters.epoch = entry.epoch;
        match entry.event {
            Event::Opened { .. } => panic!("activity {} was opened twice", self.activity),
            Event::TermStarted { .. } | Event::TermOpened(_) | Event::PromiseFailed { .. } => {
                panic!("activity {}: a mark is no entry of the ledger", self.activity)
            }
            Event::Held(reservation) => {
                let units = u64::from(reservation.quantity);
                counters.available = less(counters.available, units);
                counters.held += units;
                let share =
                    self.shares.entry(reservation.user).or_insert(Share { quantity: 0, latest: reservation.order });
                share.quantity += reservation.quantity;
                share.latest = reservation.order;
                if let Some(request) = reservation.request {
                    self.requests.insert(request, reservation.order);
                }
                let hold = Hold { reservation, state: HoldState::Held };
                assert!(
                    self.orders.insert(reservation.order, hold).is_none(),
                    "order {} held twice",
                    reservation.order
                );
            }
            Event::Settled { order, quantity } => {
                counters.held = less(counters.held, quantity.into());
                counters.sold += u64::from(quantity);
                self.leave_held(order, quantity, HoldState::Sold);
            }
            Event::Released { order, quantity } => {
                counters.held = less(counters.held, quantity.into());
                counters.available += u64::from(quantity);
                let user = self.leave_held(order, quantity, HoldState::Released);
                self.shrink_share(user, quantity);
            }
            Event::Restocked { operation, delta } => {
                counters.available = moved(counters.available, delta);
                counters.total = moved(counters.total, delta);
                assert!(self.restocks.insert(operation), "restock {operation} applied twice");
            }
            Event::Ended { ends_at_ms } => self.rules = self.rules.ended_at(ends_at_ms),
        }
        self.assert_conserved();
    }

    fn leave_held(&mut self, order: OrderId, quantity: u32, state: HoldState) -> UserId {
        let Some(hold) = self.orders.get_mut(&order) else { panic!("order {order} is not in the ledger") };
        assert_eq!(hold.state, HoldState::Held, "order {order} is no longer held");
        assert_eq!(hold.reservation.quantity, quantity, "order {order} has another quantity");
        hold.state = state;
        hold.reservation.user
    }

    fn shrink_share(&mut self, user: UserId, quantity: u32) {
        let Some(share) = self.shares.get_mut(&user) else { panic!("user {user} has no units") };
        match share.quantity.checked_sub(quantity) {
            None => panic!("user {user} has {} units, not {quantity}", share.quantity),
            Some(0) => drop(self.shares.remove(&user)),
            Some(left) => share.quantity = left,
        }
    }

    fn assert_conserved(&self) {
        let Counters { total, available, held, sold, .. } = self.counters;
        assert_eq!(total, available + held + sold, "activity {} lost count", self.activity);
    }
}

fn less(from: u64, units: u64) -> u64 {
    match from.checked_sub(units) {
        Some(left) => left,
        None => panic!("{units} units of {from}"),
    }
}

fn moved(from: u64, delta: i64) -> u64 {
    match from.checked_add_signed(delta) {
        Some(moved) => moved,
        None => panic!("{from} units moved by {delta}"),
    }
}
