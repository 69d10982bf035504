//! The thread-per-core shell around `gateway_core`: sockets, clocks and threads. It decides nothing.
#![deny(unsafe_code)]

mod captcha;
mod control;
mod driver;
mod figures;
mod link;
mod mailbox;
mod net;
#[cfg(feature = "redis")]
pub mod redis;
mod serve;
mod session;
mod shard;
mod spans;
mod thread;
#[cfg(feature = "tls")]
mod tls;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::Instant,
};

use anyhow::{Context, Result};
use commit_log::{Log, WorkerIds};
use contract::{client_address::TrustedProxies, record::ProcessRole};
use foundation::{
    Clock, Readiness, SystemClock,
    config::{GatewayConfig, RateLimit, Runtime},
    ids::Lease,
    metrics::Registry,
    process,
};
use gateway_core::{Config, Control, Core, Now, Origin, Rate};
use ledger::confirmed::{RecentHolds, UnconfirmedLimits};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{captcha::CaptchaRenderer, control::Broadcast, figures::Figures, shard::Parts, thread::CoreThread};

#[cfg(feature = "redis")]
use crate::redis::relay;

pub use gateway_core::Keys;
pub use link::{Ledgers, ReserveLink};

/// What the gateway needs.
pub struct GatewayDeps<'a, L> {
    /// Its section of the configuration.
    pub config: &'a GatewayConfig,
    /// The shop, for browsers.
    pub shop: Shop,
    /// The peers whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: &'a TrustedProxies,
    /// The keys of shoppers' tokens and tickets.
    pub keys: Keys,
    /// Where worker ids are leased.
    pub ids: &'a WorkerIds<L>,
    /// The log that the cores follow.
    pub log: &'a L,
    /// How the cores reach the ledgers.
    pub ledgers: Ledgers,
    /// The metrics of the process; the gateway adds its own.
    pub metrics: Registry,
    /// The readiness of the rest of the process, which `/readyz` of the gateway reports too.
    pub readiness: Readiness,
    /// Cancelled to stop the gateway, and by the gateway if one of its threads has ended.
    pub stop: CancellationToken,
}

/// What browsers need to know of the shop.
#[derive(Debug, Clone, Default)]
pub struct Shop {
    /// Where `GET /` leads; empty leads nowhere.
    pub url: String,
    /// Origins whose pages may call the gateway.
    pub origins: Vec<String>,
}

/// A running gateway.
pub struct Gateway {
    /// The address on which it listens.
    pub address: SocketAddr,
    threads: Vec<JoinHandle<io::Result<()>>>,
    relay: Option<Relaying>,
}

/// The thread of the relay. It works on until the core threads have ended, so that what they accepted reaches the log.
struct Relaying {
    thread: JoinHandle<()>,
    stop: CancellationToken,
}

impl Gateway {
    /// Starts the core threads. They listen once each has replayed the log, so that already the first answer is right.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// If the port is in use, a worker id can't be leased, or the log can't be read.
    pub async fn start<L: Log>(deps: GatewayDeps<'_, L>) -> Result<Self> {
        let GatewayDeps { config, log, ref stop, .. } = deps;
        let address = probe(config.listen)?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let count = config.threads.map_or(cpus, usize::from);
        let (started, open) = (Instant::now(), CancellationToken::new());
        let run = driver::on(config.runtime)?;
        let (mut threads, mut listening) = (Vec::new(), Vec::new());
        let (mut figures, mut leases, mut controls, mut recents) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let captchas = CaptchaRenderer::start()?;
        let worker_leases = deps.ids.lease(count, SystemClock.now_ms()).await?;
        let report = process::describe(ProcessRole::Gateway, workers(&worker_leases), SystemClock.now_ms())?;
        for (index, lease) in worker_leases.into_iter().enumerate() {
            let (core, lease) = core(&deps, lease, count, started)?;
            let (sender, mailbox) = mailbox::mailbox();
            let figure = Arc::new(Figures::default());
            let (ledgers, metrics) = (deps.ledgers.clone(), deps.metrics.clone());
            let recent = Arc::new(RecentHolds::new(share(&deps.ledgers, count)));
            recents.push(recent.clone());
            let parts = Parts {
                core,
                ledgers,
                recent,
                mailbox: sender.replies,
                captchas: captchas.handle_for(sender.controls.clone()),
                figures: figure.clone(),
                metrics,
                started,
            };
            // A thread for each processor stays on its own; more of them are left to the scheduler.
            let cpu = (count <= cpus).then_some(index);
            let (listens, listening_now) = oneshot::channel();
            listening.push(listening_now);
            let (socket, open) = (bind(address)?, open.clone());
            let thread = CoreThread { cpu, socket, open, listens, parts, mailbox, stop: stop.clone() };
            let name = format!("gateway-{index}");
            // A core that ends by a bug stops the process, so that it is restarted.
            let ends = stop.clone().drop_guard();
            let body = move || {
                let _ends = ends;
                run(thread)
            };
            threads.push(Builder::new().name(name).spawn(body)?);
            figures.push(figure);
            leases.push(lease);
            controls.push(sender.controls);
        }
        figures::register(&deps.metrics, &figures);
        figures::register_unconfirmed(&deps.metrics, &recents);
        let (activities, known) = watch::channel(Arc::from([]));
        let recent = recents.iter().cloned().collect();
        let cores = Broadcast { cores: controls, readiness: deps.readiness.clone(), activities, recent };
        #[cfg(feature = "redis")]
        let redis_is_ready = match &deps.ledgers {
            Ledgers::Redis(_) => Some(deps.readiness.part("gateway", "Redis has not been checked yet")),
            Ledgers::Shared(_) => None,
        };
        let readiness_sent = control::readiness_now(&deps.readiness);
        cores.send(Control::Readiness(readiness_sent.clone())).await;
        control::follow(log, &cores, stop.clone()).await.context("the gateway can't read the log")?;
        #[cfg(feature = "redis")]
        let relay = match (&deps.ledgers, redis_is_ready) {
            (Ledgers::Redis(settings), Some(readiness)) => {
                let (server, log, metrics) = (settings.server.clone(), log.clone(), deps.metrics.clone());
                let parts = relay::Parts { server, log, activities: known, recent: recents, readiness, metrics };
                let relay_stop = CancellationToken::new();
                let thread = relay::start(parts, relay_stop.clone(), stop.clone())?;
                Some(Relaying { thread, stop: relay_stop })
            }
            (Ledgers::Redis(_), None) | (Ledgers::Shared(_), _) => None,
        };
        // Only a relay needs them.
        #[cfg(not(feature = "redis"))]
        let (relay, _known, _recents) = (None, known, recents);
        let readiness = deps.readiness.clone();
        tokio::spawn(control::pass_readiness_on(readiness, readiness_sent, cores.clone(), stop.clone()));
        tokio::spawn(control::keep_leases(leases, cores, stop.clone()));
        tokio::spawn(figures::report_until(stop.clone(), log.clone(), report, (figures, deps.metrics.clone())));
        open.cancel();
        let gateway = Self { address, threads, relay };
        for started in listening {
            if started.await.is_err() {
                // The thread was stopped, or it failed; `join` returns its error.
                stop.cancel();
                gateway.join()?;
                return Ok(Self { address, threads: Vec::new(), relay: None });
            }
        }
        Ok(gateway)
    }

    /// Waits for the threads to end, which they do once they are stopped and drained.
    ///
    /// # Errors
    /// If a thread failed or panicked.
    pub fn join(self) -> Result<()> {
        let mut ended = Ok(());
        for thread in self.threads {
            let thread = thread.join().map_err(|_| anyhow::anyhow!("a gateway thread panicked"));
            ended = ended.and(thread.and_then(|ended| Ok(ended?)));
        }
        if let Some(Relaying { thread, stop }) = self.relay {
            stop.cancel();
            ended = ended.and(thread.join().map_err(|_| anyhow::anyhow!("the relay panicked")));
        }
        ended
    }
}

/// One core's share of the orders that may be confirmed and not on the log yet.
#[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "ledgers in this process have no limit to share"))]
fn share(ledgers: &Ledgers, cores: usize) -> UnconfirmedLimits {
    match ledgers {
        #[cfg(feature = "redis")]
        Ledgers::Redis(settings) => {
            let UnconfirmedLimits { orders_max, age_max_ms } = settings.unconfirmed;
            UnconfirmedLimits { orders_max: orders_max.div_ceil(cores), age_max_ms }
        }
        // These answer once the log has the order.
        Ledgers::Shared(_) => UnconfirmedLimits::default(),
    }
}

fn workers(leases: &[Lease]) -> Vec<u16> {
    leases.iter().map(Lease::worker).collect()
}

fn core<L>(deps: &GatewayDeps<'_, L>, mut lease: Lease, cores: usize, started: Instant) -> Result<(Core, Lease)> {
    let now = Now { mono: started.elapsed(), wall_ms: SystemClock.now_ms() };
    let seed = getrandom::u64().map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let mut config = Config::new(deps.keys.clone(), seed);
    let limits = deps.config;
    config.connections_max = limits.connections_max.get().div_ceil(cores);
    config.connections_per_client_max = per_client(limits.connections_per_client_max.get(), cores);
    config.timeouts.idle = limits.idle_timeout;
    config.waiting_max = limits.queue_max.get();
    config.traced_per_million = foundation::spans::sampled_per_million();
    config.captchas_max = limits.captchas_max.get().div_ceil(cores);
    config.timeouts.reply = limits.reply_timeout;
    fit(&mut config, limits.runtime);
    config.shop_url.clone_from(&deps.shop.url);
    config.origins = deps.shop.origins.iter().map(|origin| Origin::new(origin)).collect();
    config.gate.client = rate(limits.client_rate);
    config.gate.user = rate(limits.user_rate);
    config.gate.trusted_proxies = deps.trusted_proxies.clone();
    let ids = lease.snowflake(now.wall_ms)?;
    Ok((Core::new(config, ids, now), lease))
}

/// How many connections of one client a core takes. The kernel spreads them over the cores unevenly, so a core takes twice
/// its share.
fn per_client(all: usize, cores: usize) -> usize {
    const LEAST: usize = 16;
    all.div_ceil(cores).saturating_mul(2).max(LEAST).min(all)
}

/// Disables what `runtime` does not support.
const fn fit(config: &mut Config, runtime: Runtime) {
    match runtime {
        Runtime::Monoio | Runtime::Glommio => {}
        // may_minihttp writes an answer in one piece.
        Runtime::May => config.streams_max = 0,
    }
}

/// A rate of 0 is no limit.
fn rate(limit: Option<RateLimit>) -> Rate {
    let parts = limit.map(|RateLimit { per_s, burst }| (per_s.get(), burst.get()));
    let (per_second, burst) = parts.unwrap_or_default();
    Rate { per_second, burst }
}

/// Checks that the address is free, and resolves port 0. The cores' sockets share the port with each other, so they would
/// also share it with another process of this user.
fn probe(address: SocketAddr) -> Result<SocketAddr> {
    let free = TcpListener::bind(address).and_then(|listener| listener.local_addr());
    free.with_context(|| format!("gateway.listen: can't listen on {address}"))
}

/// A socket of one core, bound but not yet listening: until then clients are refused, not kept waiting.
fn bind(address: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // A small answer does not wait for the client's acknowledgement of the one before; connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into()).with_context(|| format!("gateway.listen: can't listen on {address}"))?;
    Ok(socket)
}
