//! Both homes of the windows.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::num::NonZeroU32;

use foundation::redis::Connection;
use limits::{LocalWindows, RedisWindows, Rule, Windows, conformance::suite};
use services::{Forwarder, Redis};

fn connect(url: String) -> Windows {
    Windows::Redis(RedisWindows::new(Connection::new(url).unwrap()).unwrap())
}

#[tokio::test]
async fn local_windows_conform() {
    suite(&Windows::Local(LocalWindows::default())).await;
}

#[tokio::test]
async fn windows_in_redis_conform() {
    let Some(redis) = Redis::start_with("no") else { return };
    suite(&connect(redis.url())).await;
}

/// Two processes share one window, and get `Unavailable` at once while Redis is away.
#[tokio::test]
async fn windows_in_redis_are_everybodys_and_go_away_with_it() {
    let Some(mut redis) = Redis::start_with("no") else { return };
    let (one, two) = (connect(redis.url()), connect(redis.url()));
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

/// The address leads to the new master, and connections to the old one stay open.
#[tokio::test]
async fn windows_in_redis_follow_a_failover() {
    let (Some(old), Some(new)) = (Redis::start_with("no"), Redis::start_with("no")) else { return };
    new.follow(&old);
    let address = Forwarder::start(old.port());
    let windows = connect(address.redis_url());
    let rule = Rule { max: NonZeroU32::new(2).unwrap(), within_ms: 1_000_000 };
    assert!(windows.take("w", rule, 0).await.unwrap().stamp.is_some());
    new.fail_over_from(&old);
    address.point_to(new.port());
    // It rests for a second of this clock after each failure.
    let mut left = None;
    for now_ms in (1..=20).map(|second| second * 1_000) {
        left = left.or(windows.take("w", rule, now_ms).await.ok().map(|taken| taken.left));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(left, Some(0), "what the old master counted is counted");
}
