//! The seam: what every index can do.

use contract::ids::ProductId;

use crate::{
    invalid::InvalidRequest,
    limits::POSITION_BYTES_MAX,
    product::{Change, Product},
    request::{Page, SearchRequest, Suggestion},
};

/// An index of products. All methods block; async code calls them where blocking is allowed.
///
/// Writes are for one caller at a time per index: others wait. What [`apply`](Self::apply) returned is durable and visible.
pub trait SearchIndex: Send + Sync {
    /// Whether it can be searched.
    ///
    /// # Errors
    /// If the index does not answer.
    fn state(&self) -> Result<State, IndexError>;

    /// The position that was written last; `None` before the first write.
    ///
    /// # Errors
    /// If the index needs a rebuild or does not answer.
    fn position(&self) -> Result<Option<Position>, IndexError>;

    /// Whether other processes may write to it. They share the work by a consumer group then.
    fn is_shared(&self) -> bool;

    /// Writes changes, and then or with them the position up to which the log is in the index. An older version of a product
    /// never replaces a newer one, and that holds for removals too: what is removed stays known by its version.
    ///
    /// At most [`CHANGES_MAX`](crate::limits::CHANGES_MAX) changes. The answer has one outcome for each, in their order.
    ///
    /// # Errors
    /// If the index needs a rebuild, does not answer, or is not at the position that is moved
    /// ([`IndexError::Moved`]); some of the changes may be written then, and the position is not. Writing all of them again
    /// does no harm.
    fn apply(&self, changes: &[Change], advance: Option<&Advance>) -> Result<Vec<Outcome>, IndexError>;

    /// Sets how much products sold, which has no part in their versions. Products that are not in the index are left out.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply).
    fn refresh_sales(&self, sales: &[(ProductId, u64)]) -> Result<(), IndexError>;

    /// Products that fit a request.
    ///
    /// # Errors
    /// If the request is invalid, the index needs a rebuild, or does not answer.
    fn search(&self, request: &SearchRequest) -> Result<Page, SearchError>;

    /// Products that somebody who has typed `q` so far may mean, at most `limit`, each title once.
    ///
    /// # Errors
    /// As for [`search`](Self::search).
    fn suggest(&self, q: &str, limit: usize) -> Result<Vec<Suggestion>, SearchError>;

    /// Calls `visit` with id and version of every product that is not removed, by ascending id.
    ///
    /// # Errors
    /// If the index needs a rebuild or does not answer.
    fn versions(&self, visit: &mut dyn FnMut(ProductId, i64)) -> Result<(), IndexError>;

    /// The next live products after the id `after`, by ascending id, at most `limit` of them: fewer only at the end. A product's
    /// version is that of what is searched.
    ///
    /// # Errors
    /// If more than [`PRODUCTS_MAX`](crate::limits::PRODUCTS_MAX) are asked for, the index needs a rebuild or does not answer.
    fn products(&self, after: Option<ProductId>, limit: usize) -> Result<Vec<Product>, IndexError>;

    /// Begins a second index, which nobody searches until [`Rebuild::finish`]. One at a time.
    ///
    /// # Errors
    /// If another rebuild is under way, or the second index can't be made.
    fn rebuild(&self) -> Result<Box<dyn Rebuild + '_>, IndexError>;

    /// How large it is.
    ///
    /// # Errors
    /// If the index needs a rebuild or does not answer.
    fn size(&self) -> Result<Size, IndexError>;
}

/// An index in the making. Dropping it leaves everything as it was.
///
/// The caller notes the log's end, adds every product of the database, applies the changes that the log has since, and finishes
/// with the position that it has come to: a change that was read both ways is written twice with the same version.
pub trait Rebuild {
    /// Writes changes, at most [`CHANGES_MAX`](crate::limits::CHANGES_MAX). One outcome for each, as for [`SearchIndex::apply`].
    ///
    /// # Errors
    /// If the index does not answer.
    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, IndexError>;

    /// Adds products, as [`apply`](Self::apply) does.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply).
    fn add(&mut self, products: Vec<Product>) -> Result<Vec<Outcome>, IndexError> {
        let changes: Vec<Change> = products.into_iter().map(|product| Change::Put(Box::new(product))).collect();
        self.apply(&changes)
    }

    /// Calls `visit` with id and version of every product added, by ascending id.
    ///
    /// # Errors
    /// If the index does not answer.
    fn versions(&mut self, visit: &mut dyn FnMut(ProductId, i64)) -> Result<(), IndexError>;

    /// The next products after the id `after`, as [`SearchIndex::products`].
    ///
    /// # Errors
    /// As for [`SearchIndex::products`].
    fn products(&mut self, after: Option<ProductId>, limit: usize) -> Result<Vec<Product>, IndexError>;

    /// Puts it in the place of the old index at once; searches see the one or the other.
    ///
    /// # Errors
    /// If the index does not answer; it is not in place then.
    fn finish(self: Box<Self>, position: Option<&Position>) -> Result<(), IndexError>;
}

/// Why an index that was never built needs a rebuild; every other reason is a fault.
pub const NO_INDEX_YET: &str = "there is no index yet";

/// Whether an index can be searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It can.
    Ready,
    /// There is no index, or no sound one: until a [`Rebuild`] finishes, nothing is found and nothing is written.
    NeedsRebuild {
        /// Why.
        reason: String,
    },
}

/// Up to where the log is in the index, in the words of the code that follows the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(String);

impl Position {
    /// `None` where the text has more than [`POSITION_BYTES_MAX`] bytes.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (text.len() <= POSITION_BYTES_MAX).then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A step of an index along the log. It is refused where the index is not at `from`, so that a writer that knows nothing of another
/// writer or of a rebuild never makes the index skip records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Where the index must be.
    pub from: Option<Position>,
    /// Where it is afterwards.
    pub to: Position,
}

/// What became of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the index, or a newer change of the same call is.
    Written,
    /// The index had this version or a newer one.
    Older,
    /// It can't be indexed, now or later; the index is as it was.
    Rejected(String),
}

/// How large an index is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Products that can be found.
    pub products: u64,
    /// Removed products of which the version is kept.
    pub removed: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Bytes of what is kept in this process's memory, about.
    pub memory_bytes: u64,
}

/// Why an index did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It must be built from the database first.
    #[error("the search index must be rebuilt: {0}")]
    NeedsRebuild(String),
    /// Another process has its directory, or another rebuild is under way.
    #[error("{0}")]
    Busy(String),
    /// It is at another position of the log than its writer says: another process has written to it or replaced it.
    #[error("the search index is at another position of the log than expected")]
    Moved,
    /// It does not answer, or not as it should; later it may.
    #[error("the search index is unavailable: {0}")]
    Unavailable(String),
    /// More was given at once than a limit allows.
    #[error("{0}")]
    TooMuch(String),
}

/// Why nothing was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The request is at fault.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The index is.
    #[error(transparent)]
    Index(#[from] IndexError),
}
