//! Requests and answers of `_search`.
//!
//! Clauses become structured JSON; no text of a query is ever parsed by the server. Every condition has a constant score, so
//! the score of a product is the sum that the embedded index makes.

use serde_json::{Value, json};

use crate::{
    document::is_sequence,
    index::IndexError,
    limits::{FACET_CATEGORIES_MAX, TYPO_EXPANSIONS_MAX},
    page::facets,
    plan::{Clause, Field, Weight},
    product::Product,
    request::{CheckedSearch, Facets, Filters, Sort},
};

/// The kind of index that this version writes; another one must be rebuilt.
pub(super) const FORMAT: i64 = 2;
/// Words that the last word of a phrase may stand for while somebody types.
const OPEN_EXPANSIONS_MAX: usize = 50;

/// Settings and mappings of a new index.
pub(super) fn definition() -> Value {
    let mut properties = json!({
        "id": {"type": "long"},
        "version": {"type": "long"},
        "live": {"type": "boolean"},
        "rank": {"type": "double"},
        "price": {"type": "long"},
        "prices": {"type": "long"},
        "categories": {"type": "long"},
        "prices_in_stock": {"type": "long"},
        "sales": {"type": "long"},
        "created_at_ms": {"type": "long"},
        "product": {"type": "object", "enabled": false},
        "position": {"type": "keyword", "index": false, "doc_values": false},
    });
    for field in Field::ALL {
        let options = if is_sequence(field) { "positions" } else { "docs" };
        properties[field.name()] =
            json!({"type": "text", "analyzer": "whitespace", "norms": false, "index_options": options});
    }
    json!({
        "settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "-1"},
        "mappings": {
            "dynamic": "strict",
            "_meta": {"format": FORMAT},
            "_source": {"excludes": Field::ALL.map(Field::name)},
            "properties": properties,
        },
    })
}

pub(super) fn clause_json(clause: &Clause) -> Value {
    let all = |clauses: &[Clause]| clauses.iter().map(clause_json).collect::<Vec<_>>();
    match clause {
        Clause::Word { field, word, weight } => constant(json!({"term": {field.name(): {"value": word}}}), *weight),
        Clause::Prefix { field, prefix, weight } => {
            constant(json!({"prefix": {field.name(): {"value": prefix}}}), *weight)
        }
        Clause::Typo { field, word, weight } => {
            let typo = json!({
                "value": word, "fuzziness": 1, "prefix_length": 0, "transpositions": true,
                "max_expansions": TYPO_EXPANSIONS_MAX, "rewrite": "constant_score",
            });
            constant(json!({"fuzzy": {field.name(): typo}}), *weight)
        }
        Clause::Phrase { field, words, is_open, weight } => {
            let phrase = words.join(" ");
            let phrase = if *is_open {
                let open = json!({"query": phrase, "max_expansions": OPEN_EXPANSIONS_MAX});
                json!({"match_phrase_prefix": {field.name(): open}})
            } else {
                json!({"match_phrase": {field.name(): {"query": phrase}}})
            };
            constant(phrase, *weight)
        }
        Clause::All { must, should } => json!({"bool": {"must": all(must), "should": all(should)}}),
        Clause::Any(clauses) => json!({"bool": {"should": all(clauses), "minimum_should_match": 1}}),
        Clause::Best(clauses) => json!({"dis_max": {"queries": all(clauses)}}),
    }
}

fn constant(condition: Value, weight: Weight) -> Value {
    json!({"constant_score": {"filter": condition, "boost": weight.score()}})
}

/// The clause for live products, with the rank added to the score.
fn ranked(clause: &Clause) -> Value {
    let live = json!({"bool": {"must": [clause_json(clause)], "filter": [{"term": {"live": true}}]}});
    json!({"function_score": {
        "query": live,
        "field_value_factor": {"field": "rank", "missing": 0},
        "boost_mode": "sum",
    }})
}

fn category_filter(filters: &Filters) -> Option<Value> {
    filters.category.map(|category| json!({"term": {"categories": category}}))
}

fn price_filter(filters: &Filters) -> Option<Value> {
    filters.prices.map(|(min, max)| json!({"range": {"prices": {"gte": min, "lte": max}}}))
}

fn stock_filter(filters: &Filters) -> Option<Value> {
    filters.in_stock.map(|in_stock| {
        let occur = if in_stock { "filter" } else { "must_not" };
        json!({"bool": {occur: [in_stock_within_prices(filters)]}})
    })
}

/// The condition that a SKU in the price range is in stock.
fn in_stock_within_prices(filters: &Filters) -> Value {
    let (min, max) = filters.prices();
    json!({"range": {"prices_in_stock": {"gte": min, "lte": max}}})
}

fn together<const N: usize>(filters: [Option<Value>; N]) -> Value {
    json!({"bool": {"filter": filters.into_iter().flatten().collect::<Vec<_>>()}})
}

/// A search for one more than `limit`.
pub(super) fn search_json(search: &CheckedSearch, clause: &Clause, limit: usize) -> Value {
    let filters = &search.filters;
    let key = match search.sort {
        Sort::Relevance => json!({"_score": "desc"}),
        Sort::PriceAsc => json!({"price": "asc"}),
        Sort::PriceDesc => json!({"price": "desc"}),
        Sort::Newest => json!({"created_at_ms": "desc"}),
        Sort::Sales => json!({"sales": "desc"}),
    };
    // How many there are whatever the filters say decides whether words are taken less strictly.
    let mut aggregations = json!({"found": {"filter": {"match_all": {}}}});
    if search.facets {
        let category = {
            let order = json!([{"_count": "desc"}, {"_key": "asc"}]);
            let by = json!({"terms": {"field": "categories", "size": FACET_CATEGORIES_MAX, "order": order}});
            json!({"filter": together([price_filter(filters), stock_filter(filters)]), "aggs": {"by": by}})
        };
        let by = json!({"filter": in_stock_within_prices(filters)});
        let stock = json!({"filter": together([category_filter(filters), price_filter(filters)]), "aggs": {"by": by}});
        aggregations["categories"] = category;
        aggregations["stock"] = stock;
        if !search.price_bounds.is_empty() {
            let ranges = price_ranges(&search.price_bounds);
            let by = |field: &str| json!({"range": {"field": field, "ranges": ranges}});
            // Stock is a matter of the SKUs in a band, so the filter is applied when the bands are read.
            aggregations["prices"] = json!({
                "filter": together([category_filter(filters)]),
                "aggs": {"by": by("prices"), "in_stock": by("prices_in_stock")},
            });
        }
    }
    let mut body = json!({
        "query": ranked(clause),
        "post_filter": together([category_filter(filters), price_filter(filters), stock_filter(filters)]),
        "sort": [key, {"id": "desc"}],
        "size": limit + 1,
        "track_total_hits": true,
        "track_scores": true,
        "_source": ["product"],
        "aggs": aggregations,
    });
    if let Some(cursor) = search.cursor {
        body["search_after"] = json!([sort_value(search.sort, cursor.key), cursor.id]);
    }
    body
}

/// A search for the best `limit` products.
pub(super) fn suggest_json(clause: &Clause, limit: usize) -> Value {
    json!({
        "query": ranked(clause),
        "sort": [{"_score": "desc"}, {"id": "desc"}],
        "size": limit,
        "track_total_hits": false,
        "_source": ["product"],
    })
}

/// What the server sorts by, from the key of a cursor, of which the highest comes first.
#[expect(clippy::cast_precision_loss, reason = "scores are far below 2^53")]
fn sort_value(sort: Sort, key: i64) -> Value {
    match sort {
        Sort::Relevance => json!(key as f64 / 64.0),
        Sort::PriceAsc => json!(-key),
        Sort::PriceDesc | Sort::Newest | Sort::Sales => json!(key),
    }
}

fn price_ranges(bounds: &[i64]) -> Vec<Value> {
    let from = std::iter::once(None).chain(bounds.iter().map(Some));
    let to = bounds.iter().map(Some).chain(std::iter::once(None));
    let range = |(from, to): (Option<&i64>, Option<&i64>)| match (from, to) {
        (Some(from), Some(to)) => json!({"from": from, "to": to}),
        (Some(from), None) => json!({"from": from}),
        (None, Some(to)) => json!({"to": to}),
        (None, None) => json!({}),
    };
    from.zip(to).map(range).collect()
}

/// A hit of an answer.
pub(super) struct Found {
    pub product: Product,
    /// In 64ths.
    pub score: u32,
    /// What a cursor after it has.
    pub key: i64,
}

/// Hits of an answer in their order.
pub(super) fn found(answer: &Value, sort: Sort) -> Result<Vec<Found>, IndexError> {
    let strange = || IndexError::Unavailable("the server's answer has a hit of another form".to_owned());
    let hits = answer["hits"]["hits"].as_array().ok_or_else(strange)?;
    let one = |hit: &Value| {
        let product: Product = serde_json::from_value(hit["_source"]["product"].clone()).ok()?;
        let score = crate::document::whole_score(hit["_score"].as_f64()?);
        let key = match sort {
            Sort::Relevance => i64::from(score),
            Sort::PriceAsc => -hit["sort"][0].as_i64()?,
            Sort::PriceDesc | Sort::Newest | Sort::Sales => hit["sort"][0].as_i64()?,
        };
        Some(Found { product, score, key })
    };
    hits.iter().map(|hit| one(hit).ok_or_else(strange)).collect()
}

/// Facets of an answer.
pub(super) fn facets_of(answer: &Value, search: &CheckedSearch) -> Facets {
    let counted = &answer["aggregations"];
    let buckets = |found: &Value| found["buckets"].as_array().cloned().unwrap_or_default();
    let count = |bucket: &Value| bucket["doc_count"].as_u64().unwrap_or(0);
    let bands = |name: &str| buckets(&counted["prices"][name]).iter().map(count).collect::<Vec<u64>>();
    let prices = match search.filters.in_stock {
        None => bands("by"),
        Some(true) => bands("in_stock"),
        Some(false) => {
            let in_stock = bands("in_stock");
            bands("by").iter().zip(in_stock).map(|(all, in_stock)| all.saturating_sub(in_stock)).collect()
        }
    };
    let categories = buckets(&counted["categories"]["by"])
        .into_iter()
        .filter_map(|bucket| Some((bucket["key"].as_i64()?, count(&bucket))));
    let mut facets = facets(&search.price_bounds, &prices, categories);
    facets.in_stock = count(&counted["stock"]["by"]);
    facets.out_of_stock = count(&counted["stock"]).saturating_sub(facets.in_stock);
    facets
}
