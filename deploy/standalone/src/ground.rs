//! What the services stand on, as the settings name it: embedded, or a real server, part by part.

use std::{fs::File, io::Read, net::SocketAddr, thread::JoinHandle, time::Duration};

use anyhow::{Context, Result};
use commit_log::{AnyLog, LocalLog, Log, WorkerIds};
use contract::{stock::Window, topic};
#[cfg(feature = "kafka")]
use foundation::redis::Server;
use foundation::{
    Clock, Config, DataDir, IdMaker, SystemClock,
    config::{KafkaConfig, MockConfig, RedisConfig, SearchConfig},
    data_dir::{Secrets, random_hex},
    metrics::{Histogram, Registry, STAGE_HELP, stage},
};
use gateway::Ledgers;
use images::Images;
use ledger::AnyLedger;
#[cfg(feature = "kafka")]
use ledger::redis::fence::Fence;
use limits::{LocalWindows, Windows};
use order_core::{Browsers, MockPlatform, Providers, Search, ShopPages, Snapshots};
use search::{Analyzer, Embedded, Synonyms, limits::SYNONYMS_BYTES_MAX};
use store::{Ids, Settings, Store};
use web::Origins;

use std::sync::Arc;
use workers::PayBack as _;

/// How soon it is noticed that the ledger's thread has died.
const THREAD_LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a Redis is asked for its settings at the start.
#[cfg(feature = "kafka")]
const REDIS_CHECK_MAX: Duration = Duration::from_secs(5);

/// Settings, secrets and metrics of this process.
pub(crate) struct Ground {
    pub(crate) config: Config,
    pub(crate) data: DataDir,
    pub(crate) secrets: Secrets,
    pub(crate) metrics: Registry,
}

/// A fence, and the lease under which it works.
#[cfg(feature = "kafka")]
pub(crate) type LedFence = (Fence<AnyLog, Snapshots>, Option<workers::Lease<Store>>);

/// The ledgers, and what keeps them right.
pub(crate) struct Ledger {
    pub(crate) client: AnyLedger,
    /// As the gateway's cores reach them.
    pub(crate) link: Ledgers,
    /// The thread of the ledgers in this process.
    thread: Option<JoinHandle<()>>,
}

impl Ground {
    /// The worker ids of the data directory, which are claimed on the log.
    pub(crate) fn worker_ids(&self, log: &AnyLog) -> Result<WorkerIds<AnyLog>> {
        let owner = self.data.kept("ids-owner", || random_hex(8).map_err(|error| error.to_string()))?;
        let owner = u64::from_str_radix(owner.expose(), 16).context("ids-owner in the data directory")?;
        Ok(WorkerIds::new(log.clone(), self.data.ids(), owner))
    }

    /// The database.
    pub(crate) async fn store(&self, worker_ids: &WorkerIds<AnyLog>) -> Result<Store> {
        let lease = worker_ids.lease(1, SystemClock.now_ms()).await?.pop().context("one worker id was leased")?;
        let makes_ids = IdMaker::new(lease, SystemClock)?;
        let (ids, settings) = (Ids::new(move || makes_ids.next()), Settings::of(&self.config));
        match &self.config.database.url {
            Some(url) => Store::connect(url.expose(), ids, settings).await.context("database.url"),
            None => {
                let path = self.data.path().join("mall.db");
                let opened = Store::open(&path, ids, settings).await;
                opened.with_context(|| format!("the database in {} can't be opened", self.data.path().display()))
            }
        }
    }

    /// Where browsers reach order-core, which listens at `listens`.
    pub(crate) fn public_url(&self, listens: SocketAddr) -> String {
        self.config.payments.public_url.clone().unwrap_or_else(|| format!("http://{listens}"))
    }

    /// Origins whose pages may call the gateway and order-core; by default that of the shop at `shop_url`. To a browser,
    /// `localhost` and `127.0.0.1` are two origins, so both are allowed.
    pub(crate) fn origins(&self, shop_url: &str) -> Vec<String> {
        if let Some(origins) = &self.config.web.origins {
            return origins.clone();
        }
        let local = shop_url.strip_prefix("http://127.0.0.1:").map(|port| format!("http://localhost:{port}"));
        std::iter::once(shop_url.to_owned()).chain(local).collect()
    }

    /// Where the shop's pages find the gateway and the pictures.
    pub(crate) fn shop_pages(&self, public_url: &str) -> ShopPages {
        // The address of a picture in a bucket is the bucket's, after a redirect.
        let bucket = if self.config.images.oss.is_some() { " https:" } else { "" };
        ShopPages { gateway_url: self.gateway_url(), pictures: format!("{public_url}{bucket}") }
    }

    /// Where browsers reach the gateway.
    pub(crate) fn gateway_url(&self) -> String {
        let listens = self.config.gateway.listen;
        // A port that the system is to choose is not known yet; a setup that needs the page sets the address then.
        let default = if listens.port() == 0 { String::new() } else { format!("http://{listens}") };
        self.config.web.gateway_url.clone().unwrap_or(default)
    }

    /// The browsers that show the shop at `public_url`.
    pub(crate) fn browsers(&self, public_url: &str) -> Browsers {
        Browsers { origins: Origins::new(self.origins(public_url)), secure: public_url.starts_with("https://") }
    }

    /// Pictures of products.
    pub(crate) fn images(&self, public_url: &str) -> Result<Images> {
        Ok(Images::open(&self.config.images, &self.data.path().join("images"), public_url)?)
    }

    /// The search index, in the data directory where the settings name no server.
    pub(crate) fn search(&self) -> Result<Search> {
        let analyzer = Analyzer::new(synonyms(&self.config)?);
        let Some(config) = &self.config.search else {
            let path = self.data.path().join("search");
            let index =
                Embedded::open(&path, analyzer).with_context(|| format!("the search index in {}", path.display()));
            return Ok(Search::new(index?));
        };
        elastic(config, analyzer)
    }

    /// Payment methods, and the mock platform where it is on.
    pub(crate) fn providers(&self, public_url: &str) -> Result<(Providers, Option<MockPlatform>)> {
        let payments = &self.config.payments;
        let mock = match payments.mock {
            MockConfig::Off { .. } => None,
            MockConfig::On { first_gap } => {
                let make = || pay::Signer::generate().map_err(|error| error.to_string());
                let keys = (self.data.kept("mock-app-key", make)?, self.data.kept("mock-platform-key", make)?);
                Some(MockPlatform::new(keys.0.expose(), keys.1.expose(), first_gap).context("mock keys")?)
            }
        };
        let providers = Providers::new(payments, public_url, mock.as_ref())?;
        let methods = providers.methods().join(", ");
        match payments.mock {
            MockConfig::Off { reason } if methods.is_empty() => {
                tracing::warn!("payment methods: none, so no order can be paid; the mock is off because {reason}");
            }
            MockConfig::Off { reason } => {
                tracing::info!("payment methods: {methods}; the mock is off because {reason}");
            }
            MockConfig::On { .. } => tracing::info!("payment methods: {methods}; the mock takes no real money"),
        }
        Ok((providers, mock))
    }

    /// The log, with its topics.
    pub(crate) async fn log(&self) -> Result<AnyLog> {
        let append_time = self.metrics.histogram(&stage("log_append"), STAGE_HELP);
        let log = match &self.config.kafka {
            Some(kafka) => connect(kafka, append_time).await?,
            None => {
                let log = LocalLog::open(&self.data.path().join("log.db"))?;
                let syncs = log.clone();
                let help = "Syncs of the log that made records durable.";
                self.metrics.read_counter("mall_log_syncs_total", help, move || syncs.syncs() as f64);
                AnyLog::local(log, append_time)
            }
        };
        log.create_topics(topic::fixed().to_vec()).await.context("the log's topics")?;
        Ok(log)
    }

    /// The ledgers in Redis; `None` where the settings name none. One that can't keep what ledgers promise is refused, if
    /// it answers. A Redis that is away is not waited for; a warning says later what it lacks.
    pub(crate) async fn redis(&self) -> Result<Option<Ledger>> {
        let Some(redis) = &self.config.redis else { return Ok(None) };
        in_redis(redis, self.config.gateway.user_window).await.map(Some)
    }

    /// The ledgers, in this process where the settings name no Redis.
    pub(crate) async fn ledger(&self, log: &AnyLog, store: &Store) -> Result<Ledger> {
        if let Some(ledger) = self.redis().await? {
            return Ok(ledger);
        }
        let (snapshots, window) = (Snapshots::new(store.clone()), self.config.gateway.user_window);
        let (ledger, thread) = ledger::local::start(log.clone(), snapshots, window, SystemClock).await?;
        let stats = ledger.clone();
        self.metrics.read_counter("mall_ledger_commits_total", "Log syncs that carried reservations.", move || {
            stats.stats().commits() as f64
        });
        let stats = ledger.clone();
        self.metrics.read_counter("mall_ledger_reservations_total", "Reservations made durable.", move || {
            stats.stats().reservations() as f64
        });
        let link = Ledgers::Shared(Arc::new(ledger.clone()));
        Ok(Ledger { client: AnyLedger::Local(ledger), link, thread: Some(thread) })
    }
}

/// The certificates in the file that `key` names.
#[cfg(feature = "kafka")]
fn read_ca(key: &str, path: &std::path::Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{key}: can't read {}", path.display()))
}

/// Refuses a Redis that can lose what ledgers promise, unless the settings allow it by name.
#[cfg(feature = "kafka")]
fn refuse_hazards(hazards: &[foundation::redis::Hazard], config: &RedisConfig) -> Result<()> {
    for hazard in hazards {
        let is_allowed = match hazard {
            foundation::redis::Hazard::Eviction(_) => config.allow_eviction,
            foundation::redis::Hazard::NoAppendOnlyFile => config.allow_no_aof,
        };
        anyhow::ensure!(is_allowed, "redis.url: this Redis can lose orders: {hazard}");
        tracing::warn!("this Redis can lose orders, and that is allowed: {hazard}");
    }
    Ok(())
}

/// The synonyms that searches know.
pub(crate) fn synonyms(config: &Config) -> Result<Synonyms> {
    let Some(path) = &config.synonyms_file else { return Ok(Synonyms::shop()) };
    let named = || format!("search.synonyms_file: {}", path.display());
    let mut text = String::new();
    // A longer file is refused by `parse`.
    let bytes_max = u64::try_from(SYNONYMS_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).and_then(|file| file.take(bytes_max).read_to_string(&mut text)).with_context(named)?;
    let (synonyms, errors) = Synonyms::parse(&text);
    match errors.first() {
        None => Ok(synonyms),
        Some(first) if errors.len() == 1 => anyhow::bail!("{}: {first}", named()),
        Some(first) => anyhow::bail!("{}: {first} (and {} more lines)", named(), errors.len() - 1),
    }
}

impl Ledger {
    /// What recovers and opens ledgers in Redis, and the lease under which it works where other processes may do the same.
    /// The ledgers in this process need none.
    #[cfg(feature = "kafka")]
    pub(crate) fn fence(&self, log: &AnyLog, store: &Store) -> Result<Option<LedFence>> {
        let AnyLedger::Redis(client) = &self.client else { return Ok(None) };
        let lease = store.is_shared().then(|| order_core::fence_lease(store)).transpose()?;
        let mut source = Snapshots::new(store.clone());
        if let Some(lease) = &lease {
            source = source.led_by(lease.fencing_number());
        }
        let nonce = SystemClock.now_ms() << 20 | u64::from(std::process::id());
        Ok(Some((Fence::new(client.clone(), log.clone(), source, nonce), lease)))
    }

    /// Where it is counted how often somebody asks: beside the ledgers.
    pub(crate) fn windows(&self) -> Result<Windows> {
        Ok(match &self.client {
            #[cfg(feature = "kafka")]
            AnyLedger::Redis(client) => Windows::Redis(limits::RedisWindows::new(client.connection())?),
            AnyLedger::Local(_) => Windows::Local(LocalWindows::default()),
        })
    }

    /// Returns once the ledgers' thread is no more. It goes on for as long as anybody can ask it, unless it
    /// panics.
    pub(crate) async fn ended(&self) {
        loop {
            if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
                return;
            }
            tokio::time::sleep(THREAD_LOOK_EVERY).await;
        }
    }
}

#[cfg(feature = "kafka")]
async fn in_redis(redis: &RedisConfig, window: Window) -> Result<Ledger> {
    let ca = redis.ca_file.as_deref().map(|path| read_ca("redis.ca_file", path)).transpose()?;
    let server = Server::new(redis.url.expose(), ca.as_deref()).context("redis.url")?;
    let client = ledger::redis::RedisLedger::over(server.connect().context("redis.url")?);
    match tokio::time::timeout(REDIS_CHECK_MAX, client.connection().hazards()).await {
        Ok(Ok(hazards)) => refuse_hazards(&hazards, redis)?,
        Ok(Err(error)) => tracing::warn!(%error, "the settings of Redis can't be checked"),
        Err(_) => tracing::warn!("the settings of Redis can't be checked: it does not answer"),
    }
    let link = gateway::redis::Settings::new(&server, window, redis.reply_timeout)?;
    let orders_max = redis.unconfirmed_max.get();
    let age_max_ms = u64::try_from(redis.unconfirmed_age_max.as_millis()).unwrap_or(u64::MAX);
    let link = link.with_unconfirmed(ledger::confirmed::UnconfirmedLimits { orders_max, age_max_ms });
    Ok(Ledger { client: AnyLedger::Redis(client), link: Ledgers::Redis(link), thread: None })
}

#[cfg(not(feature = "kafka"))]
#[expect(clippy::unused_async, reason = "as the other one")]
async fn in_redis(_redis: &RedisConfig, _window: Window) -> Result<Ledger> {
    anyhow::bail!("redis.url: this build can't reach Redis; build it with --features kafka")
}

#[cfg(feature = "kafka")]
fn elastic(config: &SearchConfig, analyzer: Analyzer) -> Result<Search> {
    use search::{Elastic, ElasticSettings};

    let mut settings = ElasticSettings::new(config.url.expose()).context("search.url")?;
    settings = settings.index(&config.index).context("search.index")?;
    if let Some(path) = &config.ca_file {
        let pem = std::fs::read_to_string(path).with_context(|| format!("search.ca_file: {}", path.display()))?;
        settings = settings.certificates(&pem);
    }
    Ok(Search::new(Elastic::new(settings, analyzer).context("search.url")?))
}

#[cfg(not(feature = "kafka"))]
fn elastic(_config: &SearchConfig, _analyzer: Analyzer) -> Result<Search> {
    anyhow::bail!("search.url: this build can't reach an Elasticsearch; build it with --features kafka")
}

#[cfg(feature = "kafka")]
async fn connect(kafka: &KafkaConfig, append_time: Histogram) -> Result<AnyLog> {
    let KafkaConfig { brokers, topic_prefix, replication, security } = kafka.clone();
    let settings = commit_log::KafkaSettings { brokers, prefix: topic_prefix, replication, security };
    Ok(AnyLog::kafka(commit_log::KafkaLog::connect(settings).await.context("kafka.brokers")?, append_time))
}

#[cfg(not(feature = "kafka"))]
#[expect(clippy::unused_async, reason = "as the other one")]
async fn connect(kafka: &KafkaConfig, _append_time: Histogram) -> Result<AnyLog> {
    anyhow::bail!("kafka.brokers: this build can't reach {}; build it with --features kafka", kafka.brokers)
}
