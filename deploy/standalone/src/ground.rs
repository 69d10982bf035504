//! What the services stand on, as the settings name it: embedded, or a real server, part by part.

use std::{fs::File, io::Read, net::SocketAddr, path::PathBuf, thread::JoinHandle, time::Duration};

use anyhow::{Context, Result};
use commit_log::{AnyLog, LocalLog, Log};
use contract::topic;
use foundation::{
    Clock, Config, DataDir, IdMaker, SystemClock,
    config::{KafkaConfig, MockConfig, SearchConfig},
    data_dir::Secrets,
    ids,
    metrics::{Histogram, Registry, STAGE_HELP, stage},
    web::Origins,
};
use gateway::Ledgers;
use images::Images;
use ledger::{
    AnyLedger,
    redis::{RedisLedger, UnconfirmedLimits, fence::Fence},
};
use limits::{LocalWindows, RedisWindows, Windows};
use order_core::{Browsers, MockPlatform, Providers, Search, ShopPages, Snapshots};
use search::{Analyzer, Embedded, Synonyms, limits::SYNONYMS_BYTES_MAX};
use store::{Ids, Settings, Store};

use std::sync::Arc;
use workers::PayBack as _;

/// How soon it is noticed that the ledger's thread has died.
const THREAD_LOOK_EVERY: Duration = Duration::from_millis(200);

/// Settings, secrets and metrics of this process.
pub(crate) struct Ground {
    pub(crate) config: Config,
    pub(crate) data: DataDir,
    pub(crate) secrets: Secrets,
    pub(crate) metrics: Registry,
}

/// The ledgers, and what keeps them right.
pub(crate) struct Ledger {
    pub(crate) client: AnyLedger,
    /// As the gateway's cores reach them.
    pub(crate) link: Ledgers,
    /// The thread of the ledgers in this process.
    thread: Option<JoinHandle<()>>,
}

impl Ground {
    /// Where worker ids are leased.
    pub(crate) fn ids(&self) -> PathBuf {
        self.data.ids()
    }

    /// The database.
    pub(crate) async fn store(&self) -> Result<Store> {
        let makes_ids = IdMaker::new(ids::lease_worker(&self.ids(), SystemClock.now_ms())?, SystemClock)?;
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

    /// The ledgers in Redis; `None` where the settings name none.
    pub(crate) fn redis(&self) -> Result<Option<Ledger>> {
        let Some(redis) = &self.config.redis else { return Ok(None) };
        let url = redis.url.expose();
        let client = RedisLedger::new(url).context("redis.url")?;
        let link = gateway::redis::Settings::new(url, self.config.gateway.user_window, redis.reply_timeout)?;
        let orders_max = redis.unconfirmed_max.get();
        let age_max_ms = u64::try_from(redis.unconfirmed_age_max.as_millis()).unwrap_or(u64::MAX);
        let link = link.with_unconfirmed(UnconfirmedLimits { orders_max, age_max_ms });
        Ok(Some(Ledger { client: AnyLedger::Redis(client), link: Ledgers::Redis(link), thread: None }))
    }

    /// The ledgers, in this process where the settings name no Redis.
    pub(crate) async fn ledger(&self, log: &AnyLog, store: &Store) -> Result<Ledger> {
        if let Some(ledger) = self.redis()? {
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
    /// What recovers and opens ledgers in Redis; the ledgers in this process need none.
    pub(crate) fn fence(&self, log: &AnyLog, store: &Store) -> Option<Fence<AnyLog, Snapshots>> {
        let AnyLedger::Redis(client) = &self.client else { return None };
        let nonce = SystemClock.now_ms() << 20 | u64::from(std::process::id());
        Some(Fence::new(client.clone(), log.clone(), Snapshots::new(store.clone()), nonce))
    }

    /// Where it is counted how often somebody asks: beside the ledgers.
    pub(crate) fn windows(&self) -> Result<Windows> {
        Ok(match &self.client {
            AnyLedger::Redis(client) => Windows::Redis(RedisWindows::new(client.connection())?),
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
    let KafkaConfig { brokers, topic_prefix, replication } = kafka.clone();
    let settings = commit_log::KafkaSettings { brokers, prefix: topic_prefix, replication };
    Ok(AnyLog::kafka(commit_log::KafkaLog::connect(settings).await.context("kafka.brokers")?, append_time))
}

#[cfg(not(feature = "kafka"))]
#[expect(clippy::unused_async, reason = "as the other one")]
async fn connect(kafka: &KafkaConfig, _append_time: Histogram) -> Result<AnyLog> {
    anyhow::bail!("kafka.brokers: this build can't reach {}; build it with --features kafka", kafka.brokers)
}
