//! How long changes take until they are found.

use std::sync::atomic::{AtomicU64, Ordering};

use foundation::metrics::Registry;

use super::Search;

const NAME: &str = "mall_search_visible_seconds";
/// Upper bounds of the histogram's buckets in milliseconds, and their labels in seconds.
const BOUNDS: [(u64, &str); 9] = [
    (50, "0.05"),
    (100, "0.1"),
    (200, "0.2"),
    (500, "0.5"),
    (1_000, "1"),
    (2_000, "2"),
    (5_000, "5"),
    (30_000, "30"),
    (u64::MAX, "+Inf"),
];

/// From the change of a product to the moment at which searches find it.
#[derive(Debug, Default)]
pub(super) struct Delays {
    /// How many took at most as long as each bound.
    counts: [AtomicU64; BOUNDS.len()],
    sum_ms: AtomicU64,
}

impl Delays {
    /// A change of `at_ms` is found since `now_ms`. One of an unknown time does not count.
    pub(super) fn note(&self, at_ms: u64, now_ms: u64) {
        if at_ms == 0 {
            return;
        }
        let ms = now_ms.saturating_sub(at_ms);
        self.sum_ms.fetch_add(ms, Ordering::Relaxed);
        for (count, (bound, _)) in self.counts.iter().zip(BOUNDS) {
            count.fetch_add(u64::from(ms <= bound), Ordering::Relaxed);
        }
    }
}

impl Search {
    /// Shows in `metrics` how long changes take until they are found, as a histogram.
    #[expect(clippy::cast_precision_loss, reason = "counts and sums far below 2^53")]
    pub fn show_delays(&self, metrics: &Registry) {
        for (at, (_, label)) in BOUNDS.into_iter().enumerate() {
            let (name, delays) = (format!("{NAME}_bucket{{le=\"{label}\"}}"), self.delays.clone());
            let help = "Documents that search found at most so many seconds after the change.";
            metrics.read_counter(&name, help, move || delays.counts[at].load(Ordering::Relaxed) as f64);
        }
        let delays = self.delays.clone();
        let help = "Documents that search found after a change.";
        let count = move || delays.counts[BOUNDS.len() - 1].load(Ordering::Relaxed) as f64;
        metrics.read_counter(&format!("{NAME}_count"), help, count);
        let delays = self.delays.clone();
        let help = "Seconds from the change of a product until search found it, all together.";
        let sum = move || delays.sum_ms.load(Ordering::Relaxed) as f64 / 1_000.0;
        metrics.read_counter(&format!("{NAME}_sum"), help, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_everything_up_to_their_bound() {
        let delays = Delays::default();
        for (at_ms, now_ms) in [(1_000, 1_050), (1_000, 1_051), (1_000, 900), (1_000, 99_000), (0, 5)] {
            delays.note(at_ms, now_ms);
        }
        let counts: Vec<u64> = delays.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!(delays.sum_ms.load(Ordering::Relaxed), 98_101);
    }
}
