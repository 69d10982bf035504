//! Log lines of an attempt that fails again and again.

/// Of this many failures in a row, one is logged.
const LOGGED_EVERY: u32 = 100;

/// Failures in a row. The first one is logged, and after it one in a hundred.
#[derive(Debug, Default)]
pub struct FailureStreak {
    length: u32,
}

impl FailureStreak {
    /// Counts a failure; whether it is to be logged.
    pub const fn count(&mut self) -> bool {
        let is_logged = self.length.is_multiple_of(LOGGED_EVERY);
        self.length = self.length.wrapping_add(1);
        is_logged
    }

    /// An attempt succeeded.
    pub const fn end(&mut self) {
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::FailureStreak;

    #[test]
    fn the_first_failure_and_then_one_in_a_hundred() {
        let mut streak = FailureStreak::default();
        let logged: Vec<u32> = (0..250).filter(|_| streak.count()).collect();
        assert_eq!(logged, [0, 100, 200]);
        streak.end();
        assert!(streak.count());
        assert!(!streak.count());
    }
}
