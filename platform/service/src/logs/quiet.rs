//! Log lines that anybody can cause.

use std::sync::atomic::{AtomicU64, Ordering};

/// Between two lines.
const QUIET_MS: u64 = 10_000;

/// Lets one line pass in ten seconds and counts the others.
#[derive(Debug, Default)]
pub struct Quiet {
    next_ms: AtomicU64,
    suppressed: AtomicU64,
}

impl Quiet {
    /// The first line passes.
    pub const fn new() -> Self {
        Self { next_ms: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// If a line may be logged now: how many were suppressed since the last one.
    pub fn pass(&self, now_ms: u64) -> Option<u64> {
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        let passes = now_ms >= next_ms
            && self.next_ms.compare_exchange(next_ms, now_ms + QUIET_MS, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if passes {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Quiet;

    #[test]
    fn one_line_in_ten_seconds() {
        let quiet = Quiet::new();
        assert_eq!(quiet.pass(1_000), Some(0));
        assert!((1_000..11_000).step_by(100).all(|now_ms| quiet.pass(now_ms).is_none()));
        assert_eq!(quiet.pass(11_000), Some(100));
        assert_eq!(quiet.pass(21_000), Some(0));
    }
}
