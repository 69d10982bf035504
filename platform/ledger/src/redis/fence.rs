//! Recovers ledgers in Redis: each recovery starts a new term.
//!
//! A ledger sells only on the run of the server on which it was opened. After a restart, and where a part of a ledger is
//! lost, Redis may have forgotten what was promised. The fence then closes the ledger for a newly drawn term, and starts
//! the term on the journal. From there on no entry of an older term counts, however late it arrives, so the journal up to that
//! mark, together with what else remembers promises, is all there is. The ledger is rebuilt from it and opened. A ledger
//! is opened for the first time in the same way.

mod recover;
mod tail;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use commit_log::{Log, LogError};
use contract::{
    ActivityId,
    activity::Rules,
    record::LedgerCommand,
    stock::{Entry, Event, Promise, Term},
};

use self::tail::Tail;
use super::{RedisLedger, State};
use crate::{
    LedgerUnavailable, journal,
    restore::{LedgerFault, RebuildError, SnapshotSource},
};

/// How long a ledger that was open before stays closed at least: gateways look for closed ledgers five times a second.
const REPORTS_MIN_MS: u64 = 500;
/// How long the gateways are waited for.
const REPORTS_MAX_MS: u64 = 3_000;
/// How often ledgers are looked at that sell.
const LOOK_EVERY_MS: u64 = 1_000;
/// Ledgers that one look checks. If there are more, they are checked in turn.
const LOOK_LEDGERS_MAX: usize = 1_000;
/// Before the first retry of a recovery that failed; doubled before each further one.
const RETRY_MIN_MS: u64 = 500;
/// The longest pause between two tries.
const RETRY_MAX_MS: u64 = 60_000;
/// How long a ledger is left to another process that has closed it. It may have died.
const OTHERS_MAX_MS: u64 = 5_000;

/// What a recovery needs of the database.
pub trait RecoverySource: SnapshotSource {
    /// The activities whose `Opened` entry the database has taken in.
    fn opened(&self) -> impl Future<Output = Result<Vec<ActivityId>, String>> + Send;

    /// The ledgers that an admin wants open and the database has not seen opened.
    fn to_open(&self) -> impl Future<Output = Result<Vec<Opening>, String>> + Send;

    /// Draws a term that is higher than every term drawn before, and than `above`.
    fn next_term(&self, above: Term) -> impl Future<Output = Result<Term, String>> + Send;

    /// What the database has decided of an activity's orders, units and end, and has not seen carried out.
    fn decisions(&self, activity: ActivityId) -> impl Future<Output = Result<Vec<LedgerCommand>, String>> + Send;

    /// The promises of an activity that the database has set aside until a term opens.
    fn promises(&self, activity: ActivityId) -> impl Future<Output = Result<Vec<Promise>, String>> + Send;
}

/// A ledger that is to be opened for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Whose ledger.
    pub activity: ActivityId,
    /// Units.
    pub stock: u64,
    /// The rules.
    pub rules: Rules,
}

/// Why ledgers stay closed; the next look tries again.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// Redis did not answer, or somebody else recovers the ledger.
    #[error(transparent)]
    Redis(#[from] LedgerUnavailable),
    /// The database did not answer.
    #[error("the database can't be read: {0}")]
    Database(String),
    /// What outlived the ledgers can't be read.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// What outlived one ledger can't be used.
    #[error(transparent)]
    Fault(#[from] LedgerFault),
    /// The log did not take an entry, or can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Another recovery of the ledger has begun.
    #[error("activity {activity}: term {found} was started meanwhile")]
    Overtaken {
        /// Whose ledger.
        activity: ActivityId,
        /// The newer term.
        found: Term,
    },
    /// Nothing says what the ledger was opened with.
    #[error("activity {0}: neither the journal nor the database knows its opening")]
    Unfounded(ActivityId),
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// There are ledgers that do not sell yet.
    Frozen,
    /// Some were recovered or opened just now.
    Recovered,
    /// All of them sell.
    Selling,
    /// It is too soon to look again.
    Resting,
}

/// A ledger that is closed for a term.
#[derive(Debug, Clone, Copy)]
struct Recovery {
    term: Term,
    since_ms: u64,
    /// It was never open, so nobody remembers anything of it.
    opening: Option<Opening>,
}

/// A recovery that failed.
#[derive(Debug, Clone, Copy)]
struct Failed {
    tries: u32,
    retry_at_ms: u64,
}

/// Recovers the ledgers in Redis whenever they don't sell.
pub struct Fence<L: Log, S> {
    ledgers: RedisLedger,
    log: L,
    source: S,
    tail: Tail<L>,
    /// The run of the server that was seen last.
    run: Option<String>,
    /// Every ledger that the database or the journal knows.
    known: BTreeSet<ActivityId>,
    recovering: BTreeMap<ActivityId, Recovery>,
    failed: BTreeMap<ActivityId, Failed>,
    /// The last term for which this fence closed a ledger.
    closed: BTreeMap<ActivityId, Term>,
    /// Ledgers that another process has closed, for which term, and since when that is known.
    others: BTreeMap<ActivityId, (Term, u64)>,
    /// The last ledger that was checked in its turn; `None` to begin with the first.
    checked: Option<ActivityId>,
    look_at_ms: u64,
    /// [`Fence::take_new_run`].
    is_new_run: bool,
    nonce: u64,
    /// [`Fence::take_over`].
    is_alone: bool,
}

impl<L: Log, S> std::fmt::Debug for Fence<L, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fence").field("run", &self.run).field("recovering", &self.recovering).finish_non_exhaustive()
    }
}

impl<L: Log, S: RecoverySource> Fence<L, S> {
    /// A fence that has seen nothing yet. `nonce` distinguishes its marks from those of others.
    pub fn new(ledgers: RedisLedger, log: L, source: S, nonce: u64) -> Self {
        Self {
            ledgers,
            tail: Tail::new(log.clone()),
            log,
            source,
            run: None,
            known: BTreeSet::new(),
            recovering: BTreeMap::new(),
            failed: BTreeMap::new(),
            closed: BTreeMap::new(),
            others: BTreeMap::new(),
            checked: None,
            look_at_ms: 0,
            is_new_run: false,
            nonce,
            is_alone: false,
        }
    }

    /// Only notices a new run of the server, for a process that leaves the recovery to another one.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn watch(&mut self) -> Result<(), FenceError> {
        self.notice_run().await?;
        Ok(())
    }

    /// This process alone recovers ledgers from now on. What the one before it has closed is not left to it any longer, and
    /// what this fence had begun earlier may have been done by others.
    pub fn take_over(&mut self) {
        self.is_alone = true;
        self.recovering.clear();
        self.others.clear();
        self.look_at_ms = 0;
    }

    async fn notice_run(&mut self) -> Result<String, FenceError> {
        let run = self.ledgers.run_id().await?;
        if self.run.as_ref() != Some(&run) {
            tracing::info!(run, "a run of Redis that was not seen before");
            self.ledgers.connection().warn_of_eviction().await;
            (self.run, self.look_at_ms, self.is_new_run) = (Some(run.clone()), 0, true);
        }
        Ok(run)
    }

    /// Looks once, and does what is due.
    ///
    /// # Errors
    /// See [`FenceError`].
    pub async fn look(&mut self, now_ms: u64) -> Result<Looked, FenceError> {
        let run = self.notice_run().await?;
        let openings = self.openings().await?;
        let mut result = Looked::Resting;
        if now_ms >= self.look_at_ms || !openings.is_empty() {
            self.look_at_ms = now_ms.saturating_add(LOOK_EVERY_MS);
            self.learn_opened().await?;
            let next = self.next_ledgers(&openings);
            let states = self.ledgers.states(&next).await?;
            // A server that was replaced and is back has its run still, and the ledger in the term of that time.
            // One that is still to be opened is of a mall whose log and database are lost: no reader knows its entries.
            let is_unknown = |activity: &ActivityId| openings.contains_key(activity) && !self.known.contains(activity);
            let sells = |activity: ActivityId, state: &State| {
                state.sells_on(&run) && state.term >= self.tail.term(activity) && !is_unknown(&activity)
            };
            let (selling, lost): (Vec<_>, Vec<_>) = next
                .iter()
                .copied()
                .zip(states)
                .partition(|(activity, state)| state.as_ref().is_some_and(|state| sells(*activity, state)));
            self.adopt_late(&selling).await?;
            for (activity, _) in &selling {
                self.recovering.remove(activity);
                self.failed.remove(activity);
                self.closed.remove(activity);
                self.others.remove(activity);
            }
            self.close(&lost, &openings, now_ms).await?;
            let waits = lost.iter().any(|(activity, _)| !self.failed.contains_key(activity));
            result = if waits { Looked::Frozen } else { self.rest() };
        }
        if self.recovering.is_empty() {
            return Ok(result);
        }
        self.recover_those_due(now_ms).await
    }

    /// The ledgers to open that are not being opened, and are not on the journal already.
    async fn openings(&mut self) -> Result<BTreeMap<ActivityId, Opening>, FenceError> {
        let openings = self.source.to_open().await.map_err(FenceError::Database)?;
        let mut new: BTreeMap<ActivityId, Opening> = BTreeMap::new();
        for opening in openings {
            if !self.recovering.contains_key(&opening.activity) && !self.known.contains(&opening.activity) {
                new.insert(opening.activity, opening);
            }
        }
        if !new.is_empty() {
            self.tail.catch_up().await?;
            self.known.extend(self.tail.opened());
            new.retain(|activity, _| !self.known.contains(activity));
        }
        Ok(new)
    }

    async fn learn_opened(&mut self) -> Result<(), FenceError> {
        match self.source.opened().await {
            Ok(opened) => self.known.extend(opened),
            // The next look finds ledgers that were opened meanwhile.
            Err(error) => tracing::debug!(error, "can't read from the database which ledgers were opened"),
        }
        self.tail.catch_up().await?;
        self.known.extend(self.tail.opened());
        Ok(())
    }

    /// The ledgers to check in this look.
    fn next_ledgers(&mut self, openings: &BTreeMap<ActivityId, Opening>) -> Vec<ActivityId> {
        let after = |activity: &&ActivityId| Some(**activity) > self.checked;
        let next: Vec<ActivityId> = self.known.iter().filter(after).take(LOOK_LEDGERS_MAX).copied().collect();
        self.checked = next.last().copied().filter(|_| next.len() == LOOK_LEDGERS_MAX);
        next.into_iter().chain(openings.keys().copied()).collect()
    }

    /// Closes the ledgers that don't sell for a new term, and starts the term on the journal.
    async fn close(
        &mut self,
        lost: &[(ActivityId, Option<State>)],
        openings: &BTreeMap<ActivityId, Opening>,
        now_ms: u64,
    ) -> Result<(), FenceError> {
        let is_due = |activity: &ActivityId| {
            !self.recovering.contains_key(activity)
                && self.failed.get(activity).is_none_or(|failed| failed.retry_at_ms <= now_ms)
        };
        let due: Vec<_> = lost.iter().filter(|(activity, _)| is_due(activity)).collect();
        let due: Vec<_> =
            due.into_iter().filter(|(activity, state)| !self.is_others(*activity, state.as_ref(), now_ms)).collect();
        if due.is_empty() {
            return Ok(());
        }
        let in_redis = due.iter().filter_map(|(_, state)| state.as_ref().map(|state| state.term));
        let on_journal = due.iter().map(|(activity, _)| self.tail.term(*activity));
        let above = in_redis.chain(on_journal).max().unwrap_or_default();
        let term = self.source.next_term(above).await.map_err(FenceError::Database)?;
        let mut marks = Vec::with_capacity(due.len());
        for (activity, state) in due {
            if let Err(error) = self.ledgers.close(*activity, term).await {
                tracing::warn!(%activity, %error, "a ledger can't be closed for a new term");
                continue;
            }
            self.closed.insert(*activity, term);
            let opening = openings.get(activity).copied();
            match opening {
                Some(_) => tracing::info!(%activity, %term, "a ledger is opened"),
                None => tracing::warn!(%activity, %term, ?state, "a ledger may have lost entries; a new term starts"),
            }
            self.nonce = self.nonce.wrapping_add(1);
            let event = Event::TermStarted { nonce: self.nonce };
            marks.push(Entry { activity: *activity, term, epoch: 0, seq: 0, at_ms: now_ms, event });
            self.recovering.insert(*activity, Recovery { term, since_ms: now_ms, opening });
        }
        if marks.is_empty() {
            return Ok(());
        }
        let appended = self.log.append(journal::records(&marks)).await;
        if appended.is_err() {
            // Whether the marks are there is not known. The next look begins with another term.
            for mark in &marks {
                self.recovering.remove(&mark.activity);
            }
        }
        Ok(appended?)
    }

    /// Whether another process recovers the ledger. If both went on, each would be refused by the other's term.
    fn is_others(&mut self, activity: ActivityId, state: Option<&State>, now_ms: u64) -> bool {
        let Some(state) = state.filter(|state| state.is_closed()) else { return false };
        if self.is_alone || self.closed.get(&activity) == Some(&state.term) {
            return false;
        }
        let (term, since_ms) = *self.others.entry(activity).or_insert((state.term, now_ms));
        if term != state.term {
            self.others.insert(activity, (state.term, now_ms));
            return true;
        }
        now_ms.saturating_sub(since_ms) < OTHERS_MAX_MS
    }

    /// Recovers the ledgers whose gateways have reported, or were waited for long enough.
    async fn recover_those_due(&mut self, now_ms: u64) -> Result<Looked, FenceError> {
        let mut due = BTreeMap::new();
        for (activity, recovery) in &self.recovering {
            let closed_ms = now_ms.saturating_sub(recovery.since_ms);
            let is_due = recovery.opening.is_some()
                || closed_ms >= REPORTS_MAX_MS
                || (closed_ms >= REPORTS_MIN_MS && self.ledgers.all_reported(*activity, recovery.term).await?);
            if is_due {
                due.insert(*activity, *recovery);
            }
        }
        if due.is_empty() {
            return Ok(self.rest());
        }
        let mut replayed = self.replayed(&due).await?;
        let mut recovered = 0_usize;
        for (activity, recovery) in due {
            self.recovering.remove(&activity);
            let found = replayed.remove(&activity).transpose().map_err(FenceError::from);
            let done = match found {
                Ok(replay) => self.recover(activity, recovery, replay.unwrap_or_default(), now_ms).await,
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => {
                    recovered += 1;
                    self.known.insert(activity);
                    self.failed.remove(&activity);
                }
                Err(error) => {
                    let tries = self.failed.get(&activity).map_or(0, |failed| failed.tries);
                    let pause_ms = RETRY_MIN_MS.saturating_mul(1 << tries.min(16)).min(RETRY_MAX_MS);
                    let retry_at_ms = now_ms.saturating_add(pause_ms);
                    self.failed.insert(activity, Failed { tries: tries + 1, retry_at_ms });
                    tracing::warn!(%activity, %error, pause_ms, "a ledger can't be recovered; it stays closed, and is retried");
                }
            }
        }
        self.look_at_ms = now_ms;
        Ok(if recovered > 0 { Looked::Recovered } else { self.rest() })
    }

    /// Whether all ledgers sell but those that can't be recovered: one bad sale does not keep the process from being ready.
    fn rest(&self) -> Looked {
        let is_retried = |activity: &ActivityId| self.failed.contains_key(activity);
        if self.recovering.keys().all(is_retried) { Looked::Selling } else { Looked::Frozen }
    }

    /// Whether the server is another one than this process used before its last looks. What the process has carried out on
    /// that one is lost if a replica had taken over, and another process may have recovered the ledgers already.
    pub fn take_new_run(&mut self) -> bool {
        std::mem::take(&mut self.is_new_run)
    }

    /// The ledgers whose last recovery failed, which stay closed until a retry succeeds.
    pub fn failed(&self) -> impl ExactSizeIterator<Item = ActivityId> {
        self.failed.keys().copied()
    }
}
