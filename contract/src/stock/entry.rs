//! The lines of a ledger's journal.

use std::fmt;

use super::Reservation;
use crate::{ActivityId, OperationId, OrderId, activity::Rules};

/// An incarnation of a ledger. A new term is drawn from one counter, and is higher than every earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl Term {
    /// The term of ledgers that are never restarted on the journal: those in the gateway's own process, whose journal has
    /// one writer, and all records of version 1. It counts as opened from the first entry on.
    pub const FIRST: Self = Self(0);
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happened, as the journal records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The sale's units came under the ledger.
    Opened {
        /// Units for sale.
        stock: u64,
        /// The rules.
        rules: Rules,
    },
    /// Units are held for an order.
    Held(Reservation),
    /// Held units are sold.
    Settled {
        /// The order that was paid.
        order: OrderId,
        /// Its units.
        quantity: u32,
    },
    /// Held units are available again.
    Released {
        /// The order that was closed.
        order: OrderId,
        /// Its units.
        quantity: u32,
    },
    /// The total changed.
    Restocked {
        /// The admin's operation.
        operation: OperationId,
        /// Units added; below zero, taken.
        delta: i64,
    },
    /// The sale was ended before its time.
    Ended {
        /// The first instant after the sale, epoch milliseconds.
        ends_at_ms: u64,
    },
    /// A new term of the ledger starts; entries of older terms behind this mark do not count. No number.
    TermStarted {
        /// Tells this mark from any other of the same term.
        nonce: u64,
    },
    /// The recovery that the term began with has ended: the ledger sells again. It has the number of the last entry before
    /// it, and may be repeated.
    TermOpened(TermCounts),
    /// A promised order that the ledger lost and could not hold again. No number.
    PromiseFailed {
        /// What was promised.
        reservation: Reservation,
        /// Why it can't be kept.
        reason: FailedReason,
    },
}

/// Units of a ledger when its term opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermCounts {
    /// Units that the ledger manages.
    pub total: u64,
    /// Units waiting for payment.
    pub held: u64,
    /// Units paid for.
    pub sold: u64,
    /// Units that were held and given back, since the opening of the sale.
    pub released: u64,
}

/// Why a promised order can't be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedReason {
    /// Its units were sold to others meanwhile.
    SoldOut,
    /// Its buyer has another order under the same key, or as many units as the limit allows.
    AnotherOrder,
}

/// One line of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Whose ledger.
    pub activity: ActivityId,
    /// The ledger's term.
    pub term: Term,
    /// Grows when units come back, so that "sold out" can be forgotten.
    pub epoch: u64,
    /// 1 for `Opened`, then one more each, over all terms. Marks have no number of their own.
    pub seq: u64,
    /// When the ledger decided, epoch milliseconds.
    pub at_ms: u64,
    /// What it decided.
    pub event: Event,
}

impl Event {
    /// Units become available that were not: who heard "sold out" may ask again.
    pub const fn returns_stock(&self) -> bool {
        match self {
            Self::Released { .. } => true,
            Self::Restocked { delta, .. } => *delta > 0,
            Self::Opened { .. }
            | Self::Held(_)
            | Self::Settled { .. }
            | Self::Ended { .. }
            | Self::TermStarted { .. }
            | Self::TermOpened(_)
            | Self::PromiseFailed { .. } => false,
        }
    }
}
