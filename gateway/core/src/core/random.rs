//! Numbers made of a seed and a counter.

use contract::trace::TraceContext;
use sha2::{Digest, Sha256};

/// A number that does not reveal `seed`.
pub(super) fn one_way(purpose: &[u8], seed: u64, n: u64) -> u64 {
    let digest =
        Sha256::new().chain_update(purpose).chain_update(seed.to_be_bytes()).chain_update(n.to_be_bytes()).finalize();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Trace ids of requests that bring none. They are a guessable sequence, so nothing else may use their seed.
#[derive(Debug)]
pub(super) struct TraceIds {
    seed: u64,
    drawn: u64,
}

impl TraceIds {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed: one_way(b"trace ids", seed, 0), drawn: 0 }
    }

    /// The client's trace id (W3C Trace Context), or one of our own.
    pub(super) fn of(&mut self, traceparent: Option<&[u8]>) -> u128 {
        if let Some(context) = traceparent.and_then(TraceContext::parse) {
            return context.trace_id();
        }
        self.drawn += 1;
        let number = |salt: u64| mixed(self.seed ^ salt, self.drawn);
        u128::from(number(0)) << 64 | u128::from(number(0x6d61_6c6c))
    }
}

/// The `n`th number of a sequence that looks random (SplitMix64).
pub(super) fn mixed(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
