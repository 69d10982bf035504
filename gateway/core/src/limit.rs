//! Rate limits: GCRA by governor, one cell per client or user, in a store that is bounded.

use std::{
    cell::{Cell, RefCell},
    hash::Hash,
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::{RateLimitingMiddleware, StateSnapshot},
    nanos::Nanos,
    state::StateStore,
};

use crate::{http::RateState, lru::LruMap};

/// A long-term rate and a burst. 0 turns the limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second.
    pub per_second: u32,
    /// Requests at once; at least 1 where `per_second` is.
    pub burst: u32,
}

/// Over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateExceeded {
    pub rate: RateState,
    pub retry_after_s: u64,
}

/// A limit for each of many keys.
#[derive(Debug)]
pub(crate) struct Limiter<K: Hash + Eq + Copy> {
    /// Absent where the limit is off.
    cells: Option<RateLimiter<K, Cells<K>, ManualClock, QuotaReport>>,
    rate: Rate,
}

impl<K: Hash + Eq + Copy> Limiter<K> {
    /// A limiter that remembers the `keys_max` keys used last.
    pub(crate) fn new(rate: Rate, keys_max: usize, seed: u64, now: Duration) -> Self {
        let quota = NonZeroU32::new(rate.per_second).map(|per_second| {
            let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
            Quota::per_second(per_second).allow_burst(burst)
        });
        let cells = quota.map(|quota| {
            let clock = ManualClock(Cell::new(nanos(now)));
            let store = Cells(RefCell::new(LruMap::new(keys_max, seed)));
            RateLimiter::<K, Cells<K>, ManualClock, QuotaReport>::new(quota, store, clock)
        });
        Self { cells, rate }
    }

    /// Takes one request of `key`. `None` where the limit is off.
    pub(crate) fn take(&mut self, key: K, now: Duration) -> Result<Option<RateState>, RateExceeded> {
        let Some(cells) = &self.cells else { return Ok(None) };
        cells.clock().0.set(nanos(now));
        match cells.check_key(&key) {
            Ok(remaining) => Ok(Some(self.state(remaining))),
            Err(wait) => {
                let retry_after_s = whole_seconds(wait.saturating_sub(now)).max(1);
                Err(RateExceeded { rate: self.state(0), retry_after_s })
            }
        }
    }

    fn state(&self, remaining: u32) -> RateState {
        let used = self.rate.burst.max(1).saturating_sub(remaining);
        let reset_s = u64::from(used.div_ceil(self.rate.per_second.max(1)));
        RateState { limit: self.rate.burst.max(1), remaining, reset_s }
    }
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::new(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// governor's clock, which is set before every decision.
#[derive(Debug, Clone)]
struct ManualClock(Cell<Nanos>);

impl Clock for ManualClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.get()
    }
}

/// governor's store of one cell per key.
#[derive(Debug)]
struct Cells<K>(RefCell<LruMap<K, Nanos>>);

impl<K: Hash + Eq + Copy> StateStore for Cells<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut cells = self.0.borrow_mut();
        let (outcome, next) = decide(cells.get(key))?;
        cells.insert(*key, next);
        Ok(outcome)
    }
}

/// What a decision reports: how many requests are left, or when the next one is allowed.
#[derive(Debug)]
struct QuotaReport;

impl RateLimitingMiddleware<Nanos> for QuotaReport {
    type PositiveOutcome = u32;
    type NegativeOutcome = Duration;

    fn allow<K>(_: &K, state: impl Into<StateSnapshot>) -> u32 {
        state.into().remaining_burst_capacity()
    }

    fn disallow<K>(key: &K, state: impl Into<StateSnapshot>, start: Nanos) -> Duration {
        let until =
            <governor::middleware::NoOpMiddleware<Nanos> as RateLimitingMiddleware<Nanos>>::disallow(key, state, start);
        Duration::from_nanos(until.earliest_possible().as_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(keys_max: usize) -> Limiter<u8> {
        Limiter::new(Rate { per_second: 2, burst: 3 }, keys_max, 7, Duration::from_secs(9))
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut limiter = limiter(8);
        let at = |ms| Duration::from_secs(9) + Duration::from_millis(ms);
        for left in [2, 1, 0] {
            assert_eq!(limiter.take(1, at(0)).unwrap().unwrap().remaining, left);
        }
        let refused = limiter.take(1, at(0)).unwrap_err();
        assert_eq!((refused.retry_after_s, refused.rate.limit, refused.rate.reset_s), (1, 3, 2));
        assert!(limiter.take(2, at(0)).is_ok());
        assert!(limiter.take(1, at(499)).is_err());
        assert!(limiter.take(1, at(500)).is_ok());
    }

    #[test]
    fn zero_is_off() {
        let mut limiter = Limiter::new(Rate { per_second: 0, burst: 0 }, 1, 7, Duration::ZERO);
        assert!((0..1000).all(|_| limiter.take(1_u8, Duration::ZERO) == Ok(None)));
    }

    #[test]
    fn a_crowd_does_not_make_room_for_one_who_keeps_asking() {
        let mut limiter = limiter(4);
        let now = Duration::from_secs(9);
        while limiter.take(0, now).is_ok() {}
        for other in 1..=255 {
            assert!(limiter.take(other, now).is_ok());
            assert!(limiter.take(0, now).is_err(), "after {other}");
        }
    }
}
