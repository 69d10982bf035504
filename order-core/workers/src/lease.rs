//! Leases: of all processes on one database, one does the work.
//!
//! A holder renews its lease once a second. Another process takes the lease over once it has not seen it renewed for four
//! seconds of its own clock, so clocks need not agree. A holder that was paused may believe for a moment that it still
//! holds the lease. So its writes name the fencing number of its holding, and are refused once the lease has passed on.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{LeaseName, LeaseRow, LeaseStore};
use foundation::Clock;

use crate::{Worker, WorkerError};

/// How often a lease is renewed, and how often a process without it looks whether it is free.
const RENEW_EVERY_MS: u64 = 1_000;
/// A holder that can't renew its lease for this long stops working.
const HELD_MAX_MS: u64 = 3_000;
/// A lease that was not renewed for this long is free.
const SILENT_MAX_MS: u64 = 4_000;

/// How long the end of a process waits for the database.
const GIVE_BACK_MAX_MS: u64 = 1_000;

const _: () = assert!(HELD_MAX_MS < SILENT_MAX_MS, "a holder stops before another one begins");

/// A lease, and whether this process holds it.
#[derive(Debug)]
pub struct Lease<S> {
    store: S,
    name: LeaseName,
    /// A random number that no other process has.
    me: i64,
    holding: Option<Holding>,
    /// The row of another holder, and since when it has not changed.
    seen: Option<(LeaseRow, u64)>,
    number: FencingNumber,
}

#[derive(Debug, Clone, Copy)]
struct Holding {
    row: LeaseRow,
    renewed_at_ms: u64,
}

/// A lease that this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Named by every write.
    pub fencing_number: u64,
    /// The process has just got it.
    pub is_new: bool,
    /// See [`LeaseRow::late_writes`].
    pub late_writes: u64,
}

/// The fencing number under which a process works, for the writes that name it; 0 if it does not hold the lease.
#[derive(Debug, Clone, Default)]
pub struct FencingNumber(Arc<AtomicU64>);

impl FencingNumber {
    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, number: u64) {
        self.0.store(number, Ordering::Release);
    }
}

impl<S: LeaseStore> Lease<S> {
    /// The lease `name`, which this process does not hold yet. `me` is a random number above 0.
    pub fn new(store: S, name: LeaseName, me: i64) -> Self {
        Self { store, name, me, holding: None, seen: None, number: FencingNumber::default() }
    }

    /// The number that writes name.
    pub fn fencing_number(&self) -> FencingNumber {
        self.number.clone()
    }

    /// Renews the lease if that is due, or takes it if it is free. `None` if another process holds it.
    ///
    /// # Errors
    /// If the database fails, and the lease is not held for certain.
    pub async fn hold(&mut self, now_ms: u64) -> Result<Option<Held>, WorkerError> {
        if let Some(holding) = self.holding.filter(|holding| is_within(holding, now_ms, RENEW_EVERY_MS)) {
            return Ok(Some(held(&holding, false)));
        }
        match (self.renew(now_ms).await, self.holding) {
            (Ok(held), _) => Ok(held),
            (Err(_), Some(holding)) if is_within(&holding, now_ms, HELD_MAX_MS) => Ok(Some(held(&holding, false))),
            (Err(error), _) => {
                self.lose();
                Err(error)
            }
        }
    }

    async fn renew(&mut self, now_ms: u64) -> Result<Option<Held>, WorkerError> {
        let row = self.store.lease(self.name).await?;
        let is_mine = row.holder == self.me
            && self.holding.is_some_and(|holding| holding.row.fencing_number == row.fencing_number);
        let to = if is_mine {
            LeaseRow { renewals: row.renewals + 1, ..row }
        } else if self.is_free(row, now_ms) {
            LeaseRow { holder: self.me, fencing_number: row.fencing_number + 1, renewals: 0, ..row }
        } else {
            self.lose();
            return Ok(None);
        };
        if !self.store.move_lease(self.name, row, to).await? {
            self.lose();
            return Ok(None);
        }
        if !is_mine {
            tracing::info!(
                lease = self.name.as_str(),
                fencing_number = to.fencing_number,
                "this process has the lease"
            );
        }
        self.number.set(to.fencing_number);
        self.seen = None;
        let holding = Holding { row: to, renewed_at_ms: now_ms };
        self.holding = Some(holding);
        Ok(Some(held(&holding, !is_mine)))
    }

    fn is_free(&mut self, row: LeaseRow, now_ms: u64) -> bool {
        let same = |seen: &LeaseRow| (seen.fencing_number, seen.renewals) == (row.fencing_number, row.renewals);
        let since_ms = match self.seen {
            Some((seen, since_ms)) if same(&seen) => since_ms,
            Some(_) | None => now_ms,
        };
        self.seen = Some((row, since_ms));
        row.holder == 0 || row.holder == self.me || now_ms.saturating_sub(since_ms) >= SILENT_MAX_MS
    }

    /// Another process has the lease, as a refused write shows.
    pub fn lose(&mut self) {
        if self.holding.take().is_some() {
            tracing::warn!(lease = self.name.as_str(), "this process does not hold the lease any more");
        }
        self.number.set(0);
    }

    /// Does `work`, and renews the lease meanwhile.
    pub async fn keep_while<T>(&mut self, clock: &impl Clock, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = clock.sleep_until(clock.now_ms() + RENEW_EVERY_MS) => {}
            }
            if let Err(error) = self.hold(clock.now_ms()).await {
                tracing::debug!(lease = self.name.as_str(), %error, "a lease can't be renewed");
            }
        }
    }

    /// Gives the lease back, so that another process need not wait until it is silent for long enough. If the database does
    /// not do it in time, the lease ends by itself.
    pub async fn give_back(&mut self, clock: &impl Clock) {
        let Some(Holding { row, .. }) = self.holding.take() else { return };
        self.number.set(0);
        tokio::select! {
            biased;
            given = self.store.move_lease(self.name, row, LeaseRow { holder: 0, ..row }) => if let Err(error) = given {
                tracing::debug!(lease = self.name.as_str(), %error, "a lease can't be given back");
            },
            () = clock.sleep_until(clock.now_ms() + GIVE_BACK_MAX_MS) => {}
        }
    }
}

const fn held(holding: &Holding, is_new: bool) -> Held {
    let LeaseRow { fencing_number, late_writes, .. } = holding.row;
    Held { fencing_number, is_new, late_writes }
}

const fn is_within(holding: &Holding, now_ms: u64, limit_ms: u64) -> bool {
    now_ms.saturating_sub(holding.renewed_at_ms) < limit_ms
}

/// A worker that works while it holds its lease.
#[derive(Debug)]
pub struct Led<W, S, C> {
    worker: W,
    lease: Lease<S>,
    clock: C,
}

impl<W: Worker, S: LeaseStore, C: Clock> Led<W, S, C> {
    /// `worker`, which works while `lease` is held.
    pub const fn new(worker: W, lease: Lease<S>, clock: C) -> Self {
        Self { worker, lease, clock }
    }
}

impl<W: Worker, S: LeaseStore, C: Clock> Worker for Led<W, S, C> {
    const NAME: &'static str = W::NAME;

    async fn step(&mut self) -> Result<(), WorkerError> {
        if self.lease.hold(self.clock.now_ms()).await?.is_none() {
            self.clock.sleep_until(self.clock.now_ms() + RENEW_EVERY_MS).await;
            return Ok(());
        }
        self.lease.keep_while(&self.clock, self.worker.step()).await
    }

    async fn end(&mut self) {
        self.worker.end().await;
        self.lease.give_back(&self.clock).await;
    }
}

/// How long a process without the lease waits before it looks again.
pub(crate) const LOOK_EVERY_MS: u64 = RENEW_EVERY_MS;

#[cfg(test)]
mod tests {
    use domain::model::ModelStore;

    use super::*;
    use crate::tests::now;

    const START: u64 = 1_000_000;

    fn leases() -> (ModelStore, Lease<ModelStore>, Lease<ModelStore>) {
        let store = ModelStore::new(1);
        let lease = |me| Lease::new(store.clone(), LeaseName::OutboxRelay, me);
        (store.clone(), lease(1), lease(2))
    }

    fn hold(lease: &mut Lease<ModelStore>, at_ms: u64) -> Option<(u64, bool)> {
        let held = now(lease.hold(START + at_ms)).unwrap().unwrap();
        held.map(|held| (held.fencing_number, held.is_new))
    }

    #[test]
    fn a_silent_holder_is_replaced_with_a_higher_number() {
        let (_, mut one, mut other) = leases();
        // The clock of the second one is ten minutes ahead.
        let ahead = 600_000;
        assert_eq!((hold(&mut one, 0), hold(&mut other, ahead)), (Some((1, true)), None));
        for at_ms in [1_500, 3_000, 4_500, 6_000] {
            let held = (hold(&mut one, at_ms), hold(&mut other, ahead + at_ms));
            assert_eq!(held, (Some((1, false)), None), "at {at_ms}");
        }
        // The first one is paused.
        assert_eq!(hold(&mut other, ahead + 6_000 + SILENT_MAX_MS - 1), None);
        assert_eq!(hold(&mut other, ahead + 6_000 + SILENT_MAX_MS), Some((2, true)));
        assert_eq!(other.fencing_number().get(), 2);
        assert_eq!(hold(&mut one, 20_000), None, "it notices at its next renewal");
        assert_eq!(one.fencing_number().get(), 0);
    }

    #[test]
    fn a_lease_that_is_given_back_is_free_at_once() {
        let (_, mut one, mut other) = leases();
        assert_eq!((hold(&mut one, 0), hold(&mut other, 0)), (Some((1, true)), None));
        now(one.give_back(&support::HandClock::new())).unwrap();
        assert_eq!(hold(&mut other, 0), Some((2, true)));
        assert_eq!(hold(&mut one, 0), None);
    }

    #[test]
    fn a_write_of_a_former_holder_is_refused_and_counted() {
        let (store, mut one, mut other) = leases();
        hold(&mut one, 0);
        hold(&mut other, 0);
        assert_eq!(hold(&mut other, SILENT_MAX_MS), Some((2, true)));
        assert!(!now(store.outbox_sent_by(&[], 1)).unwrap().unwrap());
        assert!(now(store.outbox_sent_by(&[], 2)).unwrap().unwrap());
        let held = now(other.hold(START + SILENT_MAX_MS + RENEW_EVERY_MS)).unwrap().unwrap().unwrap();
        assert_eq!((held.late_writes, held.is_new), (1, false));
    }
}
