//! Yeses that are not answered before the core has read them on the journal (`AnswerAfter::Log`).

use std::collections::{BTreeMap, VecDeque};

use contract::{
    ActivityId, OrderId,
    stock::{Outcome, Term},
};

use super::{QueuedReservation, Unavailable};

/// A yes of the ledger that its client has not been given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnreadHold {
    pub waiting: QueuedReservation,
    pub order: OrderId,
    /// The order was held before this request.
    pub repeated: bool,
    /// The term of the reply.
    pub term: Term,
    /// The ledger's `seq` at the reply. Every hold of the reply is on the journal before it.
    pub seq: u64,
}

/// What the journal says of an [`UnreadHold`], as far as the core has read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It counts.
    Counts,
    /// It was not read yet.
    Waits,
    /// It will not count in the term of the reply.
    Lost(Unavailable),
}

impl UnreadHold {
    /// What the client is answered; `None` if it waits on.
    pub(crate) fn answer(&self, verdict: Verdict) -> Option<Result<Outcome, Unavailable>> {
        match verdict {
            Verdict::Counts => Some(Ok(Outcome::Held { order: self.order, repeated: self.repeated })),
            Verdict::Waits => None,
            Verdict::Lost(reason) => Some(Err(reason)),
        }
    }
}

/// The holds of all sales that were not read, those of a sale in the order of their replies.
#[derive(Debug, Default)]
pub(super) struct UnreadHolds {
    lanes: BTreeMap<ActivityId, VecDeque<UnreadHold>>,
}

impl UnreadHolds {
    pub(super) fn push(&mut self, activity: ActivityId, hold: UnreadHold) {
        self.lanes.entry(activity).or_default().push_back(hold);
    }

    /// The sales that have some.
    pub(super) fn activities(&self) -> Vec<ActivityId> {
        self.lanes.keys().copied().collect()
    }

    /// Takes the sale's oldest hold and its answer, if it has one.
    pub(super) fn pop(
        &mut self,
        activity: ActivityId,
        verdict: impl Fn(&UnreadHold) -> Verdict,
    ) -> Option<(UnreadHold, Result<Outcome, Unavailable>)> {
        let lane = self.lanes.get_mut(&activity)?;
        let oldest = lane.front()?;
        let answer = oldest.answer(verdict(oldest))?;
        let hold = lane.pop_front()?;
        if lane.is_empty() {
            self.lanes.remove(&activity);
        }
        Some((hold, answer))
    }

    /// Drops the holds whose clients have stopped waiting. How many there were.
    pub(super) fn drop_abandoned(&mut self, waited_for: impl Fn(&QueuedReservation) -> bool) -> usize {
        let mut dropped = 0;
        self.lanes.retain(|_, lane| {
            let before = lane.len();
            lane.retain(|hold| waited_for(&hold.waiting));
            dropped += before - lane.len();
            !lane.is_empty()
        });
        dropped
    }
}
