//! An index in this process: what is searched is in memory, what must not be lost is in a SQLite file.
//!
//! Opening reads the file and finds the words again, so a new version of the analysis needs no migration.

mod collect;
mod directory;
mod evaluate;
mod file;
mod memory;
mod phrase;
mod postings;
mod rebuild;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use contract::ids::ProductId;

use collect::{Collected, Place, Wanted, collect};
use directory::Directory;
use file::{File, FileError};
use memory::Memory;

use crate::{
    cursor::Cursor,
    document::{Document, rank_of},
    index::{Advance, IndexError, NO_INDEX_YET, Outcome, Position, Rebuild, SearchError, SearchIndex, Size, State},
    limits::CHANGES_MAX,
    page,
    plan::{Level, Matcher, Plan},
    product::{Change, Product},
    request::{CheckedSearch, Facets, Filters, Page, SearchRequest, Sort, Suggestion, check_suggest},
    text::Analyzer,
};

/// Products that become visible at once; searches wait as long as that takes.
const VISIBLE_AT_ONCE: usize = 16;
/// Products whose words are found before they are put in, while opening.
const OPEN_CHUNK: usize = 1_024;
/// Threads that find words while opening.
const OPEN_THREADS_MAX: usize = 4;

/// An index in a directory that no other process uses.
#[derive(Debug)]
pub struct Embedded {
    analyzer: Analyzer,
    directory: Directory,
    /// What is searched, or why nothing is.
    current: RwLock<Result<Arc<Generation>, String>>,
    rebuilding: AtomicBool,
}

/// A file with the index in memory that belongs to it.
#[derive(Debug)]
struct Generation {
    number: u64,
    file: File,
    memory: RwLock<Memory>,
    /// One writer at a time, over file and memory.
    writing: Mutex<()>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("products", &self.live()).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the index in `path`, which is made where it is missing. A directory without a sound index opens too: its
    /// [`state`](SearchIndex::state) says so.
    ///
    /// # Errors
    /// [`IndexError::Busy`] where another process has it open, [`IndexError::Unavailable`] where the directory or its file can't
    /// be used now.
    pub fn open(path: &Path, analyzer: Analyzer) -> Result<Self, IndexError> {
        let directory = Directory::open(path)?;
        let current = match directory.current() {
            Ok(None) => Err(NO_INDEX_YET.to_owned()),
            Ok(Some(number)) => match Generation::open(&directory, number, &analyzer) {
                Ok(generation) => Ok(Arc::new(generation)),
                Err(FileError::Damaged(reason)) => Err(reason),
                // It may be sound: nothing is given up because the system has no room for another open file.
                Err(error @ (FileError::Failed(_) | FileError::Moved)) => return Err(error.into()),
            },
            Err(reason) => Err(reason),
        };
        let kept = current.as_ref().ok().map(|generation| generation.number);
        if let Err(error) = directory.remove_others(kept) {
            return Err(IndexError::Unavailable(format!("what an earlier rebuild left can't be removed: {error}")));
        }
        Ok(Self { analyzer, directory, current: current.into(), rebuilding: AtomicBool::new(false) })
    }

    fn generation(&self) -> Result<Arc<Generation>, IndexError> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().map_err(IndexError::NeedsRebuild)
    }

    /// Passes `work` the current generation. One that turns out to be damaged is not used again.
    fn with<T>(&self, work: impl FnOnce(&Generation) -> Result<T, FileError>) -> Result<T, IndexError> {
        let generation = self.generation()?;
        let error = match work(&generation) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if let FileError::Damaged(reason) = &error {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            if current.as_ref().is_ok_and(|current| current.number == generation.number) {
                *current = Err(reason.clone());
            }
        }
        Err(error.into())
    }
}

impl SearchIndex for Embedded {
    fn state(&self) -> Result<State, IndexError> {
        match self.generation() {
            Ok(_) => Ok(State::Ready),
            Err(IndexError::NeedsRebuild(reason)) => Ok(State::NeedsRebuild { reason }),
            Err(error) => Err(error),
        }
    }

    fn position(&self) -> Result<Option<Position>, IndexError> {
        self.with(|generation| generation.file.position())
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn apply(&self, changes: &[Change], advance: Option<&Advance>) -> Result<Vec<Outcome>, IndexError> {
        check_count(changes.len())?;
        self.with(|generation| generation.apply(&self.analyzer, changes, advance))
    }

    fn refresh_sales(&self, sales: &[(ProductId, u64)]) -> Result<(), IndexError> {
        check_count(sales.len())?;
        self.with(|generation| generation.refresh_sales(sales))
    }

    fn search(&self, request: &SearchRequest) -> Result<Page, SearchError> {
        let search = CheckedSearch::new(&self.analyzer, request)?;
        Ok(self.with(|generation| generation.search(&self.analyzer, &search))?)
    }

    fn suggest(&self, q: &str, limit: usize) -> Result<Vec<Suggestion>, SearchError> {
        match check_suggest(&self.analyzer, q, limit)? {
            Some(plan) => Ok(self.with(|generation| generation.suggest(&self.analyzer, &plan, limit))?),
            None => Ok(Vec::new()),
        }
    }

    fn versions(&self, visit: &mut dyn FnMut(ProductId, i64)) -> Result<(), IndexError> {
        self.with(|generation| {
            generation.versions(visit);
            Ok(())
        })
    }

    fn products(&self, after: Option<ProductId>, limit: usize) -> Result<Vec<Product>, IndexError> {
        page::check_products(limit)?;
        self.with(|generation| generation.products_after(after, limit))
    }

    fn rebuild(&self) -> Result<Box<dyn Rebuild + '_>, IndexError> {
        if self.rebuilding.swap(true, Ordering::AcqRel) {
            return Err(IndexError::Busy("another rebuild of the search index is under way".to_owned()));
        }
        match rebuild::EmbeddedRebuild::begin(self) {
            Ok(rebuild) => Ok(Box::new(rebuild)),
            Err(error) => {
                self.rebuilding.store(false, Ordering::Release);
                Err(error)
            }
        }
    }

    fn size(&self) -> Result<Size, IndexError> {
        self.with(|generation| Ok(generation.size()))
    }
}

fn check_count(count: usize) -> Result<(), IndexError> {
    if count > CHANGES_MAX {
        return Err(IndexError::TooMuch(format!("{count} changes at once, more than {CHANGES_MAX}")));
    }
    Ok(())
}

impl Generation {
    fn create(directory: &Directory, number: u64) -> Result<Self, FileError> {
        let file = File::create(&directory.file(number))?;
        Ok(Self { number, file, memory: RwLock::default(), writing: Mutex::default() })
    }

    fn open(directory: &Directory, number: u64, analyzer: &Analyzer) -> Result<Self, FileError> {
        let path = directory.file(number);
        if !path.exists() {
            return Err(FileError::Damaged(format!("{} is missing", path.display())));
        }
        let file = File::open(&path)?;
        let mut memory = Memory::default();
        let mut chunk = Vec::with_capacity(OPEN_CHUNK);
        let mut failed = None;
        let mut put = |memory: &mut Memory, chunk: &mut Vec<(i64, String)>| match analyze(analyzer, chunk) {
            Ok(documents) => documents.iter().for_each(|(product, document)| memory.put(product, document)),
            Err(error) => failed = Some(error),
        };
        file.read_all(|id, version, product| match product {
            None => memory.remove(id, version),
            Some(product) => {
                chunk.push((id, product));
                if chunk.len() == OPEN_CHUNK {
                    put(&mut memory, &mut chunk);
                    chunk.clear();
                }
            }
        })?;
        put(&mut memory, &mut chunk);
        if let Some(error) = failed {
            return Err(error);
        }
        memory.shrink();
        Ok(Self { number, file, memory: memory.into(), writing: Mutex::default() })
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(
        &self,
        analyzer: &Analyzer,
        changes: &[Change],
        advance: Option<&Advance>,
    ) -> Result<Vec<Outcome>, FileError> {
        let _writing = self.writing();
        if let Some(advance) = advance
            && self.file.position()? != advance.from
        {
            return Err(FileError::Moved);
        }
        let position = advance.map(|advance| &advance.to);
        let (outcomes, newest) = page::newest(changes, |id| self.read().version(id));
        let newest: Vec<&Change> = newest.into_iter().map(|(_, change)| change).collect();
        if !newest.is_empty() || position.is_some() {
            self.file.write(&newest, position)?;
        }
        let documents: Vec<Option<Document>> = newest
            .iter()
            .map(|change| match change {
                Change::Put(product) => Some(Document::new(analyzer, product)),
                Change::Remove { .. } => None,
            })
            .collect();
        let mut prepared = newest.iter().zip(&documents);
        while prepared.len() > 0 {
            let mut memory = self.write();
            for (change, document) in prepared.by_ref().take(VISIBLE_AT_ONCE) {
                match (change, document) {
                    (Change::Put(product), Some(document)) => memory.put(product, document),
                    (change, _) => memory.remove(change.id().as_i64(), change.version()),
                }
            }
        }
        self.compact();
        Ok(outcomes)
    }

    /// For who holds [`writing`](Self::writing): searches go on meanwhile.
    fn compact(&self) {
        if self.read().needs_compaction() {
            let compacted = self.read().compacted();
            let before = std::mem::replace(&mut *self.write(), compacted);
            // Outside of the lock: freeing takes longer than the exchange.
            drop(before);
        }
    }

    fn refresh_sales(&self, sales: &[(ProductId, u64)]) -> Result<(), FileError> {
        let _writing = self.writing();
        let ids: Vec<i64> = sales.iter().map(|(id, _)| id.as_i64()).collect();
        let products = self.file.products(&ids)?;
        let changed = products.into_iter().zip(sales).filter_map(|(product, (_, sales))| {
            let product = product?;
            (product.sales != *sales && i64::try_from(*sales).is_ok())
                .then(|| (product.sales, Change::Put(Box::new(Product { sales: *sales, ..product }))))
        });
        let changed: Vec<(u64, Change)> = changed.collect();
        self.file.write(&changed.iter().map(|(_, change)| change).collect::<Vec<_>>(), None)?;
        let mut memory = self.write();
        for (before, change) in &changed {
            if let Change::Put(product) = change {
                memory.set_sales(product.id.as_i64(), rank_of(*before), product.sales, rank_of(product.sales));
            }
        }
        Ok(())
    }

    fn search(&self, analyzer: &Analyzer, search: &CheckedSearch) -> Result<Page, FileError> {
        let bounds = search.facets.then_some(search.price_bounds.as_slice());
        let Some(plan) = &search.plan else { return Ok(Page::empty(bounds.map(|_| Facets::default()))) };
        let limit = page::limit(search);
        let wanted = Wanted {
            filters: &search.filters,
            sort: search.sort,
            after: search.cursor.map(|cursor| (cursor.key, cursor.id)),
            // One more says whether there is another page.
            limit: limit + 1,
            price_bounds: bounds,
        };
        let levels = search.cursor.map_or(Level::SEARCH.to_vec(), |cursor: Cursor| vec![cursor.level]);
        let (level, matcher, collected) = self.first_found(plan, &levels, &wanted);
        let Collected { mut places, total, facets, .. } = collected;
        let has_more = places.len() > limit;
        places.truncate(limit);
        let next_cursor =
            places.last().filter(|_| has_more).and_then(|place| page::next(search, level, limit, place.key, place.id));
        let hits = self.products(&places)?;
        let hits = hits.map(|(place, product)| page::hit(analyzer, &matcher, product, place.score)).collect();
        Ok(Page { hits, next_cursor, total, facets })
    }

    /// What is found at the first of the levels at which anything is.
    fn first_found(&self, plan: &Plan, levels: &[Level], wanted: &Wanted<'_>) -> (Level, Matcher, Collected) {
        let memory = self.read();
        let mut levels = levels.iter().copied();
        let mut level = levels.next().unwrap_or(Level::Exact);
        loop {
            let clause = plan.clause(level);
            let collected = collect(&memory, &evaluate::scores(&memory, &clause), wanted);
            match levels.next() {
                Some(next) if collected.found == 0 => level = next,
                _ => return (level, Matcher::new(&clause), collected),
            }
        }
    }

    /// The products of these places; one that was removed meanwhile is left out.
    fn products<'a>(
        &self,
        places: &'a [Place],
    ) -> Result<impl Iterator<Item = (&'a Place, Product)> + use<'a>, FileError> {
        let ids: Vec<i64> = places.iter().map(|place| place.id).collect();
        let products = self.file.products(&ids)?;
        Ok(places.iter().zip(products).filter_map(|(place, product)| Some((place, product?))))
    }

    fn suggest(&self, analyzer: &Analyzer, plan: &Plan, limit: usize) -> Result<Vec<Suggestion>, FileError> {
        let wanted = Wanted {
            filters: &Filters::default(),
            sort: Sort::Relevance,
            after: None,
            limit: page::suggested_products(limit),
            price_bounds: None,
        };
        let (_, matcher, collected) = self.first_found(plan, &page::SUGGEST_LEVELS, &wanted);
        let products = self.products(&collected.places)?.map(|(_, product)| product);
        Ok(page::suggestions(analyzer, &matcher, products, limit))
    }

    fn versions(&self, visit: &mut dyn FnMut(ProductId, i64)) {
        let live = |memory: &Memory| -> Vec<(i64, i64)> {
            memory.rows().iter().filter(|row| row.is_live).map(|row| (row.id, row.version)).collect()
        };
        let mut versions = live(&self.read());
        versions.sort_unstable();
        for (id, version) in versions {
            if let Some(id) = ProductId::from_i64(id) {
                visit(id, version);
            }
        }
    }

    /// Products of the file that can be found, with the versions that are searched.
    fn products_after(&self, after: Option<ProductId>, limit: usize) -> Result<Vec<Product>, FileError> {
        // File and memory are written one after the other.
        let _writing = self.writing();
        let (mut after, mut found) = (after.map_or(-1, ProductId::as_i64), Vec::with_capacity(limit));
        while found.len() < limit {
            let wanted = limit - found.len();
            let products = self.file.products_after(after, wanted)?;
            let is_last = products.len() < wanted;
            after = products.last().map_or(after, |(id, _)| *id);
            let memory = self.read();
            found.extend(products.into_iter().filter_map(|(id, product)| {
                let version = memory.live_version(id)?;
                Some(Product { version, ..product })
            }));
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    fn size(&self) -> Size {
        let memory = self.read();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Size {
            products: count(memory.live()),
            removed: count(memory.removed()),
            disk_bytes: self.file.disk_bytes(),
            memory_bytes: count(memory.memory_bytes()),
        }
    }
}

/// Finds the words of products on several threads.
fn analyze(analyzer: &Analyzer, rows: &[(i64, String)]) -> Result<Vec<(Product, Document)>, FileError> {
    let one = |(id, text): &(i64, String)| {
        let product = file::product_of(*id, text)?;
        let document = Document::new(analyzer, &product);
        Ok((product, document))
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(OPEN_THREADS_MAX);
    let share = rows.len().div_ceil(threads).max(1);
    let shares: Vec<Result<Vec<_>, FileError>> = std::thread::scope(|scope| {
        let working: Vec<_> = rows.chunks(share).map(|rows| scope.spawn(|| rows.iter().map(one).collect())).collect();
        let failed = || FileError::Failed("a thread that finds words panicked".to_owned());
        working.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(failed()))).collect()
    });
    let mut documents = Vec::with_capacity(rows.len());
    for share in shares {
        documents.extend(share?);
    }
    Ok(documents)
}
