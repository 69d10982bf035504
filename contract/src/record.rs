//! The records on the log. Each begins with a version byte and a kind byte; a reader that does not
//! know either says so and changes nothing. The bytes are held by golden tests (`tests/golden.rs`).

use crate::{
    ActivityId, OperationId, OrderId, ProductId, UserId,
    activity::Rules,
    codec::{DecodeError, Reader, Writer},
    stock::Command,
};

mod activity_record;
mod entries;
mod process;
mod token_cut;
mod worker_claim;

pub use entries::{Entries, JOURNAL_VERSION};
pub use process::{
    HOST_BYTES_MAX, LATENCY_BOUNDS_US, Latency, ProcessReport, ProcessRole, REASON_BYTES_MAX, REASONS_MAX, Refusals,
    VERSION_BYTES_MAX, WORKERS_MAX,
};
pub use token_cut::{CutScope, TokenCut};
pub use worker_claim::{WorkerClaim, WorkerClaims};

/// The version of all records but those of the journal.
pub const VERSION: u8 = 1;

/// A value that travels on the log.
pub trait Record: Sized {
    /// Appends the record's bytes.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads the whole of `bytes`.
    ///
    /// # Errors
    /// See [`DecodeError`].
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;

    /// The record's bytes in a buffer of their own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        self.encode(&mut out);
        out
    }
}

/// The key under which an activity's records stay in order.
pub fn activity_key(activity: ActivityId) -> [u8; 8] {
    activity.as_i64().to_be_bytes()
}

/// The key under which what was said of one user and one activity stays in order.
pub fn entry_rule_key(activity: ActivityId, user: UserId) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&activity_key(activity));
    key[8..].copy_from_slice(&user.as_i64().to_be_bytes());
    key
}

/// The key under which a product's records stay in order.
pub fn product_key(product: ProductId) -> [u8; 8] {
    product.as_i64().to_be_bytes()
}

/// The key under which an order's records stay in order.
pub fn order_key(order: OrderId) -> [u8; 8] {
    order.as_i64().to_be_bytes()
}

/// The key under which the cuts of a user's tokens stay in order.
pub fn user_key(user: UserId) -> [u8; 8] {
    user.as_i64().to_be_bytes()
}

/// The key under which the reports of a process stay in order.
pub const fn process_key(process: i64) -> [u8; 8] {
    process.to_be_bytes()
}

/// Entries, or events, in one record at most.
pub const ENTRIES_MAX: usize = 128;

/// Something the mall asks of a ledger, on [`crate::topic::COMMANDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerCommand {
    /// Whose ledger.
    pub activity: ActivityId,
    /// What is asked; never a reservation, which only a gateway makes.
    pub action: Action,
}

/// What the mall may ask of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The order was paid.
    Settle(OrderId),
    /// The order was closed unpaid.
    Release(OrderId),
    /// Units were added or taken by an admin.
    Restock {
        /// Applied at most once.
        operation: OperationId,
        /// Units; below zero, taken.
        delta: i64,
    },
    /// The sale was ended by an admin.
    End {
        /// The first instant after the sale, epoch milliseconds.
        ends_at_ms: u64,
    },
}

impl From<Action> for Command {
    fn from(action: Action) -> Self {
        match action {
            Action::Settle(order) => Self::Settle(order),
            Action::Release(order) => Self::Release(order),
            Action::Restock { operation, delta } => Self::Restock { operation, delta },
            Action::End { ends_at_ms } => Self::End { ends_at_ms },
        }
    }
}

/// The state of an order, as its owner may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderStatus {
    /// Written, waiting for payment.
    Created,
    /// Paid.
    Paid,
    /// Closed unpaid; the units went back.
    Closed,
    /// Could not be written; the units went back.
    Failed,
}

impl OrderStatus {
    /// The word in API answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Paid => "paid",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }
}

/// An order came to be or changed, on [`crate::topic::ORDER_EVENTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderEvent {
    /// Which order.
    pub order: OrderId,
    /// Its owner.
    pub user: UserId,
    /// Its state now.
    pub status: OrderStatus,
    /// Since when, epoch milliseconds.
    pub at_ms: u64,
}

/// Events of orders that share a partition, on [`crate::topic::ORDER_EVENTS`]. One of them is a record of its own
/// kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderEvents(Vec<OrderEvent>);

/// Shoppers see a product, or one of its SKUs, otherwise than before, on [`crate::topic::CATALOGUE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProductChanged {
    /// Which product.
    pub product: ProductId,
    /// The version of its document in the search index after the change; 0 where a record of an earlier build does not say.
    pub version: i64,
    /// When it was changed, epoch milliseconds; 0 where a record of an earlier build does not say.
    pub at_ms: u64,
}

/// An order to look at again once it is due, on a topic of [`crate::topic::timeouts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentDeadline {
    /// Which order.
    pub order: OrderId,
    /// First instant at which it may be closed unpaid, epoch milliseconds.
    pub due_at_ms: u64,
}

/// A record that a consumer could not process, on [`crate::topic::DEAD_LETTERS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The topic of the record.
    pub topic: String,
    /// The partition of the record.
    pub partition: u32,
    /// The offset of the record.
    pub offset: u64,
    /// The consumer group that gave up on it.
    pub group: String,
    /// Why.
    pub reason: String,
    /// The record as it was.
    pub value: Vec<u8>,
}

fn header(bytes: &[u8]) -> Result<(u8, Reader<'_>), DecodeError> {
    let mut reader = Reader::new(bytes);
    match reader.u8()? {
        VERSION => Ok((reader.u8()?, reader)),
        version => Err(DecodeError::UnknownVersion(version)),
    }
}

fn begin(out: &mut Vec<u8>, kind: u8) -> Writer<'_> {
    let mut writer = Writer(out);
    writer.u8(VERSION).u8(kind);
    writer
}

fn only(kind: u8, expected: u8) -> Result<(), DecodeError> {
    if kind == expected { Ok(()) } else { Err(DecodeError::UnknownKind(kind)) }
}

mod kind {
    pub(super) const OPENED: u8 = 1;
    pub(super) const HELD: u8 = 2;
    pub(super) const SETTLED: u8 = 3;
    pub(super) const RELEASED: u8 = 4;
    pub(super) const RESTOCKED: u8 = 5;
    pub(super) const ENTRIES: u8 = 6;
    pub(super) const ENDED: u8 = 7;
    pub(super) const TERM_STARTED: u8 = 8;
    pub(super) const TERM_OPENED: u8 = 9;
    pub(super) const PROMISE_FAILED: u8 = 10;
    pub(super) const SETTLE: u8 = 16;
    pub(super) const RELEASE: u8 = 17;
    pub(super) const RESTOCK: u8 = 18;
    pub(super) const END: u8 = 19;
    /// An activity before there was an admission; read, no longer written.
    pub(super) const ACTIVITY_OPEN_TO_ALL: u8 = 32;
    /// A product without a version; read, and written only where the version is not known.
    pub(super) const PRODUCT_CHANGED: u8 = 33;
    pub(super) const ACTIVITY: u8 = 34;
    pub(super) const ENTRY_RULE: u8 = 35;
    pub(super) const PRODUCT_VERSION: u8 = 36;
    /// An activity with options; written only where it has one.
    pub(super) const ACTIVITY_WITH_OPTIONS: u8 = 37;
    pub(super) const ORDER_EVENT: u8 = 48;
    pub(super) const PAYMENT_DEADLINE: u8 = 49;
    pub(super) const ORDER_EVENTS: u8 = 50;
    pub(super) const DEAD_LETTER: u8 = 64;
    pub(super) const TOKEN_CUT: u8 = 80;
    pub(super) const PROCESS_REPORT: u8 = 96;
    pub(super) const WORKER_CLAIM: u8 = 97;
}

/// How many stand in a record of several.
fn count_of_many(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let count = usize::try_from(reader.u32()?).ok();
    count.filter(|count| (2..=ENTRIES_MAX).contains(count)).ok_or(DecodeError::OutOfRange)
}

fn put_rules(writer: &mut Writer<'_>, rules: &Rules) {
    writer.u32(rules.per_user_limit).u64(rules.starts_at_ms).u64(rules.ends_at_ms);
}

fn rules(reader: &mut Reader<'_>) -> Result<Rules, DecodeError> {
    Ok(Rules { per_user_limit: reader.u32()?, starts_at_ms: reader.u64()?, ends_at_ms: reader.u64()? })
}

impl Record for LedgerCommand {
    fn encode(&self, out: &mut Vec<u8>) {
        let kind = match self.action {
            Action::Settle(_) => kind::SETTLE,
            Action::Release(_) => kind::RELEASE,
            Action::Restock { .. } => kind::RESTOCK,
            Action::End { .. } => kind::END,
        };
        let mut writer = begin(out, kind);
        writer.i64(self.activity.as_i64());
        match self.action {
            Action::Settle(order) | Action::Release(order) => writer.i64(order.as_i64()),
            Action::Restock { operation, delta } => writer.i64(operation.as_i64()).i64(delta),
            Action::End { ends_at_ms } => writer.u64(ends_at_ms),
        };
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = header(bytes)?;
        let activity = reader.id(ActivityId::from_i64)?;
        let action = match kind {
            kind::SETTLE => Action::Settle(reader.id(OrderId::from_i64)?),
            kind::RELEASE => Action::Release(reader.id(OrderId::from_i64)?),
            kind::RESTOCK => Action::Restock { operation: reader.id(OperationId::from_i64)?, delta: reader.i64()? },
            kind::END => Action::End { ends_at_ms: reader.u64()? },
            other => return Err(DecodeError::UnknownKind(other)),
        };
        reader.end()?;
        Ok(Self { activity, action })
    }
}

impl OrderEvents {
    /// `events` as records, in their order, at most [`ENTRIES_MAX`] in each.
    pub fn group(events: &[OrderEvent]) -> impl Iterator<Item = Self> {
        events.chunks(ENTRIES_MAX).map(|events| Self(events.to_vec()))
    }

    /// The first order, whose key all of them travel under.
    pub fn first(&self) -> OrderId {
        self.0[0].order
    }

    /// One or more.
    pub fn into_vec(self) -> Vec<OrderEvent> {
        self.0
    }
}

impl From<OrderEvent> for OrderEvents {
    fn from(event: OrderEvent) -> Self {
        Self(vec![event])
    }
}

impl Record for OrderEvents {
    fn encode(&self, out: &mut Vec<u8>) {
        match &self.0[..] {
            [one] => put_order_event(&mut begin(out, kind::ORDER_EVENT), one),
            many => {
                let mut writer = begin(out, kind::ORDER_EVENTS);
                writer.u32(u32::try_from(many.len()).unwrap_or(u32::MAX));
                many.iter().for_each(|event| put_order_event(&mut writer, event));
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = header(bytes)?;
        let count = match kind {
            kind::ORDER_EVENT => 1,
            kind::ORDER_EVENTS => count_of_many(&mut reader)?,
            other => return Err(DecodeError::UnknownKind(other)),
        };
        let events = (0..count).map(|_| order_event(&mut reader)).collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Self(events))
    }
}

fn put_order_event(writer: &mut Writer<'_>, event: &OrderEvent) {
    let status = match event.status {
        OrderStatus::Created => 1,
        OrderStatus::Paid => 2,
        OrderStatus::Closed => 3,
        OrderStatus::Failed => 4,
    };
    writer.i64(event.order.as_i64()).i64(event.user.as_i64()).u8(status).u64(event.at_ms);
}

fn order_event(reader: &mut Reader<'_>) -> Result<OrderEvent, DecodeError> {
    let (order, user) = (reader.id(OrderId::from_i64)?, reader.id(UserId::from_i64)?);
    let status = match reader.u8()? {
        1 => OrderStatus::Created,
        2 => OrderStatus::Paid,
        3 => OrderStatus::Closed,
        4 => OrderStatus::Failed,
        _ => return Err(DecodeError::OutOfRange),
    };
    Ok(OrderEvent { order, user, status, at_ms: reader.u64()? })
}

impl Record for ProductChanged {
    fn encode(&self, out: &mut Vec<u8>) {
        if (self.version, self.at_ms) == (0, 0) {
            begin(out, kind::PRODUCT_CHANGED).i64(self.product.as_i64());
        } else {
            begin(out, kind::PRODUCT_VERSION).i64(self.product.as_i64()).i64(self.version).u64(self.at_ms);
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = header(bytes)?;
        let product = reader.id(ProductId::from_i64)?;
        let record = match kind {
            kind::PRODUCT_CHANGED => Self { product, version: 0, at_ms: 0 },
            kind::PRODUCT_VERSION => {
                let version = reader.i64()?;
                if version <= 0 {
                    return Err(DecodeError::OutOfRange);
                }
                Self { product, version, at_ms: reader.u64()? }
            }
            other => return Err(DecodeError::UnknownKind(other)),
        };
        reader.end()?;
        Ok(record)
    }
}

impl Record for PaymentDeadline {
    fn encode(&self, out: &mut Vec<u8>) {
        begin(out, kind::PAYMENT_DEADLINE).i64(self.order.as_i64()).u64(self.due_at_ms);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = header(bytes)?;
        only(kind, kind::PAYMENT_DEADLINE)?;
        let record = Self { order: reader.id(OrderId::from_i64)?, due_at_ms: reader.u64()? };
        reader.end()?;
        Ok(record)
    }
}

impl Record for DeadLetter {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = begin(out, kind::DEAD_LETTER);
        writer.u32(self.partition).u64(self.offset).text(&self.topic).text(&self.group).text(&self.reason);
        writer.bytes(&self.value);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = header(bytes)?;
        only(kind, kind::DEAD_LETTER)?;
        let (partition, offset) = (reader.u32()?, reader.u64()?);
        let (topic, group, reason) = (reader.text()?, reader.text()?, reader.text()?);
        Ok(Self { topic, partition, offset, group, reason, value: reader.rest().to_vec() })
    }
}
