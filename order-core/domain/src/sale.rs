//! The sale's part of the database: the trait, and what its calls answer.

use std::{error::Error, future::Future};

use contract::{ActivityId, OrderId, stock::Snapshot};

use crate::{Line, SaleError, order_state::OrderState};

/// The most entries that [`SaleStore::take_in`] takes at once; a transaction of 500 rows is the knee.
pub const TAKE_IN_MAX: usize = 500;

/// Parked sales that [`SaleStore::parked`] lists.
pub const PARKED_LISTED_MAX: usize = 1_000;

/// Reservations that one [`SaleStore::repeat_commands`] looks at.
pub const REPEAT_ROWS_MAX: usize = 2_000;

/// What the sale's workers ask of the database. Each call is one transaction: all of it or nothing.
pub trait SaleStore: Clone + Send + Sync + 'static {
    /// Why a call did nothing.
    type Error: Error + Into<SaleError> + Send + Sync;

    /// Takes up to [`TAKE_IN_MAX`] entries of the journal into the database. Entries it already has
    /// change nothing; those of one activity are in the order of the journal. Entries of a parked activity are
    /// kept with those that wait already.
    ///
    /// Which entries count is decided by [`contract::stock::Position`]. A hold that does not count is a promise that
    /// nobody may keep: it becomes a `failed` order, at once or when the next term opens, unless the order is known by then.
    ///
    /// An entry that can't become an order as it should (its activity is unknown, its price does not
    /// fit, the mirror has no stock left for it) becomes a `failed` order and the release of its units.
    fn take_in(&self, lines: &[Line], now_ms: u64) -> impl Future<Output = Result<TakenIn, Self::Error>> + Send;

    /// Parks an activity whose next entry can't be taken in: `lines`, from that one on, are kept until they can,
    /// and so is what [`SaleStore::take_in`] brings later. One that is parked already keeps its first reason.
    /// `times_ms` are now and the next try.
    fn park(
        &self,
        activity: ActivityId,
        reason: &str,
        lines: &[Line],
        times_ms: (u64, u64),
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The parked activities, the oldest first, at most [`PARKED_LISTED_MAX`].
    fn parked(&self) -> impl Future<Output = Result<Vec<Parked>, Self::Error>> + Send;

    /// Takes in the first entries of a parked activity that follow one another, at most `limit` of 1 to
    /// [`TAKE_IN_MAX`]: all of these or none. The activity is not parked any more once none are left.
    fn retry_parked(
        &self,
        activity: ActivityId,
        limit: usize,
        now_ms: u64,
    ) -> impl Future<Output = Result<Retried, Self::Error>> + Send;

    /// A try failed for `reason`; the next one is due at `next_try_ms`.
    fn note_failed_try(
        &self,
        activity: ActivityId,
        reason: &str,
        next_try_ms: u64,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Closes those of `orders` that are unpaid and due; how many that were. Their units are given back.
    fn close_unpaid(&self, orders: &[OrderId], now_ms: u64) -> impl Future<Output = Result<usize, Self::Error>> + Send;

    /// Marks `order` as paid unless its state says no.
    fn mark_paid(&self, order: OrderId, now_ms: u64) -> impl Future<Output = Result<PaidOutcome, Self::Error>> + Send;

    /// Sends the settles and releases of orders that are decided, while the mirror has their units as held,
    /// to the ledgers once more: of the next [`REPEAT_ROWS_MAX`] reservations after `after`. The last of
    /// them; `None` where that was all. A ledger that knows already does nothing.
    fn repeat_commands(
        &self,
        after: Option<OrderId>,
    ) -> impl Future<Output = Result<Option<OrderId>, Self::Error>> + Send;

    /// Up to `limit` records that wait for the log, oldest first.
    fn outbox(&self, limit: usize) -> impl Future<Output = Result<Vec<OutboxRow>, Self::Error>> + Send;

    /// These rows are durable on the log: forget them.
    fn outbox_sent(&self, ids: &[i64]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Waits until a call of this process has written to the outbox; returns at once where one has since the last wait.
    fn outbox_filled(&self) -> impl Future<Output = ()> + Send;

    /// Every ledger as of the last entry taken in, or of the last one that waits behind it without a gap, for a
    /// ledger that must go on from it.
    fn snapshots(&self) -> impl Future<Output = Result<Vec<Snapshot>, Self::Error>> + Send;

    /// Counts at one instant; `None` where the ledger was never opened.
    fn audit_counts(
        &self,
        activity: ActivityId,
    ) -> impl Future<Output = Result<Option<DatabaseCounts>, Self::Error>> + Send;
}

/// What became of a batch of entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TakenIn {
    /// Entries and marks that were new.
    pub applied: usize,
    /// Entries the database already had.
    pub skipped: usize,
    /// Orders written as `failed`, with the release of their units.
    pub failed: usize,
    /// Entries of parked activities that are kept for later.
    pub set_aside: usize,
}

/// An activity whose journal entries the database can't take in at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Which.
    pub activity: ActivityId,
    /// Why its next entry can't be taken in.
    pub reason: String,
    /// When it was parked, epoch milliseconds.
    pub since_ms: u64,
    /// Tries that failed since then.
    pub tries: u64,
    /// When it is tried again, epoch milliseconds.
    pub next_try_ms: u64,
    /// Entries that wait.
    pub entries: u64,
    /// Why it is not tried any more.
    pub dropped: Option<String>,
}

/// What became of a parked activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// All its entries are taken in, and it is not parked any more.
    Done,
    /// Some were taken in; others wait.
    More,
    /// It is not parked.
    NotParked,
}

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaidOutcome {
    /// The order is paid now.
    Paid,
    /// It is in this state and can't be paid (again).
    Refused(OrderState),
    /// There is no such order.
    UnknownOrder,
}

/// A record that waits for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// For [`SaleStore::outbox_sent`].
    pub id: i64,
    /// The topic's name.
    pub topic: String,
    /// The record's key.
    pub key: Vec<u8>,
    /// The record's bytes.
    pub value: Vec<u8>,
}

/// What the database says of one activity, as of entry `seq` of its journal. All counts are units
/// but `orders`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DatabaseCounts {
    /// The ledger's epoch.
    pub epoch: u64,
    /// The last entry taken in.
    pub seq: u64,
    /// Units that the ledger manages.
    pub total: u64,
    /// Units that are available.
    pub stock_left: u64,
    /// By the state of their orders.
    pub by_status: StatusUnits,
    /// By the state of their reservations.
    pub by_hold: HoldUnits,
    /// Orders of any state.
    pub orders: u64,
}

/// Units by the state of their orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatusUnits {
    /// Units waiting for payment.
    pub pending_payment: u64,
    /// Paid, shipped, completed, or being refunded.
    pub paid: u64,
    /// Units of orders that were closed unpaid.
    pub closed: u64,
    /// Units refunded.
    pub refunded: u64,
    /// Compensated: never became an order.
    pub failed: u64,
    /// Reserved without any order: a bug wherever it is not 0.
    pub missing: u64,
}

impl StatusUnits {
    /// Units that were accepted, whatever became of them.
    pub const fn all(&self) -> u64 {
        self.pending_payment + self.paid + self.closed + self.refunded + self.failed
    }

    pub const fn add(&mut self, state: Option<OrderState>, units: u64) {
        let count = match state {
            Some(OrderState::PendingPayment) => &mut self.pending_payment,
            Some(OrderState::Bought(_) | OrderState::Refunding(_)) => &mut self.paid,
            Some(OrderState::Closed) => &mut self.closed,
            Some(OrderState::Refunded) => &mut self.refunded,
            Some(OrderState::Failed) => &mut self.failed,
            None => &mut self.missing,
        };
        *count += units;
    }
}

/// Units by the state of their reservations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HoldUnits {
    /// Units waiting for payment.
    pub held: u64,
    /// Units paid for.
    pub sold: u64,
    /// Given back.
    pub released: u64,
}
