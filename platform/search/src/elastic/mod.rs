//! An index in Elasticsearch 7.10 and later, 8, or OpenSearch.
//!
//! The words are found by this crate and stored with spaces between them in fields that the server splits at spaces, so that it
//! needs no plugin. What is searched is an alias; a rebuild fills another index and moves the alias.
//!
//! Several processes may write to an index: versions decide, and the position moves only from where its writer read it, in the
//! index that the writer wrote to. A process that wrote to an index which a rebuild has replaced meanwhile gets
//! [`IndexError::Moved`].

mod client;
mod query;
mod rebuild;
mod settings;
#[cfg(test)]
mod tests;
mod write;

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use contract::ids::ProductId;
use serde_json::{Value, json};

pub use settings::ElasticSettings;

use client::{Answer, Client};
use write::Replace;

use crate::{
    index::{Advance, IndexError, NO_INDEX_YET, Outcome, Position, Rebuild, SearchError, SearchIndex, Size, State},
    limits::CHANGES_MAX,
    page,
    plan::{Level, Matcher, Plan},
    product::{Change, Product},
    request::{CheckedSearch, Page, SearchRequest, Sort, Suggestion, check_suggest},
    text::Analyzer,
};

/// Products that are listed by one request.
const LISTED_MAX: usize = 5_000;
/// Products of which the sales are looked up by one request.
const LOOKED_UP_MAX: usize = 500;

/// An index in a cluster.
#[derive(Debug)]
pub struct Elastic {
    client: Client,
    analyzer: Analyzer,
    writing: Mutex<()>,
    rebuilding: AtomicBool,
    /// Whether the index is known to be one that this version can search.
    checked: AtomicBool,
}

impl Elastic {
    /// An index in a cluster that need not be there yet: nothing is asked of it.
    ///
    /// # Errors
    /// If the certificates can't be read.
    pub fn new(settings: ElasticSettings, analyzer: Analyzer) -> Result<Self, IndexError> {
        Ok(Self {
            client: Client::new(settings)?,
            analyzer,
            writing: Mutex::default(),
            rebuilding: AtomicBool::default(),
            checked: AtomicBool::default(),
        })
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of the index behind the alias.
    fn current(&self) -> Result<String, IndexError> {
        let alias = self.client.alias();
        let answer = self.client.ask("GET", &format!("/{alias}/_mapping"), None)?;
        let needs_rebuild = |reason: &str| {
            self.checked.store(false, Ordering::Release);
            IndexError::NeedsRebuild(reason.to_owned())
        };
        match answer.status {
            200 => {}
            404 => return Err(needs_rebuild(NO_INDEX_YET)),
            _ => return Err(answer.error()),
        }
        let indices = answer.body.as_object().map(|indices| indices.iter().collect::<Vec<_>>()).unwrap_or_default();
        let [(name, index)] = indices.as_slice() else {
            return Err(needs_rebuild("its alias does not stand for one index"));
        };
        if *name == alias {
            return Err(needs_rebuild("there is an index with the name of its alias"));
        }
        if index["mappings"]["_meta"]["format"].as_i64() != Some(query::FORMAT) {
            return Err(needs_rebuild("it was written by another version"));
        }
        self.checked.store(true, Ordering::Release);
        Ok((*name).clone())
    }

    /// Checks after a write that `index` is still the one behind the alias. One that a rebuild had removed before was made again
    /// by the write, without its mapping; it is removed.
    fn check_in_place(&self, index: &str) -> Result<(), IndexError> {
        match self.current() {
            Ok(current) if current == index => return Ok(()),
            Ok(_) | Err(IndexError::NeedsRebuild(_)) => {}
            Err(error) => return Err(error),
        }
        let answer = self.client.ask("DELETE", &format!("/{index}"), None)?;
        if matches!(answer.status, 200 | 404) { Err(IndexError::Moved) } else { Err(answer.error()) }
    }

    /// Searches by `body`.
    fn ask(&self, body: &Value) -> Result<Answer, IndexError> {
        if !self.checked.load(Ordering::Acquire) {
            self.current()?;
        }
        let answer = self.client.search(&format!("/{}/_search", self.client.alias()), body)?;
        match answer.status {
            200 => {}
            404 => {
                self.checked.store(false, Ordering::Release);
                return Err(IndexError::NeedsRebuild("there is no index".to_owned()));
            }
            _ => return Err(answer.error()),
        }
        // Without all shards it is an answer to another question.
        let failed = answer.body["_shards"]["failed"].as_u64();
        if failed != Some(0) || answer.body["timed_out"].as_bool() == Some(true) {
            return Err(IndexError::Unavailable("not every shard answered".to_owned()));
        }
        Ok(answer)
    }

    /// The answer at the first of the levels at which `is_found`.
    fn first_found(
        &self,
        plan: &Plan,
        levels: &[Level],
        body: impl Fn(&crate::plan::Clause) -> Value,
        is_found: impl Fn(&Value) -> bool,
    ) -> Result<(Level, Matcher, Value), IndexError> {
        let mut levels = levels.iter().copied();
        let mut level = levels.next().unwrap_or(Level::Exact);
        loop {
            let clause = plan.clause(level);
            let answer = self.ask(&body(&clause))?.body;
            match levels.next() {
                Some(next) if !is_found(&answer) => level = next,
                _ => return Ok((level, Matcher::new(&clause), answer)),
            }
        }
    }

    fn page(&self, search: &CheckedSearch) -> Result<Page, IndexError> {
        let Some(plan) = &search.plan else {
            // An index that can't be searched says so whatever is searched for.
            self.current()?;
            return Ok(Page::empty(search.facets.then(Default::default)));
        };
        let limit = page::limit(search);
        let levels = search.cursor.map_or(Level::SEARCH.to_vec(), |cursor| vec![cursor.level]);
        let body = |clause: &_| query::search_json(search, clause, limit);
        let is_found = |answer: &Value| answer["aggregations"]["found"]["doc_count"].as_u64() > Some(0);
        let (level, matcher, answer) = self.first_found(plan, &levels, body, is_found)?;
        let mut found = query::found(&answer, search.sort)?;
        let has_more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| has_more);
        let next_cursor = last.and_then(|last| page::next(search, level, limit, last.key, last.product.id.as_i64()));
        let hits = found.into_iter().map(|found| page::hit(&self.analyzer, &matcher, found.product, found.score));
        Ok(Page {
            hits: hits.collect(),
            next_cursor,
            total: answer["hits"]["total"]["value"].as_u64().unwrap_or(0),
            facets: search.facets.then(|| query::facets_of(&answer, search)),
        })
    }

    /// Lists id and version of every live product of an index.
    fn list(&self, index: &str, visit: &mut dyn FnMut(ProductId, i64)) -> Result<(), IndexError> {
        let mut after = -1;
        loop {
            let sources = self.live_after(index, after, LISTED_MAX, &["id", "version"])?;
            for source in &sources {
                let (id, version) = (source["id"].as_i64(), source["version"].as_i64());
                let (id, version) = id.zip(version).ok_or_else(strange)?;
                visit(ProductId::from_i64(id).ok_or_else(strange)?, version);
                after = id;
            }
            if sources.len() < LISTED_MAX {
                return Ok(());
            }
        }
    }

    /// The next live products of an index after the id `after`.
    fn products_after(&self, index: &str, after: Option<ProductId>, limit: usize) -> Result<Vec<Product>, IndexError> {
        page::check_products(limit)?;
        let after = after.map_or(-1, ProductId::as_i64);
        let sources = self.live_after(index, after, limit, &["id", "version", "product"])?;
        let product = |source: Value| {
            let product: Product = serde_json::from_value(source["product"].clone()).ok()?;
            let is_sound = source["id"].as_i64() == Some(product.id.as_i64());
            // What is searched is the fields beside the product.
            source["version"].as_i64().filter(|_| is_sound).map(|version| Product { version, ..product })
        };
        sources.into_iter().map(|source| product(source).ok_or_else(strange)).collect()
    }

    /// Fields of the next live documents of an index after the id `after`.
    fn live_after(&self, index: &str, after: i64, limit: usize, fields: &[&str]) -> Result<Vec<Value>, IndexError> {
        let body = json!({
            "query": {"bool": {"filter": [{"term": {"live": true}}]}},
            "sort": [{"id": "asc"}], "search_after": [after], "size": limit, "_source": fields,
            "track_total_hits": false,
        });
        let mut answer = self.client.ask("POST", &format!("/{index}/_search"), Some(&body))?;
        if answer.status != 200 {
            return Err(answer.error());
        }
        let Value::Array(hits) = answer.body["hits"]["hits"].take() else { return Err(strange()) };
        Ok(hits.into_iter().map(|mut hit| hit["_source"].take()).collect())
    }

    /// Products with the sales that they have now, of those whose sales have changed.
    fn with_sales(&self, index: &str, sales: &[(ProductId, u64)]) -> Result<Vec<Change>, IndexError> {
        let ids: Vec<String> = sales.iter().map(|(id, _)| id.to_string()).collect();
        let answer = self.client.ask("POST", &format!("/{index}/_mget?_source=product"), Some(&json!({"ids": ids})))?;
        let docs = answer.body["docs"].as_array().filter(|_| answer.status == 200).ok_or_else(|| answer.error())?;
        let changed = docs.iter().zip(sales).filter_map(|(doc, (_, sales))| {
            let product: Product = serde_json::from_value(doc["_source"]["product"].clone()).ok()?;
            let is_valid = product.sales != *sales && i64::try_from(*sales).is_ok();
            is_valid.then(|| Change::Put(Box::new(Product { sales: *sales, ..product })))
        });
        Ok(changed.collect())
    }

    fn count(&self, index: &str, live: bool) -> Result<u64, IndexError> {
        let filter = json!([{"term": {"live": live}}, {"exists": {"field": "id"}}]);
        let body = json!({"query": {"bool": {"filter": filter}}});
        let answer = self.client.ask("POST", &format!("/{index}/_count"), Some(&body))?;
        answer.body["count"].as_u64().filter(|_| answer.status == 200).ok_or_else(|| answer.error())
    }
}

impl SearchIndex for Elastic {
    fn state(&self) -> Result<State, IndexError> {
        match self.current() {
            Ok(_) => Ok(State::Ready),
            Err(IndexError::NeedsRebuild(reason)) => Ok(State::NeedsRebuild { reason }),
            Err(error) => Err(error),
        }
    }

    fn position(&self) -> Result<Option<Position>, IndexError> {
        Ok(write::position(&self.client, &self.current()?)?.position)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn apply(&self, changes: &[Change], advance: Option<&Advance>) -> Result<Vec<Outcome>, IndexError> {
        check_count(changes.len())?;
        let _writing = self.writing();
        let index = self.current()?;
        let before = write::position(&self.client, &index)?;
        if advance.is_some_and(|advance| advance.from != before.position) {
            return Err(IndexError::Moved);
        }
        let (mut outcomes, newest) = page::newest(changes, |_| None);
        let to_write: Vec<&Change> = newest.iter().map(|(_, change)| *change).collect();
        let written = write::write(&self.client, &self.analyzer, &index, &to_write, Replace::Older, true)?;
        page::settle(changes, &mut outcomes, &newest, written);
        match advance {
            // Succeeds only in the index that was written to.
            Some(advance) if write::move_position(&self.client, &index, &before, &advance.to)? => Ok(outcomes),
            Some(_) => self.check_in_place(&index).and(Err(IndexError::Moved)),
            None => self.check_in_place(&index).map(|()| outcomes),
        }
    }

    fn refresh_sales(&self, sales: &[(ProductId, u64)]) -> Result<(), IndexError> {
        check_count(sales.len())?;
        let _writing = self.writing();
        let index = self.current()?;
        for sales in sales.chunks(LOOKED_UP_MAX) {
            let changed = self.with_sales(&index, sales)?;
            let changed: Vec<&Change> = changed.iter().collect();
            write::write(&self.client, &self.analyzer, &index, &changed, Replace::Same, true)?;
        }
        self.check_in_place(&index)
    }

    fn search(&self, request: &SearchRequest) -> Result<Page, SearchError> {
        let search = CheckedSearch::new(&self.analyzer, request)?;
        Ok(self.page(&search)?)
    }

    fn suggest(&self, q: &str, limit: usize) -> Result<Vec<Suggestion>, SearchError> {
        let Some(plan) = check_suggest(&self.analyzer, q, limit)? else { return Ok(Vec::new()) };
        let body = |clause: &_| query::suggest_json(clause, page::suggested_products(limit));
        let is_found = |answer: &Value| answer["hits"]["hits"].as_array().is_some_and(|hits| !hits.is_empty());
        let (_, matcher, answer) = self.first_found(&plan, &page::SUGGEST_LEVELS, body, is_found)?;
        let products = query::found(&answer, Sort::Relevance)?.into_iter().map(|found| found.product);
        Ok(page::suggestions(&self.analyzer, &matcher, products, limit))
    }

    fn versions(&self, visit: &mut dyn FnMut(ProductId, i64)) -> Result<(), IndexError> {
        self.list(&self.current()?, visit)
    }

    fn products(&self, after: Option<ProductId>, limit: usize) -> Result<Vec<Product>, IndexError> {
        self.products_after(&self.current()?, after, limit)
    }

    fn rebuild(&self) -> Result<Box<dyn Rebuild + '_>, IndexError> {
        if self.rebuilding.swap(true, Ordering::AcqRel) {
            return Err(IndexError::Busy("another rebuild of the search index is under way".to_owned()));
        }
        match rebuild::ElasticRebuild::begin(self) {
            Ok(rebuild) => Ok(Box::new(rebuild)),
            Err(error) => {
                self.rebuilding.store(false, Ordering::Release);
                Err(error)
            }
        }
    }

    fn size(&self) -> Result<Size, IndexError> {
        let index = self.current()?;
        let answer = self.client.ask("GET", &format!("/{index}/_stats/store"), None)?;
        let bytes = answer.body["_all"]["total"]["store"]["size_in_bytes"].as_u64().filter(|_| answer.status == 200);
        Ok(Size {
            products: self.count(&index, true)?,
            removed: self.count(&index, false)?,
            disk_bytes: bytes.ok_or_else(|| answer.error())?,
            memory_bytes: 0,
        })
    }
}

fn strange() -> IndexError {
    IndexError::Unavailable("the server lists a product of another form".to_owned())
}

fn check_count(count: usize) -> Result<(), IndexError> {
    if count > CHANGES_MAX {
        return Err(IndexError::TooMuch(format!("{count} changes at once, more than {CHANGES_MAX}")));
    }
    Ok(())
}
