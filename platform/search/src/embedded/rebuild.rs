//! A second file beside the current one, and the exchange of the two.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use contract::ids::ProductId;

use super::{Embedded, Generation, check_count, file};
use crate::{
    index::{IndexError, Outcome, Position, Rebuild},
    page,
    product::{Change, Product},
};

pub(super) struct EmbeddedRebuild<'a> {
    index: &'a Embedded,
    /// `None` once it is in place.
    next: Option<Generation>,
}

impl<'a> EmbeddedRebuild<'a> {
    pub(super) fn begin(index: &'a Embedded) -> Result<Self, IndexError> {
        let numbers = index.directory.numbers().map_err(|error| IndexError::Unavailable(error.to_string()))?;
        let number = numbers.into_iter().max().map_or(1, |last| last + 1);
        let next = Generation::create(&index.directory, number)?;
        Ok(Self { index, next: Some(next) })
    }

    fn next(&self) -> Result<&Generation, IndexError> {
        self.next.as_ref().ok_or_else(|| IndexError::Unavailable("the rebuild has ended".to_owned()))
    }
}

impl Rebuild for EmbeddedRebuild<'_> {
    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, IndexError> {
        check_count(changes.len())?;
        Ok(self.next()?.apply(&self.index.analyzer, changes, None)?)
    }

    fn versions(&mut self, visit: &mut dyn FnMut(ProductId, i64)) -> Result<(), IndexError> {
        self.next()?.versions(visit);
        Ok(())
    }

    fn products(&mut self, after: Option<ProductId>, limit: usize) -> Result<Vec<Product>, IndexError> {
        page::check_products(limit)?;
        Ok(self.next()?.products_after(after, limit)?)
    }

    fn finish(mut self: Box<Self>, position: Option<&Position>) -> Result<(), IndexError> {
        let next = self.next()?;
        next.write().shrink();
        next.file.write(&[], position)?;
        next.file.settle()?;
        let number = next.number;
        let directory = &self.index.directory;
        directory.set_current(number).map_err(|error| IndexError::Unavailable(error.to_string()))?;
        let Some(next) = self.next.take() else { return Ok(()) };
        let mut current = self.index.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, Ok(Arc::new(next)));
        drop(current);
        // Searches that began before still read the old file; unlinked, it lives until they end.
        drop(before);
        directory.remove_others(Some(number)).map_err(|error| IndexError::Unavailable(error.to_string()))
    }
}

impl Drop for EmbeddedRebuild<'_> {
    fn drop(&mut self) {
        if let Some(next) = self.next.take() {
            let path = self.index.directory.file(next.number);
            drop(next);
            // What can't be removed now is removed by the next open.
            drop(file::remove(&path));
        }
        self.index.rebuilding.store(false, Ordering::Release);
    }
}
