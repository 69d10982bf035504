//! Where a page ended.
//!
//! A cursor names the last hit by what it was sorted by and its id, not by its number, so that hits which come and go before
//! it move nothing. It is opaque to clients but no secret: a forged one is a place in one's own list.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    fnv::{FNV_START, fnv},
    invalid::InvalidRequest,
    limits::RELEVANT_HITS_MAX,
    plan::Level,
};

const FORMAT: u8 = 1;
const BYTES: usize = 30;

/// The last hit of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// At which level the first page found anything: all pages are of that one.
    pub level: Level,
    /// Hits on all pages so far.
    pub seen: u32,
    /// What the hit was sorted by.
    pub key: i64,
    /// The hit's id.
    pub id: i64,
}

impl Cursor {
    pub(crate) fn write(self, fingerprint: u32) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend([FORMAT, self.level.number()]);
        bytes.extend(fingerprint.to_le_bytes());
        bytes.extend(self.seen.to_le_bytes());
        bytes.extend(self.key.to_le_bytes());
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(check(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn read(text: &str, fingerprint: u32) -> Result<Self, InvalidRequest> {
        let invalid = || InvalidRequest::new("cursor", "not a cursor of this service");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let (said, checked) = bytes.split_last_chunk::<4>().ok_or_else(invalid)?;
        if bytes.len() != BYTES || check(said) != *checked {
            return Err(invalid());
        }
        let mut said = said;
        let [format, level] = take(&mut said).ok_or_else(invalid)?;
        let belongs_to = u32::from_le_bytes(take(&mut said).ok_or_else(invalid)?);
        let seen = u32::from_le_bytes(take(&mut said).ok_or_else(invalid)?);
        let key = i64::from_le_bytes(take(&mut said).ok_or_else(invalid)?);
        let id = i64::from_le_bytes(take(&mut said).ok_or_else(invalid)?);
        let level = Level::from_number(level).filter(|_| format == FORMAT && id >= 0).ok_or_else(invalid)?;
        if belongs_to != fingerprint {
            return Err(InvalidRequest::new(
                "cursor",
                "of a search with another query, other filters or another order",
            ));
        }
        Ok(Self { level, seen, key, id })
    }

    /// Hits that may still be shown of a list by relevance.
    pub(crate) fn relevant_left(cursor: Option<Self>) -> usize {
        RELEVANT_HITS_MAX.saturating_sub(cursor.map_or(0, |cursor| usize::try_from(cursor.seen).unwrap_or(usize::MAX)))
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

fn check(bytes: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = fnv(bytes, FNV_START).to_be_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor { level: Level::Relaxed, seen: 40, key: i64::MIN, id: i64::MAX };
        let text = cursor.write(7);
        assert_eq!(Cursor::read(&text, 7), Ok(cursor));
        let other = Cursor::read(&text, 8).unwrap_err();
        assert_eq!(other.field, "cursor");
        assert!(other.reason.contains("another query"), "{other}");
    }

    #[test]
    fn another_text_is_no_cursor() {
        let good = Cursor { level: Level::Exact, seen: 0, key: 1, id: 2 }.write(7);
        for bad in ["", "x", "!!!!", "AAAA", &good[1..], &format!("{good}A"), &"A".repeat(good.len())] {
            assert_eq!(Cursor::read(bad, 7).unwrap_err().field, "cursor", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}|[A-Za-z0-9_-]{0,60}") {
            let read = Cursor::read(&text, 7);
            prop_assert!(read.is_err());
        }
    }
}
