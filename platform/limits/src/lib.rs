//! How often somebody may ask: sliding windows, in this process or in Redis, and what keeps to them.
#![forbid(unsafe_code)]

#[cfg(feature = "testing")]
pub mod conformance;
mod layer;
mod local;
mod quota;
#[cfg(feature = "redis")]
mod redis;
mod tries;

use std::num::NonZeroU32;

pub use layer::{Limits, Routes};
pub use local::LocalWindows;
pub use quota::{Quota, Taking};
#[cfg(feature = "redis")]
pub use redis::RedisWindows;
pub use tries::{Known, Try, Wait, WrongTries};

/// At most a number within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How many.
    pub max: NonZeroU32,
    /// Within how long, in milliseconds.
    pub within_ms: u64,
}

impl Rule {
    /// At most `max` within `within_ms` milliseconds.
    ///
    /// # Panics
    /// If `max` is 0.
    pub const fn new(max: u32, within_ms: u64) -> Self {
        match NonZeroU32::new(max) {
            Some(max) => Self { max, within_ms },
            None => panic!("a rule allows something"),
        }
    }

    /// `factor` times as many in the same time.
    pub(crate) fn times(self, factor: u32) -> Self {
        Self { max: NonZeroU32::new(factor).map_or(self.max, |factor| self.max.saturating_mul(factor)), ..self }
    }
}

/// Tells one that was taken from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u64);

/// What became of an attempt to take one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Absent where there was no room; then nothing was counted.
    pub stamp: Option<Stamp>,
    /// How many more there is room for.
    pub left: u32,
    /// When the oldest one no longer counts, in milliseconds from now; at least 1.
    pub frees_ms: u64,
}

/// Where windows are kept did not answer in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the windows are away: {0}")]
pub struct Away(String);

/// Many sliding windows by name. Clones are the same windows.
#[derive(Debug, Clone)]
pub enum Windows {
    /// Those of this process, which forgets them when it ends.
    Local(LocalWindows),
    /// Those of all processes.
    #[cfg(feature = "redis")]
    Redis(RedisWindows),
}

impl Windows {
    /// Takes one of the window `name`, as `rule` has it.
    ///
    /// # Errors
    /// [`Away`] where it is not known whether there is room.
    pub async fn take(&self, name: &str, rule: Rule, now_ms: u64) -> Result<Taken, Away> {
        match self {
            Self::Local(windows) => Ok(windows.take(name, rule, now_ms).await),
            #[cfg(feature = "redis")]
            Self::Redis(windows) => windows.take(name, rule, now_ms).await,
        }
    }

    /// Takes one of each of `wanted`, of which there is at least one, or of none of them. Reports the first that had no
    /// room, else the one with the least room left.
    pub(crate) async fn take_all(&self, wanted: &[(String, Rule)], now_ms: u64) -> Result<(Rule, Taken), Away> {
        let mut stamps: Vec<(&str, Stamp)> = Vec::with_capacity(wanted.len());
        let mut tightest: Option<(Rule, Taken)> = None;
        for (name, rule) in wanted {
            let taken = self.take(name, *rule, now_ms).await?;
            let Some(stamp) = taken.stamp else {
                for (name, stamp) in stamps {
                    self.give_back(name, stamp, now_ms).await?;
                }
                return Ok((*rule, taken));
            };
            stamps.push((name, stamp));
            if tightest.is_none_or(|(_, other)| taken.left < other.left) {
                tightest = Some((*rule, taken));
            }
        }
        tightest.ok_or_else(|| Away("no window was asked for".to_owned()))
    }

    /// Gives one back that was taken of the window `name`.
    ///
    /// # Errors
    /// [`Away`] where it may count on.
    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "only windows in Redis need the time"))]
    pub async fn give_back(&self, name: &str, stamp: Stamp, now_ms: u64) -> Result<(), Away> {
        match self {
            Self::Local(windows) => {
                windows.give_back(name, stamp).await;
                Ok(())
            }
            #[cfg(feature = "redis")]
            Self::Redis(windows) => windows.give_back(name, stamp, now_ms).await,
        }
    }

    /// Forgets everything that was taken of the window `name`.
    ///
    /// # Errors
    /// [`Away`] where it may count on.
    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "only windows in Redis need the time"))]
    pub async fn clear(&self, name: &str, now_ms: u64) -> Result<(), Away> {
        match self {
            Self::Local(windows) => {
                windows.clear(name).await;
                Ok(())
            }
            #[cfg(feature = "redis")]
            Self::Redis(windows) => windows.clear(name, now_ms).await,
        }
    }
}
