//! The keys of a simulated Redis.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A stream's id: milliseconds and number.
pub(crate) type StreamId = (u64, u64);

pub(super) fn stream_id(text: &str) -> Option<StreamId> {
    let (ms, number) = text.split_once('-')?;
    Some((ms.parse().ok()?, number.parse().ok()?))
}

/// Fields of an element, in their order.
pub(crate) type Fields = Vec<(String, String)>;

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    Hash(BTreeMap<String, String>),
    Set(BTreeSet<String>),
    Sorted(BTreeMap<String, u64>),
    Stream(Stream),
    /// A value and when it expires, epoch milliseconds. Other kinds never expire here.
    Text(String, u64),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stream {
    /// The greatest id there ever was.
    pub(crate) last: StreamId,
    pub(crate) elements: BTreeMap<StreamId, Fields>,
}

impl Stream {
    pub(crate) fn add(&mut self, now_ms: u64, fields: Fields) {
        self.last = if self.last.0 >= now_ms { (self.last.0, self.last.1 + 1) } else { (now_ms, 0) };
        self.elements.insert(self.last, fields);
    }
}

/// All keys. A clone shares the values that are not changed, so a copy of every state is cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Data(BTreeMap<String, Arc<Kept>>);

/// The key holds a value of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongType;

macro_rules! kind {
    ($read:ident, $write:ident, $variant:ident, $type:ty) => {
        pub(crate) fn $read(&self, key: &str) -> Result<Option<&$type>, WrongType> {
            match self.0.get(key).map(|kept| &**kept) {
                Some(Kept::$variant(value)) => Ok(Some(value)),
                None => Ok(None),
                Some(_) => Err(WrongType),
            }
        }

        pub(crate) fn $write(&mut self, key: &str) -> Result<&mut $type, WrongType> {
            let kept = self.0.entry(key.to_owned()).or_insert_with(|| Arc::new(Kept::$variant(<$type>::default())));
            match Arc::make_mut(kept) {
                Kept::$variant(value) => Ok(value),
                _ => Err(WrongType),
            }
        }
    };
}

#[allow(clippy::wildcard_enum_match_arm, reason = "a key of any other kind is the same error")]
impl Data {
    kind!(hash, hash_mut, Hash, BTreeMap<String, String>);
    kind!(set, set_mut, Set, BTreeSet<String>);
    kind!(sorted, sorted_mut, Sorted, BTreeMap<String, u64>);
    kind!(stream, stream_mut, Stream, Stream);

    pub(crate) fn text(&self, key: &str, now_ms: u64) -> Option<&str> {
        match self.0.get(key).map(|kept| &**kept) {
            Some(Kept::Text(value, until_ms)) if *until_ms > now_ms => Some(value),
            _ => None,
        }
    }

    pub(crate) fn put_text(&mut self, key: &str, value: &str, until_ms: u64) {
        self.0.insert(key.to_owned(), Arc::new(Kept::Text(value.to_owned(), until_ms)));
    }

    pub(crate) fn exists(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether there was such a key.
    pub(crate) fn delete(&mut self, key: &str) -> bool {
        self.0.remove(key).is_some()
    }

    pub(crate) fn keys(&self) -> impl ExactSizeIterator<Item = &String> {
        self.0.keys()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Fields of a hash, in the order asked for.
    pub(crate) fn fields(&self, key: &str, names: &[&str]) -> Result<Vec<Option<String>>, WrongType> {
        let hash = self.hash(key)?;
        Ok(names.iter().map(|name| hash.and_then(|hash| hash.get(*name)).cloned()).collect())
    }

    pub(crate) fn has_field(&self, key: &str, name: &str) -> Result<bool, WrongType> {
        Ok(self.hash(key)?.is_some_and(|hash| hash.contains_key(name)))
    }

    /// Redis deletes what becomes empty.
    pub(crate) fn remove_field(&mut self, key: &str, name: &str) -> Result<bool, WrongType> {
        if self.hash(key)?.is_none() {
            return Ok(false);
        }
        let hash = self.hash_mut(key)?;
        let was_there = hash.remove(name).is_some();
        if hash.is_empty() {
            self.delete(key);
        }
        Ok(was_there)
    }
}
