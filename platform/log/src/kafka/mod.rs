//! The log on Kafka.
//!
//! A record is acknowledged by every replica in sync before [`Log::append`] answers, and each partition
//! takes the records of one producer in their order and without a gap. An append that was not
//! acknowledged in time is unknown and may still come to stand: readers must bear a record twice.

mod consumer;
mod producer;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use contract::topic::{Retention, Topic};
use foundation::config::{KafkaSasl, KafkaSecurity};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::runtime::Handle;

pub use consumer::KafkaConsumer;
use producer::Producer;

use crate::{Log, LogError, NewRecord, Partition};

/// How long a broker may take to tell of its topics or make one.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether a topic that was made is there.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How the log is reached.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port,host:port`.
    pub brokers: String,
    /// Begins the name of every topic and group.
    pub prefix: String,
    /// Copies of each topic that is made; `None` leaves it to the brokers.
    pub replication: Option<u16>,
    /// How connections are protected.
    pub security: KafkaSecurity,
}

/// A log on Kafka. Clones share its connections.
#[derive(Clone)]
pub struct KafkaLog {
    shared: Arc<Shared>,
}

struct Shared {
    settings: KafkaSettings,
    admin: AdminClient<DefaultClientContext>,
    /// Answers what must be asked by calls that block.
    asker: BaseConsumer,
    producer: Producer,
    /// Partitions of the topics that were seen. They never change.
    partitions: Mutex<HashMap<String, u32>>,
    runtime: Handle,
}

impl KafkaLog {
    /// The log on the brokers of `settings`, which must answer. Needs a tokio runtime, on which calls that
    /// block are made.
    ///
    /// # Errors
    /// If no broker answers in time.
    pub async fn connect(settings: KafkaSettings) -> Result<Self, LogError> {
        let config = config(&settings);
        let admin = config.create().map_err(|error| unknown(&error))?;
        let asker: BaseConsumer = config.create().map_err(|error| unknown(&error))?;
        let producer = Producer::new(config)?;
        let runtime = Handle::current();
        let log = Self {
            shared: Arc::new(Shared { settings, admin, asker, producer, partitions: Mutex::default(), runtime }),
        };
        let brokers = log.shared.settings.brokers.clone();
        let reached = log.blocking(|shared| shared.asker.fetch_metadata(None, ANSWER_MAX).map(drop)).await;
        reached.map_err(|error| LogError::Unknown(format!("no answer from Kafka at {brokers}: {error}")))?;
        Ok(log)
    }

    /// Runs what blocks where it may.
    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Shared) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, LogError> {
        let shared = self.shared.clone();
        let asked = self.shared.runtime.spawn_blocking(move || ask(&shared)).await;
        asked.map_err(|_| LogError::Closed)?.map_err(|error| unknown(&error))
    }

    fn full_name(&self, topic: &str) -> String {
        format!("{}{topic}", self.shared.settings.prefix)
    }

    /// The partitions of `topic`, asked for once.
    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        let known = || self.shared.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(partitions) = known().get(topic) {
            return Ok(*partitions);
        }
        let found = self.look_up(topic).await?.ok_or_else(|| LogError::UnknownTopic(topic.to_owned()))?;
        known().insert(topic.to_owned(), found);
        Ok(found)
    }

    /// How many partitions `topic` has, once each of them can be written.
    async fn look_up(&self, topic: &str) -> Result<Option<u32>, LogError> {
        let name = self.full_name(topic);
        self.blocking(move |shared| {
            let metadata = shared.asker.fetch_metadata(Some(&name), ANSWER_MAX)?;
            let found = metadata.topics().iter().find(|topic| topic.name() == name);
            let partitions = found.map(rdkafka::metadata::MetadataTopic::partitions).unwrap_or_default();
            let led = !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0);
            Ok(led.then(|| u32::try_from(partitions.len()).unwrap_or(u32::MAX)))
        })
        .await
    }

    /// Checks the settings of topics, which may have been made by somebody else.
    async fn check_topics(&self, topics: &[Topic]) -> Result<(), LogError> {
        let names: Vec<String> = topics.iter().map(|topic| self.full_name(&topic.name)).collect();
        let asked: Vec<ResourceSpecifier<'_>> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(ANSWER_MAX));
        let found = self.shared.admin.describe_configs(&asked, &options).await.map_err(|error| unknown(&error))?;
        for (name, found) in names.iter().zip(found) {
            let found = found
                .map_err(|code| LogError::Unknown(format!("the settings of topic {name} can't be read: {code}")))?;
            check_settings(&found, name, self.shared.settings.replication)?;
        }
        Ok(())
    }

    async fn create_topic(&self, topic: &Topic) -> Result<(), LogError> {
        if let Some(partitions) = self.look_up(&topic.name).await? {
            return if partitions == topic.partitions {
                Ok(())
            } else {
                Err(LogError::TopicDiffers(topic.name.clone()))
            };
        }
        let name = self.full_name(&topic.name);
        let settings = [retention(topic.retention), safe_settings(self.shared.settings.replication)].concat();
        let copies = self.shared.settings.replication.map_or(-1, i32::from);
        let partitions = i32::try_from(topic.partitions).map_err(|_| LogError::TopicDiffers(topic.name.clone()))?;
        let mut new = NewTopic::new(&name, partitions, TopicReplication::Fixed(copies));
        for (key, value) in &settings {
            new = new.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_MAX)).request_timeout(Some(ANSWER_MAX));
        let made = self.shared.admin.create_topics([&new], &options).await.map_err(|error| unknown(&error))?;
        for made in made {
            match made {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(LogError::Unknown(format!("topic {name} can't be made: {code}"))),
            }
        }
        let found = async {
            loop {
                if let Some(partitions) = self.look_up(&topic.name).await? {
                    return Ok(partitions);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(ANSWER_MAX, found).await {
            Ok(Ok(partitions)) if partitions == topic.partitions => Ok(()),
            Ok(Ok(_)) => Err(LogError::TopicDiffers(topic.name.clone())),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LogError::Unknown(format!("topic {name} was made and is not there"))),
        }
    }
}

/// Settings without which acknowledged records can be lost: a copy that lags must not become the leader, most copies must
/// have a record before it is acknowledged, and its age must not depend on the clock of the process that sent it.
fn safe_settings(copies: Option<u16>) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ];
    if let Some(copies) = copies {
        settings.push((IN_SYNC_MIN, in_sync_min(copies).to_string()));
    }
    settings
}

const IN_SYNC_MIN: &str = "min.insync.replicas";

/// Copies that must have a record: with fewer than three, one copy that is away would stop the mall.
const fn in_sync_min(copies: u16) -> u16 {
    if copies >= 3 { 2 } else { 1 }
}

/// Why a topic with these settings can lose records. A setting that the brokers do not know is not checked.
fn check_settings(topic: &ConfigResource, name: &str, copies: Option<u16>) -> Result<(), LogError> {
    for (key, needed) in safe_settings(copies) {
        let Some(found) = topic.get(key).and_then(|entry| entry.value.as_deref()) else { continue };
        let is_enough = match (found.parse::<u16>(), needed.parse::<u16>()) {
            (Ok(found), Ok(needed)) => found >= needed,
            (Ok(_) | Err(_), Ok(_) | Err(_)) => found == needed,
        };
        if !is_enough {
            let (found, needed) = (format!("{key}={found}"), format!("{key}={needed}"));
            return Err(LogError::TopicUnsafe { topic: name.to_owned(), found, needed });
        }
    }
    Ok(())
}

/// What every client of the brokers has in common.
fn config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &settings.brokers).set("client.id", "mall").set_log_level(RDKafkaLogLevel::Warning);
    // A broker that comes back is found at once.
    config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
    config.set("socket.keepalive.enable", "true").set("topic.metadata.refresh.interval.ms", "30000");
    config.set("allow.auto.create.topics", "false");
    protect(&mut config, &settings.security);
    config
}

/// Sets how connections are encrypted, whom they trust, and who signs in.
fn protect(config: &mut ClientConfig, security: &KafkaSecurity) {
    let KafkaSecurity { tls, ca_file, sasl } = security;
    let protocol = match (tls, sasl.is_some()) {
        (false, false) => "plaintext",
        (false, true) => "sasl_plaintext",
        (true, false) => "ssl",
        (true, true) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if *tls {
        // The broker's certificate must name the host of its address.
        config.set("enable.ssl.certificate.verification", "true").set("ssl.endpoint.identification.algorithm", "https");
    }
    if let Some(path) = ca_file {
        config.set("ssl.ca.location", path.display().to_string());
    }
    if let Some(KafkaSasl { mechanism, username, password }) = sasl {
        config.set("sasl.mechanism", mechanism).set("sasl.username", username);
        config.set("sasl.password", password.expose());
    }
}

fn retention(retention: Retention) -> Vec<(&'static str, String)> {
    match retention {
        Retention::AgeMs(ms) => {
            vec![("cleanup.policy", "delete".to_owned()), ("retention.ms", i64::try_from(ms).unwrap_or(-1).to_string())]
        }
        Retention::LatestPerKey => vec![("cleanup.policy", "compact".to_owned())],
    }
}

fn unknown(error: &KafkaError) -> LogError {
    LogError::Unknown(error.to_string())
}

impl Log for KafkaLog {
    type Consumer = KafkaConsumer;

    async fn create_topics(&self, topics: Vec<Topic>) -> Result<(), LogError> {
        for topic in &topics {
            self.create_topic(topic).await?;
        }
        self.check_topics(&topics).await
    }

    async fn topics(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        let wanted = self.full_name(prefix);
        let skip = self.shared.settings.prefix.len();
        let mut names: Vec<String> = self
            .blocking(move |shared| {
                let metadata = shared.asker.fetch_metadata(None, ANSWER_MAX)?;
                let names = metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name);
                Ok(names.filter(|name| name.starts_with(&wanted)).map(|name| name[skip..].to_owned()).collect())
            })
            .await?;
        names.sort_unstable();
        Ok(names)
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        let mut placed = Vec::with_capacity(records.len());
        for record in &records {
            let partitions = self.partitions(&record.topic).await?;
            placed.push(contract::topic::partition_of(&record.key, partitions));
        }
        self.shared.producer.append(&self.shared.settings.prefix, &records, &placed).await
    }

    async fn join(&self, group: &str, topics: &[&str]) -> Result<KafkaConsumer, LogError> {
        for topic in topics {
            self.partitions(topic).await?;
        }
        let mut config = config(&self.shared.settings);
        config.set("group.id", self.full_name(group));
        KafkaConsumer::member(&config, self.shared.settings.prefix.clone(), topics, self.shared.runtime.clone())
    }

    async fn follow(&self, topics: &[&str]) -> Result<KafkaConsumer, LogError> {
        let mut partitions = Vec::new();
        for topic in topics {
            partitions.extend((0..self.partitions(topic).await?).map(|index| (*topic, index)));
        }
        let mut config = config(&self.shared.settings);
        // Nothing is ever committed in its name.
        config.set("group.id", self.full_name("follower"));
        KafkaConsumer::follower(&config, self.shared.settings.prefix.clone(), &partitions, self.shared.runtime.clone())
    }

    async fn ends(&self, topic: &str) -> Result<Vec<(Partition, u64)>, LogError> {
        let partitions = self.partitions(topic).await?;
        let (name, topic) = (self.full_name(topic), Arc::<str>::from(topic));
        self.blocking(move |shared| {
            let mut ends = Vec::new();
            for index in 0..partitions {
                let number = i32::try_from(index).unwrap_or(i32::MAX);
                let (low, high) = shared.asker.fetch_watermarks(&name, number, ANSWER_MAX)?;
                // Where everything has been forgotten there is no last record, whatever its offset was.
                let end = if low == high { 0 } else { u64::try_from(high).unwrap_or(0) };
                ends.push((Partition { topic: topic.clone(), index }, end));
            }
            Ok(ends)
        })
        .await
    }
}
