//! Reports of order-core and admin on the log; the gateway reports itself.

use anyhow::Result;
use commit_log::{AnyLog, ProcessReporter};
use contract::record::{ProcessReport, ProcessRole};
use foundation::{Clock as _, SystemClock, process};
use tokio_util::sync::CancellationToken;
use web::report_requests;

use crate::ground::Ground;

/// Reports `role` of this process until `stop`.
pub(crate) fn start(
    ground: &Ground,
    log: &AnyLog,
    role: ProcessRole,
    workers: Vec<u16>,
    stop: &CancellationToken,
) -> Result<()> {
    let report = process::describe(role, workers, SystemClock.now_ms())?;
    let metrics = ground.metrics.clone();
    let fill = move |report: &mut ProcessReport| report_requests(&metrics, role.as_str(), report);
    let (reporter, stop) = (ProcessReporter::new(log.clone(), report, fill), stop.clone());
    tokio::spawn(async move { stop.run_until_cancelled(reporter.run(SystemClock)).await });
    Ok(())
}
