//! What every backend of the log does. Each case takes a log with [`topics`] made on it and no
//! records, and panics where the log does not keep its word.

use std::{collections::BTreeSet, sync::Arc};

use contract::topic::{Retention, Topic, partition_of};

use crate::{Consumer, Log, LogError, NewRecord, Partition, Record, next_offsets};

/// The topic of one partition.
pub const LINE: &str = "conformance.line";
/// The topic of four partitions.
pub const WIDE: &str = "conformance.wide";

/// The topics the cases need.
pub fn topics() -> Vec<Topic> {
    let topic = |name: &str, partitions| Topic {
        name: name.to_owned(),
        partitions,
        retention: Retention::AgeMs(u64::MAX >> 1),
    };
    vec![topic(LINE, 1), topic(WIDE, 4)]
}

fn record(topic: &str, key: u8, value: u32) -> NewRecord {
    NewRecord { topic: topic.into(), key: vec![key], value: value.to_be_bytes().to_vec() }
}

fn values(records: &[Record]) -> Vec<u32> {
    let value = |record: &Record| record.value.as_slice().try_into().map(u32::from_be_bytes);
    records.iter().map(|record| value(record).unwrap_or(u32::MAX)).collect()
}

fn line() -> Partition {
    Partition { topic: LINE.into(), index: 0 }
}

async fn fill(log: &impl Log, topic: &str, count: u32) {
    let records = (0..count).map(|value| record(topic, (value % 251) as u8, value)).collect();
    assert_eq!(log.append(records).await, Ok(()));
}

/// Polls until `count` records came.
async fn take(consumer: &mut impl Consumer, count: usize) -> Vec<Record> {
    let mut taken = Vec::new();
    while taken.len() < count {
        match consumer.poll(count - taken.len()).await {
            Ok(records) => taken.extend(records),
            Err(error) => panic!("poll: {error}"),
        }
    }
    taken
}

async fn join<L: Log>(log: &L, group: &str, topic: &str) -> L::Consumer {
    match log.join(group, &[topic]).await {
        Ok(consumer) => consumer,
        Err(error) => panic!("join: {error}"),
    }
}

/// All cases in turn, each on a log of its own from `fresh`.
pub async fn all<L: Log>(fresh: impl AsyncFn() -> L) {
    a_partition_keeps_its_order(fresh().await).await;
    a_key_keeps_its_partition(fresh().await).await;
    a_waiting_poll_is_woken(fresh().await).await;
    a_group_goes_on_where_it_committed(fresh().await).await;
    what_was_not_committed_comes_again(fresh().await).await;
    a_group_shares_and_takes_over(fresh().await).await;
    a_lost_partition_is_not_committed(fresh().await).await;
    a_paused_partition_waits(fresh().await).await;
    a_follower_reads_all_from_the_start(fresh().await).await;
    a_follower_reads_one_partition_again(fresh().await).await;
    what_is_not_there_is_said(fresh().await).await;
}

async fn a_partition_keeps_its_order(log: impl Log) {
    fill(&log, LINE, 100).await;
    fill(&log, LINE, 50).await;
    let mut consumer = join(&log, "g", LINE).await;
    let records = take(&mut consumer, 150).await;
    assert_eq!(values(&records), (0..100).chain(0..50).collect::<Vec<_>>());
    assert!(records.is_sorted_by(|a, b| a.offset < b.offset));
    let end = records.last().map_or(0, |record| record.offset + 1);
    assert_eq!(log.ends(LINE).await, Ok(vec![(line(), end)]));
}

async fn a_key_keeps_its_partition(log: impl Log) {
    fill(&log, WIDE, 1000).await;
    let mut consumer = join(&log, "g", WIDE).await;
    for record in take(&mut consumer, 1000).await {
        assert_eq!(record.partition.index, partition_of(&record.key, 4));
    }
}

async fn a_waiting_poll_is_woken(log: impl Log) {
    let mut consumer = join(&log, "g", LINE).await;
    let (polled, ()) = tokio::join!(consumer.poll(10), fill(&log, LINE, 1));
    assert_eq!(polled.map(|records| values(&records)), Ok(vec![0]));
}

async fn a_group_goes_on_where_it_committed(log: impl Log) {
    fill(&log, LINE, 10).await;
    let mut first = join(&log, "g", LINE).await;
    let taken = take(&mut first, 4).await;
    assert_eq!(first.commit(next_offsets(&taken)).await, Ok(()));
    drop(first);
    let mut second = join(&log, "g", LINE).await;
    assert_eq!(values(&take(&mut second, 6).await), [4, 5, 6, 7, 8, 9]);
    let mut other = join(&log, "h", LINE).await;
    assert_eq!(values(&take(&mut other, 10).await)[0], 0);
}

async fn what_was_not_committed_comes_again(log: impl Log) {
    fill(&log, LINE, 5).await;
    let mut first = join(&log, "g", LINE).await;
    let taken = take(&mut first, 5).await;
    first.rewind(&line(), taken[2].offset);
    assert_eq!(values(&take(&mut first, 3).await), [2, 3, 4]);
    drop(first);
    let mut second = join(&log, "g", LINE).await;
    assert_eq!(values(&take(&mut second, 5).await), [0, 1, 2, 3, 4]);
}

/// Lets two members of a group read side by side until one of them has something: whose it was, and what.
async fn either<C: Consumer>(first: &mut C, second: &mut C) -> (bool, Vec<Record>) {
    let (is_second, polled) = tokio::select! {
        polled = first.poll(50) => (false, polled),
        polled = second.poll(50) => (true, polled),
    };
    match polled {
        Ok(records) => (is_second, records),
        Err(error) => panic!("poll in a group of two: {error}"),
    }
}

async fn a_group_shares_and_takes_over(log: impl Log) {
    let mut first = join(&log, "g", WIDE).await;
    let mut second = join(&log, "g", WIDE).await;
    let (mut sent, mut seen, mut shares) = (0_u32, BTreeSet::new(), [0, 0]);
    // New records go on coming until both have had some: a group may take its time to share.
    while shares.contains(&0) {
        let records = (sent..sent + 40).map(|value| record(WIDE, (value % 251) as u8, value)).collect();
        assert_eq!(log.append(records).await, Ok(()));
        sent += 40;
        let (is_second, records) = either(&mut first, &mut second).await;
        let consumer = if is_second { &mut second } else { &mut first };
        match consumer.commit(next_offsets(&records)).await {
            Ok(()) => {
                shares[usize::from(is_second)] += 1;
                seen.extend(values(&records));
            }
            // Their new consumer sees them again.
            Err(LogError::Rebalanced) => {}
            Err(error) => panic!("commit: {error}"),
        }
    }
    drop(second);
    while seen.len() < sent as usize {
        seen.extend(values(&take(&mut first, 1).await));
    }
    assert_eq!(seen, (0..sent).collect());
}

async fn a_lost_partition_is_not_committed(log: impl Log) {
    fill(&log, WIDE, 400).await;
    let mut first = join(&log, "g", WIDE).await;
    let taken = take(&mut first, 400).await;
    let mut second = join(&log, "g", WIDE).await;
    // Uncommitted records come again to the new owner.
    while !either(&mut first, &mut second).await.0 {}
    assert_eq!(first.commit(next_offsets(&taken)).await, Err(LogError::Rebalanced));
}

async fn a_paused_partition_waits(log: impl Log) {
    fill(&log, WIDE, 400).await;
    let mut consumer = join(&log, "g", WIDE).await;
    let paused = Partition { topic: Arc::from(WIDE), index: partition_of(&[0], 4) };
    let Ok(first) = consumer.poll(1).await else { panic!("poll failed") };
    consumer.rewind(&first[0].partition, first[0].offset);
    consumer.pause(&paused);
    let others = 400 - (0..400_u32).filter(|value| partition_of(&[(value % 251) as u8], 4) == paused.index).count();
    for record in take(&mut consumer, others).await {
        assert_ne!(record.partition, paused);
    }
    consumer.resume(&paused);
    for record in take(&mut consumer, 400 - others).await {
        assert_eq!(record.partition, paused);
    }
}

/// The other partitions are paused before anything was read, and the one is rewound at once.
async fn a_follower_reads_one_partition_again(log: impl Log) {
    fill(&log, WIDE, 400).await;
    let Ok(mut follower) = log.follow(&[WIDE]).await else { panic!("follow failed") };
    let Ok(ends) = log.ends(WIDE).await else { panic!("no ends") };
    for (partition, _) in &ends {
        follower.pause(partition);
    }
    for (one, end) in &ends {
        follower.rewind(one, 0);
        follower.resume(one);
        let records = take(&mut follower, usize::try_from(*end).unwrap_or(usize::MAX)).await;
        assert!(records.iter().all(|record| record.partition == *one), "no other partition");
        assert_eq!(records.first().map(|record| record.offset), Some(0));
        follower.pause(one);
    }
}

async fn a_follower_reads_all_from_the_start(log: impl Log) {
    fill(&log, LINE, 5).await;
    let mut member = join(&log, "g", LINE).await;
    let taken = take(&mut member, 5).await;
    assert_eq!(member.commit(next_offsets(&taken)).await, Ok(()));
    for _ in 0..2 {
        let Ok(mut follower) = log.follow(&[LINE]).await else { panic!("follow failed") };
        assert_eq!(values(&take(&mut follower, 5).await), [0, 1, 2, 3, 4]);
        assert_eq!(follower.commit(next_offsets(&taken)).await, Ok(()));
    }
}

async fn what_is_not_there_is_said(log: impl Log) {
    let unknown = || LogError::UnknownTopic("nowhere".to_owned());
    assert_eq!(log.append(vec![record(LINE, 0, 1), record("nowhere", 0, 1)]).await, Err(unknown()));
    assert_eq!(log.join("g", &["nowhere"]).await.err(), Some(unknown()));
    assert_eq!(log.ends("nowhere").await.err(), Some(unknown()));
    assert_eq!(log.ends(LINE).await, Ok(vec![(line(), 0)]), "all of an append or none");
    assert_eq!(log.topics("conformance.").await, Ok(vec![LINE.to_owned(), WIDE.to_owned()]));
    assert_eq!(log.create_topics(topics()).await, Ok(()), "making them again changes nothing");
    let mut other = topics();
    other[0].partitions = 2;
    assert_eq!(log.create_topics(other).await, Err(LogError::TopicDiffers(LINE.to_owned())));
}
