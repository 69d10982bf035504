//! Ids for rows and orders: worker ids leased from a directory, and a maker of ids over them.
//!
//! A worker's file is locked while its lease is held, and stores the instant before which its ids lie,
//! written before any id reaches it. A start takes a worker whose instant is past, so it need not wait
//! for the ids that the last run may have made, nor for a clock that was set back.
//!
//! This keeps processes apart that share the directory. Between directories, worker ids are claimed on the log
//! (`commit_log::WorkerIds`): a lease makes ids only inside of its claim.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use contract::snowflake::{EPOCH_MS, Snowflake, SnowflakeError, WORKER_MAX};

use crate::Clock;

/// How far ahead of the clock a lease's bound is stored.
const AHEAD_MS: u64 = 30_000;
/// A bound that is nearer than this is moved on.
const RENEW_MS: u64 = 10_000;

/// Why no id could be made.
#[derive(Debug, thiserror::Error)]
pub enum IdError {
    /// The clock is out of the range of ids.
    #[error(transparent)]
    Clock(#[from] SnowflakeError),
    /// The lease can't be stored.
    #[error("worker ids: {}: {error}", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Every worker id is held, or has a file that can't be read.
    #[error("worker ids: all {} in {} are taken", WORKER_MAX + 1, dir.display())]
    AllTaken {
        /// The directory.
        dir: PathBuf,
    },
}

/// A worker id that is this process's own until the lease is dropped or the process ends.
#[derive(Debug)]
pub struct Lease {
    worker: u16,
    file: File,
    path: PathBuf,
    not_before_ms: u64,
    until_ms: u64,
    claim: ClaimedUntil,
}

/// The instant before which all ids of a lease lie, epoch milliseconds. The process that renews the claim moves it on.
#[derive(Debug, Clone)]
pub struct ClaimedUntil(Arc<AtomicU64>);

impl ClaimedUntil {
    /// A claim that ends at `until_ms`.
    pub fn new(until_ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(until_ms)))
    }

    /// When it ends, epoch milliseconds.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Moves its end on. It never goes back, because ids up to it may have been made.
    pub fn extend(&self, until_ms: u64) {
        self.0.fetch_max(until_ms, Ordering::AcqRel);
    }
}

/// Leases a worker id of the directory `dir`, which is made where it is missing, among those that `may_use` allows. The
/// lease makes no id before [`Lease::bound`] was called.
///
/// # Errors
/// If the directory can't be written, or every id is taken.
pub fn lease_worker(dir: &Path, now_ms: u64, may_use: impl Fn(u16) -> bool) -> Result<Lease, IdError> {
    fs::create_dir_all(dir).map_err(|error| IdError::Io { path: dir.to_owned(), error })?;
    let mut earliest: Option<Lease> = None;
    for worker in (0..=WORKER_MAX).filter(|worker| may_use(*worker)) {
        let path = dir.join(format!("worker-{worker}"));
        let Some(lease) = try_lease(worker, &path).map_err(|error| IdError::Io { path, error })? else { continue };
        if lease.until_ms <= now_ms {
            return Ok(lease);
        }
        // The clock may stand before every worker's bound: then the one that waits least.
        if earliest.as_ref().is_none_or(|held| lease.until_ms < held.until_ms) {
            earliest = Some(lease);
        }
    }
    earliest.ok_or_else(|| IdError::AllTaken { dir: dir.to_owned() })
}

fn try_lease(worker: u16, path: &Path) -> io::Result<Option<Lease>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let text = io::read_to_string(&file)?;
    let until_ms = match text.trim() {
        "" => 0,
        digits => match digits.parse() {
            Ok(until_ms) => until_ms,
            Err(_) => {
                tracing::warn!(path = %path.display(), "not a lease; its worker id stays unused");
                return Ok(None);
            }
        },
    };
    if until_ms == 0 {
        // A name that is lost with the machine would give the worker out a second time.
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())?;
    }
    let not_before_ms = until_ms.max(EPOCH_MS);
    let claim = ClaimedUntil::new(0);
    Ok(Some(Lease { worker, file, path: path.to_owned(), not_before_ms, until_ms, claim }))
}

impl Lease {
    /// The worker id.
    pub const fn worker(&self) -> u16 {
        self.worker
    }

    /// The first millisecond in which an id may be made on this lease.
    pub const fn not_before_ms(&self) -> u64 {
        self.not_before_ms
    }

    /// Bounds the ids of this lease: none lies before `from_ms`, and none at or after the end of `claim`.
    #[must_use]
    pub fn bound(mut self, from_ms: u64, claim: ClaimedUntil) -> Self {
        self.not_before_ms = self.not_before_ms.max(from_ms);
        self.claim = claim;
        self
    }

    /// A generator on this lease, good until the bound that [`Lease::extend`] has stored.
    /// A second call's ids lie after the first one's.
    ///
    /// # Errors
    /// If the bound can't be stored.
    pub fn snowflake(&mut self, now_ms: u64) -> Result<Snowflake, IdError> {
        let not_before_ms = self.not_before_ms;
        let until_ms = self.store(now_ms.max(not_before_ms) + AHEAD_MS)?;
        self.not_before_ms = until_ms;
        Ok(Snowflake::new(self.worker, not_before_ms, until_ms))
    }

    /// Moves the bound on where it is near, and returns it: what to hand to
    /// [`Snowflake::extend_lease`]. Asking every few seconds is often enough.
    ///
    /// # Errors
    /// If it can't be stored; the old bound holds.
    pub fn extend(&mut self, now_ms: u64) -> Result<u64, IdError> {
        if now_ms + RENEW_MS < self.until_ms {
            return Ok(self.until_ms);
        }
        let until_ms = self.store(now_ms + AHEAD_MS)?;
        self.not_before_ms = until_ms;
        Ok(until_ms)
    }

    fn store(&mut self, until_ms: u64) -> Result<u64, IdError> {
        let until_ms = until_ms.min(self.claim.get()).max(self.until_ms);
        // One write of equal length within one sector: the old bound or the new one, never a mix.
        let text = format!("{until_ms:020}\n");
        let stored = self.file.write_all_at(text.as_bytes(), 0).and_then(|()| self.file.sync_data());
        stored.map_err(|error| IdError::Io { path: self.path.clone(), error })?;
        self.until_ms = until_ms;
        Ok(until_ms)
    }
}

/// Makes ids, from any thread. Clones share one worker.
#[derive(Clone)]
pub struct IdMaker {
    inner: Arc<Mutex<Inner>>,
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

struct Inner {
    ids: Snowflake,
    /// Without one the ids end with the process that made them.
    lease: Option<Lease>,
}

impl std::fmt::Debug for IdMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdMaker").finish_non_exhaustive()
    }
}

impl IdMaker {
    /// Makes ids on `lease`, which it renews by itself.
    ///
    /// # Errors
    /// If the lease can't be stored.
    pub fn new(mut lease: Lease, clock: impl Clock) -> Result<Self, IdError> {
        let ids = lease.snowflake(clock.now_ms())?;
        Ok(Self::over(Inner { ids, lease: Some(lease) }, clock))
    }

    /// Makes ids that no restart needs to know of, for tests and the simulation.
    ///
    /// # Panics
    /// If `worker` is above [`WORKER_MAX`].
    pub fn unleased(worker: u16, clock: impl Clock) -> Self {
        Self::over(Inner { ids: Snowflake::new(worker, EPOCH_MS, u64::MAX), lease: None }, clock)
    }

    fn over(inner: Inner, clock: impl Clock) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)), now_ms: Arc::new(move || clock.now_ms()) }
    }

    /// The next id. Two or three times a minute the caller waits for the lease to reach the disk.
    ///
    /// # Errors
    /// If the clock went back by more than a moment, or the lease can't be stored.
    pub fn next(&self) -> Result<i64, IdError> {
        // A thread that panicked between two statements here leaves nothing half done.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = (self.now_ms)();
        let Inner { ids, lease } = &mut *inner;
        if let Some(lease) = lease {
            ids.extend_lease(lease.extend(now_ms)?);
        }
        Ok(ids.next(now_ms)?)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeSet, HashSet},
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use proptest::prelude::*;

    use super::*;
    use crate::{SystemClock, testing::TempDir};

    const START: u64 = EPOCH_MS + 1_000_000;

    /// A lease whose claim never ends.
    fn lease(dir: &Path, now_ms: u64) -> Result<Lease, IdError> {
        Ok(lease_worker(dir, now_ms, |_| true)?.bound(0, ClaimedUntil::new(u64::MAX)))
    }

    #[derive(Clone)]
    struct HandClock(Arc<AtomicU64>);

    impl Clock for HandClock {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        async fn sleep_until(&self, _at_ms: u64) {}
    }

    #[test]
    fn threads_and_leases_never_share_an_id() {
        let temp = TempDir::new("threads");
        let makers: Vec<IdMaker> = (0..2)
            .map(|_| IdMaker::new(lease(temp.path(), SystemClock.now_ms()).unwrap(), SystemClock).unwrap())
            .collect();
        let work = |maker: IdMaker| move || (0..20_000).map(|_| retried(&maker)).collect::<Vec<i64>>();
        let threads: Vec<_> =
            makers.iter().chain(&makers).cloned().map(|maker| std::thread::spawn(work(maker))).collect();
        let made: Vec<i64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(made.iter().collect::<HashSet<_>>().len(), 80_000);
    }

    fn retried(maker: &IdMaker) -> i64 {
        loop {
            match maker.next() {
                Ok(id) => return id,
                Err(IdError::Clock(SnowflakeError::ClockBehind { .. })) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_restart_does_not_wait() {
        let temp = TempDir::new("restart");
        let clock = HandClock(Arc::new(AtomicU64::new(START)));
        let start = || IdMaker::new(lease(temp.path(), clock.now_ms()).unwrap(), clock.clone()).unwrap();
        let first = start().next().unwrap();
        assert_ne!(start().next().unwrap(), first);
        clock.0.store(START - 500_000, Ordering::Relaxed);
        let second = start().next().unwrap();
        assert!(second < first, "the third worker never made an id and follows the clock");
    }

    #[test]
    fn a_clock_that_goes_far_back_is_refused() {
        let clock = HandClock(Arc::new(AtomicU64::new(START)));
        let maker = IdMaker::unleased(0, clock.clone());
        let first = maker.next().unwrap();
        clock.0.store(START - 5, Ordering::Relaxed);
        assert!(maker.next().unwrap() > first);
        clock.0.store(START - 500, Ordering::Relaxed);
        assert!(matches!(maker.next(), Err(IdError::Clock(SnowflakeError::ClockBehind { by_ms: 500 }))));
    }

    #[test]
    fn a_second_generator_of_a_lease_follows_the_first() {
        let temp = TempDir::new("second");
        let mut lease = lease(temp.path(), START).unwrap();
        let mut first = lease.snowflake(START).unwrap();
        let mut second = lease.snowflake(START).unwrap();
        assert!(first.next(START + AHEAD_MS).is_err());
        assert!(second.next(START).is_err());
        assert!(second.next(START + AHEAD_MS).is_ok());
    }

    #[test]
    fn a_file_that_is_no_lease_is_left_alone() {
        let temp = TempDir::new("damaged");
        fs::write(temp.path().join("worker-0"), "what?").unwrap();
        assert_eq!(lease(temp.path(), START).unwrap().worker(), 1);
    }

    #[test]
    fn no_id_lies_outside_of_the_claim() {
        let temp = TempDir::new("claim");
        let claim = ClaimedUntil::new(START + 50);
        let lease = lease_worker(temp.path(), START, |worker| worker >= 7).unwrap();
        assert_eq!(lease.worker(), 7);
        let clock = HandClock(Arc::new(AtomicU64::new(START)));
        let maker = IdMaker::new(lease.bound(START + 5, claim.clone()), clock.clone()).unwrap();
        assert_eq!(contract::snowflake::made_at_ms(maker.next().unwrap()), START + 5);
        clock.0.store(START + 50, Ordering::Relaxed);
        assert!(matches!(maker.next(), Err(IdError::Clock(SnowflakeError::LeaseEnded))));
        claim.extend(START + 60);
        assert_eq!(contract::snowflake::made_at_ms(maker.next().unwrap()), START + 50);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Runs that end without a word, each on any clock, on at most two workers at once.
        #[test]
        fn ids_are_unique_over_restarts_and_clock_jumps(
            runs in prop::collection::vec(prop::collection::vec(0_u64..100_000, 1..20), 1..12),
        ) {
            let temp = TempDir::new("jumps");
            let clock = HandClock(Arc::new(AtomicU64::new(START)));
            let mut seen = BTreeSet::new();
            for ticks in runs {
                let makers = [(); 2].map(|()| {
                    let lease = lease(temp.path(), clock.now_ms()).unwrap();
                    IdMaker::new(lease, clock.clone()).unwrap()
                });
                for tick in ticks {
                    clock.0.store(START + tick, Ordering::Relaxed);
                    for id in makers.iter().filter_map(|maker| maker.next().ok()) {
                        prop_assert!(seen.insert(id), "{id} twice");
                    }
                }
            }
        }
    }
}
