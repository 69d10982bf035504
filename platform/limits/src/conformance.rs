//! The suite that both homes of the windows pass.

use std::num::NonZeroU32;

use crate::{Rule, Taken, Windows};

/// When the suite begins, epoch milliseconds.
const NOW_MS: u64 = 1_800_000_000_000;

const fn rule(max: u32, within_ms: u64) -> Rule {
    match NonZeroU32::new(max) {
        Some(max) => Rule { max, within_ms },
        None => panic!("a rule allows something"),
    }
}

/// Runs every case on windows of which nothing was taken.
///
/// # Panics
/// If they differ from what [`Windows`] says.
pub async fn suite(windows: &Windows) {
    a_window_slides(windows).await;
    what_is_given_back_may_be_taken(windows).await;
    windows_do_not_touch(windows).await;
    a_crowd_at_once_takes_what_there_is(windows).await;
}

async fn take(windows: &Windows, name: &str, rule: Rule, after_ms: u64) -> Taken {
    windows.take(name, rule, NOW_MS + after_ms).await.expect("the windows answer")
}

async fn a_window_slides(windows: &Windows) {
    let check = async |after_ms: u64, taken: bool, left: u32, frees_ms: u64| {
        let found = take(windows, "GET /slides/{id}", rule(3, 1_000), after_ms).await;
        let expect = (taken, left, frees_ms);
        assert_eq!((found.stamp.is_some(), found.left, found.frees_ms), expect, "after {after_ms} ms");
    };
    check(0, true, 2, 1_000).await;
    check(0, true, 1, 1_000).await;
    check(400, true, 0, 600).await;
    check(400, false, 0, 600).await;
    check(999, false, 0, 1).await;
    check(1_000, true, 1, 400).await;
    check(1_000, true, 0, 400).await;
    check(1_399, false, 0, 1).await;
    check(1_400, true, 0, 600).await;
    check(5_000, true, 2, 1_000).await;
}

async fn what_is_given_back_may_be_taken(windows: &Windows) {
    let rule = rule(2, 1_000);
    let first = take(windows, "given", rule, 0).await.stamp.expect("room");
    take(windows, "given", rule, 10).await.stamp.expect("room");
    assert_eq!(take(windows, "given", rule, 20).await.stamp, None);
    windows.give_back("given", first, NOW_MS + 20).await.expect("the windows answer");
    windows.give_back("given", first, NOW_MS + 20).await.expect("twice is once");
    windows.give_back("never taken", first, NOW_MS + 20).await.expect("nothing happens");
    let again = take(windows, "given", rule, 20).await;
    assert_eq!((again.stamp.is_some(), again.left, again.frees_ms), (true, 0, 990));
    assert_eq!(take(windows, "given", rule, 20).await.stamp, None);
    windows.clear("given", NOW_MS + 20).await.expect("the windows answer");
    windows.clear("never taken", NOW_MS + 20).await.expect("nothing happens");
    assert_eq!(take(windows, "given", rule, 20).await.left, 1);
}

async fn windows_do_not_touch(windows: &Windows) {
    for name in ["a", "b", "a:b", "中文 📱", &"long".repeat(100)] {
        assert!(take(windows, name, rule(1, 1_000), 0).await.stamp.is_some(), "{name}");
        assert!(take(windows, name, rule(1, 1_000), 0).await.stamp.is_none(), "{name}");
    }
}

async fn a_crowd_at_once_takes_what_there_is(windows: &Windows) {
    let crowd: Vec<_> = (0..200)
        .map(|_| {
            let windows = windows.clone();
            tokio::spawn(async move { take(&windows, "crowd", rule(50, 60_000), 0).await.stamp.is_some() })
        })
        .collect();
    let mut taken = 0;
    for one in crowd {
        taken += u32::from(one.await.expect("it ends"));
    }
    assert_eq!(taken, 50);
}
