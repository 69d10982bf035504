//! How long changes take until they are found.

use std::time::Duration;

use foundation::metrics::{Histogram, Registry};

use super::Search;

/// From the change of a product to the moment at which searches find it.
#[derive(Debug, Default)]
pub(super) struct Delays(Histogram);

impl Delays {
    /// A change of `at_ms` is found since `now_ms`. One of an unknown time does not count.
    pub(super) fn note(&self, at_ms: u64, now_ms: u64) {
        if at_ms > 0 {
            self.0.observe(Duration::from_millis(now_ms.saturating_sub(at_ms)));
        }
    }
}

impl Search {
    /// Shows in `metrics` how long changes take until they are found.
    pub fn show_delays(&self, metrics: &Registry) {
        let help = "From the change of a product until search found it.";
        metrics.show_histogram("mall_search_visible_seconds", help, &self.delays.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_a_known_time_are_counted() {
        let delays = Delays::default();
        for (at_ms, now_ms) in [(1_000, 1_050), (1_000, 1_051), (1_000, 900), (1_000, 99_000), (0, 5)] {
            delays.note(at_ms, now_ms);
        }
        let metrics = Registry::default();
        metrics.show_histogram("delay_seconds", "Delays.", &delays.0);
        let text = metrics.render();
        for line in ["bucket{le=\"0.05\"} 2", "bucket{le=\"0.1\"} 3", "bucket{le=\"10\"} 3", "count 4", "sum 98.101"] {
            assert!(text.contains(&format!("delay_seconds_{line}\n")), "{line}: {text}");
        }
    }
}
