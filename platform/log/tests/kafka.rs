//! The log on a real Kafka.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::sync::atomic::{AtomicU32, Ordering};

use commit_log::{Consumer, KafkaLog, KafkaSettings, Log, LogError, NewRecord, conformance, next_offsets};
use services::Kafka;

static LOGS: AtomicU32 = AtomicU32::new(0);

fn settings(kafka: &Kafka) -> KafkaSettings {
    let prefix = format!("t{}.", LOGS.fetch_add(1, Ordering::Relaxed));
    KafkaSettings { brokers: kafka.brokers(), prefix, replication: None }
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
    let settings = KafkaSettings { brokers: "127.0.0.1:9".to_owned(), prefix: String::new(), replication: None };
    let error = KafkaLog::connect(settings).await.err().unwrap();
    assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
}

/// Everything that was acknowledged stands, in order, and readers go on where they were.
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
            // What a reader is told while the broker is away may be an error; it asks again.
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
