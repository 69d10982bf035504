//! The log on a real Kafka.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::sync::atomic::{AtomicU32, Ordering};

use commit_log::{Consumer, KafkaLog, KafkaSettings, Log, LogError, NewRecord, conformance, next_offsets};
use contract::topic::{Retention, Topic};
use foundation::config::{KafkaSasl, KafkaSecurity, Secret};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use services::{Authority, Kafka};

static LOGS: AtomicU32 = AtomicU32::new(0);

fn settings(kafka: &Kafka) -> KafkaSettings {
    let prefix = format!("t{}.", LOGS.fetch_add(1, Ordering::Relaxed));
    KafkaSettings { brokers: kafka.brokers(), prefix, replication: None, security: KafkaSecurity::default() }
}

async fn fresh(kafka: &Kafka) -> KafkaLog {
    let log = KafkaLog::connect(settings(kafka)).await.unwrap();
    log.create_topics(conformance::topics()).await.unwrap();
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let Some(kafka) = Kafka::start() else { return };
    conformance::all(async || fresh(&kafka).await).await;
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_told() {
    let settings = KafkaSettings {
        brokers: "127.0.0.1:9".to_owned(),
        prefix: String::new(),
        replication: None,
        security: KafkaSecurity::default(),
    };
    let error = KafkaLog::connect(settings).await.err().unwrap();
    assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
}

/// Everything that was acknowledged is there, in order, and readers go on where they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_the_broker_loses_nothing() {
    let Some(mut kafka) = Kafka::start() else { return };
    let log = fresh(&kafka).await;
    let mut reader = log.join("g", &[conformance::LINE]).await.unwrap();
    let record =
        |value: u32| NewRecord { topic: conformance::LINE.into(), key: vec![0], value: value.to_be_bytes().to_vec() };
    let mut read: Vec<u32> = Vec::new();
    for round in 0..4_u32 {
        if round > 0 {
            kafka.kill();
            let down = log.clone();
            let waiting = tokio::spawn(async move { down.append(vec![record(100 * round + 99)]).await });
            kafka.resume();
            assert_eq!(waiting.await.unwrap(), Ok(()), "an append goes on once the broker is back");
        }
        for value in 100 * round..100 * round + 50 {
            assert_eq!(log.append(vec![record(value)]).await, Ok(()));
        }
        let expected = if round == 0 { 50 } else { 51 };
        let until = read.len() + expected;
        while read.len() < until {
            // A reader may get an error while the broker is away; it retries.
            let Ok(records) = reader.poll(100).await else { continue };
            read.extend(records.iter().map(|record| u32::from_be_bytes(record.value.as_slice().try_into().unwrap())));
            match reader.commit(next_offsets(&records)).await {
                Ok(()) | Err(LogError::Rebalanced | LogError::Unknown(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    read.dedup();
    let mut expected: Vec<u32> = (0..50).collect();
    for round in 1..4 {
        expected.push(100 * round + 99);
        expected.extend(100 * round..100 * round + 50);
    }
    assert_eq!(read, expected);
}

/// A login and the certificates of one authority.
fn secured(kafka: &Kafka, trusted: &Authority, password: &str) -> KafkaSettings {
    let sasl = KafkaSasl {
        mechanism: "SCRAM-SHA-512".to_owned(),
        username: "mall".to_owned(),
        password: Secret::new(password.to_owned()),
    };
    let security = KafkaSecurity { tls: true, ca_file: Some(trusted.ca_file()), sasl: Some(sasl) };
    KafkaSettings { brokers: kafka.secure_brokers(), security, ..settings(kafka) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_with_a_login_records_are_appended_and_read() {
    let (Some(authority), Some(stranger)) = (Authority::new(), Authority::new()) else { return };
    let Some(kafka) = Kafka::start_secure(authority.issue("IP:127.0.0.1"), "mall", "a-password") else { return };
    let log = KafkaLog::connect(secured(&kafka, &authority, "a-password")).await.unwrap();
    log.create_topics(conformance::topics()).await.unwrap();
    let record = NewRecord { topic: conformance::LINE.into(), key: vec![0], value: b"a record".to_vec() };
    log.append(vec![record]).await.unwrap();
    let mut reader = log.join("g", &[conformance::LINE]).await.unwrap();
    let mut read = Vec::new();
    while read.is_empty() {
        read = reader.poll(10).await.unwrap();
    }
    assert_eq!(read[0].value, b"a record");
    for (settings, why) in [
        (secured(&kafka, &authority, "another-password"), "a wrong password"),
        (secured(&kafka, &stranger, "a-password"), "the certificate of another authority"),
    ] {
        assert!(KafkaLog::connect(settings).await.is_err(), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_a_certificate_of_another_name_is_refused() {
    let Some(authority) = Authority::new() else { return };
    let Some(kafka) = Kafka::start_secure(authority.issue("DNS:kafka.test"), "mall", "a-password") else { return };
    assert!(KafkaLog::connect(secured(&kafka, &authority, "a-password")).await.is_err());
}

/// A topic that somebody has made by hand.
async fn make_topic(kafka: &Kafka, name: &str, setting: (&str, &str)) {
    let mut config = rdkafka::ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> = config.set("bootstrap.servers", kafka.brokers()).create().unwrap();
    let new = NewTopic::new(name, 1, TopicReplication::Fixed(1)).set("message.timestamp.type", "LogAppendTime");
    let made = admin.create_topics([&new.set(setting.0, setting.1)], &AdminOptions::new()).await.unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

/// The topics that the mall makes pass the check, and `conforms` has made them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_can_lose_records_is_refused() {
    let Some(kafka) = Kafka::start() else { return };
    let settings = KafkaSettings { replication: Some(1), ..settings(&kafka) };
    let log = KafkaLog::connect(settings.clone()).await.unwrap();
    log.create_topics(conformance::topics()).await.unwrap();
    log.create_topics(conformance::topics()).await.unwrap();
    for (name, key, found, needed) in [
        ("unclean", "unclean.leader.election.enable", "true", "false"),
        ("time", "message.timestamp.type", "CreateTime", "LogAppendTime"),
    ] {
        make_topic(&kafka, &format!("{}{name}", settings.prefix), (key, found)).await;
        let topic = Topic { name: name.to_owned(), partitions: 1, retention: Retention::LatestPerKey };
        let refused = log.create_topics(vec![topic.clone()]).await.unwrap_err().to_string();
        assert!(
            refused.contains(&format!("{key}={found}")) && refused.contains(&format!("{key}={needed}")),
            "{refused}"
        );
    }
    let three = KafkaLog::connect(KafkaSettings { replication: Some(3), ..settings }).await.unwrap();
    let refused = three.create_topics(conformance::topics()).await.unwrap_err().to_string();
    assert!(refused.contains("min.insync.replicas=1") && refused.contains("min.insync.replicas=2"), "{refused}");
}
