//! Lists, a page at a time, the newest first.

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
