//! Windows in the memory of this process.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;

use crate::{Rule, Stamp, Taken};

/// Windows that are remembered; beyond it those that are asked for least are forgotten.
const WINDOWS_MAX: u64 = 16 * 1024;
/// A window that nobody asks for is forgotten after so long.
const IDLE_MAX: Duration = Duration::from_secs(3600);

type Window = Arc<Mutex<VecDeque<(u64, Stamp)>>>;

/// Windows in the memory of this process: bounded, however many clients ask.
#[derive(Clone)]
pub struct LocalWindows {
    windows: Cache<String, Window>,
    next: Arc<AtomicU64>,
}

impl fmt::Debug for LocalWindows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalWindows")
    }
}

impl Default for LocalWindows {
    fn default() -> Self {
        let windows = Cache::builder().max_capacity(WINDOWS_MAX).time_to_idle(IDLE_MAX).build();
        Self { windows, next: Arc::default() }
    }
}

impl LocalWindows {
    pub(crate) async fn take(&self, name: &str, Rule { max, within_ms }: Rule, now_ms: u64) -> Taken {
        let window = self.windows.entry_by_ref(name).or_default().await.into_value();
        let mut taken = entries(&window);
        while taken.front().is_some_and(|(at_ms, _)| at_ms + within_ms <= now_ms) {
            taken.pop_front();
        }
        let room = usize::try_from(max.get()).unwrap_or(usize::MAX).saturating_sub(taken.len());
        let stamp = (room > 0).then(|| Stamp(self.next.fetch_add(1, Ordering::Relaxed)));
        taken.extend(stamp.map(|stamp| (now_ms, stamp)));
        let oldest_ms = taken.front().map_or(now_ms, |(at_ms, _)| *at_ms);
        let left = u32::try_from(room.saturating_sub(1)).unwrap_or(u32::MAX);
        Taken { stamp, left, frees_ms: (oldest_ms + within_ms).saturating_sub(now_ms).max(1) }
    }

    pub(crate) async fn give_back(&self, name: &str, stamp: Stamp) {
        if let Some(window) = self.windows.get(name).await {
            entries(&window).retain(|(_, taken)| *taken != stamp);
        }
    }

    pub(crate) async fn clear(&self, name: &str) {
        self.windows.invalidate(name).await;
    }
}

fn entries(window: &Window) -> MutexGuard<'_, VecDeque<(u64, Stamp)>> {
    // Nothing between two changes of it can panic.
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[tokio::test]
    async fn a_crowd_makes_no_room_for_one_who_keeps_asking() {
        let windows = LocalWindows::default();
        let rule = Rule { max: NonZeroU32::new(3).unwrap(), within_ms: 60_000 };
        for other in 0..3 * WINDOWS_MAX {
            windows.take(&other.to_string(), rule, 0).await;
            windows.take("one", rule, 0).await;
        }
        windows.windows.run_pending_tasks().await;
        assert!(windows.windows.entry_count() <= WINDOWS_MAX);
        assert_eq!(windows.take("one", rule, 0).await.stamp, None);
    }
}
