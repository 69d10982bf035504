//! Section `limits`.

use std::time::Duration;

use super::{Check, raw};

/// How often somebody may ask order-core and admin; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Within how long requests are counted.
    pub window: Duration,
    /// Registering and signing in: of one client address, each.
    pub sign_in_max: u32,
    /// Each route that changes something: of one user, or address without a token.
    pub write_max: u32,
    /// Each route that only reads: of one user, or address without a token.
    pub read_max: u32,
    /// Sign-ins of one client address with a wrong password.
    pub wrong_sign_ins_max: u32,
    /// Within how long those are counted.
    pub wrong_sign_ins_window: Duration,
}

impl Check {
    pub(super) fn limits(&mut self, raw: &raw::Limits) -> LimitsConfig {
        let mut max = |name: &str, value: u64| {
            let value = self.within(&format!("limits.{name}"), value, 0..=100_000);
            u32::try_from(value).unwrap_or(u32::MAX)
        };
        LimitsConfig {
            sign_in_max: max("sign_in_max", raw.sign_in_max),
            write_max: max("write_max", raw.write_max),
            read_max: max("read_max", raw.read_max),
            wrong_sign_ins_max: max("wrong_sign_ins_max", raw.wrong_sign_ins_max),
            window: self.millis("limits.window_ms", raw.window_ms, 1_000..=3_600_000),
            wrong_sign_ins_window: self.millis(
                "limits.wrong_sign_ins_window_ms",
                raw.wrong_sign_ins_window_ms,
                1_000..=3_600_000,
            ),
        }
    }
}
