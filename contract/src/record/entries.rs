//! The ledger's journal as records.

use super::{ENTRIES_MAX, Record, begin, count_of_many, header, kind, put_terms, rules};
use crate::{
    ActivityId, OperationId, OrderId, UserId,
    codec::{DecodeError, Reader, Writer},
    stock::{Entry, Event, RequestKey, Reservation},
};

/// Entries of one activity's journal that were made durable together, on [`crate::topic::ORDERS`]. One of
/// them is a record of its own kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries(Vec<Entry>);

impl Entries {
    /// `entries` as records: neighbours of one activity together, at most [`ENTRIES_MAX`] of them.
    pub fn group(entries: &[Entry]) -> impl Iterator<Item = Self> {
        let of_one_activity = entries.chunk_by(|one, next| one.activity == next.activity);
        of_one_activity.flat_map(|run| run.chunks(ENTRIES_MAX)).map(|run| Self(run.to_vec()))
    }

    /// Whose they are.
    pub fn activity(&self) -> ActivityId {
        self.0[0].activity
    }

    /// One or more, of one activity, in the order of their `seq`.
    pub fn into_vec(self) -> Vec<Entry> {
        self.0
    }
}

impl Record for Entries {
    fn encode(&self, out: &mut Vec<u8>) {
        match &self.0[..] {
            [one] => {
                let mut writer = begin(out, entry_kind(one));
                writer.i64(one.activity.as_i64());
                put_entry(&mut writer, one);
            }
            many => {
                let mut writer = begin(out, kind::ENTRIES);
                let count = u32::try_from(many.len()).unwrap_or(u32::MAX);
                writer.i64(self.activity().as_i64()).u32(count);
                for entry in many {
                    writer.u8(entry_kind(entry));
                    put_entry(&mut writer, entry);
                }
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = header(bytes)?;
        let activity = reader.id(ActivityId::from_i64)?;
        let mut entries = Vec::new();
        if kind == kind::ENTRIES {
            for _ in 0..count_of_many(&mut reader)? {
                let kind = reader.u8()?;
                entries.push(entry(kind, activity, &mut reader)?);
            }
        } else {
            entries.push(entry(kind, activity, &mut reader)?);
        }
        reader.end()?;
        Ok(Self(entries))
    }
}

const fn entry_kind(entry: &Entry) -> u8 {
    match entry.event {
        Event::Opened { .. } => kind::OPENED,
        Event::Held(_) => kind::HELD,
        Event::Settled { .. } => kind::SETTLED,
        Event::Released { .. } => kind::RELEASED,
        Event::Restocked { .. } => kind::RESTOCKED,
        Event::Ended { .. } => kind::ENDED,
    }
}

/// All of an entry but its kind and its activity.
fn put_entry(writer: &mut Writer<'_>, entry: &Entry) {
    writer.u64(entry.epoch).u64(entry.seq).u64(entry.at_ms);
    match entry.event {
        Event::Opened { stock, rules } => {
            writer.u64(stock);
            put_terms(writer, &rules);
        }
        Event::Held(Reservation { order, user, request, quantity }) => {
            writer.i64(order.as_i64()).i64(user.as_i64()).u32(quantity).u8(request.is_some().into());
            if let Some(RequestKey(key)) = request {
                writer.bytes(&key);
            }
        }
        Event::Settled { order, quantity } | Event::Released { order, quantity } => {
            writer.i64(order.as_i64()).u32(quantity);
        }
        Event::Restocked { operation, delta } => {
            writer.i64(operation.as_i64()).i64(delta);
        }
        Event::Ended { ends_at_ms } => {
            writer.u64(ends_at_ms);
        }
    }
}

fn entry(kind: u8, activity: ActivityId, reader: &mut Reader<'_>) -> Result<Entry, DecodeError> {
    let (epoch, seq, at_ms) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let event = match kind {
        kind::OPENED => Event::Opened { stock: reader.u64()?, rules: rules(reader)? },
        kind::HELD => {
            let (order, user) = (reader.id(OrderId::from_i64)?, reader.id(UserId::from_i64)?);
            let quantity = reader.u32()?;
            let request = if reader.flag()? { Some(RequestKey(reader.array()?)) } else { None };
            Event::Held(Reservation { order, user, request, quantity })
        }
        kind::SETTLED => Event::Settled { order: reader.id(OrderId::from_i64)?, quantity: reader.u32()? },
        kind::RELEASED => Event::Released { order: reader.id(OrderId::from_i64)?, quantity: reader.u32()? },
        kind::RESTOCKED => Event::Restocked { operation: reader.id(OperationId::from_i64)?, delta: reader.i64()? },
        kind::ENDED => Event::Ended { ends_at_ms: reader.u64()? },
        other => return Err(DecodeError::UnknownKind(other)),
    };
    Ok(Entry { activity, epoch, seq, at_ms, event })
}
