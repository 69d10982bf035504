//! What the scripts leave in an activity's outbox: one element of the stream for each script that
//! decided something, with all of its events.

use contract::{
    ActivityId,
    activity::Rules,
    stock::{Entry, Event, RequestKey, Reservation, Term},
    trace::TraceContext,
};

use redis::{
    cmd,
    streams::{StreamId, StreamReadReply},
};

use super::{RedisLedger, script, unavailable};
use crate::{LedgerUnavailable, journal::TracedEntries};

/// Elements of each outbox that are read at a time; a batch of reservations is one.
const READ_MAX: usize = 256;
/// How long a read waits for something to come, in milliseconds; less than a response may take.
const READ_WAIT_MS: u64 = 100;

/// The beginning of an activity's outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// Whose.
    pub activity: ActivityId,
    /// In the order of their `seq`.
    pub entries: Vec<Entry>,
    /// Those of batches that belong to a trace.
    pub(crate) traced: Vec<TracedEntries>,
    /// The term of the last of them.
    term: Term,
    /// What to keep once the entries are on the log: everything from this id on.
    keep: String,
}

impl RedisLedger {
    /// Makes `name` the one relay for `ms`, unless another is. Whether it is; 0 gives it up.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn lease_relay(&self, name: &str, ms: u64) -> Result<bool, LedgerUnavailable> {
        let held = script::LEASE.key(script::RELAY).arg(name).arg(ms).invoke_async(&mut self.connection()).await;
        held.map_err(|error| unavailable(&error))
    }

    /// The beginnings of the outboxes of `activities`. Waits a moment where all are empty.
    ///
    /// # Errors
    /// If Redis does not answer, or an element can't be read.
    pub async fn read_outboxes(&self, activities: &[ActivityId]) -> Result<Vec<Outbox>, LedgerUnavailable> {
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(READ_MAX).arg("BLOCK").arg(READ_WAIT_MS).arg("STREAMS");
        for activity in activities {
            read.arg(script::outbox(*activity));
        }
        for _ in activities {
            read.arg("0");
        }
        let found: Option<StreamReadReply> =
            read.query_async(&mut self.connection()).await.map_err(|error| unavailable(&error))?;
        let mut outboxes = Vec::new();
        for stream in found.map(|found| found.keys).unwrap_or_default() {
            // A reader that waits is woken when a stream is created, though it was trimmed at once.
            if stream.ids.is_empty() {
                continue;
            }
            let activity = script::activity_of_outbox(&stream.key);
            let keep = stream.ids.last().and_then(|last| after(&last.id));
            let (Some(activity), Some(keep)) = (activity, keep) else {
                return Err(LedgerUnavailable(format!("not an outbox: {}", stream.key)));
            };
            let (mut entries, mut traced) = (Vec::new(), Vec::new());
            for element in &stream.ids {
                let first = entries.len();
                entries.extend(decode(activity, element)?);
                // What is no traceparent is ignored, as the standard has it.
                let trace = element.get::<String>("c").and_then(|text| TraceContext::parse(text.as_bytes()));
                traced.extend(trace.map(|context| TracedEntries { range: first..entries.len(), context }));
            }
            let term = entries.last().map_or(Term::FIRST, |entry: &Entry| entry.term);
            outboxes.push(Outbox { activity, entries, traced, term, keep });
        }
        Ok(outboxes)
    }

    /// Takes `outbox` away, once its entries are on the log. `false`, and nothing is taken away, if the ledger is not open
    /// in their term any more: they may not count then.
    ///
    /// # Errors
    /// If Redis does not answer; they are read again.
    pub async fn trim_outbox(&self, outbox: &Outbox) -> Result<bool, LedgerUnavailable> {
        let mut script = script::TRIM.prepare_invoke();
        for key in script::keys(outbox.activity, ["ledger", "outbox"]) {
            script.key(key);
        }
        script.arg(outbox.term.0).arg(&outbox.keep);
        script.invoke_async(&mut self.connection()).await.map_err(|error| unavailable(&error))
    }

    /// Elements that wait in the outboxes of `activities`.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn backlog(&self, activities: &[ActivityId]) -> Result<u64, LedgerUnavailable> {
        if activities.is_empty() {
            return Ok(0);
        }
        let mut ask = redis::pipe();
        for activity in activities {
            ask.cmd("XLEN").arg(script::outbox(*activity));
        }
        let lengths: Result<Vec<u64>, _> = ask.query_async(&mut self.connection()).await;
        Ok(lengths.map_err(|error| unavailable(&error))?.iter().sum())
    }
}

/// The least id after `id` (`milliseconds-number`).
fn after(id: &str) -> Option<String> {
    let (ms, number) = id.split_once('-')?;
    let number: u64 = number.parse().ok()?;
    Some(format!("{ms}-{}", number.checked_add(1)?))
}

/// An element of the outbox can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("activity {activity}: an element of the outbox can't be read: {reason}")]
pub struct OutboxError {
    activity: ActivityId,
    reason: String,
}

impl From<OutboxError> for LedgerUnavailable {
    fn from(error: OutboxError) -> Self {
        Self(error.to_string())
    }
}

/// The journal's entries in one element of `activity`'s outbox, in the order of their `seq`.
pub(super) fn decode(activity: ActivityId, element: &StreamId) -> Result<Vec<Entry>, OutboxError> {
    let fault = |reason: &str| OutboxError { activity, reason: reason.to_owned() };
    let field = |name: &str| element.get::<String>(name).ok_or_else(|| fault(name));
    let number = |name: &str| field(name)?.parse::<u64>().map_err(|_| fault(name));
    let (term, at_ms) = (Term(number("m")?), number("t")?);
    let (mut seq, mut epoch) = (number("s")?, number("e")?);
    let mut entries = Vec::new();
    if let Ok(held) = field("h") {
        let mut words = held.split(' ');
        while let Some(order) = words.next() {
            let event = reserved(order, &mut words).ok_or_else(|| fault("h"))?;
            entries.push(Entry { activity, term, epoch, seq, at_ms, event });
            seq += 1;
        }
        return Ok(entries);
    }
    for line in field("x")?.split('\n') {
        let event = event(line).ok_or_else(|| fault(line))?;
        epoch += u64::from(event.returns_stock());
        entries.push(Entry { activity, term, epoch, seq, at_ms, event });
        seq += 1;
    }
    Ok(entries)
}

/// `order user request quantity`, as the gateway asked for it; the request may be empty.
fn reserved<'a>(order: &str, words: &mut impl Iterator<Item = &'a str>) -> Option<Event> {
    let (order, user) = (order.parse().ok()?, words.next()?.parse().ok()?);
    let request = match words.next()? {
        "" => None,
        text => Some(RequestKey::from_hex(text)?),
    };
    Some(Event::Held(Reservation { order, user, request, quantity: words.next()?.parse().ok()? }))
}

fn event(line: &str) -> Option<Event> {
    let mut words = line.split(' ');
    let event = match words.next()? {
        "s" => Event::Settled { order: words.next()?.parse().ok()?, quantity: words.next()?.parse().ok()? },
        "r" => Event::Released { order: words.next()?.parse().ok()?, quantity: words.next()?.parse().ok()? },
        "p" => Event::Restocked { operation: words.next()?.parse().ok()?, delta: words.next()?.parse().ok()? },
        "e" => Event::Ended { ends_at_ms: words.next()?.parse().ok()? },
        "o" => {
            let (stock, per_user_limit) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let (starts_at_ms, ends_at_ms) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Event::Opened { stock, rules: Rules { per_user_limit, starts_at_ms, ends_at_ms } }
        }
        _ => return None,
    };
    words.next().is_none().then_some(event)
}
