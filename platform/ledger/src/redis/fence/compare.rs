//! Compares one frozen ledger with the database, the journal and its outbox.

use std::collections::{BTreeSet, HashMap};

use commit_log::{Log, LogError};
use contract::{
    ActivityId,
    stock::{Command, Entry, Ledger, Outcome, Replayed, Reservation, Window},
};

use super::{Fence, FenceError, Lost, salvage::salvage};
use crate::{
    LedgerClient as _, LedgerUnavailable, journal,
    redis::{Parts, State, remembered::Remembered, wire::Caller},
};

/// Entries in one append at most.
const APPEND_ENTRIES_MAX: usize = 4096;

impl<L: Log, S> Fence<L, S> {
    /// Thaws a frozen ledger that has all entries of `journal` and `outbox`, and rebuilds any other.
    pub(super) async fn compare(
        &mut self,
        activity: ActivityId,
        journal: Option<Ledger>,
        state: Option<State>,
        outbox: Result<Vec<Entry>, LedgerUnavailable>,
        now_ms: u64,
    ) -> Result<(), FenceError> {
        let mut missing = Vec::new();
        let mut ledgers: HashMap<ActivityId, Ledger> = journal.map(|ledger| (activity, ledger)).into_iter().collect();
        for entry in outbox? {
            if Ledger::fold(&mut ledgers, &entry)? == Replayed::Applied {
                missing.push(entry);
            }
        }
        let redis = state.as_ref().and_then(|state| state.seq);
        let Some(mut ledger) = ledgers.remove(&activity) else {
            if let Some(redis) = redis {
                return Err(FenceError::Ahead { activity, redis, journal: 0 });
            }
            tracing::error!(%activity, "Redis has keys of a ledger that is neither in the database nor on the journal");
            self.unfounded.insert(activity);
            self.closed.remove(&activity);
            return Ok(());
        };
        let journaled = ledger.counters().seq;
        if let Some(redis) = redis.filter(|redis| *redis > journaled) {
            let salvaged = match &state {
                Some(state) if !state.has_outbox => self.salvage(&mut ledger, now_ms).await?,
                Some(_) | None => None,
            };
            let ahead = FenceError::Ahead { activity, redis, journal: journaled };
            missing.extend(salvaged.ok_or(ahead)?);
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
        let seq = ledger.counters().seq;
        let done = match &state {
            Some(state) if state.seq == Some(seq) && self.has_parts(activity, state).await? => {
                self.ledgers.thaw(activity, state).await?
            }
            Some(_) | None => {
                tracing::warn!(%activity, ?state, seq, forgotten = seq - journaled, "a ledger is rebuilt");
                let token = format!("rebuilding:{now_ms}:{}", std::process::id());
                self.ledgers.rebuild(&ledger.snapshot(), &token).await?
            }
        };
        if !done {
            return Err(LedgerUnavailable(format!("activity {activity} moved while it was compared")).into());
        }
        self.closed.remove(&activity);
        self.ledgers.reopened(activity).await?;
        self.ledgers.forget(activity, &remembered).await?;
        Ok(())
    }

    /// The entries of a lost outbox, if the rest of the ledger tells what they were.
    async fn salvage(&self, ledger: &mut Ledger, now_ms: u64) -> Result<Option<Vec<Entry>>, LedgerUnavailable> {
        let activity = ledger.activity();
        let (Some(found), Some(counters)) =
            (self.ledgers.snapshot(activity).await?, self.ledgers.counters(activity).await?)
        else {
            return Ok(None);
        };
        let Some(entries) = salvage(ledger, &found, counters, now_ms) else { return Ok(None) };
        tracing::warn!(%activity, entries = entries.len(), "an outbox was lost; its entries are derived from the ledger");
        Ok(Some(entries))
    }

    async fn has_parts(&self, activity: ActivityId, state: &State) -> Result<bool, LedgerUnavailable> {
        match state.parts {
            Parts::Whole => Ok(true),
            Parts::Missing => Ok(false),
            Parts::Unmarked => self.ledgers.mark_parts(activity).await,
        }
    }

    async fn append(&self, entries: &[Entry]) -> Result<(), LogError> {
        for entries in entries.chunks(APPEND_ENTRIES_MAX) {
            self.log.append(journal::records(entries)).await?;
        }
        Ok(())
    }

    /// Of those of `known` that sell, which are all but `lost`: repeats holds that a gateway reported only after the
    /// comparison, and removes closings that a process left behind.
    pub(super) async fn hold_the_late(&self, known: &[ActivityId], lost: &[Lost]) -> Result<(), LedgerUnavailable> {
        let lost: BTreeSet<ActivityId> = lost.iter().map(|(activity, _)| *activity).collect();
        let selling: Vec<ActivityId> = known.iter().copied().filter(|activity| !lost.contains(activity)).collect();
        for activity in self.ledgers.closed().await?.into_keys().filter(|activity| selling.contains(activity)) {
            self.ledgers.reopened(activity).await?;
        }
        for activity in self.ledgers.with_remembered(&selling).await? {
            let late = self.ledgers.remembered(activity).await?;
            for Remembered { reservation, at_ms } in &late {
                let caller = Caller { run: "", now_ms: Some(*at_ms), window: Window::default(), repeats_only: false };
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
fn report(activity: ActivityId, reservation: Reservation, outcome: Outcome) {
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
