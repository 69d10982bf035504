//! Keeps the fence of the ledgers in Redis up.

use commit_log::Log;
use contract::{ActivityId, OrderId};
use domain::SaleError;
use domain::{LeaseStore, SaleStore};
use foundation::{Clock, health::Part, logs::FailureStreak};
use ledger::redis::fence::{Fence, FenceError, Looked, RecoverySource};
use tokio_util::sync::CancellationToken;

use crate::{Lease, WorkerError};

/// Between two looks. A Redis that came back sells nothing before it was looked at.
const LOOK_EVERY_MS: u64 = 100;

/// Looks until `stop`; `part` is ready while the ledgers may sell. `report` gets the ledgers that can't be recovered.
///
/// With a `lease`, this process recovers ledgers only while it holds it; one that does not hold it relies on the holder, and
/// is ready. The terms make it safe that a holder which was paused goes on for a moment.
///
/// A Redis that came back may have forgotten settles and releases that it had carried out and nobody else
/// had heard of: the keeper has put the commands behind it, so they are sent once more after each
/// recovery. They are sent once more as well when a process sees a run of Redis for the first time: its keeper may have carried
/// them out on a master that had been replaced, after another process had recovered the ledgers on the new one.
pub async fn guard<L: Log, S: RecoverySource, D: SaleStore + LeaseStore>(
    mut fence: Fence<L, S>,
    mut lease: Option<Lease<D>>,
    store: D,
    clock: impl Clock,
    part: Part,
    report: impl Fn(&[ActivityId]) + Send,
    stop: CancellationToken,
) {
    let mut failures = FailureStreak::default();
    let mut repeats = Repeats::Done;
    loop {
        let looked = tokio::select! {
            () = stop.cancelled() => break,
            looked = look(&mut fence, lease.as_mut(), &clock) => looked,
        };
        report(&fence.failed().collect::<Vec<_>>());
        if fence.take_new_run() {
            repeats = Repeats::After(None);
        }
        match looked {
            Ok(Looked::Selling) => part.ready(),
            Ok(Looked::Recovered) => {
                part.ready();
                repeats = Repeats::After(None);
            }
            Ok(Looked::Resting) => {}
            Ok(Looked::Frozen) => part.not_ready("ledgers in Redis are being recovered"),
            Err(error) => {
                if failures.count() {
                    tracing::warn!(%error, "ledgers in Redis can't be recovered; the next look tries again");
                }
                part.not_ready(&error.to_string());
                clock.sleep_until(clock.now_ms() + LOOK_EVERY_MS).await;
                continue;
            }
        }
        let repeated = tokio::select! {
            () = stop.cancelled() => break,
            repeated = repeats.step(&store) => repeated,
        };
        match repeated {
            Ok(More::Now) => continue,
            Ok(More::Nothing) => failures.end(),
            Err(error) if failures.count() => {
                tracing::warn!(%error, "the commands of decided orders can't be sent again; the next look tries again");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = clock.sleep_until(clock.now_ms() + LOOK_EVERY_MS) => {}
        }
    }
    if let Some(lease) = &mut lease {
        lease.give_back(&clock).await;
    }
}

/// Why a look did nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Fence(#[from] FenceError),
    #[error(transparent)]
    Lease(#[from] WorkerError),
}

/// Looks once if this process is the one that recovers ledgers.
async fn look<L: Log, S: RecoverySource, D: LeaseStore>(
    fence: &mut Fence<L, S>,
    lease: Option<&mut Lease<D>>,
    clock: &impl Clock,
) -> Result<Looked, LookError> {
    let Some(lease) = lease else { return Ok(fence.look(clock.now_ms()).await?) };
    let Some(held) = lease.hold(clock.now_ms()).await? else {
        fence.watch().await?;
        return Ok(Looked::Selling);
    };
    if held.is_new {
        fence.take_over();
    }
    Ok(lease.keep_while(clock, fence.look(clock.now_ms())).await?)
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
