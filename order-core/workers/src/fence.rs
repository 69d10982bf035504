//! Keeps the fence of the ledgers in Redis up.

use commit_log::Log;
use contract::{ActivityId, OrderId};
use domain::SaleError;
use domain::SaleStore;
use foundation::{Clock, health::Part};
use ledger::redis::fence::{Fence, Looked, RecoverySource};
use tokio_util::sync::CancellationToken;

/// Between two looks. A Redis that came back sells nothing before it was looked at.
const LOOK_EVERY_MS: u64 = 100;
/// Failures that are not logged between two that are.
const QUIET_FAILURES: u32 = 50;

/// Looks until `stop`; `part` is ready while the ledgers may sell. `report` gets the ledgers that can't be recovered.
///
/// A Redis that came back may have forgotten settles and releases that it had carried out and nobody else
/// had heard of: the keeper has put the commands behind it, so they are sent once more after each
/// comparison, also after the first one of a process, which may have died between the two.
pub async fn guard<L: Log, S: RecoverySource, D: SaleStore>(
    mut fence: Fence<L, S>,
    store: D,
    clock: impl Clock,
    part: Part,
    report: impl Fn(&[ActivityId]) + Send,
    stop: CancellationToken,
) {
    let mut failures = Failures(0);
    let mut repeats = Repeats::Done;
    loop {
        let looked = tokio::select! {
            () = stop.cancelled() => return,
            looked = fence.look(clock.now_ms()) => looked,
        };
        report(&fence.failed().collect::<Vec<_>>());
        match looked {
            Ok(Looked::Selling) => part.ready(),
            Ok(Looked::Recovered) => {
                part.ready();
                repeats = Repeats::After(None);
            }
            Ok(Looked::Resting) => {}
            Ok(Looked::Frozen) => part.not_ready("ledgers in Redis are being recovered"),
            Err(error) => {
                failures.log(&error, "ledgers in Redis can't be recovered; the next look tries again");
                part.not_ready(&error.to_string());
                clock.sleep_until(clock.now_ms() + LOOK_EVERY_MS).await;
                continue;
            }
        }
        let repeated = tokio::select! {
            () = stop.cancelled() => return,
            repeated = repeats.step(&store) => repeated,
        };
        match repeated {
            Ok(More::Now) => continue,
            Ok(More::Nothing) => failures = Failures(0),
            Err(error) => failures.log(&error, "what became of orders can't be sent again; it is tried again"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep_until(clock.now_ms() + LOOK_EVERY_MS) => {}
        }
    }
}

/// Whether there are pages left.
enum More {
    Now,
    Nothing,
}

/// How far the commands are sent once more.
enum Repeats {
    Done,
    /// Those of the orders after this one are not.
    After(Option<OrderId>),
}

impl Repeats {
    /// A page for each look: a Redis that restarts again is seen meanwhile.
    async fn step(&mut self, store: &impl SaleStore) -> Result<More, SaleError> {
        let Self::After(after) = *self else { return Ok(More::Nothing) };
        let last = store.repeat_commands(after).await.map_err(Into::into)?;
        let more = if last.is_some() { More::Now } else { More::Nothing };
        *self = last.map_or(Self::Done, |last| Self::After(Some(last)));
        Ok(more)
    }
}

struct Failures(u32);

impl Failures {
    fn log(&mut self, error: &impl std::fmt::Display, what: &str) {
        if self.0.is_multiple_of(QUIET_FAILURES) {
            tracing::warn!(%error, "{what}");
        }
        self.0 += 1;
    }
}
