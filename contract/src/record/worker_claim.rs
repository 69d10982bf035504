//! Which data directory makes ids with which worker id.

use std::collections::BTreeMap;

use super::{Record, begin, header, kind, only};
use crate::{
    codec::{DecodeError, Writer},
    snowflake::WORKER_MAX,
};

/// A claim of a worker id for a span of time, on [`crate::topic::WORKER_CLAIMS`].
///
/// An id contains the millisecond in which it was made. So two claims of one worker id can't lead to one id twice as long as
/// their spans do not overlap, whatever the clocks of their owners say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerClaim {
    /// The worker id.
    pub worker: u16,
    /// The data directory that claims it: a random number that is kept there.
    pub owner: u64,
    /// No id of the claim lies before this, epoch milliseconds.
    pub from_ms: u64,
    /// Every id of the claim lies before this, epoch milliseconds.
    pub until_ms: u64,
}

/// The claims that count, by worker id. Every reader of the topic comes to the same result.
#[derive(Debug, Clone, Default)]
pub struct WorkerClaims(BTreeMap<u16, WorkerClaim>);

impl WorkerClaims {
    /// Takes the next claim of the log. It counts if nobody else's claim that counts reaches into its span: of two that
    /// overlap, the first on the log wins.
    pub fn take(&mut self, claim: WorkerClaim) {
        let held = self.0.entry(claim.worker).or_insert(claim);
        if held.owner == claim.owner {
            held.until_ms = held.until_ms.max(claim.until_ms);
        } else if held.until_ms <= claim.from_ms {
            *held = claim;
        }
    }

    /// Until when `owner` may make ids with `worker`, epoch milliseconds; `None` if the worker id is not its own.
    pub fn held_until_ms(&self, worker: u16, owner: u64) -> Option<u64> {
        self.0.get(&worker).filter(|held| held.owner == owner).map(|held| held.until_ms)
    }

    /// The first millisecond in which `owner` may make ids with `worker`, epoch milliseconds.
    pub fn free_from_ms(&self, worker: u16, owner: u64) -> u64 {
        self.0.get(&worker).filter(|held| held.owner != owner).map_or(0, |held| held.until_ms)
    }
}

impl Record for WorkerClaim {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut writer: Writer<'_> = begin(out, kind::WORKER_CLAIM);
        writer.u32(u32::from(self.worker)).u64(self.owner).u64(self.from_ms).u64(self.until_ms);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = header(bytes)?;
        only(kind, kind::WORKER_CLAIM)?;
        let worker = u16::try_from(reader.u32()?).ok().filter(|worker| *worker <= WORKER_MAX);
        let worker = worker.ok_or(DecodeError::OutOfRange)?;
        let (owner, from_ms, until_ms) = (reader.u64()?, reader.u64()?, reader.u64()?);
        if from_ms >= until_ms {
            return Err(DecodeError::OutOfRange);
        }
        reader.end()?;
        Ok(Self { worker, owner, from_ms, until_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(list: &[(u64, u64, u64)]) -> WorkerClaims {
        let mut claims = WorkerClaims::default();
        for (owner, from_ms, until_ms) in list {
            claims.take(WorkerClaim { worker: 5, owner: *owner, from_ms: *from_ms, until_ms: *until_ms });
        }
        claims
    }

    #[test]
    fn the_first_of_two_overlapping_claims_wins() {
        let held = claims(&[(1, 100, 200), (2, 199, 300)]);
        assert_eq!((held.held_until_ms(5, 1), held.held_until_ms(5, 2)), (Some(200), None));
        assert_eq!((held.free_from_ms(5, 1), held.free_from_ms(5, 2), held.free_from_ms(6, 2)), (0, 200, 0));
    }

    #[test]
    fn a_renewal_that_comes_too_late_does_not_count() {
        let held = claims(&[(1, 100, 200), (1, 150, 250), (2, 250, 350), (1, 200, 300)]);
        assert_eq!((held.held_until_ms(5, 1), held.held_until_ms(5, 2)), (None, Some(350)));
    }
}
