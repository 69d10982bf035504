//! Whether a process is ready, and what it waits for.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// The parts that a process needs before it may be sent requests. Clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    waiting: Arc<Mutex<BTreeMap<String, String>>>,
    warnings: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    draining: Arc<AtomicBool>,
}

/// One part of a [`Readiness`].
#[derive(Debug, Clone)]
pub struct Part {
    readiness: Readiness,
    name: String,
}

impl Readiness {
    /// Adds a part that is not ready yet, for `reason`.
    pub fn part(&self, name: &str, reason: &str) -> Part {
        let part = Part { readiness: self.clone(), name: name.to_owned() };
        part.not_ready(reason);
        part
    }

    /// The process is about to stop: it serves on and is not ready any more, so that requests are sent elsewhere.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.part("process", "it is stopping");
    }

    /// Whether [`Readiness::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Parts that are not ready, each with its reason; empty is ready.
    pub fn waiting(&self) -> Vec<(String, String)> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().map(|(name, reason)| (name.clone(), reason.clone())).collect()
    }

    /// Replaces the warnings of `part`: what somebody must look at while the process serves all the same.
    pub fn set_warnings(&self, part: &str, reasons: Vec<String>) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).insert(part.to_owned(), reasons);
    }

    /// Every warning, with the part that has it.
    pub fn warnings(&self) -> Vec<(String, String)> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.iter().flat_map(|(part, reasons)| reasons.iter().map(|it| (part.clone(), it.clone()))).collect()
    }
}

impl Part {
    /// The list that it is a part of.
    pub const fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// The part is ready.
    pub fn ready(&self) {
        self.readiness.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }

    /// The part is not ready, for `reason`.
    pub fn not_ready(&self, reason: &str) {
        let mut waiting = self.readiness.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(self.name.clone(), reason.to_owned());
    }
}

/// How long a write that failed makes a place count as one that can't be written, whatever succeeds meanwhile: a
/// small write may still find room where a large one does not. Workers retry a failed write within this time.
const FAILURE_COUNTS: Duration = Duration::from_secs(3);
/// How long a write that succeeded lets the next one be expected to succeed.
const SUCCESS_COUNTS: Duration = Duration::from_secs(1);

/// The outcome of the latest writes to one place, such as a database. It is recorded by the code that writes and read by
/// the code that reports readiness, which so needs no write of its own while there is traffic.
#[derive(Debug, Default)]
pub struct Writes {
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    success: Option<Instant>,
    failure: Option<(Instant, String)>,
}

/// The conclusion from [`Writes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The place can be written.
    Writable,
    /// It can't be written, for this reason.
    Failing(String),
    /// There was no write lately; a caller who needs to know must write something.
    Unknown,
}

impl Writes {
    /// A write succeeded.
    pub fn succeeded(&self, now: Instant) {
        self.latest().success = Some(now);
    }

    /// No write can succeed now, for `reason`.
    pub fn failed(&self, reason: String, now: Instant) {
        self.latest().failure = Some((now, reason));
    }

    /// What the latest writes let expect of the next one.
    pub fn verdict(&self, now: Instant) -> Verdict {
        let latest = self.latest();
        let counts = |at: Instant, during| now.saturating_duration_since(at) < during;
        match (&latest.failure, latest.success) {
            (Some((at, reason)), _) if counts(*at, FAILURE_COUNTS) => Verdict::Failing(reason.clone()),
            (_, Some(at)) if counts(at, SUCCESS_COUNTS) => Verdict::Writable,
            (_, _) => Verdict::Unknown,
        }
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_outweighs_later_successes_for_a_while() {
        let (writes, begin) = (Writes::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        assert_eq!(writes.verdict(at(0)), Verdict::Unknown);
        writes.succeeded(at(0));
        assert_eq!(writes.verdict(at(999)), Verdict::Writable);
        assert_eq!(writes.verdict(at(1_000)), Verdict::Unknown);
        writes.failed("full".to_owned(), at(2_000));
        writes.succeeded(at(4_900));
        assert_eq!(writes.verdict(at(4_999)), Verdict::Failing("full".to_owned()));
        assert_eq!(writes.verdict(at(5_000)), Verdict::Writable);
        assert_eq!(writes.verdict(at(5_900)), Verdict::Unknown);
    }
}
