//! `mall`: the whole mall in one process, with nothing else installed.
#![forbid(unsafe_code)]

mod banner;

use std::{num::NonZeroUsize, process::ExitCode, sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::{Context, Result};
use commit_log::{LocalLog, Log};
use contract::{
    token::{Audience, TokenKey},
    topic,
};
use foundation::{
    Clock, Config, DataDir, IdMaker, Readiness, SystemClock, config, data_dir::Secrets, ids, logs, metrics::Registry,
    shutdown,
};
use gateway::{Gateway, Ground};
use ledger::local::LocalLedger;
use order_core::Snapshots;
use store::{Ids, Passwords, Settings, Store};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// How soon it is noticed that the ledger's thread has died.
const THREAD_LOOK_EVERY: Duration = Duration::from_millis(200);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mall: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let path = config::path_from_args(std::env::args_os().skip(1))?;
    let config = config::read(path.as_deref())?;
    let data = DataDir::open(&config.data_dir)?;
    let secrets = data.secrets(&config)?;
    let _logs = logs::init(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("mall").build()?;
    runtime.block_on(run(&config, &data, secrets))
}

/// Starts the parts in the order in which they need each other, the gateway last; ends them in reverse.
async fn run(config: &Config, data: &DataDir, secrets: Secrets) -> Result<()> {
    let stop = shutdown::on_signal()?;
    let bind = async |address, key| {
        TcpListener::bind(address).await.with_context(|| format!("{key}: {address} can't be listened on"))
    };
    let order_core_listener = bind(config.order_core.listen, "order_core.listen").await?;
    let admin_listener = bind(config.admin.listen, "admin.listen").await?;

    let makes_ids = IdMaker::new(ids::lease_worker(&data.ids(), SystemClock.now_ms())?, SystemClock)?;
    let store = Store::open(&data.path().join("mall.db"), Ids::new(move || makes_ids.next()), Settings::of(config))
        .await
        .with_context(|| format!("the database in {} can't be opened", data.path().display()))?;
    let log = LocalLog::open(&data.path().join("log.db"))?;
    log.create_topics(topic::fixed().to_vec()).await?;
    let (ledger, ledger_thread) = ledger::local::start(log.clone(), Snapshots::new(store.clone()), SystemClock).await?;

    let passwords = Passwords::new(config.auth.bcrypt_cost)?;
    admin::ensure_first_admin(&store, &passwords, secrets.admin_password.expose(), &SystemClock).await?;
    let demo = store.seed(SystemClock.now_ms()).await?;

    let metrics = Registry::default();
    register(&metrics, &ledger, &log);
    let mut services = JoinSet::new();
    let services_stop = CancellationToken::new();
    let (order_core_address, admin_address) = (order_core_listener.local_addr()?, admin_listener.local_addr()?);
    let readiness = Readiness::default();
    let order_core = order_core::OrderCore {
        store: store.clone(),
        log: log.clone(),
        ledgers: ledger.clone(),
        clock: SystemClock,
        passwords: passwords.clone(),
        shopper_secret: secrets.shopper.expose().as_bytes().to_vec(),
        server: config.order_core.clone(),
        pay_within_ms: u64::try_from(config.orders.pay_within.as_millis()).unwrap_or(u64::MAX),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
    };
    let admin = admin::Admin {
        store: store.clone(),
        log: log.clone(),
        ledgers: ledger.clone(),
        clock: SystemClock,
        passwords,
        admin_secret: secrets.admin.expose().as_bytes().to_vec(),
        server: config.admin.clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
    };
    services.spawn(order_core::run(order_core, order_core_listener, services_stop.clone()));
    services.spawn(admin::run(admin, admin_listener, services_stop.clone()));
    while !readiness.waiting().is_empty() {
        tokio::select! {
            Some(ended) = services.join_next() => ended??,
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }

    let token_key = TokenKey::new(secrets.shopper.expose().as_bytes(), Audience::Shopper);
    let mut gateway_config = config.gateway.clone();
    // Ledger, log and order-core live here too: half of the processors are theirs. One lane in place of
    // two also lets more reservations share a sync.
    let cpus = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    gateway_config.threads = gateway_config.threads.or(NonZeroUsize::new(cpus.div_ceil(2)));
    let ground = Ground {
        config: &gateway_config,
        token_key: token_key.clone(),
        ids: &data.ids(),
        log: &log,
        link: Arc::new(ledger.clone()),
        metrics,
        stop: stop.clone(),
    };
    let gateway = Gateway::start(ground).await?;
    let places = banner::Places { gateway: gateway.address, order_core: order_core_address, admin: admin_address };
    banner::print(&places, &secrets, &token_key, demo);

    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = ended(&ledger_thread) => Err(anyhow::anyhow!("the ledger's thread ended")),
        Some(ended) = services.join_next() => ended?,
    };
    stop.cancel();
    // The gateway answers what it has accepted while ledger, log and order-core are still there.
    tokio::task::spawn_blocking(|| gateway.join()).await??;
    services_stop.cancel();
    while let Some(ended) = services.join_next().await {
        ended??;
    }
    store.close().await;
    log.close();
    tracing::info!("stopped");
    ended
}

/// Returns once `thread` is no more. It goes on for as long as anybody can ask it, unless it panics.
async fn ended(thread: &JoinHandle<()>) {
    while !thread.is_finished() {
        tokio::time::sleep(THREAD_LOOK_EVERY).await;
    }
}

/// What shows group commit at work.
fn register(metrics: &Registry, ledger: &LocalLedger, log: &LocalLog) {
    let stats = ledger.clone();
    metrics.read_counter("mall_ledger_commits_total", "Log syncs that carried reservations.", move || {
        stats.stats().commits() as f64
    });
    let stats = ledger.clone();
    metrics.read_counter("mall_ledger_reservations_total", "Reservations made durable.", move || {
        stats.stats().reservations() as f64
    });
    let log = log.clone();
    metrics.read_counter("mall_log_syncs_total", "Syncs of the log that made records durable.", move || {
        log.syncs() as f64
    });
}
