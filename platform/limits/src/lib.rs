//! How often somebody may ask: sliding windows, in this process or in Redis, and what keeps to them.
#![forbid(unsafe_code)]

pub mod conformance;
mod layer;
mod local;
mod redis;
mod tries;

use std::num::NonZeroU32;

pub use layer::{Limits, Routes};
pub use local::LocalWindows;
pub use redis::RedisWindows;
pub use tries::{Try, WrongTries};

/// At most so many within so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How many.
    pub max: NonZeroU32,
    /// Within how long, in milliseconds.
    pub within_ms: u64,
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
            Self::Redis(windows) => windows.take(name, rule, now_ms).await,
        }
    }

    /// Gives one back that was taken of the window `name`.
    ///
    /// # Errors
    /// [`Away`] where it may count on.
    pub async fn give_back(&self, name: &str, stamp: Stamp, now_ms: u64) -> Result<(), Away> {
        match self {
            Self::Local(windows) => {
                windows.give_back(name, stamp).await;
                Ok(())
            }
            Self::Redis(windows) => windows.give_back(name, stamp, now_ms).await,
        }
    }
}
