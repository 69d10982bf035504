//! The reservation queue: a lane per activity, with one batch of each in flight.
//!
//! While a batch is with the ledger, the next one gathers; no timer is needed. A batch that got no
//! reply blocks its lane: what became of it is unknown until the reply comes or the link is lost.

mod unread;

use std::collections::{BTreeMap, VecDeque};

use contract::{
    ActivityId,
    stock::{BatchReply, Outcome, Reservation, Term},
    trace::TraceContext,
};

use self::unread::UnreadHolds;
pub(crate) use self::unread::{UnreadHold, Verdict};
use crate::ids::{ConnId, WaitId};

/// Empty lanes that keep their memory.
const LANES_KEPT_MAX: usize = 64;

/// Reservations in one batch at most.
pub const BATCH_MAX: usize = 128;

const _: () =
    assert!(BATCH_MAX <= contract::record::ENTRIES_MAX, "what a batch decides fits one record of the journal");

/// A batch that is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchId {
    activity: ActivityId,
    serial: u64,
}

/// What the shell must send to the activity's ledger, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Comes back with the reply.
    pub id: BatchId,
    /// The activity whose ledger is asked.
    pub activity: ActivityId,
    /// The term in which the core knows the ledger to sell; the ledger refuses any other.
    pub term: Term,
    /// At most [`BATCH_MAX`].
    pub reservations: Vec<Reservation>,
    /// Only repeats of accepted requests are accepted: the core knows of an end that the ledger may not know yet.
    pub repeats_only: bool,
    /// Its span, if one of its requests is sampled.
    pub trace: Option<TraceContext>,
}

/// The ledger gave no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// It is not open, or out of reach. What was asked may have happened.
    Unknown,
    /// It may have lost entries, and is being rebuilt in a new term. Nothing that counts happened.
    Frozen,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// A reservation and who waits for its outcome.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueuedReservation {
    pub conn: ConnId,
    pub wait: WaitId,
    pub reservation: Reservation,
}

/// A batch that has come back from the ledger, or will not.
#[derive(Debug)]
pub(crate) struct ConcludedBatch {
    /// Who waited, in the order of the reservations.
    pub sent: Vec<QueuedReservation>,
    /// [`Batch::repeats_only`].
    pub repeats_only: bool,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<QueuedReservation>,
    /// The serial of the batch in flight.
    in_flight: Option<u64>,
    /// [`Batch::repeats_only`] of the batch that was sent last.
    repeats_only: bool,
    /// Who waits for it; the memory stays.
    sent: Vec<QueuedReservation>,
}

/// All lanes.
#[derive(Debug)]
pub(crate) struct ReservationQueue {
    /// Every lane with something in it, and a few without.
    lanes: BTreeMap<ActivityId, Lane>,
    /// Lanes that may send, each once, in the order in which they became able to.
    sendable: VecDeque<ActivityId>,
    /// Yeses that wait for the journal.
    unread: UnreadHolds,
    waiting: usize,
    waiting_max: usize,
    next_serial: u64,
    next_wait: u64,
    counts: BatchCounts,
}

/// Batches since the core was made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BatchCounts {
    pub sent: u64,
    /// Reservations in them.
    pub reservations: u64,
    pub reservations_in_largest: u64,
    /// The ledger gave no usable reply.
    pub unavailable: u64,
}

impl BatchCounts {
    fn add(&mut self, reservations: usize) {
        let reservations = reservations as u64;
        self.sent += 1;
        self.reservations += reservations;
        self.reservations_in_largest = self.reservations_in_largest.max(reservations);
    }
}

impl ReservationQueue {
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self {
            lanes: BTreeMap::new(),
            sendable: VecDeque::new(),
            unread: UnreadHolds::default(),
            waiting: 0,
            waiting_max,
            next_serial: 0,
            next_wait: 0,
            counts: BatchCounts::default(),
        }
    }

    /// Reservations that wait, are in flight, or have a yes that waits for the journal.
    pub(crate) const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(crate) const fn counts(&self) -> BatchCounts {
        self.counts
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.waiting >= self.waiting_max
    }

    /// Puts a reservation into its lane.
    pub(crate) fn submit(
        &mut self,
        activity: ActivityId,
        conn: ConnId,
        reservation: Reservation,
    ) -> Result<WaitId, Full> {
        if self.is_full() {
            return Err(Full);
        }
        let wait = WaitId::new(self.next_wait);
        self.next_wait += 1;
        self.waiting += 1;
        let lane = self.lanes.entry(activity).or_default();
        if lane.waiting.is_empty() && lane.in_flight.is_none() {
            self.sendable.push_back(activity);
        }
        lane.waiting.push_back(QueuedReservation { conn, wait, reservation });
        Ok(wait)
    }

    /// The next batch to send. Reservations whose client has stopped waiting, by `waited_for`, are never sent. `asked_in`
    /// gives the term, and whether only repeats are accepted.
    pub(crate) fn poll_batch(
        &mut self,
        waited_for: impl Fn(&QueuedReservation) -> bool,
        asked_in: impl Fn(ActivityId) -> (Term, bool),
    ) -> Option<Batch> {
        while let Some(activity) = self.sendable.pop_front() {
            let Some(lane) = self.lanes.get_mut(&activity) else { continue };
            assert!(lane.in_flight.is_none(), "two batches of activity {activity} in flight");
            let sent = &mut lane.sent;
            while sent.len() < BATCH_MAX
                && let Some(waiting) = lane.waiting.pop_front()
            {
                if waited_for(&waiting) {
                    sent.push(waiting);
                } else {
                    self.waiting -= 1;
                }
            }
            if sent.is_empty() {
                self.forget_lane(activity);
                continue;
            }
            let id = BatchId::new(activity, self.next_serial);
            self.next_serial += 1;
            let reservations: Vec<Reservation> = sent.iter().map(|waiting| waiting.reservation).collect();
            assert!((1..=BATCH_MAX).contains(&reservations.len()), "a batch of {} reservations", reservations.len());
            self.counts.add(reservations.len());
            lane.in_flight = Some(id.serial);
            let (term, repeats_only) = asked_in(activity);
            lane.repeats_only = repeats_only;
            return Some(Batch { id, activity, term, reservations, repeats_only, trace: None });
        }
        None
    }

    /// Who waits for the batch that is in flight.
    pub(crate) fn sent(&self, batch: BatchId) -> &[QueuedReservation] {
        self.lanes.get(&batch.activity).map_or(&[], |lane| &lane.sent)
    }

    /// Takes the batch out of flight. `None` if it is not in flight. The memory of [`ConcludedBatch::sent`] comes back by
    /// [`ReservationQueue::give_back`].
    pub(crate) fn conclude(&mut self, id: BatchId) -> Option<ConcludedBatch> {
        let lane = self.lanes.get_mut(&id.activity)?;
        lane.in_flight.take_if(|serial| *serial == id.serial)?;
        let (sent, repeats_only) = (std::mem::take(&mut lane.sent), lane.repeats_only);
        assert!(!sent.is_empty() && sent.len() <= self.waiting, "{} in flight of {} waiting", sent.len(), self.waiting);
        self.waiting -= sent.len();
        if lane.waiting.is_empty() {
            self.forget_lane(id.activity);
        } else {
            self.sendable.push_back(id.activity);
        }
        Some(ConcludedBatch { sent, repeats_only })
    }

    /// Has a yes wait until it was read on the journal.
    pub(crate) fn await_journal(&mut self, activity: ActivityId, hold: UnreadHold) {
        self.waiting += 1;
        self.unread.push(activity, hold);
    }

    /// The sales with yeses that wait for the journal.
    pub(crate) fn unread_activities(&self) -> Vec<ActivityId> {
        self.unread.activities()
    }

    /// The sale's oldest yes that waits for the journal, and its answer, if `verdict` gives it one.
    pub(crate) fn poll_read(
        &mut self,
        activity: ActivityId,
        verdict: impl Fn(&UnreadHold) -> Verdict,
    ) -> Option<(UnreadHold, Result<Outcome, Unavailable>)> {
        let found = self.unread.pop(activity, verdict);
        self.waiting -= usize::from(found.is_some());
        found
    }

    /// Drops the yeses whose clients have stopped waiting.
    pub(crate) fn drop_abandoned(&mut self, waited_for: impl Fn(&QueuedReservation) -> bool) {
        self.waiting -= self.unread.drop_abandoned(waited_for);
    }

    /// A batch came back without a usable reply.
    pub(crate) fn count_unavailable(&mut self) {
        self.counts.unavailable += 1;
    }

    /// Keeps the memory of a batch that is concluded for its lane's next one.
    pub(crate) fn give_back(&mut self, activity: ActivityId, mut sent: Vec<QueuedReservation>) {
        if let Some(lane) = self.lanes.get_mut(&activity).filter(|lane| lane.in_flight.is_none()) {
            sent.clear();
            lane.sent = sent;
        }
    }

    fn forget_lane(&mut self, empty: ActivityId) {
        if self.lanes.len() > LANES_KEPT_MAX {
            self.lanes.remove(&empty);
        }
    }

    /// The batches that are in flight.
    pub(crate) fn in_flight(&self) -> Vec<BatchId> {
        let batch = |(activity, lane): (&ActivityId, &Lane)| Some(BatchId::new(*activity, lane.in_flight?));
        self.lanes.iter().filter_map(batch).collect()
    }
}

/// The reply has an outcome for each of `sent`.
pub(crate) fn fits(sent: &[QueuedReservation], reply: &BatchReply) -> bool {
    sent.len() == reply.outcomes.len()
}

impl BatchId {
    /// Batch `serial` of `activity`.
    pub const fn new(activity: ActivityId, serial: u64) -> Self {
        Self { activity, serial }
    }

    pub(crate) const fn activity(self) -> ActivityId {
        self.activity
    }
}
