//! The service: its workers and its API in one process.

use anyhow::Context as _;
use axum::middleware;
use commit_log::Log;
use contract::{
    token::{Audience, TokenKey},
    topic,
};
use domain::{LeaseName, Parked};
use foundation::{
    Clock, Readiness,
    config::{LimitsConfig, ServerConfig},
    metrics::Registry,
    rfc3339,
};
use images::Images;
use ledger::LedgerClient;
use limits::{Limits, Windows, WrongTries};
use store::{Passwords, Store};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use web::{Workers, cors, count_requests, health_routes, serve_beside};
use workers::{Journal, Keeper, Lease, Led, PayBack as _, Refunder, Relay, Timeouts, Worker};

use crate::{
    Carts, Changes, MockPlatform, Providers, Search, SearchSync, ShopPages,
    api::{Api, Browsers, LIMITED, router},
    journal_lag::{JournalFigures, JournalLag},
    overdue::Overdue,
    pages,
    payments::{
        PaymentWatch, UnmatchedFigure,
        mock::{self, MockNotices},
    },
    sweeper::Sweeper,
};

/// Parked sales that `/readyz` names.
const WARNINGS_MAX: usize = 10;

/// What the service runs on.
#[derive(Debug)]
pub struct OrderCore<L, K, C> {
    /// The database.
    pub store: Store,
    /// The log.
    pub log: L,
    /// The ledgers; restored before [`run`].
    pub ledgers: K,
    /// Ways to pay.
    pub providers: Providers,
    /// The platform that the mall plays itself, where it does.
    pub mock: Option<MockPlatform>,
    /// Pictures of products.
    pub images: Images,
    /// The search index of this process, or the cluster.
    pub search: Search,
    /// Where carts are.
    pub carts: Carts,
    /// The clock.
    pub clock: C,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Key of the shoppers' tokens.
    pub shopper_secret: Vec<u8>,
    /// Where it is counted how often somebody asks.
    pub windows: Windows,
    /// Section `limits` of the configuration.
    pub limits: LimitsConfig,
    /// Section `order_core` of the configuration.
    pub server: ServerConfig,
    /// `orders.pay_within` of the configuration, in milliseconds.
    pub pay_within_ms: u64,
    /// The shop's pages.
    pub shop: ShopPages,
    /// The browsers that show them.
    pub browsers: Browsers,
    /// What `/readyz` says.
    pub readiness: Readiness,
    /// What `/metrics` shows.
    pub metrics: Registry,
}

/// Runs the workers and answers requests on `listener` until `stop`. A worker that dies by a bug stops
/// the whole, so that a supervisor restarts it: a mall that takes money and writes no orders is worse than none.
///
/// # Errors
/// If the topics can't be made or joined, or a worker died.
pub async fn run<L: Log, K: LedgerClient, C: Clock>(
    parts: OrderCore<L, K, C>,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let ready = parts.readiness.part("order-core", "starting");
    let mut topics = topic::fixed().to_vec();
    topics.push(topic::timeouts(parts.pay_within_ms));
    parts.log.create_topics(topics).await.context("topics")?;

    let OrderCore { store, log, ledgers, clock, .. } = &parts;
    let waiting = store.refunds_not_by(&parts.providers.methods()).await.context("refunds")?;
    if waiting > 0 {
        tracing::warn!(waiting, "approved refunds wait, because their payment method is off");
    }
    let stopped = stop.child_token();
    let mut running = JoinSet::new();
    let journal = Journal::join(log.clone(), store.clone(), clock.clone()).await.context("journal")?;
    let figures = JournalFigures::new(&parts.metrics);
    let measured = figures.clone();
    let journal = journal.reporting(report_parked(parts.readiness.clone(), &parts.metrics));
    let journal = journal.measuring(move |taken| measured.take(taken));
    let timeouts = Timeouts::join(log.clone(), store.clone(), clock.clone()).await.context("timeouts")?;
    let watch = PaymentWatch::new(store.clone(), parts.providers.clone(), clock.clone());
    let timeouts = timeouts.asking(watch.clone());
    let overdue = Overdue::new(store.clone(), clock.clone(), watch.clone());
    let keeper = Keeper::join(log.clone(), store.clone(), ledgers.clone(), clock.clone()).await.context("keeper")?;
    let (changes, shelf) = Changes::follow(log, store.clone()).await.context("shelf")?;
    let counted = shelf.clone();
    let help = "Products that were read from the database because nobody had looked at them a moment before.";
    parts.metrics.read_counter("mall_product_reads_total", help, move || counted.reads() as f64);
    let (search, warnings) = (parts.search.clone(), parts.readiness.clone());
    let search = SearchSync::follow(log.clone(), store.clone(), search, clock.clone(), warnings);
    let search = search.await.context("search")?;
    let (lag, now) = (parts.search.clone(), clock.clone());
    let help = "How long the oldest change of the catalogue waits to be found by search.";
    parts.metrics.read_gauge("mall_search_lag_seconds", help, move || lag.lag_ms(now.now_ms()) as f64 / 1e3);
    parts.search.show_delays(&parts.metrics);
    let mut relay = Relay::new(log.clone(), store.clone(), clock.clone());
    let sweeper = Sweeper::new(store.clone(), clock.clone());
    let refunder = Refunder::new(store.clone(), parts.providers.clone(), clock.clone());
    let parked = parts.metrics.gauge("mall_refunds_parked", "Refunds that failed too often and wait for an admin.");
    let refunder = refunder.reporting(move |refunds| parked.set(i64::try_from(refunds).unwrap_or(i64::MAX)));
    spawn(&mut running, journal, clock, &stopped);
    spawn(&mut running, timeouts, clock, &stopped);
    spawn(&mut running, watch, clock, &stopped);
    spawn(&mut running, overdue, clock, &stopped);
    spawn(&mut running, UnmatchedFigure::new(store.clone(), clock.clone(), &parts.metrics), clock, &stopped);
    spawn(&mut running, keeper, clock, &stopped);
    if store.is_shared() {
        relay = relay.led_by(lease(store, LeaseName::OutboxRelay)?);
        let sweeper = Led::new(sweeper, lease(store, LeaseName::Sweeper)?, clock.clone());
        spawn(&mut running, sweeper, clock, &stopped);
        let refunder = Led::new(refunder, lease(store, LeaseName::Refunder)?, clock.clone());
        spawn(&mut running, refunder, clock, &stopped);
    } else {
        spawn(&mut running, sweeper, clock, &stopped);
        spawn(&mut running, refunder, clock, &stopped);
    }
    spawn(&mut running, relay, clock, &stopped);
    spawn(&mut running, JournalLag::new(log.clone(), clock.clone(), figures), clock, &stopped);
    spawn(&mut running, search, clock, &stopped);
    spawn(&mut running, changes, clock, &stopped);
    if let Some(mock) = &parts.mock {
        spawn(&mut running, MockNotices::new(mock.clone(), store.clone(), clock.clone()), clock, &stopped);
    }

    let api = Api::new(
        (
            (store.clone(), parts.carts.clone(), shelf, parts.search.clone()),
            parts.providers.clone(),
            parts.images.clone(),
        ),
        (parts.passwords.clone(), WrongTries::new(parts.windows.clone(), &parts.limits, "shoppers"), &parts.windows),
        &parts.shopper_secret,
        clock.clone(),
    )
    .for_browsers(parts.browsers.clone());
    let mut paths = router(api);
    if let Some(mock) = &parts.mock {
        paths = paths.merge(mock::router(mock.clone(), store.clone(), clock.clone()));
    }
    let tokens = TokenKey::new(&parts.shopper_secret, Audience::Shopper);
    let (windows, metrics) = (parts.windows.clone(), (&parts.metrics, "order-core"));
    let limits = Limits::new(windows, &parts.limits, (tokens, LIMITED), metrics, clock.clone());
    let origins = parts.browsers.origins.clone();
    let router = count_requests(limits.limit(paths), &parts.metrics, "order-core")
        .layer(middleware::from_fn_with_state(origins, cors))
        .merge(pages::router(&parts.shop))
        .merge(health_routes(parts.readiness.clone(), parts.metrics.clone()));
    let workers = Workers { running, stop: stopped };
    let served = serve_beside(workers, (listener, router, &parts.server), &ready, &stop).await;
    served.context("a worker died")
}

/// The lease of the fence, which this process does not hold yet.
///
/// # Errors
/// If the system has no randomness.
pub fn fence_lease(store: &Store) -> anyhow::Result<Lease<Store>> {
    lease(store, LeaseName::Fence)
}

fn lease(store: &Store, name: LeaseName) -> anyhow::Result<Lease<Store>> {
    Ok(Lease::new(store.clone(), name, foundation::process::random_number()?))
}

/// Shows parked sales as warnings of `/readyz` and in the metrics. They do not make the service unready: all other
/// sales and the shop go on, and another instance of the service could not write these entries either.
fn report_parked(readiness: Readiness, metrics: &Registry) -> impl Fn(&[Parked]) + Send + 'static {
    let sales = metrics.gauge("mall_parked_sales", "Sales whose journal entries the database refuses.");
    let entries = metrics.gauge("mall_parked_entries", "Journal entries that are kept for parked sales.");
    move |parked| {
        let live: Vec<&Parked> = parked.iter().filter(|sale| sale.dropped.is_none()).collect();
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        sales.set(gauge(live.len() as u64));
        entries.set(gauge(live.iter().map(|sale| sale.entries).sum()));
        let warning = |sale: &&Parked| {
            let Parked { activity, reason, since_ms, entries, .. } = sale;
            let since = rfc3339::format(*since_ms);
            format!("sale {activity} is parked since {since}, {entries} journal entries wait: {reason}")
        };
        let mut warnings: Vec<String> = live.iter().take(WARNINGS_MAX).map(warning).collect();
        if live.len() > WARNINGS_MAX {
            warnings.push(format!("{} more sales are parked", live.len() - WARNINGS_MAX));
        }
        readiness.set_warnings("journal", warnings);
    }
}

fn spawn<W: Worker + 'static>(running: &mut JoinSet<()>, worker: W, clock: &impl Clock, stop: &CancellationToken) {
    running.spawn(workers::run(worker, clock.clone(), stop.clone()));
}
