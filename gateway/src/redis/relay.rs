//! The thread of the relay ([`LedgerRelay`]), and its log lines and metrics. Every gateway has one; the relay that holds the
//! lease works.

use std::{
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use commit_log::Log;
use contract::ActivityId;
use foundation::{
    health::Part,
    logs::FailureStreak,
    metrics::{Counter, Gauge, Histogram, Registry, STAGE_HELP, stage},
    redis::{CHECK_EVERY, Connection, Server},
};
use ledger::{
    confirmed::RecentHolds,
    redis::{
        RedisLedger,
        relay::{LedgerRelay, RENEW_EVERY, Step},
    },
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Before the next attempt after a failure.
const RETRY: Duration = Duration::from_millis(50);
/// How long the relay appends after the gateway has stopped.
const FLUSH_MAX: Duration = Duration::from_secs(3);
/// Steps of the relay after the gateway has stopped; other gateways may sell on, so a step need not find the outboxes empty.
const FLUSH_STEPS_MAX: u32 = 16;

/// The activities whose outboxes are relayed.
pub(crate) type Activities = watch::Receiver<Arc<[ActivityId]>>;

/// What the relay's thread needs.
pub(crate) struct Parts<L> {
    pub(crate) server: Arc<Server>,
    pub(crate) log: L,
    pub(crate) activities: Activities,
    pub(crate) recent: Vec<Arc<RecentHolds>>,
    /// It is ready while Redis can be written.
    pub(crate) readiness: Part,
    pub(crate) metrics: Registry,
}

/// What `/metrics` shows of the relay.
struct Figures {
    is_active: Gauge,
    entries: Counter,
    backlog: Gauge,
    time: Histogram,
}

/// Starts the relay's thread. It ends after `stop`, once it has appended what waits; if it ends by a bug, it cancels
/// `gateway`.
pub(crate) fn start<L: Log>(
    parts: Parts<L>,
    stop: CancellationToken,
    gateway: CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let random = getrandom::u64().map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let name = format!("{}-{random:016x}", std::process::id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A relay that ends by a bug stops the gateway, so that it is restarted.
    let ends = gateway.drop_guard();
    let Parts { server, log, activities, recent, readiness, metrics } = parts;
    // Not on the thread, so that metrics have them as soon as the gateway is ready.
    let figures = Figures::new(&metrics);
    let body = move || {
        let _ends = ends;
        runtime.block_on(async {
            match server.connect() {
                Ok(connection) => {
                    let ledgers = RedisLedger::over(connection.clone());
                    let relay = LedgerRelay::new(ledgers, log, name, recent);
                    tokio::select! {
                        () = run(relay, activities, &connection, &figures, &stop) => {}
                        () = report_readiness(connection.clone(), &readiness) => {}
                    }
                }
                Err(error) => tracing::error!(%error, "the relay can't start"),
            }
        });
    };
    Builder::new().name("relay".to_owned()).spawn(body).context("the relay's thread can't be started")
}

/// Checks every [`CHECK_EVERY`] whether Redis can be written, and reports the result to `/readyz`.
async fn report_readiness(connection: Connection, part: &Part) {
    let mut was_writable = true;
    loop {
        let checked = connection.check().await.map_err(|reason| reason.to_string());
        match (was_writable, &checked) {
            (true, Err(reason)) => tracing::error!(%reason, "Redis can't be written; /readyz answers 503"),
            (false, Ok(())) => tracing::warn!("Redis can be written again"),
            (true, Ok(())) | (false, Err(_)) => {}
        }
        was_writable = checked.is_ok();
        match checked {
            Ok(()) => part.ready(),
            Err(reason) => part.not_ready(&reason),
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

async fn run<L: Log>(
    mut relay: LedgerRelay<L>,
    mut activities: Activities,
    connection: &Connection,
    figures: &Figures,
    stop: &CancellationToken,
) {
    let (started, mut failures) = (Instant::now(), FailureStreak::default());
    loop {
        let known = activities.borrow_and_update().clone();
        let begun = Instant::now();
        let step = tokio::select! {
            () = stop.cancelled() => break,
            step = relay.step(&known, started.elapsed()) => step,
        };
        if step.as_ref().is_ok_and(|step| step.appended > 0) {
            figures.time.observe(begun.elapsed());
        }
        let pause = match step {
            Ok(step) => {
                failures.end();
                figures.update(&step);
                log(&step);
                if step.is_new_run {
                    connection.warn_of_eviction().await;
                }
                step.is_idle.then_some(RENEW_EVERY)
            }
            Err(error) => {
                if failures.count() {
                    tracing::warn!(%error, "the relay failed; it retries");
                }
                Some(RETRY)
            }
        };
        if let Some(pause) = pause {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
    let known = activities.borrow().clone();
    if tokio::time::timeout(FLUSH_MAX, flush(&mut relay, &known, figures, started)).await.is_err() {
        tracing::warn!("the relay stops before the log has everything; the relay of the next gateway goes on");
    }
    if let Err(error) = relay.give_up().await {
        tracing::debug!(%error, "the relay's lease could not be given up and will expire");
    }
}

/// Appends what waits until a step finds nothing, or another relay has the lease.
async fn flush<L: Log>(relay: &mut LedgerRelay<L>, known: &[ActivityId], figures: &Figures, started: Instant) {
    for _ in 0..FLUSH_STEPS_MAX {
        match relay.step(known, started.elapsed()).await {
            Ok(step) => {
                figures.update(&step);
                if step.is_idle || step.appended == 0 {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the relay failed while it stops; it retries");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn log(step: &Step) {
    for (activity, orders) in &step.closed {
        if *orders == 0 {
            tracing::info!(%activity, "a ledger is opened or recovered; the log has all orders of this gateway");
        } else {
            tracing::warn!(%activity, orders, "a ledger is recovered; promised orders that the log lacks are reported");
        }
    }
}

impl Figures {
    fn new(metrics: &Registry) -> Self {
        Self {
            is_active: metrics.gauge("mall_relay_active", "1 if this gateway's relay holds the lease."),
            time: metrics.histogram(&stage("relay"), STAGE_HELP),
            entries: metrics.counter("mall_relay_entries_total", "Entries of the journal that the relay appended."),
            backlog: metrics.gauge(
                "mall_relay_backlog",
                "Elements in Redis' outboxes that the log has not acknowledged; each is the result of one batch.",
            ),
        }
    }

    fn update(&self, step: &Step) {
        self.entries.add(step.appended);
        if let Some(lease) = step.lease {
            self.is_active.set(lease.is_held.into());
            self.backlog.set(i64::try_from(lease.backlog).unwrap_or(i64::MAX));
        }
    }
}
