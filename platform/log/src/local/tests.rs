use contract::topic::Retention;
use tempfile::TempDir;

use super::*;
use crate::{Consumer, conformance, next_offsets};

struct Fresh {
    log: LocalLog,
    /// Removed when the test ends.
    folder: TempDir,
}

async fn fresh() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let log = LocalLog::open(&folder.path().join("log.db")).unwrap();
    log.create_topics(conformance::topics()).await.unwrap();
    Fresh { log, folder }
}

fn record(topic: &str, key: u8, value: u8) -> NewRecord {
    NewRecord { topic: topic.into(), key: vec![key], value: vec![value] }
}

#[tokio::test]
async fn conforms() {
    let folders = Mutex::new(Vec::new());
    conformance::all(async || {
        let Fresh { log, folder } = fresh().await;
        folders.lock().unwrap().push(folder);
        log
    })
    .await;
}

#[tokio::test]
async fn everything_outlives_the_process() {
    let Fresh { log, folder } = fresh().await;
    log.append((0..10).map(|value| record(conformance::LINE, 0, value)).collect()).await.unwrap();
    let mut consumer = log.join("g", &[conformance::LINE]).await.unwrap();
    let taken = consumer.poll(4).await.unwrap();
    consumer.commit(next_offsets(&taken)).await.unwrap();
    drop(consumer);
    log.close();
    assert_eq!(log.append(vec![record(conformance::LINE, 0, 0)]).await, Err(LogError::Closed));
    drop(log);

    let log = LocalLog::open(&folder.path().join("log.db")).unwrap();
    let mut consumer = log.join("g", &[conformance::LINE]).await.unwrap();
    assert_eq!(consumer.poll(1).await.unwrap()[0].value, [4]);
    log.append(vec![record(conformance::LINE, 0, 10)]).await.unwrap();
    assert_eq!(log.ends(conformance::LINE).await.unwrap()[0].1, 11);
}

#[tokio::test]
async fn appends_that_wait_together_share_a_sync() {
    let Fresh { log, folder: _folder } = fresh().await;
    let before = log.syncs();
    let appends: Vec<_> = (0..64_u8)
        .map(|value| {
            let log = log.clone();
            tokio::spawn(async move { log.append(vec![record(conformance::LINE, 0, value)]).await })
        })
        .collect();
    for append in appends {
        append.await.unwrap().unwrap();
    }
    let syncs = log.syncs() - before;
    assert!((1..64).contains(&syncs), "{syncs} syncs for 64 appends");
}

/// What a topic keeps, tried on the file itself: the writer trims once a minute.
#[test]
fn retention_keeps_what_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let mut storage = Storage::open(&folder.path().join("log.db")).unwrap();
    let topic = |name: &str, retention| Topic { name: name.to_owned(), partitions: 1, retention };
    let aged = storage.create_topic(&topic("aged", Retention::AgeMs(1000))).unwrap();
    let latest = storage.create_topic(&topic("latest", Retention::LatestPerKey)).unwrap();
    for offset in 0..6_u64 {
        let placed = |topic, key| storage::Placed { topic, partition: 0, offset, key, value: vec![] };
        let key = vec![u8::try_from(offset % 2).unwrap()];
        storage.write(&[placed(aged.id, vec![]), placed(latest.id, key)], &[], 100 * offset).unwrap();
    }
    let left = |storage: &Storage, topic: &StoredTopic| -> Vec<u64> {
        let partition = Partition { topic: topic.name.clone(), index: 0 };
        storage.read(topic.id, &partition, 0, 100).unwrap().iter().map(|record| record.offset).collect()
    };
    storage.trim_age(aged.id, 0, 3, 1000).unwrap();
    assert_eq!(left(&storage, &aged), [3, 4, 5], "no group is past 3");
    storage.trim_age(aged.id, 0, 6, 400).unwrap();
    assert_eq!(left(&storage, &aged), [4, 5], "400 ms is not too old");
    storage.trim_age(aged.id, 0, 6, 1000).unwrap();
    assert_eq!(left(&storage, &aged), [5], "the last one stays");
    storage.compact(latest.id, 0).unwrap();
    assert_eq!(left(&storage, &latest), [4, 5]);
    assert_eq!(storage.topics().unwrap()[0].ends, [6]);
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no-such-folder").join("log.db");
    let error = LocalLog::open(&path).err().unwrap().to_string();
    assert!(error.contains("no-such-folder"), "{error}");
}
