//! Keeps the fence of the ledgers in Redis up.

use std::time::Duration;

use commit_log::Log;
use foundation::{Clock, health::Part};
use ledger::{house::SnapshotSource, redis::fence::Fence};
use tokio_util::sync::CancellationToken;

/// Between two looks. A Redis that came back sells nothing before it was looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Failures that are not logged between two that are.
const QUIET_FAILURES: u32 = 50;

/// Looks until `stop`; `part` is ready while the ledgers may sell.
pub async fn guard<L: Log, S: SnapshotSource>(
    mut fence: Fence<L, S>,
    clock: impl Clock,
    part: Part,
    stop: CancellationToken,
) {
    let mut failures = 0_u32;
    loop {
        let looked = tokio::select! {
            () = stop.cancelled() => return,
            looked = fence.look(clock.now_ms()) => looked,
        };
        match looked {
            Ok(true) => part.ready(),
            Ok(false) => part.not_ready("Redis is being compared with the log"),
            Err(error) => {
                if failures.is_multiple_of(QUIET_FAILURES) {
                    tracing::warn!(%error, "the ledgers in Redis can't be compared with the log; it is tried again");
                }
                part.not_ready(&error.to_string());
                failures += 1;
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
        }
        failures = 0;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
