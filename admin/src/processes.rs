//! What the processes of the mall last reported of themselves.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use commit_log::Record;
use contract::{
    record::{Latency, ProcessReport, ProcessRole, Record as _},
    topic,
};

use crate::reader::Keep;

/// Processes that are kept; a further one replaces the one that was silent for the longest time.
const PROCESSES_MAX: usize = 1_000;
/// A process that has not reported for this long does not count as alive. It reports once a second.
const ALIVE_MS: u64 = 5_000;

/// Whether a process that reported this is alive at `now_ms`.
pub(crate) fn is_alive(report: &ProcessReport, now_ms: u64) -> bool {
    now_ms.saturating_sub(report.at_ms) <= ALIVE_MS
}

/// The newest report of a process, and the one before it.
#[derive(Debug, Clone)]
pub(crate) struct Reported {
    pub(crate) now: Arc<ProcessReport>,
    before: Option<Arc<ProcessReport>>,
}

impl Reported {
    /// How much a count grew in a second, between the last two reports; `None` after a single report.
    pub(crate) fn per_second(&self, count: impl Fn(&ProcessReport) -> u64) -> Option<u64> {
        let before = self.before.as_ref()?;
        let ms = self.now.at_ms.checked_sub(before.at_ms).filter(|ms| *ms > 0)?;
        Some((count(&self.now).saturating_sub(count(before)).saturating_mul(1000) + ms / 2) / ms)
    }

    /// What the process measured between the last two reports; nothing after a single report.
    pub(crate) fn latency(&self) -> Latency {
        let mut latency = Latency::default();
        let Some(before) = &self.before else { return latency };
        let counts = self.now.latency.counts.iter().zip(before.latency.counts);
        for (since, (now, before)) in latency.counts.iter_mut().zip(counts) {
            *since = now.saturating_sub(before);
        }
        latency.sum_us = self.now.latency.sum_us.saturating_sub(before.latency.sum_us);
        latency
    }
}

/// The newest reports of each process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Processes(Arc<Mutex<BTreeMap<i64, Reported>>>);

impl Processes {
    /// Takes a report.
    pub fn add(&self, report: ProcessReport) {
        let mut reports = self.reports();
        let (number, now) = (report.process, Arc::new(report));
        let before = reports.remove(&number).map(|reported| reported.now);
        reports.insert(number, Reported { now, before });
        if reports.len() > PROCESSES_MAX
            && let Some(silent) =
                reports.values().min_by_key(|reported| reported.now.at_ms).map(|reported| reported.now.process)
        {
            reports.remove(&silent);
        }
    }

    /// The reports of processes with numbers below `before`, the highest first, at most `limit`.
    pub(crate) fn page(&self, before: i64, limit: usize) -> Vec<Arc<ProcessReport>> {
        self.reports().range(..before).rev().take(limit).map(|(_, reported)| reported.now.clone()).collect()
    }

    /// Gateways that are alive at `now_ms`, the one that started first first, at most `limit`.
    pub(crate) fn gateways(&self, now_ms: u64, limit: usize) -> Vec<Reported> {
        let is_gateway =
            |reported: &&Reported| reported.now.role == ProcessRole::Gateway && is_alive(&reported.now, now_ms);
        let mut gateways: Vec<Reported> = self.reports().values().filter(is_gateway).cloned().collect();
        gateways.sort_by_key(|reported| (reported.now.started_at_ms, reported.now.process));
        gateways.truncate(limit);
        gateways
    }

    fn reports(&self) -> MutexGuard<'_, BTreeMap<i64, Reported>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keep for Processes {
    const TOPIC: &'static str = topic::PROCESSES;

    fn keep(&self, record: &Record) {
        match ProcessReport::decode(&record.value) {
            Ok(report) => self.add(report),
            // One of a later version, in an upgrade.
            Err(error) => tracing::debug!(offset = record.offset, %error, "a report of a process can't be decoded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::record::ProcessRole;

    use super::*;

    #[test]
    fn a_process_that_was_silent_for_longest_makes_room() {
        let processes = Processes::default();
        let mut report = foundation::process::describe(ProcessRole::Gateway, Vec::new(), 0).unwrap();
        for number in 1..=1_002_i64 {
            (report.process, report.at_ms) = (number, if number == 2 { 1 } else { 10 + number.unsigned_abs() });
            processes.add(report.clone());
        }
        assert_eq!(processes.reports().len(), PROCESSES_MAX);
        let lowest: Vec<i64> = processes.page(5, 10).iter().map(|report| report.process).collect();
        assert_eq!(lowest, [4, 3]);
    }

    #[test]
    fn rates_are_those_between_the_last_two_reports() {
        let processes = Processes::default();
        let mut report = foundation::process::describe(ProcessRole::Gateway, Vec::new(), 0).unwrap();
        (report.process, report.at_ms, report.answers) = (7, 1_000, 100);
        report.latency.counts[0] = 50;
        processes.add(report.clone());
        let first = processes.gateways(1_000, 10).remove(0);
        assert_eq!((first.per_second(|report| report.answers), first.latency().count()), (None, 0));
        (report.at_ms, report.answers) = (3_000, 400);
        report.latency.counts[3] = 10;
        processes.add(report.clone());
        let second = processes.gateways(3_000, 10).remove(0);
        assert_eq!(second.per_second(|report| report.answers), Some(150));
        assert_eq!((second.latency().count(), second.latency().quantile_us(500)), (10, Some(5_000)));
        // One that starts again under its number, and one whose clock was set back.
        (report.at_ms, report.answers) = (2_000, 0);
        processes.add(report.clone());
        assert_eq!(processes.gateways(3_000, 10).remove(0).per_second(|report| report.answers), None);

        (report.process, report.role) = (8, ProcessRole::OrderCore);
        processes.add(report);
        assert_eq!((processes.gateways(3_000, 10).len(), processes.gateways(7_001, 10).len()), (1, 0));
        assert!(processes.gateways(3_000, 0).is_empty());
    }
}
