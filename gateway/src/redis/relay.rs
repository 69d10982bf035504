//! The relay: carries what the ledgers in Redis decided to the log.
//!
//! A thread of its own in every gateway, of which one relays at a time and the others stand by: an
//! activity's entries must reach the log in the order of their `seq`, which consumers that share a stream
//! would break. What stands in an outbox is what the log has not acknowledged, so whoever takes over
//! begins at its start. A relay that lost its lease and does not know it yet only repeats, in order, what
//! another one appends too; readers of the journal know an entry by its `seq`.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use commit_log::{Log, NewRecord};
use contract::ActivityId;
use foundation::{
    metrics::{Counter, Gauge, Registry},
    redis::{CHECK_EVERY, Connection},
};
use gateway_core::Control;
use ledger::{
    LedgerUnavailable, journal,
    redis::{Closed, RedisLedger, Remembered},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::recent::Recent;

/// A relay that has not been heard of for so long is taken over from.
const LEASE_MS: u64 = 3_000;
/// How often the lease is renewed, and the server asked who it is.
const RENEW_EVERY: Duration = Duration::from_millis(200);
/// Before the next try after a failure.
const RETRY: Duration = Duration::from_millis(50);
/// Failures that are not logged between two that are.
const QUIET_FAILURES: u32 = 100;

/// The activities whose outboxes are relayed.
pub(crate) type Activities = watch::Receiver<Arc<[ActivityId]>>;

/// What the relay is made of.
pub(crate) struct Parts<L> {
    pub(crate) url: String,
    pub(crate) log: L,
    pub(crate) activities: Activities,
    pub(crate) recents: Vec<Arc<Recent>>,
    /// They are sent whether Redis can be written.
    pub(crate) cores: Vec<mpsc::Sender<Control>>,
    pub(crate) metrics: Registry,
}

/// The relay of this gateway.
struct Relay<L> {
    ledgers: RedisLedger,
    log: L,
    name: String,
    activities: Activities,
    recents: Vec<Arc<Recent>>,
    figures: Figures,
    /// The run of the server that was last seen.
    run: Option<String>,
    /// The ledgers that were lost and are being rebuilt. Their outboxes are not relayed.
    closed: Closed,
    renewed: Option<Instant>,
    relays: bool,
}

/// What `/metrics` shows of the relay.
struct Figures {
    relays: Gauge,
    entries: Counter,
    backlog: Gauge,
}

/// Starts the relay's thread; it ends after `stop`.
pub(crate) fn start<L: Log>(parts: Parts<L>, stop: CancellationToken) -> anyhow::Result<JoinHandle<()>> {
    let random = getrandom::u64().map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let name = format!("{}-{random:016x}", std::process::id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A relay that ends by a bug stops the gateway, for whoever restarts it.
    let ends = stop.clone().drop_guard();
    let run = move || {
        let _ends = ends;
        runtime.block_on(async {
            let cores = parts.cores.clone();
            match Relay::new(parts, name) {
                Ok(relay) => {
                    let connection = relay.ledgers.connection();
                    let watch = report_readiness(connection, &cores);
                    tokio::select! {
                        () = relay.run(&stop) => {}
                        () = watch => {}
                    }
                }
                Err(error) => tracing::error!(%error, "no relay"),
            }
        });
    };
    Builder::new().name("relay".to_owned()).spawn(run).context("no thread for the relay")
}

/// What `/readyz` reports about Redis.
pub(crate) fn readiness(checked: Result<(), impl Display>) -> Control {
    Control::NotReady(checked.err().map(|why| why.to_string()).into_iter().collect())
}

/// Checks every [`CHECK_EVERY`] whether Redis can be written, and passes the result to the cores.
async fn report_readiness(connection: Connection, cores: &[mpsc::Sender<Control>]) {
    let mut was_writable = true;
    loop {
        let checked = connection.check().await;
        match (was_writable, &checked) {
            (true, Err(reason)) => tracing::error!(%reason, "Redis can't be written; /readyz answers 503"),
            (false, Ok(())) => tracing::warn!("Redis can be written again"),
            (true, Ok(())) | (false, Err(_)) => {}
        }
        was_writable = checked.is_ok();
        let control = readiness(checked);
        for core in cores {
            // A core that has ended needs no news.
            drop(core.send(control.clone()).await);
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

impl<L: Log> Relay<L> {
    fn new(parts: Parts<L>, name: String) -> Result<Self, LedgerUnavailable> {
        let Parts { url, log, activities, recents, metrics, .. } = parts;
        let figures = Figures {
            relays: metrics.gauge("mall_relay_active", "1 where this gateway's relay is the one that relays."),
            entries: metrics.counter("mall_relay_entries_total", "Entries of the journal that the relay appended."),
            backlog: metrics.gauge(
                "mall_relay_backlog",
                "Elements in Redis' outboxes that the log has not acknowledged; each is what one batch decided.",
            ),
        };
        let ledgers = RedisLedger::new(&url)?;
        let (run, closed, renewed, relays) = (None, Closed::default(), None, false);
        Ok(Self { ledgers, log, name, activities, recents, figures, run, closed, renewed, relays })
    }

    async fn run(mut self, stop: &CancellationToken) {
        let mut failures = 0_u32;
        loop {
            let step = tokio::select! {
                () = stop.cancelled() => break,
                step = self.step() => step,
            };
            match step {
                Ok(()) => failures = 0,
                Err(error) => {
                    if failures.is_multiple_of(QUIET_FAILURES) {
                        tracing::warn!(%error, "the relay can't go on; it tries again");
                    }
                    failures += 1;
                    self.renewed = None;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        // Whoever stands by need not wait for the lease to end.
        if let Err(error) = self.ledgers.lease_relay(&self.name, 0).await {
            tracing::debug!(%error, "the relay's lease ends by itself");
        }
    }

    /// Renews the lease where that is due, and relays what waits.
    async fn step(&mut self) -> anyhow::Result<()> {
        let activities = self.activities.borrow_and_update().clone();
        if self.renewed.is_none_or(|renewed| renewed.elapsed() >= RENEW_EVERY) {
            let run = self.ledgers.run_id().await?;
            if self.run.as_ref() != Some(&run) {
                self.ledgers.connection().warn_of_eviction().await;
            }
            if self.run.as_ref().is_some_and(|last| *last != run) {
                self.tell_what_is_remembered().await?;
            }
            self.run = Some(run);
            self.relays = self.ledgers.lease_relay(&self.name, LEASE_MS).await?;
            self.rest_from_closed().await?;
            let backlog = if self.relays { self.ledgers.backlog(&activities).await? } else { 0 };
            self.figures.relays.set(self.relays.into());
            self.figures.backlog.set(i64::try_from(backlog).unwrap_or(i64::MAX));
            self.renewed = Some(Instant::now());
        }
        let open: Vec<ActivityId> =
            activities.iter().copied().filter(|activity| !self.closed.contains_key(activity)).collect();
        if !self.relays || open.is_empty() {
            tokio::time::sleep(RENEW_EVERY).await;
            return Ok(());
        }
        self.relay(&open).await
    }

    /// Reads which ledgers are closed. For each that was closed since the last call, reports what the cores remember, and
    /// that this relay appends nothing of it: no append is in progress when this is called.
    async fn rest_from_closed(&mut self) -> Result<(), LedgerUnavailable> {
        let closed = self.ledgers.closed().await?;
        for (activity, token) in &closed {
            if self.closed.get(activity) == Some(token) {
                continue;
            }
            let held: Vec<Remembered> = self.remembered().remove(activity).unwrap_or_default();
            tracing::warn!(%activity, orders = held.len(), "a ledger was lost; orders of the last seconds are reported");
            self.ledgers.remember(*activity, &held).await?;
            self.ledgers.rest_relay(*activity, &self.name, token).await?;
            self.closed.insert(*activity, token.clone());
        }
        self.closed = closed;
        Ok(())
    }

    /// What the cores of this gateway were told "held".
    fn remembered(&self) -> BTreeMap<ActivityId, Vec<Remembered>> {
        let mut held: BTreeMap<ActivityId, Vec<Remembered>> = BTreeMap::new();
        for (activity, remembered) in self.recents.iter().flat_map(|recent| recent.holds()) {
            held.entry(activity).or_default().push(remembered);
        }
        held
    }

    /// Reads the beginning of every outbox, appends it to the log, and takes it away once it is there.
    async fn relay(&self, activities: &[ActivityId]) -> anyhow::Result<()> {
        let outboxes = self.ledgers.read_outboxes(activities).await?;
        let records: Vec<NewRecord> = outboxes.iter().flat_map(|outbox| journal::records(&outbox.entries)).collect();
        if !records.is_empty() {
            self.log.append(records).await?;
        }
        for outbox in &outboxes {
            self.ledgers.trim_outbox(outbox).await?;
        }
        self.figures.entries.add(outboxes.iter().map(|outbox| outbox.entries.len() as u64).sum());
        Ok(())
    }

    /// The server came back, perhaps without what it answered last.
    async fn tell_what_is_remembered(&self) -> Result<(), LedgerUnavailable> {
        for (activity, held) in self.remembered() {
            let forgotten = self.ledgers.unknown(activity, held).await?;
            if !forgotten.is_empty() {
                let orders = forgotten.len();
                tracing::warn!(%activity, orders, "Redis came back without orders that it had answered");
                self.ledgers.remember(activity, &forgotten).await?;
            }
        }
        Ok(())
    }
}
