//! A bounded map that forgets the least recently used entries, in two generations instead of a list.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

use foldhash::fast::FixedState;

/// At most twice `generation_max` entries; the `generation_max` used last are always there.
#[derive(Debug)]
pub(crate) struct LruMap<K, V> {
    young: HashMap<K, V, FixedState>,
    old: HashMap<K, V, FixedState>,
    generation_max: usize,
}

impl<K: Eq + Hash, V: Copy> LruMap<K, V> {
    /// `seed` keeps clients from choosing keys that collide.
    pub(crate) fn new(generation_max: usize, seed: u64) -> Self {
        assert!(generation_max > 0, "a map that may hold nothing");
        let state = FixedState::with_seed(seed);
        Self { young: HashMap::with_hasher(state.clone()), old: HashMap::with_hasher(state), generation_max }
    }

    /// The value of `key`; it counts as used.
    pub(crate) fn get<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(value) = self.young.get(key) {
            return Some(*value);
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value);
        Some(value)
    }

    /// Sets the value of `key`.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.generation_max && !self.young.contains_key(&key) {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(key, value);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut map = LruMap::new(4, 1);
        map.insert(0, 'a');
        for key in 1..100 {
            map.insert(key, 'b');
            assert_eq!(map.get(&0), Some('a'), "after {key}");
            assert!(map.len() <= 8);
        }
        assert_eq!(map.get(&1), None);
    }
}
