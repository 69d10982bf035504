//! Worker ids, claimed on the log, so that two data directories never make one id twice.
//!
//! A process appends a claim and reads the topic up to it: what counts then is the same for everybody
//! ([`contract::record::WorkerClaims`]). A claim reaches an hour ahead and is renewed every ten minutes, so ids are made
//! without the log for fifty minutes at least. Inside of a claim the data directory has a finer bound
//! ([`foundation::ids`]), so a restart on the same directory continues at once with the worker ids that it had.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use contract::{
    record::{Record as _, WorkerClaim, WorkerClaims},
    topic,
};
use foundation::{
    Clock,
    ids::{self, ClaimedUntil, IdError, Lease},
};

use crate::{Consumer as _, Log, LogError, NewRecord};

/// How far a claim reaches ahead.
const CLAIM_MS: u64 = 3_600_000;
/// A claim that ends sooner than this is renewed.
const RENEW_MS: u64 = 3_000_000;
/// How often it is checked whether claims are to be renewed.
const CHECK_EVERY_MS: u64 = 10_000;
/// Attempts to claim worker ids. Others may claim the same ones at the same moment; each attempt knows who won the last.
const TRIES_MAX: u32 = 32;
/// Records that are read at a time.
const READ_MAX: usize = 1_000;

/// Why no worker id could be had.
#[derive(Debug, thiserror::Error)]
pub enum WorkerIdError {
    /// The directory has none.
    #[error(transparent)]
    Ids(#[from] IdError),
    /// The log does not do what it is asked.
    #[error("worker ids can't be claimed: {0}")]
    Log(#[from] LogError),
    /// Others claimed each worker id first.
    #[error("worker ids can't be claimed: others were first {TRIES_MAX} times")]
    Outrun,
}

struct Held {
    worker: u16,
    until: ClaimedUntil,
}

/// The worker ids of one data directory. Clones share them.
#[derive(Clone)]
pub struct WorkerIds<L> {
    log: L,
    dir: PathBuf,
    owner: u64,
    held: Arc<Mutex<Vec<Held>>>,
}

impl<L: Log> WorkerIds<L> {
    /// Those of the directory `dir`, of which `owner` is a random number that is kept.
    pub fn new(log: L, dir: PathBuf, owner: u64) -> Self {
        Self { log, dir, owner, held: Arc::default() }
    }

    /// Leases `count` worker ids.
    ///
    /// # Errors
    /// See [`WorkerIdError`].
    pub async fn lease(&self, count: usize, now_ms: u64) -> Result<Vec<Lease>, WorkerIdError> {
        let (mut leases, mut known) = (Vec::with_capacity(count), WorkerClaims::default());
        for _ in 0..TRIES_MAX {
            let mut asked = Vec::with_capacity(count - leases.len());
            for _ in leases.len()..count {
                let is_free = |worker| known.free_from_ms(worker, self.owner) <= now_ms;
                asked.push(ids::lease_worker(&self.dir, now_ms, is_free)?);
            }
            let claim = |lease: &Lease| self.claim(lease.worker(), lease.not_before_ms().max(now_ms));
            let claims: Vec<WorkerClaim> = asked.iter().map(claim).collect();
            known = self.append(&claims).await?;
            for (lease, claim) in asked.into_iter().zip(claims) {
                // One that was lost is given back to the directory.
                if let Some(until_ms) = known.held_until_ms(claim.worker, self.owner) {
                    let until = ClaimedUntil::new(until_ms);
                    self.held().push(Held { worker: claim.worker, until: until.clone() });
                    leases.push(lease.bound(claim.from_ms, until));
                }
            }
            if leases.len() == count {
                return Ok(leases);
            }
        }
        Err(WorkerIdError::Outrun)
    }

    /// The worker ids that were leased.
    pub fn workers(&self) -> Vec<u16> {
        self.held().iter().map(|held| held.worker).collect()
    }

    /// Renews the claims that end soon.
    ///
    /// # Errors
    /// Those of the log; the claims end when they ended.
    pub async fn renew(&self, now_ms: u64) -> Result<(), LogError> {
        let due = |held: &&Held| held.until.get() < now_ms.saturating_add(RENEW_MS);
        let claims: Vec<WorkerClaim> =
            self.held().iter().filter(due).map(|held| self.claim(held.worker, now_ms)).collect();
        if claims.is_empty() {
            return Ok(());
        }
        let known = self.append(&claims).await?;
        for held in &*self.held() {
            match known.held_until_ms(held.worker, self.owner) {
                Some(until_ms) => held.until.extend(until_ms),
                None => {
                    let worker = held.worker;
                    tracing::error!(worker, "another data directory has the worker id; no more ids are made with it");
                }
            }
        }
        Ok(())
    }

    /// Renews claims for as long as the process runs.
    pub async fn keep(self, clock: impl Clock) {
        loop {
            clock.sleep_until(clock.now_ms() + CHECK_EVERY_MS).await;
            match self.renew(clock.now_ms()).await {
                Ok(()) => {}
                Err(LogError::Closed) => return,
                Err(error) => tracing::warn!(%error, "claims of worker ids can't be renewed; it is tried again"),
            }
        }
    }

    fn claim(&self, worker: u16, from_ms: u64) -> WorkerClaim {
        WorkerClaim { worker, owner: self.owner, from_ms, until_ms: from_ms.saturating_add(CLAIM_MS) }
    }

    /// Appends `claims`, and reads the topic up to them.
    async fn append(&self, claims: &[WorkerClaim]) -> Result<WorkerClaims, LogError> {
        let record = |claim: &WorkerClaim| NewRecord {
            topic: topic::WORKER_CLAIMS.into(),
            key: Vec::new(),
            value: claim.to_bytes(),
        };
        self.log.append(claims.iter().map(record).collect()).await?;
        let (mut known, mut waiting) = (WorkerClaims::default(), claims.to_vec());
        let mut reader = self.log.follow(&[topic::WORKER_CLAIMS]).await?;
        while !waiting.is_empty() {
            for record in reader.poll(READ_MAX).await? {
                match WorkerClaim::decode(&record.value) {
                    Ok(claim) => {
                        known.take(claim);
                        waiting.retain(|waiting| *waiting != claim);
                    }
                    Err(error) => {
                        // Made by a later version. Whose worker id it claims can't be known, so none is claimed.
                        let reason = format!("a claim at offset {} can't be read: {error}", record.offset);
                        return Err(LogError::Unknown(reason));
                    }
                }
            }
        }
        Ok(known)
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        sync::atomic::{AtomicU64, Ordering},
    };

    use contract::snowflake::{EPOCH_MS, SnowflakeError};
    use foundation::IdMaker;
    use tempfile::TempDir;

    use super::*;
    use crate::LocalLog;

    const START: u64 = EPOCH_MS + 1_000_000;

    #[derive(Clone)]
    struct HandClock(Arc<AtomicU64>);

    impl Clock for HandClock {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        async fn sleep_until(&self, _at_ms: u64) {}
    }

    struct World {
        folder: TempDir,
        log: LocalLog,
        clock: HandClock,
    }

    impl World {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let log = LocalLog::open(&folder.path().join("log.db")).unwrap();
            log.create_topics(topic::fixed().to_vec()).await.unwrap();
            Self { folder, log, clock: HandClock(Arc::new(AtomicU64::new(START))) }
        }

        fn ids(&self, owner: u64) -> WorkerIds<LocalLog> {
            WorkerIds::new(self.log.clone(), self.folder.path().join(format!("ids-{owner}")), owner)
        }

        async fn makers(&self, ids: &WorkerIds<LocalLog>, count: usize) -> Vec<IdMaker> {
            let leases = ids.lease(count, self.clock.now_ms()).await.unwrap();
            leases.into_iter().map(|lease| IdMaker::new(lease, self.clock.clone()).unwrap()).collect()
        }
    }

    /// As fast as the clock allows; both directories see the same milliseconds.
    #[tokio::test]
    async fn two_data_directories_never_make_one_id_twice() {
        let world = World::new().await;
        let (one, other) = (world.ids(1), world.ids(2));
        let (mut makers, more) = tokio::join!(world.makers(&one, 2), world.makers(&other, 2));
        makers.extend(more);
        let mut made = HashSet::with_capacity(1_000_000);
        while made.len() < 1_000_000 {
            for maker in &makers {
                match maker.next() {
                    Ok(id) => assert!(made.insert(id), "{id} twice, of {}", made.len()),
                    Err(IdError::Clock(SnowflakeError::ClockBehind { .. })) => {
                        world.clock.0.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn a_restart_has_its_worker_ids_at_once() {
        let world = World::new().await;
        let first = world.ids(1);
        let makers = world.makers(&first, 2).await;
        let last = makers[0].next().unwrap();
        let workers = first.workers();
        drop(makers);
        world.clock.0.fetch_add(40_000, Ordering::Relaxed);
        let (again, other) = (world.ids(1), world.ids(2));
        let makers = world.makers(&again, 2).await;
        assert_eq!(again.workers(), workers, "the bound of 30 s in the directory is past");
        assert!(makers[0].next().unwrap() > last);
        world.makers(&other, 1).await;
        assert!(!workers.contains(&other.workers()[0]), "the claim is not past");
    }

    #[tokio::test]
    async fn a_claim_is_renewed_and_ends_without_the_log() {
        let world = World::new().await;
        let ids = world.ids(1);
        let makers = world.makers(&ids, 1).await;
        for _ in 0..20 {
            world.clock.0.fetch_add(700_000, Ordering::Relaxed);
            ids.renew(world.clock.now_ms()).await.unwrap();
            makers[0].next().unwrap();
        }
        world.clock.0.fetch_add(CLAIM_MS - 1, Ordering::Relaxed);
        makers[0].next().unwrap();
        world.clock.0.fetch_add(1, Ordering::Relaxed);
        assert!(matches!(makers[0].next(), Err(IdError::Clock(SnowflakeError::LeaseEnded))));
        let other = world.ids(2);
        world.makers(&other, 1).await;
        assert_eq!(other.workers(), ids.workers(), "it is free again");
        ids.renew(world.clock.now_ms()).await.unwrap();
        assert!(matches!(makers[0].next(), Err(IdError::Clock(SnowflakeError::LeaseEnded))), "it is another's now");
    }
}
