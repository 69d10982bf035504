//! Both homes of the windows.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::num::NonZeroU32;

use limits::{LocalWindows, RedisWindows, Rule, Windows, conformance::suite};
use redis::aio::ConnectionManager;
use services::Redis;

async fn connect(redis: &Redis) -> Windows {
    let client = redis::Client::open(redis.url()).unwrap();
    Windows::Redis(RedisWindows::new(ConnectionManager::new(client).await.unwrap()).unwrap())
}

#[tokio::test]
async fn local_windows_conform() {
    suite(&Windows::Local(LocalWindows::default())).await;
}

#[tokio::test]
async fn windows_in_redis_conform() {
    let Some(redis) = Redis::start_with("no") else { return };
    suite(&connect(&redis).await).await;
}

/// Two processes share one window, and are told at once that nobody knows while Redis is away.
#[tokio::test]
async fn windows_in_redis_are_everybodys_and_go_away_with_it() {
    let Some(mut redis) = Redis::start_with("no") else { return };
    let (one, two) = (connect(&redis).await, connect(&redis).await);
    let rule = Rule { max: NonZeroU32::new(2).unwrap(), within_ms: 1_000 };
    assert!(one.take("w", rule, 0).await.unwrap().stamp.is_some());
    assert!(two.take("w", rule, 0).await.unwrap().stamp.is_some());
    assert!(one.take("w", rule, 0).await.unwrap().stamp.is_none());
    assert_eq!(redis.ask(&["PTTL", "mall:limit:w"]).trim().parse::<i64>().map(|ms| ms <= 1_000), Ok(true));

    redis.kill();
    assert!(one.take("w", rule, 10).await.is_err());
    redis.resume();
    assert!(one.take("w", rule, 20).await.is_err(), "it is not asked for a second");
    let mut now_ms = 2_000;
    while one.take("w", rule, now_ms).await.is_err() {
        now_ms += 2_000;
    }
}
