//! Each service in a process of its own. They meet at Redis, Kafka and the database.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use commit_log::{AnyLog, WorkerIds};
#[cfg(feature = "kafka")]
use contract::ActivityId;
use contract::record::ProcessRole;
use foundation::{Readiness, SystemClock, shutdown};
use gateway::Gateway;
use ledger::AnyLedger;
use order_core::search::{self, Owner, control};
use store::{Passwords, Store};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    banner, bind,
    ground::{Ground, Ledger},
    metrics, report,
    role::Role,
    writable,
};

/// Runs one service until it is asked to stop.
pub(crate) async fn run(role: Role, ground: Ground) -> Result<()> {
    let named = [("redis.url", ground.config.redis.is_some()), ("kafka.brokers", ground.config.kafka.is_some())];
    for (key, is_set) in named {
        ensure!(is_set, "{key}: a {} of its own needs it; what is embedded lives in one process", role.as_str());
    }
    let needs_database = role != Role::Gateway && ground.config.database.url.is_none();
    ensure!(!needs_database, "database.url: {} of its own needs it; a file is one process' own", role.as_str());
    let (auth, warn) = (&ground.config.auth, "it must be the same wherever a part of the mall runs");
    if auth.shopper_secret.is_none() {
        tracing::warn!("auth.shopper_secret is made here and kept in the data directory; {warn}");
    }
    let readiness = Readiness::default();
    let stop = shutdown::on_signal(ground.config.shutdown.drain, &readiness)?;
    metrics::serve(&ground, Some(role));
    let started = tokio::select! {
        started = start(role, &ground, &readiness, &stop) => started?,
        // Nothing was accepted yet. A server that is waited for must not keep the process from ending.
        () = stop.cancelled() => {
            tracing::info!("stopped before it was ready");
            return Ok(());
        }
    };
    let ended = match started {
        Started::Gateway(gateway) => {
            stop.cancelled().await;
            tokio::task::spawn_blocking(|| gateway.join()).await?
        }
        Started::Services(services, store) => end(services, &stop, store).await,
    };
    tracing::info!("stopped");
    ended
}

/// What runs once a service is started.
enum Started {
    Gateway(Gateway),
    Services(JoinSet<Result<()>>, Store),
}

async fn start(role: Role, ground: &Ground, readiness: &Readiness, stop: &CancellationToken) -> Result<Started> {
    let log = ground.log().await?;
    let worker_ids = ground.worker_ids(&log)?;
    tokio::spawn(worker_ids.clone().keep(SystemClock));
    let Some(ledger) = ground.redis().await? else { anyhow::bail!("redis.url: it is needed") };
    if role == Role::Gateway {
        let shop_url = ground.public_url(ground.config.order_core.listen);
        let gateway = start_gateway(ground, (&log, &worker_ids), &ledger, readiness, shop_url, stop.clone()).await?;
        say(role, gateway.address);
        return Ok(Started::Gateway(gateway));
    }
    let (listen, key) = match role {
        Role::Admin => (ground.config.admin.listen, "admin.listen"),
        Role::Gateway | Role::OrderCore => (ground.config.order_core.listen, "order_core.listen"),
    };
    let listener = bind(listen, key).await?;
    let address = listener.local_addr()?;
    let store = ground.store(&worker_ids).await?;
    let (reported, workers) =
        (if role == Role::Admin { ProcessRole::Admin } else { ProcessRole::OrderCore }, worker_ids.workers());
    report::start(ground, &log, reported, workers, stop)?;
    let mut services = JoinSet::new();
    writable::watch_database(&mut services, ground, &store, readiness, stop);
    #[cfg(feature = "kafka")]
    writable::watch_redis(&mut services, ground, &ledger, readiness, stop);
    let shared = (&store, &log, &ledger);
    if role == Role::Admin {
        let places = (listener, ground.config.order_core.listen);
        spawn_admin(&mut services, ground, shared, places, readiness, stop).await?;
    } else {
        spawn_order_core(&mut services, ground, shared, listener, readiness, stop)?;
    }
    say(role, address);
    Ok(Started::Services(services, store))
}

fn say(role: Role, address: SocketAddr) {
    tracing::info!(%address, "{} listens", role.as_str());
    banner::say(role.as_str(), address);
}

async fn end(mut services: JoinSet<Result<()>>, stop: &CancellationToken, store: Store) -> Result<()> {
    let mut ended = Ok(());
    while let Some(service) = services.join_next().await {
        // One that ends by itself ends the others.
        stop.cancel();
        ended = ended.and(service?);
    }
    store.close().await;
    ended
}

/// Starts the gateway's threads; they listen when this returns.
pub(crate) async fn start_gateway(
    ground: &Ground,
    (log, worker_ids): (&AnyLog, &WorkerIds<AnyLog>),
    ledger: &Ledger,
    readiness: &Readiness,
    shop_url: String,
    stop: CancellationToken,
) -> Result<Gateway> {
    let parts = gateway::GatewayDeps {
        config: &ground.config.gateway,
        shop: gateway::Shop { origins: ground.origins(&shop_url), url: shop_url },
        trusted_proxies: &ground.config.trusted_proxies,
        keys: gateway::Keys::new(ground.secrets.shopper.expose().as_bytes()),
        ids: worker_ids,
        log,
        ledgers: ledger.link.clone(),
        metrics: ground.metrics.clone(),
        readiness: readiness.clone(),
        stop,
    };
    Gateway::start(parts).await
}

/// Ledgers that a warning names.
#[cfg(feature = "kafka")]
const CLOSED_LISTED_MAX: usize = 10;

/// Shows ledgers that can't be recovered as a warning of `/readyz` and in the metrics: the others sell on.
#[cfg(feature = "kafka")]
fn report_closed(readiness: Readiness, ground: &Ground) -> impl Fn(&[ActivityId]) + Send + 'static {
    let help = "Ledgers in Redis that can't be recovered; their sales answer 503.";
    let closed = ground.metrics.gauge("mall_ledgers_closed", help);
    move |failed| {
        closed.set(i64::try_from(failed.len()).unwrap_or(i64::MAX));
        let first = failed.iter().take(CLOSED_LISTED_MAX).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let warning =
            format!("{} ledgers in Redis can't be recovered, among them those of sales {first}", failed.len());
        readiness.set_warnings("ledgers", if failed.is_empty() { Vec::new() } else { vec![warning] });
    }
}

/// What the services that keep the database share.
pub(crate) type Shared<'a> = (&'a Store, &'a AnyLog, &'a Ledger);

/// Starts order-core, and the fence of the ledgers where they need one.
pub(crate) fn spawn_order_core(
    services: &mut JoinSet<Result<()>>,
    ground: &Ground,
    (store, log, ledger): Shared<'_>,
    listener: TcpListener,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<()> {
    #[cfg(feature = "kafka")]
    if let Some((fence, lease)) = ledger.fence(log, store)? {
        let part = readiness.part("ledgers", "the ledgers in Redis were not looked at yet");
        let (store, stop) = (store.clone(), stop.clone());
        let report = report_closed(readiness.clone(), ground);
        services.spawn(async move {
            workers::guard(fence, lease, store, SystemClock, part, report, stop).await;
            Ok(())
        });
    }
    let search = ground.search()?;
    if crate::search::has_owner(&ground.config) {
        let owner = Owner::new(log.clone(), store.clone(), search.clone());
        match search::bind(&control::socket_path(ground.data.path())) {
            Ok(socket) => {
                let stop = stop.clone();
                services.spawn(async move {
                    owner.serve(socket, stop).await;
                    Ok(())
                });
            }
            // The mall needs it for two commands only.
            Err(error) => tracing::warn!(%error, "`mall search` can't reach this process"),
        }
    }
    let config = &ground.config;
    let public_url = ground.public_url(listener.local_addr()?);
    let (providers, mock) = ground.providers(&public_url)?;
    let order_core = order_core::OrderCore {
        providers,
        mock,
        images: ground.images(&public_url)?,
        store: store.clone(),
        log: log.clone(),
        ledgers: ledger.client.clone(),
        search,
        carts: match &ledger.client {
            #[cfg(feature = "kafka")]
            AnyLedger::Redis(redis) => {
                order_core::Carts::Redis(order_core::RedisCarts::new(redis.connection(), store.clone()))
            }
            AnyLedger::Local(_) => order_core::Carts::Database(store.clone()),
        },
        clock: SystemClock,
        passwords: Passwords::new(config.auth.bcrypt_cost)?,
        shopper_secret: ground.secrets.shopper.expose().as_bytes().to_vec(),
        windows: ledger.windows()?,
        limits: config.limits,
        server: config.order_core.clone(),
        pay_within_ms: u64::try_from(config.orders.pay_within.as_millis()).unwrap_or(u64::MAX),
        shop: ground.shop_pages(&public_url),
        browsers: ground.browsers(&public_url),
        readiness: readiness.clone(),
        metrics: ground.metrics.clone(),
    };
    services.spawn(order_core::run(order_core, listener, stop.clone()));
    Ok(())
}

/// Creates the first admin if no account exists, and starts admin. order-core serves the pictures that admin stores.
pub(crate) async fn spawn_admin(
    services: &mut JoinSet<Result<()>>,
    ground: &Ground,
    (store, log, ledger): Shared<'_>,
    (listener, order_core): (TcpListener, SocketAddr),
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<()> {
    let passwords = Passwords::new(ground.config.auth.bcrypt_cost)?;
    let password = ground.secrets.admin_password.expose();
    let is_generated = ground.config.admin_password.is_none();
    let is_new = admin::ensure_first_admin(store, &passwords, (password, is_generated), &SystemClock).await?;
    if !is_new && ground.config.admin_password.is_some() {
        admin::warn_of_other_password(store, &passwords, password).await?;
    }
    let admin = admin::Admin {
        images: ground.images(&ground.public_url(order_core))?,
        store: store.clone(),
        log: log.clone(),
        ledgers: ledger.client.clone(),
        clock: SystemClock,
        passwords,
        admin_secret: ground.secrets.admin.expose().as_bytes().to_vec(),
        windows: ledger.windows()?,
        limits: ground.config.limits,
        server: ground.config.admin.clone(),
        answer_after: ground.config.answer_after,
        settings: ground.config.shown.clone(),
        readiness: readiness.clone(),
        metrics: ground.metrics.clone(),
    };
    services.spawn(admin::run(admin, listener, stop.clone()));
    Ok(())
}
