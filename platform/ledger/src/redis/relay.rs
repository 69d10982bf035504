//! The relay of the ledgers: carries what the ledgers in Redis decided to the log.
//!
//! One relay works at a time, the one that holds the lease: an activity's entries must reach the log in the order of their
//! `seq`, which consumers that share a stream would break. An outbox holds what the log has not acknowledged, so the next
//! holder of the lease begins at the outbox's start. A relay that has lost its lease without noticing only repeats, in
//! order, what another one appends too; readers of the journal know an entry by its term and `seq`.
//!
//! An append that is under way while a new term starts may reach the log behind that mark, where its entries do not count.
//! So an outbox is trimmed only while its ledger is open in the term of the entries; the recovery reads what is left.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use commit_log::{Log, LogError, NewRecord};
use contract::{ActivityId, stock::Promise};
use foundation::spans::{ActiveSpan, SpanKind};

use super::{Closed, Outbox, RedisLedger};
use crate::{LedgerUnavailable, confirmed::RecentHolds, journal};

/// A relay that is silent for this long loses its lease.
const LEASE_MS: u64 = 3_000;
/// How often the lease is renewed, and the server is asked for its run id.
pub const RENEW_EVERY: Duration = Duration::from_millis(200);

const _: () = assert!(RENEW_EVERY.as_millis() * 5 <= LEASE_MS as u128, "a lease outlives several renewals that fail");

/// Carries outboxes to the log, a step at a time.
pub struct LedgerRelay<L> {
    ledgers: RedisLedger,
    log: L,
    name: String,
    recent: Vec<Arc<RecentHolds>>,
    /// The run of the server that was seen last.
    run: Option<String>,
    /// The ledgers that are being rebuilt. Their outboxes are left alone.
    closed: Closed,
    renewed: Option<Duration>,
    holds_lease: bool,
}

/// Why a step failed. The next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Redis does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerUnavailable),
    /// The log can't be written.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What a step did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Nothing waits: the next step is due after [`RENEW_EVERY`].
    pub is_idle: bool,
    /// Entries of the journal that were appended.
    pub appended: u64,
    /// Present if the lease was renewed in this step, or could not be had.
    pub lease: Option<Lease>,
    /// The server is not the run that the last step saw, or none was seen before.
    pub is_new_run: bool,
    /// Ledgers that were closed, and how many promised orders this gateway reported of each.
    pub closed: Vec<(ActivityId, usize)>,
}

/// The state of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// This relay works.
    pub is_held: bool,
    /// Elements in the outboxes that the log has not acknowledged; 0 for a relay that does not work.
    pub backlog: u64,
}

impl<L: Log> LedgerRelay<L> {
    /// A relay with a `name` that no other one has. `recent` are the holds of this gateway's cores.
    pub const fn new(ledgers: RedisLedger, log: L, name: String, recent: Vec<Arc<RecentHolds>>) -> Self {
        Self { ledgers, log, name, recent, run: None, closed: Closed::new(), renewed: None, holds_lease: false }
    }

    /// Renews the lease if that is due, and carries what waits. It may be called again after an error. `now` is a clock that
    /// never goes back.
    ///
    /// # Errors
    /// If Redis or the log does not do what it is asked.
    pub async fn step(&mut self, activities: &[ActivityId], now: Duration) -> Result<Step, RelayError> {
        let step = self.try_step(activities, now).await;
        if step.is_err() {
            self.renewed = None;
        }
        step
    }

    async fn try_step(&mut self, activities: &[ActivityId], now: Duration) -> Result<Step, RelayError> {
        let mut step = Step::default();
        if self.renewed.is_none_or(|renewed| now.saturating_sub(renewed) >= RENEW_EVERY) {
            self.renew(activities, &mut step).await?;
            self.renewed = Some(now);
        }
        let open: Vec<ActivityId> =
            activities.iter().copied().filter(|activity| !self.closed.contains_key(activity)).collect();
        if !self.holds_lease || open.is_empty() {
            step.is_idle = true;
            return Ok(step);
        }
        step.appended = self.carry(&open).await?;
        Ok(step)
    }

    async fn renew(&mut self, activities: &[ActivityId], step: &mut Step) -> Result<(), RelayError> {
        let run = self.ledgers.run_id().await?;
        step.is_new_run = self.run.as_ref() != Some(&run);
        self.ledgers.note_gateway(&self.name).await?;
        self.holds_lease = self.ledgers.lease_relay(&self.name, LEASE_MS).await?;
        step.closed = self.report().await?;
        let backlog = if self.holds_lease { self.ledgers.backlog(activities).await? } else { 0 };
        step.lease = Some(Lease { is_held: self.holds_lease, backlog });
        // Last, so that a step that fails before this reports the new run again.
        self.run = Some(run);
        Ok(())
    }

    /// Gives the lease up, so that another relay need not wait for its end.
    ///
    /// # Errors
    /// If Redis does not answer; the lease ends by itself then.
    pub async fn give_up(&mut self) -> Result<(), LedgerUnavailable> {
        self.holds_lease = false;
        self.renewed = None;
        self.ledgers.lease_relay(&self.name, 0).await?;
        self.ledgers.forget_gateway(&self.name).await
    }

    /// Reads which ledgers are closed, and reports what the cores remember of each: as long as it is closed, because the
    /// reply to a batch may be read a moment later, and once more when it is open again.
    async fn report(&mut self) -> Result<Vec<(ActivityId, usize)>, LedgerUnavailable> {
        let closed = self.ledgers.closed().await?;
        self.report_left_behind(&closed).await?;
        if closed.is_empty() && self.closed.is_empty() {
            return Ok(Vec::new());
        }
        let mut remembered = self.remembered();
        let mut reported = Vec::new();
        for (activity, term) in &closed {
            let held = remembered.remove(activity).unwrap_or_default();
            self.ledgers.remember(*activity, &held).await?;
            if self.closed.get(activity) != Some(term) {
                self.ledgers.note_report(*activity, &self.name, *term).await?;
                reported.push((*activity, held.len()));
            }
        }
        let reopened = self.closed.keys().filter(|activity| !closed.contains_key(activity));
        for activity in reopened {
            let held = remembered.remove(activity).unwrap_or_default();
            let forgotten = self.ledgers.unknown(*activity, held).await?;
            self.ledgers.remember(*activity, &forgotten).await?;
        }
        self.closed = closed;
        Ok(reported)
    }

    /// Reports promises that a recovery has missed, again and again until the journal has settled them: a report may be lost
    /// with the server that has it.
    async fn report_left_behind(&self, closed: &Closed) -> Result<(), LedgerUnavailable> {
        let mut left: BTreeMap<ActivityId, Vec<Promise>> = BTreeMap::new();
        for (activity, promise) in self.recent.iter().flat_map(|recent| recent.left_behind()) {
            left.entry(activity).or_default().push(promise);
        }
        for (activity, promises) in left.into_iter().filter(|(activity, _)| !closed.contains_key(activity)) {
            let unknown = self.ledgers.unknown(activity, promises).await?;
            self.ledgers.remember(activity, &unknown).await?;
        }
        Ok(())
    }

    /// Orders that the cores of this gateway know as held and that have not been read on the journal.
    fn remembered(&self) -> BTreeMap<ActivityId, Vec<Promise>> {
        let mut held: BTreeMap<ActivityId, Vec<Promise>> = BTreeMap::new();
        for (activity, remembered) in self.recent.iter().flat_map(|recent| recent.all()) {
            held.entry(activity).or_default().push(remembered);
        }
        held
    }

    /// Reads the beginning of every outbox, appends it to the log, and removes it once it is there. How many entries.
    async fn carry(&self, activities: &[ActivityId]) -> Result<u64, RelayError> {
        let mut outboxes = self.ledgers.read_outboxes(activities).await?;
        let mut begin = |name, kind| -> Vec<ActiveSpan> {
            outboxes.iter_mut().flat_map(|outbox| journal::begin_spans(&mut outbox.traced, name, kind)).collect()
        };
        let (_relay, append) = (begin("relay", SpanKind::Internal), begin("log append", SpanKind::Producer));
        let record = |outbox: &Outbox| journal::traced_records(&outbox.entries, &outbox.traced);
        let records: Vec<NewRecord> = outboxes.iter().flat_map(record).collect();
        if !records.is_empty() {
            self.log.append(records).await?;
        }
        drop(append);
        for outbox in &outboxes {
            self.ledgers.trim_outbox(outbox).await?;
        }
        Ok(outboxes.iter().map(|outbox| outbox.entries.len() as u64).sum())
    }
}
