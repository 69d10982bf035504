//! Another index, and the move of the alias.

use std::{
    sync::atomic::Ordering,
    time::{SystemTime, UNIX_EPOCH},
};

use contract::ids::ProductId;
use serde_json::json;

use super::{
    Elastic, check_count, query,
    write::{self, Replace},
};
use crate::{
    index::{IndexError, Outcome, Position, Rebuild},
    page,
    product::{Change, Product},
};

/// An index that a process left that ended during a rebuild is removed by a rebuild so much later.
const LEFT_MS: u128 = 24 * 60 * 60 * 1_000;
/// Tries to find a name that is not taken.
const NAMES_MAX: u128 = 100;

pub(super) struct ElasticRebuild<'a> {
    elastic: &'a Elastic,
    /// The name of the new index; empty once the alias points to it.
    index: String,
    /// Whether the server shows all that was written.
    is_shown: bool,
}

impl<'a> ElasticRebuild<'a> {
    pub(super) fn begin(elastic: &'a Elastic) -> Result<Self, IndexError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        remove_left(elastic, now)?;
        for number in 0..NAMES_MAX {
            let index = format!("{}-{}", elastic.client.alias(), now + number);
            let answer = elastic.client.ask("PUT", &format!("/{index}"), Some(&query::definition()))?;
            match answer.status {
                200 => return Ok(Self { elastic, index, is_shown: false }),
                400 if answer.body["error"]["type"] == "resource_already_exists_exception" => {}
                _ => return Err(answer.error()),
            }
        }
        Err(IndexError::Unavailable("every name for a new index is taken".to_owned()))
    }

    /// Has the server show what was written.
    fn show(&mut self) -> Result<(), IndexError> {
        if !self.is_shown {
            self.ask("POST", &format!("/{}/_refresh", self.index), None)?;
            self.is_shown = true;
        }
        Ok(())
    }

    fn ask(&self, method: &str, path: &str, body: Option<&serde_json::Value>) -> Result<(), IndexError> {
        let answer = self.elastic.client.ask(method, path, body)?;
        if answer.status == 200 { Ok(()) } else { Err(answer.error()) }
    }
}

/// Removes what earlier rebuilds left.
fn remove_left(elastic: &Elastic, now: u128) -> Result<(), IndexError> {
    let alias = elastic.client.alias();
    let answer = elastic.client.ask("GET", &format!("/{alias}-*/_alias"), None)?;
    let Some(indices) = answer.body.as_object().filter(|_| answer.status == 200) else { return Ok(()) };
    for (name, index) in indices {
        let made = name.strip_prefix(alias).and_then(|rest| rest.strip_prefix('-')?.parse::<u128>().ok());
        let is_current = index["aliases"].as_object().is_some_and(|aliases| aliases.contains_key(alias));
        if !is_current && made.is_some_and(|made| made + LEFT_MS < now) {
            let answer = elastic.client.ask("DELETE", &format!("/{name}"), None)?;
            if !matches!(answer.status, 200 | 404) {
                return Err(answer.error());
            }
        }
    }
    Ok(())
}

impl Rebuild for ElasticRebuild<'_> {
    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, IndexError> {
        check_count(changes.len())?;
        self.is_shown = false;
        let (mut outcomes, newest) = page::newest(changes, |_| None);
        let (client, analyzer) = (&self.elastic.client, &self.elastic.analyzer);
        let to_write: Vec<&Change> = newest.iter().map(|(_, change)| *change).collect();
        let written = write::write(client, analyzer, &self.index, &to_write, Replace::Older, false)?;
        page::settle(changes, &mut outcomes, &newest, written);
        Ok(outcomes)
    }

    fn versions(&mut self, visit: &mut dyn FnMut(ProductId, i64)) -> Result<(), IndexError> {
        self.show()?;
        self.elastic.list(&self.index, visit)
    }

    fn products(&mut self, after: Option<ProductId>, limit: usize) -> Result<Vec<Product>, IndexError> {
        self.show()?;
        self.elastic.products_after(&self.index, after, limit)
    }

    fn finish(mut self: Box<Self>, position: Option<&Position>) -> Result<(), IndexError> {
        let _writing = self.elastic.writing();
        let client = &self.elastic.client;
        if let Some(position) = position {
            write::write_position(client, &self.index, position)?;
        }
        let settings = json!({"index": {"refresh_interval": "1s"}});
        self.ask("PUT", &format!("/{}/_settings", self.index), Some(&settings))?;
        self.ask("POST", &format!("/{}/_refresh", self.index), None)?;
        let alias = client.alias();
        let answer = client.ask("GET", &format!("/{alias}/_alias"), None)?;
        let old = answer.body.as_object().filter(|_| answer.status == 200);
        let old: Vec<&String> = old.map(|indices| indices.keys().collect()).unwrap_or_default();
        if !matches!(answer.status, 200 | 404) {
            return Err(answer.error());
        }
        // One step for the server: searches see the old index or the new one.
        let mut actions: Vec<_> = old.into_iter().map(|name| json!({"remove_index": {"index": name}})).collect();
        actions.push(json!({"add": {"index": self.index, "alias": alias}}));
        self.ask("POST", "/_aliases", Some(&json!({"actions": actions})))?;
        self.index.clear();
        self.elastic.checked.store(true, Ordering::Release);
        Ok(())
    }
}

impl Drop for ElasticRebuild<'_> {
    fn drop(&mut self) {
        if !self.index.is_empty() {
            // What can't be removed now is removed by a later rebuild.
            drop(self.elastic.client.ask("DELETE", &format!("/{}", self.index), None));
        }
        self.elastic.rebuilding.store(false, Ordering::Release);
    }
}
