//! Flash sales and what admins said of their users, as records.

use super::{Record, begin, header, kind, only, put_rules, rules};
use crate::{
    Activity, ActivityId, Cents, SkuId, UserId,
    activity::{Admission, AnswerAfter, Door, Entry, EntryRule},
    codec::{DecodeError, Reader},
};

impl Record for Activity {
    fn encode(&self, out: &mut Vec<u8>) {
        let options = options_of(&self.admission);
        let mut writer = begin(out, if options.is_empty() { kind::ACTIVITY } else { kind::ACTIVITY_WITH_OPTIONS });
        writer.i64(self.id.as_i64()).u64(self.version).i64(self.sku.as_i64());
        writer.i64(self.price.get()).i64(self.original_price.get());
        put_rules(&mut writer, &self.rules);
        let Admission { paused, invited_only, door, registered_before_ms: _, answer_after: _ } = self.admission;
        let door = match door {
            Door::Open => 0,
            Door::Ticket => 1,
            Door::Captcha => 2,
        };
        writer.text(&self.title).u8(paused.into()).u8(invited_only.into()).u8(door);
        if !options.is_empty() {
            writer.u8(u8::try_from(options.len()).unwrap_or(u8::MAX));
            for (option, value) in options {
                writer.u8(option).u64(value);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = header(bytes)?;
        let (has_admission, has_options) = match kind {
            kind::ACTIVITY_OPEN_TO_ALL => (false, false),
            kind::ACTIVITY => (true, false),
            kind::ACTIVITY_WITH_OPTIONS => (true, true),
            other => return Err(DecodeError::UnknownKind(other)),
        };
        let id = reader.id(ActivityId::from_i64)?;
        let version = reader.u64()?;
        let sku = reader.id(SkuId::from_i64)?;
        let (price, original_price) = (Cents::new(reader.i64()?), Cents::new(reader.i64()?));
        let rules = rules(&mut reader)?;
        let title = reader.text()?;
        let mut admission = if has_admission { admission(&mut reader)? } else { Admission::default() };
        if has_options {
            read_options(&mut reader, &mut admission)?;
        }
        reader.end()?;
        Ok(Self { id, version, title, sku, price, original_price, rules, admission })
    }
}

fn admission(reader: &mut Reader<'_>) -> Result<Admission, DecodeError> {
    let (paused, invited_only) = (reader.flag()?, reader.flag()?);
    let door = match reader.u8()? {
        0 => Door::Open,
        1 => Door::Ticket,
        2 => Door::Captcha,
        _ => return Err(DecodeError::OutOfRange),
    };
    Ok(Admission { paused, invited_only, door, ..Admission::default() })
}

/// An option of an activity: users must have registered before an instant.
const REGISTERED_BEFORE: u8 = 1;
/// Its yeses are answered after the log. The value is 1.
const ANSWER_AFTER_LOG: u8 = 2;

/// What most sales do not have, each with its number.
fn options_of(admission: &Admission) -> Vec<(u8, u64)> {
    let registered_before = admission.registered_before_ms.map(|at_ms| (REGISTERED_BEFORE, at_ms));
    let answer_after = match admission.answer_after {
        AnswerAfter::Script => None,
        AnswerAfter::Log => Some((ANSWER_AFTER_LOG, 1)),
    };
    registered_before.into_iter().chain(answer_after).collect()
}

/// A reader that does not know an option must not sell without it.
fn read_options(reader: &mut Reader<'_>, admission: &mut Admission) -> Result<(), DecodeError> {
    for _ in 0..reader.u8()? {
        match (reader.u8()?, reader.u64()?) {
            (REGISTERED_BEFORE, at_ms) => admission.registered_before_ms = Some(at_ms),
            (ANSWER_AFTER_LOG, 1) => admission.answer_after = AnswerAfter::Log,
            (_, _) => return Err(DecodeError::OutOfRange),
        }
    }
    Ok(())
}

impl Record for EntryRule {
    fn encode(&self, out: &mut Vec<u8>) {
        let entry = match self.entry {
            Entry::Unlisted => 0,
            Entry::Allowed => 1,
            Entry::Blocked => 2,
        };
        let mut writer = begin(out, kind::ENTRY_RULE);
        writer.i64(self.activity.as_i64()).i64(self.user.as_i64()).u64(self.version).u8(entry);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = header(bytes)?;
        only(kind, kind::ENTRY_RULE)?;
        let (activity, user) = (reader.id(ActivityId::from_i64)?, reader.id(UserId::from_i64)?);
        let version = reader.u64()?;
        let entry = match reader.u8()? {
            0 => Entry::Unlisted,
            1 => Entry::Allowed,
            2 => Entry::Blocked,
            _ => return Err(DecodeError::OutOfRange),
        };
        reader.end()?;
        Ok(Self { activity, user, version, entry })
    }
}
