//! A Bloom filter in front of everything expensive: requests for ids that were never given out end here.

use bloomfilter::Bloom;
use contract::{ActivityId, SkuId};

/// The share of unknown ids that pass.
const FALSE_POSITIVES: f64 = 0.001;
/// The filter is always large enough for this many ids.
const IDS_MIN: usize = 256;

/// Which activities and SKUs may exist. It never denies one that does.
#[derive(Debug)]
pub(crate) struct IdFilter {
    ids: Bloom<(u8, i64)>,
    seed: [u8; 32],
}

const ACTIVITY: u8 = 1;
const SKU: u8 = 2;

impl IdFilter {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0x5a; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self { ids: empty(IDS_MIN, &bytes), seed: bytes }
    }

    /// Swaps in a filter of exactly these activities and what they sell.
    pub(crate) fn rebuild(&mut self, catalogue: impl ExactSizeIterator<Item = (ActivityId, SkuId)>) {
        let mut ids = empty((catalogue.len() * 2).max(IDS_MIN), &self.seed);
        for (activity, sku) in catalogue {
            ids.set(&(ACTIVITY, activity.as_i64()));
            ids.set(&(SKU, sku.as_i64()));
        }
        self.ids = ids;
    }

    pub(crate) fn may_have_activity(&self, activity: ActivityId) -> bool {
        self.ids.check(&(ACTIVITY, activity.as_i64()))
    }

    pub(crate) fn may_have_sku(&self, sku: SkuId) -> bool {
        self.ids.check(&(SKU, sku.as_i64()))
    }
}

fn empty(ids: usize, seed: &[u8; 32]) -> Bloom<(u8, i64)> {
    match Bloom::new_for_fp_rate_with_seed(ids, FALSE_POSITIVES, seed) {
        Ok(bloom) => bloom,
        Err(reason) => unreachable!("a filter of {ids} ids: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_denies_what_exists_and_rarely_passes_what_does_not() {
        let id = |id| (ActivityId::from_i64(id).unwrap(), SkuId::from_i64(id + 1_000_000).unwrap());
        let mut id_filter = IdFilter::new(3);
        assert!(!id_filter.may_have_activity(id(1).0));
        id_filter.rebuild((0..5_000).map(id).collect::<Vec<_>>().into_iter());
        assert!((0..5_000).all(|n| id_filter.may_have_activity(id(n).0) && id_filter.may_have_sku(id(n).1)));
        let passed = (5_000..105_000).filter(|n| id_filter.may_have_activity(id(*n).0)).count();
        assert!(passed < 500, "{passed} of 100,000");
    }
}
