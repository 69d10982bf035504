//! Whether a process is ready, and what it waits for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The parts that a process needs before it may be sent requests. Clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    waiting: Arc<Mutex<BTreeMap<String, String>>>,
}

/// One part of a [`Readiness`].
#[derive(Debug, Clone)]
pub struct Part {
    readiness: Readiness,
    name: String,
}

impl Readiness {
    /// Adds a part that is not ready yet, for `reason`.
    pub fn part(&self, name: &str, reason: &str) -> Part {
        let part = Part { readiness: self.clone(), name: name.to_owned() };
        part.not_ready(reason);
        part
    }

    /// Parts that are not ready, each with its reason; empty is ready.
    pub fn waiting(&self) -> Vec<(String, String)> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().map(|(name, reason)| (name.clone(), reason.clone())).collect()
    }
}

impl Part {
    /// The part is ready.
    pub fn ready(&self) {
        self.readiness.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }

    /// The part is not ready, for `reason`.
    pub fn not_ready(&self, reason: &str) {
        let mut waiting = self.readiness.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(self.name.clone(), reason.to_owned());
    }
}
