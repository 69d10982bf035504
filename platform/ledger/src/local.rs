//! The ledger thread of the embedded profile.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use commit_log::Log;
use contract::{
    ActivityId,
    activity::Rules,
    record::LedgerCommand,
    stock::{BatchReply, Counters, Outcome, Reservation, Window},
    trace::TraceContext,
};
use foundation::Clock;
use tokio::sync::oneshot;

use crate::{
    LedgerClient, LedgerUnavailable,
    house::{LedgerHouse, Reply, Request, Stats},
    restore::{RebuildError, SnapshotSource},
};

/// Requests that may wait for the ledger thread; one more is refused.
const QUEUE_MAX: usize = 4096;
/// Requests that share one append at most.
const COMMIT_REQUESTS_MAX: usize = 256;

/// The way to the ledger thread. The thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct LocalLedger {
    requests: SyncSender<Request>,
    stats: Arc<Stats>,
}

/// Rebuilds the ledgers and starts their thread, which keeps `window` for every user; it ends once every [`LocalLedger`] is gone.
///
/// # Errors
/// See [`RebuildError`].
pub async fn start<L: Log, S: SnapshotSource>(
    log: L,
    snapshots: S,
    window: Window,
    clock: impl Clock,
) -> Result<(LocalLedger, JoinHandle<()>), RebuildError> {
    let mut house = LedgerHouse::new(log, snapshots);
    house.set_window(window);
    house.rebuild().await?;
    let (sender, requests) = sync_channel(QUEUE_MAX);
    let stats = house.stats();
    let run = move || run(house, &requests, &clock);
    let thread = thread::Builder::new()
        .name("ledger".to_owned())
        .spawn(run)
        .map_err(|error| RebuildError::Snapshots(format!("no thread for the ledger: {error}")))?;
    Ok((LocalLedger { requests: sender, stats }, thread))
}

/// Whatever waits when an append ends goes into the next one.
fn run<L: Log, S: SnapshotSource>(mut house: LedgerHouse<L, S>, requests: &Receiver<Request>, clock: &impl Clock) {
    while let Ok(first) = requests.recv() {
        let mut batch = vec![first];
        while batch.len() < COMMIT_REQUESTS_MAX
            && let Ok(next) = requests.try_recv()
        {
            batch.push(next);
        }
        futures_executor::block_on(house.serve(batch, clock.now_ms()));
    }
}

impl std::fmt::Debug for LocalLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalLedger")
    }
}

impl LocalLedger {
    /// Counts since the start.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Asks for a gateway's batch, whose span is `trace`; `reply` is called on the ledger's thread and must not block.
    pub fn reserve(
        &self,
        (activity, trace): (ActivityId, Option<TraceContext>),
        reservations: Vec<Reservation>,
        repeats_only: bool,
        reply: Reply<BatchReply>,
    ) {
        if let Err(TrySendError::Full(request) | TrySendError::Disconnected(request)) =
            self.requests.try_send(Request::Reserve { activity, trace, reservations, repeats_only, reply })
            && let Request::Reserve { reply, .. } = request
        {
            reply(Err(LedgerUnavailable("the ledger's queue is full".to_owned())));
        }
    }

    async fn ask<T: Send + 'static>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, LedgerUnavailable> {
        let (sender, answer) = oneshot::channel();
        // The caller may have stopped waiting.
        let reply: Reply<T> = Box::new(move |result| drop(sender.send(result)));
        self.requests
            .try_send(request(reply))
            .map_err(|_| LedgerUnavailable("the ledger's queue is full".to_owned()))?;
        answer.await.unwrap_or_else(|_| Err(LedgerUnavailable("the ledger has stopped".to_owned())))
    }
}

impl LedgerClient for LocalLedger {
    async fn open(&self, activity: ActivityId, stock: u64, rules: Rules) -> Result<Counters, LedgerUnavailable> {
        self.ask(|reply| Request::Open { activity, stock, rules, reply }).await
    }

    async fn act(&self, commands: Vec<LedgerCommand>) -> Result<Vec<Outcome>, LedgerUnavailable> {
        self.ask(|reply| Request::Act { commands, reply }).await
    }

    async fn counters(&self, activity: ActivityId) -> Result<Option<Counters>, LedgerUnavailable> {
        self.ask(|reply| Request::Counters { activity, reply }).await
    }
}
