//! Keeps ledgers in Redis from selling before it is known what was sold.
//!
//! Every ledger answers FROZEN on a run of the server on which it has not been compared with the log. The
//! fence compares it with what the database and the journal have, what still waits in Redis' outbox, and
//! what the gateways were answered in the last seconds. Entries that the journal lacks are appended first.
//! Then a ledger that lacks nothing is thawed, and any other is rebuilt.
//!
//! A ledger can also be lost, as a whole or in part, while the server runs: a key was deleted or evicted.
//! The fence closes it first, which freezes it as a restart does. The rest is the same.

mod compare;
mod salvage;

use std::collections::{BTreeMap, BTreeSet};

use commit_log::{Log, LogError};
use contract::{ActivityId, stock::RestoreError};

use super::{Parts, RedisLedger, State};
use crate::{
    LedgerUnavailable,
    house::{RebuildError, SnapshotSource, restore},
};

/// How long the gateways have to report what they remember, after a new run of the server was seen.
const GRACE_MS: u64 = 500;
/// The same after a ledger was closed. Gateways look for closed ledgers five times a second.
const CLOSED_GRACE_MS: u64 = 1_000;
/// How long the fence waits for the relay, which may be appending entries of a closed ledger.
const RELAY_RESTS_MAX_MS: u64 = 5_000;
/// How often a server that has been compared is looked at.
const LOOK_EVERY_MS: u64 = 1_000;
/// Ledgers that one look checks. If there are more, they are checked in turn.
const LOOK_LEDGERS_MAX: usize = 1_000;
/// Prefix of the token that is the run of a closed ledger.
const CLOSED: &str = "closed:";

/// Why ledgers stay frozen; the next look tries again.
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
    /// There are ledgers that have yet to be compared.
    Frozen,
    /// Some were compared just now and sell. Redis may have forgotten settles and releases that nobody else knows of.
    Compared,
    /// All of them sell.
    Selling,
    /// It is too soon to look again.
    Resting,
}

/// A ledger that was closed while the server ran.
#[derive(Debug)]
struct Closing {
    token: String,
    since_ms: u64,
}

/// A ledger that does not sell, and its state when that was found.
type Lost = (ActivityId, Option<State>);

/// Compares the ledgers in Redis with the log whenever its run has changed or one of them is gone.
#[derive(Debug)]
pub struct Fence<L, S> {
    ledgers: RedisLedger,
    log: L,
    snapshots: S,
    /// A run that was seen and not yet compared, and since when.
    seen: Option<(String, u64)>,
    /// The run that was compared.
    compared: Option<String>,
    /// Every ledger that was found in Redis, in the database or on the journal.
    known: BTreeSet<ActivityId>,
    /// Those of them that neither the database nor the journal knows: they can't be compared.
    unfounded: BTreeSet<ActivityId>,
    closed: BTreeMap<ActivityId, Closing>,
    /// The last ledger that was checked in its turn; `None` to begin with the first.
    checked: Option<ActivityId>,
    look_at_ms: u64,
}

impl<L: Log, S: SnapshotSource> Fence<L, S> {
    /// A fence that has seen nothing yet.
    pub fn new(ledgers: RedisLedger, log: L, snapshots: S) -> Self {
        Self {
            ledgers,
            log,
            snapshots,
            seen: None,
            compared: None,
            known: BTreeSet::new(),
            unfounded: BTreeSet::new(),
            closed: BTreeMap::new(),
            checked: None,
            look_at_ms: 0,
        }
    }

    /// Looks once, and compares where that is due.
    ///
    /// # Errors
    /// See [`FenceError`].
    pub async fn look(&mut self, now_ms: u64) -> Result<Looked, FenceError> {
        let run = self.ledgers.run_id().await?;
        if self.compared.as_ref() != Some(&run) {
            let since_ms = match &self.seen {
                Some((seen, since_ms)) if *seen == run => *since_ms,
                Some(_) | None => {
                    tracing::info!(run, "a run of Redis that has not been compared with the log");
                    self.ledgers.connection().warn_of_eviction().await;
                    (self.seen, self.look_at_ms) = (Some((run, now_ms)), 0);
                    self.closed.clear();
                    self.unfounded.clear();
                    return Ok(Looked::Frozen);
                }
            };
            if now_ms.saturating_sub(since_ms) < GRACE_MS {
                return Ok(Looked::Frozen);
            }
        }
        if now_ms < self.look_at_ms {
            return Ok(Looked::Resting);
        }
        self.look_at_ms = now_ms.saturating_add(LOOK_EVERY_MS);
        match self.snapshots.opened().await {
            Ok(opened) => self.known.extend(opened),
            // The next look finds ledgers that were opened meanwhile.
            Err(error) => tracing::debug!(error, "can't read from the database which ledgers were opened"),
        }
        if self.compared.as_ref() == Some(&run) {
            let next = self.next_ledgers();
            let lost = self.lost(&next, &run).await?;
            self.hold_the_late(&next, &lost).await?;
            if lost.is_empty() && self.closed.is_empty() && self.ledgers.is_verified().await? {
                return Ok(Looked::Selling);
            }
        }
        self.recover(&run, now_ms).await
    }

    /// The ledgers to check in this look.
    fn next_ledgers(&mut self) -> Vec<ActivityId> {
        let known = self.known.difference(&self.unfounded).copied();
        let next: Vec<ActivityId> =
            known.filter(|activity| Some(*activity) > self.checked).take(LOOK_LEDGERS_MAX).collect();
        self.checked = next.last().copied().filter(|_| next.len() == LOOK_LEDGERS_MAX);
        next
    }

    /// Those of `known` that don't sell on `run`, or have lost a part.
    async fn lost(&self, known: &[ActivityId], run: &str) -> Result<Vec<Lost>, LedgerUnavailable> {
        let mut lost = Vec::new();
        for (activity, state) in known.iter().zip(self.ledgers.states(known).await?) {
            let sells = match &state {
                Some(state) if state.sells_on(run) => {
                    state.parts != Parts::Unmarked || self.ledgers.mark_parts(*activity).await?
                }
                Some(_) | None => false,
            };
            if !sells {
                lost.push((*activity, state));
            }
        }
        Ok(lost)
    }

    /// Compares the ledgers that don't sell, except for those that were closed only a moment ago.
    async fn recover(&mut self, run: &str, now_ms: u64) -> Result<Looked, FenceError> {
        self.known.extend(self.ledgers.activities().await?);
        let known: Vec<ActivityId> = self.known.difference(&self.unfounded).copied().collect();
        let (mut frozen, mut waits) = (Vec::new(), false);
        let lost = self.lost(&known, run).await?;
        // Another process may have rebuilt some of them.
        self.closed.retain(|activity, _| lost.iter().any(|(lost, _)| lost == activity));
        for (activity, state) in lost {
            if self.is_frozen(activity, state.as_ref(), run, now_ms).await? {
                frozen.push((activity, state));
            } else {
                waits = true;
            }
        }
        if waits {
            self.look_at_ms = now_ms;
            if frozen.is_empty() {
                return Ok(Looked::Frozen);
            }
        }
        // The outboxes are read before the log: an element leaves its outbox only once it is on the log, so no entry is
        // missing from both.
        let mut outboxes = Vec::with_capacity(frozen.len());
        for (activity, _) in &frozen {
            outboxes.push(self.ledgers.outbox(*activity).await);
        }
        let mut journal = restore(&self.log, &self.snapshots).await?;
        if !journal.keys().all(|activity| self.known.contains(activity)) {
            // Redis has no key of at least one. The next look closes it.
            self.look_at_ms = now_ms;
            self.known.extend(journal.keys());
        }
        let (mut compared, mut failed) = (0_usize, None);
        for ((activity, state), outbox) in frozen.into_iter().zip(outboxes) {
            match self.compare(activity, journal.remove(&activity), state, outbox, now_ms).await {
                Ok(()) => compared += 1,
                Err(error) => {
                    tracing::warn!(%activity, %error, "a ledger can't be compared with the log; it stays frozen");
                    failed = Some(error);
                }
            }
        }
        self.finish(run, compared, failed).await
    }

    async fn finish(&mut self, run: &str, compared: usize, failed: Option<FenceError>) -> Result<Looked, FenceError> {
        // Until every ledger has a key, one that is missing could be opened again with all of its units.
        let states = self.ledgers.states(&self.known.iter().copied().collect::<Vec<_>>()).await?;
        if states.iter().all(Option::is_some) {
            self.ledgers.set_verified(run).await?;
        }
        let is_first = self.compared.as_deref() != Some(run);
        if is_first || compared > 0 {
            tracing::info!(run, ledgers = compared, "ledgers in Redis were compared with the log");
            (self.seen, self.compared) = (None, Some(run.to_owned()));
            return Ok(Looked::Compared);
        }
        failed.map_or(Ok(Looked::Selling), Err)
    }

    /// Whether nothing can change a ledger any more that does not sell. Closes it if it still answers, or has no key
    /// that could freeze it.
    async fn is_frozen(
        &mut self,
        activity: ActivityId,
        state: Option<&State>,
        run: &str,
        now_ms: u64,
    ) -> Result<bool, LedgerUnavailable> {
        let token = match state {
            // A restart froze it, or a rebuild has not ended.
            Some(state) if state.run != run && !state.run.starts_with(CLOSED) => {
                if !self.closed.contains_key(&activity) {
                    return Ok(true);
                }
                None
            }
            // It is closed. A process that ended right after closing it has not reported that.
            Some(state) if state.run != run => Some(state.run.clone()),
            Some(_) | None => {
                tracing::warn!(%activity, ?state, "a ledger or a part of it was lost; it is closed and will be rebuilt");
                Some(format!("{CLOSED}{now_ms}:{}", std::process::id()))
            }
        };
        if let Some(token) = token
            && self.closed.get(&activity).is_none_or(|closing| closing.token != token)
        {
            self.ledgers.close(activity, &token).await?;
            self.closed.insert(activity, Closing { token, since_ms: now_ms });
            return Ok(false);
        }
        let Some(Closing { token, since_ms }) = self.closed.get(&activity) else { return Ok(true) };
        let closed_ms = now_ms.saturating_sub(*since_ms);
        Ok(closed_ms >= RELAY_RESTS_MAX_MS
            || (closed_ms >= CLOSED_GRACE_MS && self.ledgers.relay_rests(activity, token).await?))
    }
}
