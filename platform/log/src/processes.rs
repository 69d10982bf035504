//! Reports of this process, once a second.

use contract::{
    record::{ProcessReport, Record as _, process_key},
    topic,
};
use foundation::Clock;

use crate::{Log, LogError, NewRecord};

/// Between two reports.
const REPORT_EVERY_MS: u64 = 1_000;
/// Failures that are not logged between two that are.
const QUIET_FAILURES: u32 = 60;

/// Appends reports of one service of this process.
pub struct ProcessReporter<L, F> {
    log: L,
    report: ProcessReport,
    fill: F,
}

impl<L: Log, F: Fn(&mut ProcessReport)> ProcessReporter<L, F> {
    /// A reporter of the process that `report` describes; `fill` puts the present counts into it.
    pub const fn new(log: L, report: ProcessReport, fill: F) -> Self {
        Self { log, report, fill }
    }

    /// Appends one report.
    ///
    /// # Errors
    /// Those of the log. The next report has everything that this one had.
    pub async fn step(&mut self, now_ms: u64) -> Result<(), LogError> {
        (self.fill)(&mut self.report);
        self.report.at_ms = now_ms;
        self.report.clip();
        let (key, value) = (process_key(self.report.process).to_vec(), self.report.to_bytes());
        self.log.append(vec![NewRecord { topic: topic::PROCESSES.into(), key, value }]).await
    }

    /// Reports until the log is closed. While the log is away no reports wait: the next one is the present state.
    pub async fn run(mut self, clock: impl Clock) {
        let mut failures = 0_u32;
        loop {
            let now_ms = clock.now_ms();
            match self.step(now_ms).await {
                Ok(()) => failures = 0,
                Err(LogError::Closed) => return,
                Err(error) => {
                    if failures.is_multiple_of(QUIET_FAILURES) {
                        tracing::warn!(%error, "this process can't report itself on the log; it retries");
                    }
                    failures += 1;
                }
            }
            clock.sleep_until(now_ms + REPORT_EVERY_MS).await;
        }
    }
}
