//! `mall`: the whole mall in one process, with nothing else installed; or one service of it.
#![forbid(unsafe_code)]

mod backup;
mod banner;
mod cli;
mod example;
mod ground;
mod metrics;
mod process;
mod reload;
mod report;
mod role;
mod roles;
mod search;
mod tasks;
mod writable;

use std::{
    io::{ErrorKind, Write as _},
    net::SocketAddr,
    num::NonZeroUsize,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use contract::{
    record::ProcessRole,
    token::{Audience, TokenKey},
};
use foundation::{Clock, Config, DataDir, Readiness, SystemClock, config, logs, metrics::Registry, shutdown};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Cli, Command},
    ground::Ground,
    role::Role,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match start(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mall: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: &Cli) -> Result<ExitCode> {
    let command = cli.chosen();
    if let Command::Completions { shell } = command {
        // Into memory first, because the generator panics where its output is closed.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "mall", &mut script);
        return match std::io::stdout().write_all(&script) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output"),
            // A reader that has seen enough, such as `head`, is no fault.
            Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
        };
    }
    let settings = cli.settings.clone();
    let args = config::Args { config: settings.config, runtime: settings.runtime };
    let config = config::read(args.clone())?;
    match command {
        Command::Run | Command::Gateway | Command::OrderCore | Command::Admin => serve(command.role(), args, config)?,
        Command::Migrate => runtime()?.block_on(tasks::migrate(&config))?,
        Command::AdminPassword { username } => runtime()?.block_on(tasks::admin_password(&config, &username))?,
        Command::CheckConfig => {
            ground::synonyms(&config)?;
            config.warnings.iter().try_for_each(|warning| tasks::say(&format!("warning: {warning}")))?;
            tasks::say("the settings are valid")?;
        }
        Command::Search { command } => {
            let is_same = search::run(config, command)?;
            return Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Backup { directory } => {
            backup::back_up(&config, &directory)?;
            tasks::say(&format!("{} is copied to {}", config.data_dir.display(), directory.display()))?;
        }
        Command::ShopAssets { directory } => tasks::shop_assets(&config, &directory)?,
        Command::Completions { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("mall").build()?)
}

fn serve(role: Option<Role>, args: config::Args, mut config: Config) -> Result<()> {
    process::keep_files_private();
    let files = process::raise_open_files();
    let reduced = files.and_then(|files| process::fit_connections(&mut config, role, files));
    config.warnings.extend(reduced);
    // Services of their own share a directory on one host: nothing of theirs lasts there but secrets and leases.
    let data = if role.is_some() { DataDir::share(&config.data_dir)? } else { DataDir::open(&config.data_dir)? };
    let secrets = data.secrets(&config)?;
    let logs = logs::init(&config.log)?;
    for warning in config.warnings.iter().map(String::as_str).chain(data.warning()) {
        tracing::warn!("{warning}");
    }
    let runtime = runtime()?;
    {
        let _entered = runtime.enter();
        reload::on_signal(args, config.clone(), logs.level().clone())?;
    }
    let metrics = Registry::default();
    // Dropped after the services have ended, so that their last spans are sent.
    #[cfg(feature = "trace")]
    let _exporter =
        config.tracing.as_ref().map(|tracing| foundation::spans::otlp::start(tracing, &metrics)).transpose()?;
    let ground = Ground { config, data, secrets, metrics };
    match role {
        Some(role) => runtime.block_on(roles::run(role, ground)),
        None => runtime.block_on(run(ground)),
    }
}

async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{key}: {address} can't be listened on"))
}

/// Starts the parts in the order in which they need each other, the gateway last; ends them in reverse.
async fn run(mut ground: Ground) -> Result<()> {
    let kafka_alone = ground.config.kafka.is_some() && ground.config.redis.is_none();
    anyhow::ensure!(!kafka_alone, "kafka.brokers: it needs redis.url; a ledger in this process keeps its log here");
    let readiness = Readiness::default();
    let stop = shutdown::on_signal(ground.config.shutdown.drain, &readiness)?;
    metrics::serve(&ground, None);
    let order_core_listener = bind(ground.config.order_core.listen, "order_core.listen").await?;
    let admin_listener = bind(ground.config.admin.listen, "admin.listen").await?;

    let log = ground.log().await?;
    let worker_ids = ground.worker_ids(&log)?;
    let store = ground.store(&worker_ids).await?;
    let ledger = ground.ledger(&log, &store).await?;

    let mut services = JoinSet::new();
    let services_stop = CancellationToken::new();
    let (order_core_address, admin_address) = (order_core_listener.local_addr()?, admin_listener.local_addr()?);
    let shared = (&store, &log, &ledger);
    let own_workers = worker_ids.workers();
    tokio::spawn(worker_ids.clone().keep(SystemClock));
    for role in [ProcessRole::OrderCore, ProcessRole::Admin] {
        report::start(&ground, &log, role, own_workers.clone(), &services_stop)?;
    }
    writable::watch_database(&mut services, &ground, &store, &readiness, &services_stop);
    writable::watch_log(&mut services, &ground, &log, &readiness, &services_stop);
    #[cfg(feature = "kafka")]
    writable::watch_redis(&mut services, &ground, &ledger, &readiness, &services_stop);
    roles::spawn_order_core(&mut services, &ground, shared, order_core_listener, &readiness, &services_stop)?;
    let places = (admin_listener, order_core_address);
    roles::spawn_admin(&mut services, &ground, shared, places, &readiness, &services_stop).await?;
    let images = ground.images(&ground.public_url(order_core_address))?;
    let examples = example::fill(&store, &images, SystemClock.now_ms()).await?;
    while !readiness.waiting().is_empty() {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = services.join_next() => ended??,
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }

    // Ledger, log and order-core live here too: half of the processors are theirs. One lane in place of
    // two also lets more reservations share a sync.
    let cpus = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = &mut ground.config.gateway.threads;
    *threads = threads.or(NonZeroUsize::new(cpus.div_ceil(2)));
    let shop_url = ground.public_url(order_core_address);
    let gateway =
        roles::start_gateway(&ground, (&log, &worker_ids), &ledger, &readiness, shop_url.clone(), stop.clone()).await?;
    let places = banner::Places {
        shop: shop_url,
        gateway: gateway.address,
        order_core: order_core_address,
        admin: admin_address,
    };
    let token_key = TokenKey::new(ground.secrets.shopper.expose().as_bytes(), Audience::Shopper);
    banner::print(&places, &ground.secrets, ground.data.path(), &token_key, examples.map(|examples| examples.running));
    if let Some(examples) = examples {
        example::sell_out(examples.sold_out, gateway.address, &token_key);
    }

    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = ledger.ended() => Err(anyhow::anyhow!("the ledger's thread ended")),
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
