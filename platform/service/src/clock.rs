//! Time as an argument: the services ask a [`Clock`], the simulation is one.

use std::{
    future::Future,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Wall-clock time.
pub trait Clock: Clone + Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Returns once [`Clock::now_ms`] is at least `at_ms`.
    fn sleep_until(&self, at_ms: u64) -> impl Future<Output = ()> + Send;
}

/// The machine's clock. Sleeping needs a tokio runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    async fn sleep_until(&self, at_ms: u64) {
        loop {
            let left = at_ms.saturating_sub(self.now_ms());
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
    }
}
