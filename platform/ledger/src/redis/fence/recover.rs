//! The recovery of one ledger, from the start of its term on.

use std::{collections::HashMap, iter};

use commit_log::{Log, LogError};
use contract::{
    ActivityId, OrderId,
    stock::{
        Command, Entry, Event, FailedReason, Hold, HoldState, Ledger, Outcome, Promise, Replay, Reservation, Term,
    },
};

use super::{Fence, FenceError, Opening, Recovery, RecoverySource, State};
use crate::{
    LedgerUnavailable, journal,
    redis::wire::{Caller, Holds},
    restore::{LedgerFault, restore},
};

/// Entries in one append at most.
const APPEND_ENTRIES_MAX: usize = 4096;

/// A ledger while promises are taken into it.
struct Rebuilding {
    ledger: Ledger,
    /// What the journal lacks.
    entries: Vec<Entry>,
    kept: usize,
    broken: usize,
}

impl Rebuilding {
    /// Keeps a promise, or records that it can't be kept.
    fn adopt(&mut self, reservation: Reservation, at_ms: u64) {
        let known = self.ledger.hold(reservation.order).is_some();
        match self.ledger.adopt(reservation, at_ms, &mut self.entries) {
            Ok(()) => self.kept += usize::from(!known),
            Err(reason) => {
                self.broken += 1;
                let (activity, order) = (self.ledger.activity(), reservation.order);
                tracing::error!(%activity, %order, ?reason, "an order was promised and forgotten, and can't be kept");
                let counters = self.ledger.counters();
                let event = Event::PromiseFailed { reservation, reason };
                let (term, epoch, seq) = (counters.term, counters.epoch, counters.seq);
                self.entries.push(Entry { activity, term, epoch, seq, at_ms, event });
            }
        }
    }

    /// Carries out what was decided before; what the ledger knows already changes nothing.
    fn carry_out(&mut self, command: Command, at_ms: u64) {
        self.ledger.apply(command, at_ms, &mut self.entries);
    }

    /// An entry of an older term that the journal may lack.
    fn repeat(&mut self, entry: &Entry) {
        let at_ms = entry.at_ms;
        match entry.event {
            Event::Held(reservation) => self.adopt(reservation, at_ms),
            Event::Settled { order, .. } => self.carry_out(Command::Settle(order), at_ms),
            Event::Released { order, .. } => self.carry_out(Command::Release(order), at_ms),
            Event::Restocked { operation, delta } => self.carry_out(Command::Restock { operation, delta }, at_ms),
            Event::Ended { ends_at_ms } => self.carry_out(Command::End { ends_at_ms }, at_ms.max(ends_at_ms)),
            Event::Opened { .. } | Event::TermStarted { .. } | Event::TermOpened(_) | Event::PromiseFailed { .. } => {}
        }
    }

    /// An order as the lost ledger had it.
    fn repeat_hold(&mut self, hold: &Hold, at_ms: u64) {
        self.adopt(hold.reservation, at_ms);
        let order = hold.reservation.order;
        match hold.state {
            HoldState::Held => {}
            HoldState::Sold => self.carry_out(Command::Settle(order), at_ms),
            HoldState::Released => self.carry_out(Command::Release(order), at_ms),
        }
    }
}

impl<L: Log, S: RecoverySource> Fence<L, S> {
    /// What database and journal have of the ledgers in `due`.
    pub(super) async fn replayed(
        &mut self,
        due: &std::collections::BTreeMap<ActivityId, Recovery>,
    ) -> Result<HashMap<ActivityId, Result<Replay, LedgerFault>>, FenceError> {
        if due.values().any(|recovery| recovery.opening.is_none()) {
            return Ok(restore(&self.log, &self.source).await?);
        }
        // Only the opening of ledgers that the journal did not know before their mark.
        self.tail.catch_up().await?;
        let mut replayed = HashMap::new();
        for (activity, recovery) in due {
            let mut replay = Replay::default();
            if self.tail.opened().any(|opened| opened == *activity) {
                return Ok(restore(&self.log, &self.source).await?);
            }
            let found = self.tail.term(*activity);
            let event = Event::TermStarted { nonce: 0 };
            let mark = Entry { activity: *activity, term: found, epoch: 0, seq: 0, at_ms: recovery.since_ms, event };
            let taken = replay.take(&mark).map(|_| replay).map_err(LedgerFault::from);
            replayed.insert(*activity, taken);
        }
        Ok(replayed)
    }

    /// Rebuilds a ledger in its new term and opens it. `replay` is the journal up to the start of the term at least.
    pub(super) async fn recover(
        &mut self,
        activity: ActivityId,
        recovery: Recovery,
        replay: Replay,
        now_ms: u64,
    ) -> Result<(), FenceError> {
        let Recovery { term, opening, .. } = recovery;
        let found = replay.position().term;
        if found != term {
            return Err(FenceError::Overtaken { activity, found });
        }
        let (ledger, stale) = replay.into_parts();
        let opening = match (&ledger, opening) {
            (None, None) => self.opening_of(activity).await?,
            (_, opening) => opening,
        };
        let is_new = ledger.is_none();
        let mut rebuilding = match (ledger, opening) {
            (Some(ledger), _) => Rebuilding { ledger, entries: Vec::new(), kept: 0, broken: 0 },
            (None, Some(Opening { stock, rules, .. })) => {
                let (ledger, opened) = Ledger::open_in(term, activity, stock, rules, now_ms);
                Rebuilding { ledger, entries: vec![opened], kept: 0, broken: 0 }
            }
            (None, None) => return Err(FenceError::Unfounded(activity)),
        };
        if is_new {
            self.keep_unknown(activity, &mut rebuilding, now_ms).await?;
        }
        let remembered = self.collect(activity, &mut rebuilding, stale, now_ms).await?;
        let Rebuilding { ledger, entries, kept, broken } = rebuilding;
        self.append(&entries).await?;
        self.ledgers.rebuild(&ledger.snapshot()).await?;
        let counters = ledger.counters();
        let event = Event::TermOpened(ledger.term_counts());
        self.append(&[Entry { activity, term, epoch: counters.epoch, seq: counters.seq, at_ms: now_ms, event }])
            .await?;
        self.ledgers.open_in(activity, term).await?;
        tracing::info!(%activity, %term, seq = counters.seq, kept, broken, "a ledger sells in a new term");
        self.ledgers.reopened(activity).await?;
        self.ledgers.forget(activity, &remembered).await?;
        Ok(())
    }

    async fn opening_of(&self, activity: ActivityId) -> Result<Option<Opening>, FenceError> {
        let openings = self.source.to_open().await.map_err(FenceError::Database)?;
        Ok(openings.into_iter().find(|opening| opening.activity == activity))
    }

    /// Takes in all that is known of promises and decisions, in this order: what the journal and the database have of
    /// older terms, what the ledger left in Redis, what the database has decided since, what gateways remember. The
    /// decisions come before the memory, or a unit of a closed order that was sold on would be found sold out.
    async fn collect(
        &self,
        activity: ActivityId,
        rebuilding: &mut Rebuilding,
        stale: Vec<Promise>,
        now_ms: u64,
    ) -> Result<Vec<Promise>, FenceError> {
        let set_aside = self.source.promises(activity).await.map_err(FenceError::Database)?;
        for Promise { reservation, at_ms } in stale.into_iter().chain(set_aside) {
            rebuilding.adopt(reservation, at_ms);
        }
        for entry in &self.ledgers.outbox(activity).await? {
            rebuilding.repeat(entry);
        }
        let state = self.ledgers.states(&[activity]).await?.pop().flatten();
        if state.is_some_and(|state| !state.has_outbox()) {
            for hold in self.ledgers.snapshot(activity).await?.iter().flat_map(|found| &found.holds) {
                rebuilding.repeat_hold(hold, now_ms);
            }
        }
        for command in self.source.decisions(activity).await.map_err(FenceError::Database)? {
            rebuilding.carry_out(command.action.into(), now_ms);
        }
        let remembered = self.ledgers.remembered(activity).await?;
        for Promise { reservation, at_ms } in &remembered {
            rebuilding.adopt(*reservation, *at_ms);
        }
        Ok(remembered)
    }

    /// Orders of a ledger in Redis that neither journal nor database knows, because both were lost. The payments are lost as
    /// well, so that even what was paid for is held until the database decides.
    async fn keep_unknown(
        &self,
        activity: ActivityId,
        rebuilding: &mut Rebuilding,
        now_ms: u64,
    ) -> Result<(), FenceError> {
        let found = self.ledgers.snapshot(activity).await?;
        for hold in found.iter().flat_map(|found| &found.holds).filter(|hold| hold.state != HoldState::Released) {
            rebuilding.adopt(hold.reservation, now_ms);
        }
        Ok(())
    }

    async fn append(&self, entries: &[Entry]) -> Result<(), LogError> {
        for entries in entries.chunks(APPEND_ENTRIES_MAX) {
            self.log.append(journal::records(entries)).await?;
        }
        Ok(())
    }

    /// Keeps promises of ledgers that sell, which a gateway reported only after the recovery, and removes closings that a
    /// process left behind.
    pub(super) async fn adopt_late(&self, selling: &[(ActivityId, Option<State>)]) -> Result<(), FenceError> {
        let terms: HashMap<ActivityId, Term> =
            selling.iter().filter_map(|(activity, state)| Some((*activity, state.as_ref()?.term))).collect();
        for activity in self.ledgers.closed().await?.into_keys().filter(|activity| terms.contains_key(activity)) {
            self.ledgers.reopened(activity).await?;
        }
        let selling: Vec<ActivityId> = terms.keys().copied().collect();
        for activity in self.ledgers.with_remembered(&selling).await? {
            let late = self.ledgers.remembered(activity).await?;
            for Promise { reservation, at_ms } in &late {
                self.adopt_in(activity, terms[&activity], *reservation, *at_ms).await?;
            }
            self.ledgers.forget(activity, &late).await?;
        }
        Ok(())
    }

    async fn adopt_in(
        &self,
        activity: ActivityId,
        term: Term,
        reservation: Reservation,
        at_ms: u64,
    ) -> Result<(), FenceError> {
        let caller = Caller {
            run: "",
            term: Some(term),
            now_ms: None,
            window: Default::default(),
            holds: Holds::Promised,
            trace: None,
        };
        let reply = self.ledgers.reserve(caller, activity, &[reservation]).await?;
        let outcome = reply.outcomes.first().copied();
        let Some(reason) = broken(reservation.order, outcome.ok_or_else(|| unanswered(activity))?) else {
            return Ok(());
        };
        let order = reservation.order;
        tracing::error!(%activity, %order, ?reason, "an order was promised and forgotten, and can't be kept");
        let event = Event::PromiseFailed { reservation, reason };
        let entry = Entry { activity, term, epoch: reply.counters.epoch, seq: reply.counters.seq, at_ms, event };
        Ok(self.append(&iter::once(entry).collect::<Vec<_>>()).await?)
    }
}

fn unanswered(activity: ActivityId) -> LedgerUnavailable {
    LedgerUnavailable(format!("activity {activity}: no answer to a reservation"))
}

/// Why an order is not kept, by the ledger's answer; `None` where it is.
const fn broken(order: OrderId, outcome: Outcome) -> Option<FailedReason> {
    match outcome {
        Outcome::Held { order: first, .. } if first.as_i64() == order.as_i64() => None,
        // The ledger has the order: it was never forgotten.
        Outcome::Conflict | Outcome::Done => None,
        Outcome::Held { .. } | Outcome::LimitReached | Outcome::KeyReused => Some(FailedReason::AnotherOrder),
        Outcome::SoldOut
        | Outcome::NotStarted
        | Outcome::Ended
        | Outcome::RateLimited
        | Outcome::UnknownOrder
        | Outcome::Refused => Some(FailedReason::SoldOut),
    }
}
