//! Spans of sampled reservations, and of the batches that carry them to the ledger.
//!
//! A batch has many requests. Its span is a child of its first sampled request and links the others, so each of them leads
//! to the batch, and everything behind the batch is in the trace of the first.

use std::{collections::VecDeque, time::Duration};

use contract::{
    ActivityId, OrderId,
    stock::Outcome,
    trace::{TraceContext, is_sampled_at},
};

use super::random::{mixed, one_way};
use crate::{
    ids::WaitId,
    queue::{BatchId, QueuedReservation, Unavailable},
};

/// Requests that are measured at once. One more ends the oldest.
const OPEN_MAX: usize = 1_024;
/// A request that is measured for this long was abandoned by its client before its batch was sent.
const OPEN_FOR: Duration = Duration::from_secs(60);

/// What a span measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spanned {
    /// A reservation, from its request to the answer.
    Request(OrderId),
    /// A batch, from its sending to the ledger's answer.
    Batch,
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreSpan {
    /// What it measures.
    pub of: Spanned,
    /// Whose ledger was asked.
    pub activity: ActivityId,
    /// The span itself.
    pub context: TraceContext,
    /// The id of its parent.
    pub parent: Option<u64>,
    /// The requests of a batch besides its parent.
    pub links: Vec<TraceContext>,
    /// On the clock of [`crate::Now::mono`].
    pub began: Duration,
    /// What came of it.
    pub outcome: &'static str,
    /// The ledger gave no answer.
    pub is_error: bool,
}

#[derive(Debug)]
pub(super) struct Tracer {
    sampled_per_million: u32,
    seed: u64,
    drawn: u64,
    /// In the order of their ids, and thus of their beginning.
    open: VecDeque<(WaitId, CoreSpan)>,
    /// One for each activity at most.
    batches: Vec<(BatchId, CoreSpan)>,
    ended: VecDeque<CoreSpan>,
}

impl Tracer {
    pub(super) fn new(seed: u64, sampled_per_million: u32) -> Self {
        let (open, batches, ended) = Default::default();
        Self { sampled_per_million, seed: one_way(b"span ids", seed, 0), drawn: 0, open, batches, ended }
    }

    /// A span for the queued reservation, if its sender records one or its id is sampled.
    pub(super) fn begin(
        &mut self,
        (wait, order, activity): (WaitId, OrderId, ActivityId),
        traceparent: Option<&[u8]>,
        trace_id: u128,
        now: Duration,
    ) {
        let recorded = traceparent.and_then(TraceContext::parse).filter(|incoming| incoming.is_sampled());
        if recorded.is_none() && !is_sampled_at(trace_id, self.sampled_per_million) {
            return;
        }
        let Some(context) = self.draw(trace_id) else { return };
        if self.open.len() >= OPEN_MAX
            && let Some((_, oldest)) = self.open.pop_front()
        {
            self.ended.push_back(oldest);
        }
        // A sender that has not recorded its span is no parent that a collector could show.
        let parent = recorded.map(TraceContext::span_id);
        self.open.push_back((wait, span(Spanned::Request(order), activity, (context, parent), now)));
    }

    /// The context of a batch that carries `sent`; `None` if none of them is sampled.
    pub(super) fn begin_batch(
        &mut self,
        batch: BatchId,
        sent: &[QueuedReservation],
        now: Duration,
    ) -> Option<TraceContext> {
        if self.open.is_empty() {
            return None;
        }
        let mut requests = sent.iter().filter_map(|sent| Some(self.open[self.find(sent.wait)?].1.context));
        let parent = requests.next()?;
        let links = requests.collect();
        let context = self.draw(parent.trace_id())?;
        let place = (context, Some(parent.span_id()));
        let span = CoreSpan { links, ..span(Spanned::Batch, batch.activity(), place, now) };
        self.batches.push((batch, span));
        Some(context)
    }

    pub(super) fn end_batch(&mut self, batch: BatchId, is_answered: bool) {
        if let Some(at) = self.batches.iter().position(|(id, _)| *id == batch) {
            let (_, span) = self.batches.swap_remove(at);
            let outcome = if is_answered { "answered" } else { "unavailable" };
            self.ended.push_back(CoreSpan { outcome, is_error: !is_answered, ..span });
        }
    }

    pub(super) fn end(&mut self, wait: WaitId, outcome: Result<Outcome, Unavailable>) {
        if let Some((_, span)) = self.find(wait).and_then(|at| self.open.remove(at)) {
            self.ended.push_back(CoreSpan { outcome: word(outcome), is_error: outcome.is_err(), ..span });
        }
    }

    /// Ends what no answer will end.
    pub(super) fn handle_timeout(&mut self, now: Duration) {
        while let Some((_, span)) = self.open.pop_front_if(|(_, span)| now.saturating_sub(span.began) > OPEN_FOR) {
            self.ended.push_back(span);
        }
    }

    pub(super) fn poll(&mut self) -> Option<CoreSpan> {
        self.ended.pop_front()
    }

    fn find(&self, wait: WaitId) -> Option<usize> {
        self.open.binary_search_by_key(&wait, |(wait, _)| *wait).ok()
    }

    fn draw(&mut self, trace_id: u128) -> Option<TraceContext> {
        self.drawn += 1;
        TraceContext::new(trace_id, mixed(self.seed, self.drawn), true)
    }
}

const fn span(
    of: Spanned,
    activity: ActivityId,
    (context, parent): (TraceContext, Option<u64>),
    began: Duration,
) -> CoreSpan {
    CoreSpan { of, activity, context, parent, links: Vec::new(), began, outcome: "abandoned", is_error: false }
}

const fn word(outcome: Result<Outcome, Unavailable>) -> &'static str {
    match outcome {
        Ok(Outcome::Held { repeated: false, .. }) => "held",
        Ok(Outcome::Held { repeated: true, .. }) => "repeated",
        Ok(Outcome::Done) => "done",
        Ok(Outcome::SoldOut) => "sold_out",
        Ok(Outcome::LimitReached) => "limit_reached",
        Ok(Outcome::NotStarted) => "not_started",
        Ok(Outcome::Ended) => "ended",
        Ok(Outcome::RateLimited) => "rate_limited",
        Ok(Outcome::KeyReused) => "key_reused",
        Ok(Outcome::UnknownOrder) => "unknown_order",
        Ok(Outcome::Conflict) => "conflict",
        Ok(Outcome::Refused) => "refused",
        Err(Unavailable::Unknown) => "unavailable",
        Err(Unavailable::Frozen) => "frozen",
    }
}
