//! The journal as it is on the log.

use std::{
    ops::Range,
    sync::{Arc, LazyLock},
};

use commit_log::NewRecord;
use contract::{
    record::{Entries, Record as _, activity_key},
    stock::Entry,
    topic,
    trace::TraceContext,
};
use foundation::spans::{self, ActiveSpan, SpanKind};

static SERVICE: LazyLock<Arc<str>> = LazyLock::new(|| "ledger".into());

/// Neighbouring entries that the same batch has caused, and the span that has them now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedEntries {
    /// Their indexes.
    pub range: Range<usize>,
    /// The span.
    pub context: TraceContext,
}

/// What to append for `entries`, which keep their order.
pub fn records(entries: &[Entry]) -> Vec<NewRecord> {
    Entries::group(entries).map(|entries| record(&entries)).collect()
}

/// The same, where those that are traced have records of their own. The ranges ascend and don't overlap.
pub(crate) fn traced_records(entries: &[Entry], traced: &[TracedEntries]) -> Vec<NewRecord> {
    let (mut at, mut found) = (0, Vec::new());
    for TracedEntries { range, context } in traced {
        found.extend(records(&entries[at..range.start]));
        let of_range = Entries::group(&entries[range.clone()]);
        found.extend(of_range.map(|entries| record(&entries.traced(Some(*context)))));
        at = range.end;
    }
    found.extend(records(&entries[at..]));
    found
}

fn record(entries: &Entries) -> NewRecord {
    let topic: Arc<str> = topic::ORDERS.into();
    NewRecord { topic, key: activity_key(entries.activity()).to_vec(), value: entries.to_bytes() }
}

/// A span for each of `traced`, which becomes its place in the trace. They end when they are dropped.
pub(crate) fn begin_spans(traced: &mut [TracedEntries], name: &'static str, kind: SpanKind) -> Vec<ActiveSpan> {
    let mut begin = |traced: &mut TracedEntries| {
        let span = spans::continuing(&SERVICE, Some(traced.context), name, kind);
        // Without a span of its own, the process passes on what it was given.
        traced.context = span.context().unwrap_or(traced.context);
        span
    };
    traced.iter_mut().map(&mut begin).collect()
}
