//! Keeps a Redis that came back, perhaps older, from selling before it knows what was sold.
//!
//! Every ledger answers FROZEN on a run of the server on which it has not been compared with the log. The
//! fence compares: what the database and the journal have, what still waits in Redis' outbox, and what
//! the gateways remember to have been told in the last seconds. Whatever of it the journal lacks is
//! appended first; then a ledger that lacks nothing goes on, and any other is written anew.

use std::collections::{HashMap, HashSet};

use commit_log::{Log, LogError};
use contract::{
    ActivityId,
    ledger::{Command, Entry, Ledger, Outcome, RestoreError, Window},
};

use super::{RedisLedger, State, remembered::Remembered, wire::Caller};
use crate::{
    LedgerUnavailable,
    house::{RebuildError, SnapshotSource, restore},
    journal,
};

/// How long the gateways have to tell what they remember, once a new run of the server was seen.
const GRACE_MS: u64 = 500;
/// How often a server that has been compared is looked at.
const LOOK_EVERY_MS: u64 = 1_000;
/// Entries in one append at most.
const APPEND_ENTRIES_MAX: usize = 4096;

/// Why the ledgers stay frozen; the next look tries again.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// Redis did not answer.
    #[error(transparent)]
    Redis(#[from] LedgerUnavailable),
    /// What outlived the ledgers can't be read.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The log did not take what it lacked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The outbox does not follow the journal.
    #[error(transparent)]
    Contradiction(#[from] RestoreError),
    /// Redis has entries that neither the journal nor the outbox has. To rebuild the ledger would lose them.
    #[error("activity {activity}: Redis is at entry {redis}, journal and outbox end at {journal}")]
    Ahead {
        /// Whose ledger.
        activity: ActivityId,
        /// The ledger's last entry in Redis.
        redis: u64,
        /// The last entry of the journal and the outbox together.
        journal: u64,
    },
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// The ledgers have yet to be compared on this run of the server.
    Frozen,
    /// They have just been, and may sell: what Redis had not told anybody may be forgotten.
    Compared,
    /// They may sell.
    Selling,
}

/// Compares the ledgers in Redis with the log whenever its run has changed or one of them is gone.
#[derive(Debug)]
pub struct Fence<L, S> {
    ledgers: RedisLedger,
    log: L,
    snapshots: S,
    /// A run that was seen and not yet compared, and since when.
    seen: Option<(String, u64)>,
    /// The run that was compared, the ledgers there, and when it was last looked at.
    compared: Option<(String, Vec<ActivityId>, u64)>,
}

impl<L: Log, S: SnapshotSource> Fence<L, S> {
    /// A fence that has seen nothing yet.
    pub fn new(ledgers: RedisLedger, log: L, snapshots: S) -> Self {
        Self { ledgers, log, snapshots, seen: None, compared: None }
    }

    /// Looks once, and compares where that is due.
    ///
    /// # Errors
    /// See [`FenceError`].
    pub async fn look(&mut self, now_ms: u64) -> Result<Looked, FenceError> {
        let run = self.ledgers.run_id().await?;
        if let Some((compared, known, looked_ms)) = &mut self.compared
            && *compared == run
        {
            if now_ms.saturating_sub(*looked_ms) < LOOK_EVERY_MS {
                return Ok(Looked::Selling);
            }
            *looked_ms = now_ms;
            let known = known.clone();
            if self.ledgers.is_verified().await? && self.all_on(&known, &run).await? {
                self.hold_the_late(&known).await?;
                return Ok(Looked::Selling);
            }
        }
        let since_ms = match &self.seen {
            Some((seen, since_ms)) if *seen == run => *since_ms,
            Some(_) | None => {
                tracing::info!(run, "a run of Redis that has not been compared with the log");
                self.ledgers.connection().warn_of_eviction().await;
                self.seen = Some((run, now_ms));
                return Ok(Looked::Frozen);
            }
        };
        if now_ms.saturating_sub(since_ms) < GRACE_MS {
            return Ok(Looked::Frozen);
        }
        let known = self.compare(&run, now_ms).await?;
        tracing::info!(run, ledgers = known.len(), "Redis has been compared with the log");
        (self.seen, self.compared) = (None, Some((run, known, now_ms)));
        Ok(Looked::Compared)
    }

    async fn all_on(&self, known: &[ActivityId], run: &str) -> Result<bool, LedgerUnavailable> {
        let states = self.ledgers.states(known).await?;
        Ok(states.iter().all(|state| state.as_ref().is_some_and(|state| state.run == run && state.seq.is_some())))
    }

    /// Every activity that has a ledger.
    async fn compare(&self, run: &str, now_ms: u64) -> Result<Vec<ActivityId>, FenceError> {
        let here = self.ledgers.activities().await?;
        // The outboxes are read before the log: an element leaves its outbox only once it is on the log, so no entry is
        // missing from both.
        let mut outboxes = HashMap::with_capacity(here.len());
        for activity in &here {
            outboxes.insert(*activity, self.ledgers.outbox(*activity).await?);
        }
        let mut journal = restore(&self.log, &self.snapshots).await?;
        let known: Vec<ActivityId> = journal.keys().copied().chain(here).collect::<HashSet<_>>().into_iter().collect();
        for (activity, state) in known.iter().zip(self.ledgers.states(&known).await?) {
            if state.as_ref().is_none_or(|state| state.run != run) {
                let outbox = outboxes.remove(activity).unwrap_or_default();
                self.compare_one(*activity, (journal.remove(activity), outbox), state, now_ms).await?;
            }
        }
        self.ledgers.set_verified(run).await?;
        Ok(known)
    }

    async fn compare_one(
        &self,
        activity: ActivityId,
        (journal, outbox): (Option<Ledger>, Vec<Entry>),
        state: Option<State>,
        now_ms: u64,
    ) -> Result<(), FenceError> {
        let mut missing = Vec::new();
        let mut ledgers: HashMap<ActivityId, Ledger> = journal.map(|ledger| (activity, ledger)).into_iter().collect();
        for entry in outbox {
            if Ledger::fold(&mut ledgers, &entry)? == contract::ledger::Replayed::Applied {
                missing.push(entry);
            }
        }
        let Some(mut ledger) = ledgers.remove(&activity) else {
            // Opened and lost before anybody read of it: nobody has bought, and it is opened again.
            tracing::warn!(%activity, "Redis has a ledger that nothing else knows");
            return Ok(());
        };
        let journaled = ledger.counters().seq;
        let redis = state.as_ref().and_then(|state| state.seq);
        if let Some(redis) = redis.filter(|redis| *redis > journaled) {
            return Err(FenceError::Ahead { activity, redis, journal: journaled });
        }
        let remembered = self.ledgers.remembered(activity).await?;
        for Remembered { reservation, at_ms } in &remembered {
            if ledger.hold(reservation.order).is_some() {
                continue;
            }
            let outcome = ledger.apply(Command::Reserve(*reservation), *at_ms, &mut missing);
            report(activity, *reservation, outcome);
        }
        self.append(&missing).await?;
        let forgotten = ledger.counters().seq - journaled;
        let whole = state.as_ref().is_some_and(|state| state.seq == Some(ledger.counters().seq));
        let done = match &state {
            Some(state) if whole => self.ledgers.thaw(activity, state).await?,
            Some(_) | None => {
                tracing::warn!(%activity, ?state, seq = ledger.counters().seq, forgotten, "Redis is behind the log");
                let token = format!("rebuilding:{now_ms}:{}", std::process::id());
                self.ledgers.rebuild(&ledger.snapshot(), &token).await?
            }
        };
        if !done {
            return Err(LedgerUnavailable(format!("activity {activity} moved while it was compared")).into());
        }
        self.ledgers.forget(activity, &remembered).await?;
        Ok(())
    }

    async fn append(&self, entries: &[Entry]) -> Result<(), LogError> {
        for entries in entries.chunks(APPEND_ENTRIES_MAX) {
            self.log.append(journal::records(entries)).await?;
        }
        Ok(())
    }

    /// A gateway told what it remembers only after the ledgers went on.
    async fn hold_the_late(&self, known: &[ActivityId]) -> Result<(), LedgerUnavailable> {
        for activity in self.ledgers.with_remembered(known).await? {
            let late = self.ledgers.remembered(activity).await?;
            for Remembered { reservation, at_ms } in &late {
                let caller = Caller { run: "", now_ms: Some(*at_ms), window: Window::default() };
                let reply = self.ledgers.reserve(caller, activity, &[*reservation]).await?;
                for outcome in reply.outcomes {
                    report(activity, *reservation, outcome);
                }
            }
            self.ledgers.forget(activity, &late).await?;
        }
        Ok(())
    }
}

/// An order that was promised and can't be held again is for people to look at.
fn report(activity: ActivityId, reservation: contract::ledger::Reservation, outcome: Outcome) {
    let order = reservation.order;
    match outcome {
        Outcome::Held { order: first, .. } if first == order => {
            tracing::warn!(%activity, %order, "Redis had forgotten an order; it is held again");
        }
        // The order is known: it was never forgotten.
        Outcome::Conflict => {}
        Outcome::Held { .. }
        | Outcome::Done
        | Outcome::SoldOut
        | Outcome::LimitReached
        | Outcome::NotStarted
        | Outcome::Ended
        | Outcome::RateLimited
        | Outcome::KeyReused
        | Outcome::UnknownOrder
        | Outcome::Refused => {
            tracing::error!(%activity, %order, ?outcome, "an order was promised, forgotten, and can't be held again");
        }
    }
}
