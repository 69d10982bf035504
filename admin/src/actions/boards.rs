//! The live board of a sale: what the auditor sees, once a second, for as many viewers as there are.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex as SyncMutex, PoisonError},
};

use contract::ActivityId;
use foundation::Clock;
use ledger::LedgerClient;
use serde::Serialize;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

use super::{Api, Refusal};
use crate::audit::{Check, look};

/// Between two ticks of a sale, in milliseconds.
pub(crate) const TICK_MS: u64 = 1_000;
/// Ticks that are kept of a sale: ten minutes.
pub(crate) const HISTORY_MAX: usize = 600;
/// Sales whose history is kept; the one that was watched least recently is forgotten first.
const SALES_MAX: usize = 64;
/// Streams at once.
const STREAMS_MAX: usize = 100;
/// How long a tick waits for a side that lags, in milliseconds.
const LAG_WAIT_MS: u64 = 300;

/// Whether the sides of a sale agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Light {
    /// Every check holds.
    Green,
    /// A side is behind, so that a check could not be made.
    Amber,
    /// All sides are there, and a check does not hold.
    Red,
}

/// A sale at one instant. All counts are units.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Tick {
    /// When the ledger was read.
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = contract::openapi::time)]
    pub(crate) at: u64,
    pub(crate) term: u64,
    pub(crate) seq: u64,
    pub(crate) total: u64,
    pub(crate) available: u64,
    pub(crate) held: u64,
    pub(crate) sold: u64,
    /// Units that were ever held, by the journal.
    pub(crate) accepted: u64,
    /// Of them, given back.
    pub(crate) released: u64,
    /// Entries by which the database is behind the ledger.
    pub(crate) lag: u64,
    /// Entries of the ledger that are not on the log yet.
    pub(crate) log_lag: u64,
    pub(crate) light: Light,
    pub(crate) checks: Vec<Check>,
}

#[derive(Debug, Default)]
struct Track {
    ticks: VecDeque<Arc<Tick>>,
    /// When the last look failed, if it did, and how.
    failed: Option<(u64, Refusal)>,
}

impl Track {
    fn push(&mut self, tick: Arc<Tick>) {
        if self.ticks.len() == HISTORY_MAX {
            self.ticks.pop_front();
        }
        self.ticks.push_back(tick);
    }
}

/// When a sale was watched last, and its history.
type Watched = (u64, Arc<Mutex<Track>>);

/// The boards that are watched. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Boards {
    tracks: Arc<SyncMutex<BTreeMap<ActivityId, Watched>>>,
    streams: Arc<Semaphore>,
}

impl Default for Boards {
    fn default() -> Self {
        Self { tracks: Arc::default(), streams: Arc::new(Semaphore::new(STREAMS_MAX)) }
    }
}

impl Boards {
    /// Room for one more stream; `None` where there are [`STREAMS_MAX`].
    pub(crate) fn stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }

    fn track(&self, activity: ActivityId, now_ms: u64) -> Arc<Mutex<Track>> {
        let mut tracks = self.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        if tracks.len() >= SALES_MAX
            && !tracks.contains_key(&activity)
            && let Some(oldest) = tracks.iter().min_by_key(|(_, (at_ms, _))| *at_ms).map(|(id, _)| *id)
        {
            tracks.remove(&oldest);
        }
        let (watched_ms, track) = tracks.entry(activity).or_default();
        *watched_ms = now_ms;
        Arc::clone(track)
    }
}

/// The history of a sale up to now. The last tick is at most [`TICK_MS`] old: the first viewer looks, and all others share
/// what that look found. A look that failed is shared in the same way.
pub(crate) async fn watch<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    activity: ActivityId,
) -> Result<Vec<Arc<Tick>>, Refusal> {
    let now_ms = api.clock.now_ms();
    let track = api.boards.track(activity, now_ms);
    let mut track = track.lock().await;
    if let Some((failed_ms, refusal)) = &track.failed
        && now_ms < failed_ms + TICK_MS
    {
        return Err(refusal.clone());
    }
    if track.ticks.back().is_none_or(|last| now_ms >= last.at + TICK_MS) {
        let sides = (&api.store, &api.ledgers, &api.book, &api.clock);
        let (audit, caught_up) = match look(activity, sides, LAG_WAIT_MS).await {
            Ok(looked) => looked,
            Err(error) => {
                let refusal = Refusal::from(error);
                track.failed = Some((api.clock.now_ms(), refusal.clone()));
                return Err(refusal);
            }
        };
        track.failed = None;
        let light = match (audit.ok, caught_up) {
            (true, _) => Light::Green,
            (false, false) => Light::Amber,
            (false, true) => Light::Red,
        };
        let lag = audit.seq.saturating_sub(audit.database_seq);
        track.push(Arc::new(Tick {
            at: audit.at,
            term: audit.term,
            seq: audit.seq,
            total: audit.total,
            available: audit.available,
            held: audit.held,
            sold: audit.sold,
            accepted: audit.log.held,
            released: audit.log.released,
            lag,
            log_lag: audit.seq.saturating_sub(audit.log.head_seq),
            light,
            checks: audit.checks,
        }));
    }
    Ok(track.ticks.iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(at: u64) -> Arc<Tick> {
        let (light, checks) = (Light::Green, Vec::new());
        let [term, seq, total, available, held, sold, accepted, released, lag, log_lag] = [0; 10];
        Arc::new(Tick { at, term, seq, total, available, held, sold, accepted, released, lag, log_lag, light, checks })
    }

    #[test]
    fn a_board_does_not_grow() {
        let mut track = Track::default();
        (0..5_000).for_each(|at| track.push(tick(at)));
        assert_eq!((track.ticks.len(), track.ticks[0].at), (HISTORY_MAX, 5_000 - HISTORY_MAX as u64));
        let boards = Boards::default();
        for number in 1..200 {
            boards.track(ActivityId::from_i64(number).unwrap(), u64::try_from(number).unwrap());
        }
        assert_eq!(boards.tracks.lock().unwrap().len(), SALES_MAX);
        let held: Vec<_> = (0..STREAMS_MAX).map(|_| boards.stream().unwrap()).collect();
        assert!(boards.stream().is_none());
        drop(held);
        assert!(boards.stream().is_some());
    }
}
