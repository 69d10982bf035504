//! The ledger's journal as records.

use super::{ENTRIES_MAX, Record, VERSION, count_of_many, kind, put_rules, rules};
use crate::{
    ActivityId, OperationId, OrderId, UserId,
    codec::{DecodeError, Reader, Writer},
    stock::{Entry, Event, FailedReason, RequestKey, Reservation, Term, TermCounts},
    trace::TraceContext,
};

/// The version of the journal's records that this build writes. Those of version 1 have neither term nor bucket.
pub const JOURNAL_VERSION: u8 = 2;
/// The part of a sale's stock that a ledger has; there is one.
const BUCKET: u32 = 0;

/// Entries of one term of one activity's journal that were made durable together, on [`crate::topic::ORDERS`]. One of
/// them is a record of its own kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    entries: Vec<Entry>,
    trace: Option<TraceContext>,
}

impl Entries {
    /// `entries` as records: neighbours of one term of one activity together, at most [`ENTRIES_MAX`] of them.
    pub fn group(entries: &[Entry]) -> impl Iterator<Item = Self> {
        let of_one_term = entries.chunk_by(|one, next| (one.activity, one.term) == (next.activity, next.term));
        of_one_term.flat_map(|run| run.chunks(ENTRIES_MAX)).map(|run| Self { entries: run.to_vec(), trace: None })
    }

    /// The record in the trace of what has appended it.
    #[must_use]
    pub fn traced(mut self, trace: Option<TraceContext>) -> Self {
        self.trace = trace;
        self
    }

    /// The span that has appended the record, if it belongs to a trace.
    pub const fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// Whose they are.
    pub fn activity(&self) -> ActivityId {
        self.entries[0].activity
    }

    /// One or more, of one activity, in the order of their `seq`.
    pub fn into_vec(self) -> Vec<Entry> {
        self.entries
    }
}

impl Record for Entries {
    fn encode(&self, out: &mut Vec<u8>) {
        let first = &self.entries[0];
        let kind = if self.entries.len() == 1 { entry_kind(first) } else { kind::ENTRIES };
        let mut writer = Writer(out);
        writer.u8(JOURNAL_VERSION).u8(kind).i64(first.activity.as_i64()).u32(BUCKET).u64(first.term.0);
        writer.u8(self.trace.is_some().into());
        if let Some(trace) = self.trace {
            writer.bytes(&trace.to_bytes());
        }
        match &self.entries[..] {
            [one] => put_entry(&mut writer, one),
            many => {
                writer.u32(u32::try_from(many.len()).unwrap_or(u32::MAX));
                for entry in many {
                    writer.u8(entry_kind(entry));
                    put_entry(&mut writer, entry);
                }
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if !matches!(version, VERSION | JOURNAL_VERSION) {
            return Err(DecodeError::UnknownVersion(version));
        }
        let kind = reader.u8()?;
        let activity = reader.id(ActivityId::from_i64)?;
        let (term, trace) = if version == VERSION { (Term::FIRST, None) } else { term(&mut reader)? };
        let mut entries = Vec::new();
        if kind == kind::ENTRIES {
            for _ in 0..count_of_many(&mut reader)? {
                let kind = reader.u8()?;
                entries.push(entry(kind, activity, term, &mut reader)?);
            }
        } else {
            entries.push(entry(kind, activity, term, &mut reader)?);
        }
        reader.end()?;
        Ok(Self { entries, trace })
    }
}

/// The term, which is between the bucket and the trace context, and the context; `None` if it has no ids.
fn term(reader: &mut Reader<'_>) -> Result<(Term, Option<TraceContext>), DecodeError> {
    if reader.u32()? != BUCKET {
        return Err(DecodeError::OutOfRange);
    }
    let term = Term(reader.u64()?);
    let trace = if reader.flag()? { TraceContext::from_bytes(reader.array()?) } else { None };
    Ok((term, trace))
}

const fn entry_kind(entry: &Entry) -> u8 {
    match entry.event {
        Event::Opened { .. } => kind::OPENED,
        Event::Held(_) => kind::HELD,
        Event::Settled { .. } => kind::SETTLED,
        Event::Released { .. } => kind::RELEASED,
        Event::Restocked { .. } => kind::RESTOCKED,
        Event::Ended { .. } => kind::ENDED,
        Event::TermStarted { .. } => kind::TERM_STARTED,
        Event::TermOpened(_) => kind::TERM_OPENED,
        Event::PromiseFailed { .. } => kind::PROMISE_FAILED,
    }
}

/// All of an entry but its kind, its activity and its term.
fn put_entry(writer: &mut Writer<'_>, entry: &Entry) {
    writer.u64(entry.epoch).u64(entry.seq).u64(entry.at_ms);
    match entry.event {
        Event::Opened { stock, rules } => {
            writer.u64(stock);
            put_rules(writer, &rules);
        }
        Event::Held(reservation) => put_reservation(writer, &reservation),
        Event::Settled { order, quantity } | Event::Released { order, quantity } => {
            writer.i64(order.as_i64()).u32(quantity);
        }
        Event::Restocked { operation, delta } => {
            writer.i64(operation.as_i64()).i64(delta);
        }
        Event::Ended { ends_at_ms } => {
            writer.u64(ends_at_ms);
        }
        Event::TermStarted { nonce } => {
            writer.u64(nonce);
        }
        Event::TermOpened(TermCounts { total, held, sold, released }) => {
            writer.u64(total).u64(held).u64(sold).u64(released);
        }
        Event::PromiseFailed { reservation, reason } => {
            let reason = match reason {
                FailedReason::SoldOut => 1,
                FailedReason::AnotherOrder => 2,
            };
            put_reservation(writer.u8(reason), &reservation);
        }
    }
}

fn put_reservation(writer: &mut Writer<'_>, Reservation { order, user, request, quantity }: &Reservation) {
    writer.i64(order.as_i64()).i64(user.as_i64()).u32(*quantity).u8(request.is_some().into());
    if let Some(RequestKey(key)) = request {
        writer.bytes(key);
    }
}

fn reservation(reader: &mut Reader<'_>) -> Result<Reservation, DecodeError> {
    let (order, user) = (reader.id(OrderId::from_i64)?, reader.id(UserId::from_i64)?);
    let quantity = reader.u32()?;
    let request = if reader.flag()? { Some(RequestKey(reader.array()?)) } else { None };
    Ok(Reservation { order, user, request, quantity })
}

fn entry(kind: u8, activity: ActivityId, term: Term, reader: &mut Reader<'_>) -> Result<Entry, DecodeError> {
    let (epoch, seq, at_ms) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let event = match kind {
        kind::OPENED => Event::Opened { stock: reader.u64()?, rules: rules(reader)? },
        kind::HELD => Event::Held(reservation(reader)?),
        kind::SETTLED => Event::Settled { order: reader.id(OrderId::from_i64)?, quantity: reader.u32()? },
        kind::RELEASED => Event::Released { order: reader.id(OrderId::from_i64)?, quantity: reader.u32()? },
        kind::RESTOCKED => Event::Restocked { operation: reader.id(OperationId::from_i64)?, delta: reader.i64()? },
        kind::ENDED => Event::Ended { ends_at_ms: reader.u64()? },
        kind::TERM_STARTED => Event::TermStarted { nonce: reader.u64()? },
        kind::TERM_OPENED => {
            let (total, held) = (reader.u64()?, reader.u64()?);
            Event::TermOpened(TermCounts { total, held, sold: reader.u64()?, released: reader.u64()? })
        }
        kind::PROMISE_FAILED => {
            let reason = match reader.u8()? {
                1 => FailedReason::SoldOut,
                2 => FailedReason::AnotherOrder,
                _ => return Err(DecodeError::OutOfRange),
            };
            Event::PromiseFailed { reservation: reservation(reader)?, reason }
        }
        other => return Err(DecodeError::UnknownKind(other)),
    };
    Ok(Entry { activity, term, epoch, seq, at_ms, event })
}
