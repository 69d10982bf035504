//! Snowflake ids: 41 bits of milliseconds, 10 bits of worker, 12 bits of sequence.
//!
//! The generator has no clock. It never goes back: a clock that does is waited out for a moment
//! ([`AHEAD_MAX_MS`]) and refused beyond it. Ids are made only below a bound that the worker's lease
//! has already stored, so a restart on an older clock begins where the last run could have ended.

/// Millisecond 0 of the 41-bit timestamp: 2025-01-01T00:00:00Z. It lasts until 2094.
pub const EPOCH_MS: u64 = 1_735_689_600_000;
/// How far ids may run ahead of the clock, in milliseconds: through a burst of more than 4,096 in
/// one millisecond, or through a clock that stepped back.
pub const AHEAD_MAX_MS: u64 = 10;
/// Worker ids are 0 to this.
pub const WORKER_MAX: u16 = 1023;

const SEQUENCE_MAX: u64 = 4095;
const WORKER_SHIFT: u32 = 12;
const TIME_SHIFT: u32 = 22;
const TIME_MAX: u64 = (1 << 41) - 1;

/// Why no id can be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnowflakeError {
    /// The clock is this far behind ids that were already made.
    #[error("the clock is {by_ms} ms behind the last id")]
    ClockBehind {
        /// Milliseconds until ids can be made again.
        by_ms: u64,
    },
    /// The lease's bound is reached: it must be renewed first.
    #[error("the worker id's lease ends here")]
    LeaseEnded,
    /// The clock is before 2025 or after 2094.
    #[error("the clock is outside the range of the ids")]
    OutOfRange,
}

/// Makes ids for one worker. One generator a worker id at a time: the lease sees to that.
#[derive(Debug)]
pub struct Snowflake {
    worker: u16,
    /// The next id is `(next_ms, next_sequence)` or later.
    next_ms: u64,
    next_sequence: u64,
    lease_until_ms: u64,
}

impl Snowflake {
    /// A generator whose ids all lie at or after `not_before_ms` and before `lease_until_ms`.
    ///
    /// # Panics
    /// If `worker` is above [`WORKER_MAX`].
    pub fn new(worker: u16, not_before_ms: u64, lease_until_ms: u64) -> Self {
        assert!(worker <= WORKER_MAX, "worker {worker} is above {WORKER_MAX}");
        Self { worker, next_ms: not_before_ms, next_sequence: 0, lease_until_ms }
    }

    /// Moves the bound on; a bound that is older changes nothing.
    pub fn extend_lease(&mut self, until_ms: u64) {
        self.lease_until_ms = self.lease_until_ms.max(until_ms);
    }

    /// The next id, as the database's BIGINT.
    ///
    /// # Errors
    /// See [`SnowflakeError`]; no state changes.
    pub fn next(&mut self, now_ms: u64) -> Result<i64, SnowflakeError> {
        let (ms, sequence) = if now_ms > self.next_ms { (now_ms, 0) } else { (self.next_ms, self.next_sequence) };
        let by_ms = ms - now_ms;
        if by_ms > AHEAD_MAX_MS {
            return Err(SnowflakeError::ClockBehind { by_ms });
        }
        if ms >= self.lease_until_ms {
            return Err(SnowflakeError::LeaseEnded);
        }
        let since = ms.checked_sub(EPOCH_MS).filter(|since| *since <= TIME_MAX).ok_or(SnowflakeError::OutOfRange)?;
        (self.next_ms, self.next_sequence) = if sequence == SEQUENCE_MAX { (ms + 1, 0) } else { (ms, sequence + 1) };
        let id = (since << TIME_SHIFT) | (u64::from(self.worker) << WORKER_SHIFT) | sequence;
        i64::try_from(id).map_err(|_| SnowflakeError::OutOfRange)
    }
}

/// The millisecond an id was made in.
pub fn made_at_ms(id: i64) -> u64 {
    u64::try_from(id).map_or(0, |id| (id >> TIME_SHIFT) + EPOCH_MS)
}

/// The lowest id that can be made in this millisecond; 0 before the first one.
pub fn first_at_ms(at_ms: u64) -> i64 {
    i64::try_from(at_ms.saturating_sub(EPOCH_MS).min(TIME_MAX) << TIME_SHIFT).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const START: u64 = EPOCH_MS + 1_000_000;

    #[test]
    fn a_burst_borrows_from_the_next_milliseconds_and_then_waits() {
        let mut ids = Snowflake::new(3, START, u64::MAX);
        let borrowed = (AHEAD_MAX_MS + 1) * 4096;
        let made: BTreeSet<i64> = (0..borrowed).map(|_| ids.next(START).unwrap()).collect();
        assert_eq!(made.len() as u64, borrowed);
        assert_eq!(ids.next(START), Err(SnowflakeError::ClockBehind { by_ms: AHEAD_MAX_MS + 1 }));
        assert!(ids.next(START + 1).is_ok());
    }

    #[test]
    fn the_lease_bounds_what_is_made() {
        let mut ids = Snowflake::new(0, START, START + 5);
        assert!(ids.next(START + 4).is_ok());
        assert_eq!(ids.next(START + 5), Err(SnowflakeError::LeaseEnded));
        ids.extend_lease(START + 6);
        let id = ids.next(START + 5).unwrap();
        assert_eq!(made_at_ms(id), START + 5);
        assert!(first_at_ms(START + 5) <= id && id < first_at_ms(START + 6));
        assert_eq!(first_at_ms(0), 0);
    }

    proptest! {
        /// A worker restarts on any clock, each time from the bound that its lease had stored.
        #[test]
        fn ids_are_unique_over_restarts_and_clock_jumps(
            runs in prop::collection::vec((0_u64..5_000, prop::collection::vec(0_u64..5_000, 1..40)), 1..20),
        ) {
            let mut seen = BTreeSet::new();
            let mut stored_until = START;
            for (boot, clock) in runs {
                let not_before = stored_until.max(START);
                stored_until = not_before.max(START + boot) + 3_000;
                let mut ids = Snowflake::new(7, not_before, stored_until);
                for tick in clock {
                    if let Ok(id) = ids.next(START + tick) {
                        prop_assert!(seen.insert(id), "{id} twice");
                        prop_assert!(made_at_ms(id) < stored_until);
                    }
                }
            }
        }
    }
}
