//! Lists, a page at a time, the newest first.

use crate::tx::Found;

/// Where a page begins and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Rows below this id; `i64::MAX` for the first page.
    pub before: i64,
    /// At most this many; 1 to [`PAGE_MAX`].
    pub limit: u32,
}

/// The longest page.
pub const PAGE_MAX: u32 = 100;

/// The number in a cursor: canonical decimals of 19 digits at most. Beyond every id there is nothing more to skip.
pub fn cursor_number(text: &str) -> Option<i64> {
    let digits = text.as_bytes();
    let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.len() <= 19;
    if !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text.parse().ok().map(|number: u64| i64::try_from(number).unwrap_or(i64::MAX))
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The rows.
    pub items: Vec<T>,
    /// [`Page::before`] of the next page; `None` where this is the last.
    pub next: Option<i64>,
}

impl Page {
    /// What to ask the database for: one row more than the page has, to know whether another follows.
    pub(crate) fn rows(self) -> i64 {
        i64::from(self.limit.clamp(1, PAGE_MAX)) + 1
    }

    /// Cuts what the database answered to a page.
    pub(crate) fn cut<T>(self, mut items: Vec<T>, id: impl Fn(&T) -> i64) -> Listed<T> {
        let limit = self.limit.clamp(1, PAGE_MAX) as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(id) } else { None };
        Listed { items, next }
    }
}

/// What became of a change that names the version it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed<T> {
    /// It is so now.
    Done(T),
    /// It has this version by now; nothing was changed.
    VersionIs(u64),
    /// There is no such row.
    Unknown,
    /// It is too late for it.
    TooLate,
    /// This field can't be so: what it refers to does not exist, or it does not fit the others.
    Invalid(&'static str),
    /// There is not enough stock for it: this much.
    InsufficientStock(u64),
}

/// Whether the row is what `changed` says was made of the version `before`. `now` is the locked row, and `is_same`
/// compares what the change decides.
pub(crate) fn find_change<T>(
    changed: &Changed<T>,
    before: u64,
    now: Option<T>,
    version: impl Fn(&T) -> u64,
    is_same: impl Fn(&T, &T) -> bool,
) -> Found {
    match (changed, now) {
        (Changed::Done(row), Some(now)) if is_same(row, &now) => Found::Committed,
        (Changed::Done(_), Some(now)) if version(&now) != before => Found::Unclear,
        _ => Found::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_one_spelling() {
        for (text, number) in [
            ("0", Some(0)),
            ("42", Some(42)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9999999999999999999", Some(i64::MAX)),
            ("10000000000000000000", None),
            ("", None),
            ("+7", None),
            ("007", None),
            ("-1", None),
            ("7 ", None),
            ("٣", None),
        ] {
            assert_eq!(cursor_number(text), number, "{text:?}");
        }
    }
}
