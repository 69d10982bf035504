//! What is asked, checked before an index sees it.

use contract::{
    ids::{CategoryId, ProductId},
    money::Cents,
};
use serde::{Deserialize, Serialize};

use crate::{
    cursor::Cursor,
    fnv::{FNV_START, fnv},
    invalid::InvalidRequest,
    limits::{CURSOR_CHARS_MAX, FACET_PRICE_BOUNDS_MAX, PAGE_HITS_MAX, QUERY_CHARS_MAX, SUGGESTIONS_MAX},
    plan::Plan,
    product::Product,
    text::{Analyzer, Fragment},
};

/// In which order products are listed. Products alike come by id, the newest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// What fits the query best.
    #[default]
    Relevance,
    /// The cheapest first.
    PriceAsc,
    /// The dearest first, by the lowest price of each.
    PriceDesc,
    /// The newest first.
    Newest,
    /// What sold most first.
    Sales,
}

/// A search as somebody asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchRequest {
    /// Words. Text without any finds nothing.
    pub q: String,
    /// Products of this category and those below it.
    pub category_id: Option<CategoryId>,
    /// Products with a SKU that costs at least so much.
    pub min_price_cents: Option<Cents>,
    /// Products with a SKU that costs at most so much; with a lower bound, the same SKU.
    pub max_price_cents: Option<Cents>,
    /// Products with a SKU in stock, or without one. With price bounds, only SKUs within them count.
    pub in_stock: Option<bool>,
    /// In this order.
    pub sort: Sort,
    /// Hits of a page, from 1 to [`PAGE_HITS_MAX`].
    pub limit: usize,
    /// [`Page::next_cursor`] of the page before, with everything else as it was.
    pub cursor: Option<String>,
    /// Between price bands, ascending; no bounds, no price bands.
    pub price_bounds_cents: Vec<Cents>,
    /// Whether facets are counted.
    pub facets: bool,
}

impl SearchRequest {
    /// A search for `q`, 20 hits a page, without facets.
    pub fn new(q: impl Into<String>) -> Self {
        Self {
            q: q.into(),
            category_id: None,
            min_price_cents: None,
            max_price_cents: None,
            in_stock: None,
            sort: Sort::Relevance,
            limit: 20,
            cursor: None,
            price_bounds_cents: Vec::new(),
            facets: false,
        }
    }
}

/// One page of hits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page {
    /// In the order that was asked for.
    pub hits: Vec<Hit>,
    /// For the next page; `None` on the last page.
    pub next_cursor: Option<String>,
    /// Products found, on all pages.
    pub total: u64,
    /// Where they were asked for.
    pub facets: Option<Facets>,
}

impl Page {
    pub(crate) const fn empty(facets: Option<Facets>) -> Self {
        Self { hits: Vec::new(), next_cursor: None, total: 0, facets }
    }
}

/// A product that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// As it was indexed.
    pub product: Product,
    /// How well it fits; the same in every index.
    pub score: f64,
    /// Its title, with what was found.
    pub title: Vec<Fragment>,
    /// Its subtitle, with what was found.
    pub subtitle: Vec<Fragment>,
}

/// How many of the products found are what. Each count leaves its own filter out: the categories of a search in one category
/// are those that one could choose instead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Facets {
    /// Products by category, each with those below it, the most first.
    pub categories: Vec<CategoryCount>,
    /// Products with a SKU in each price band.
    pub prices: Vec<PriceCount>,
    /// Products in stock.
    pub in_stock: u64,
    /// Products out of stock.
    pub out_of_stock: u64,
}

/// Products of a category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CategoryCount {
    /// Which.
    pub category_id: CategoryId,
    /// How many.
    pub count: u64,
}

/// Products of a price band.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PriceCount {
    /// From this price on; `None` from 0.
    pub from_cents: Option<Cents>,
    /// Below this price; `None` without end.
    pub below_cents: Option<Cents>,
    /// How many.
    pub count: u64,
}

/// Suggest titles of products while a shopper types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// A product with this title.
    pub product_id: ProductId,
    /// The title.
    pub text: String,
    /// The title, with what was found.
    pub title: Vec<Fragment>,
}

/// What the filters let through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Filters {
    pub category: Option<i64>,
    /// Lowest and highest price.
    pub prices: Option<(i64, i64)>,
    pub in_stock: Option<bool>,
}

impl Filters {
    /// Lowest and highest price that the filters let through.
    pub(crate) fn prices(&self) -> (i64, i64) {
        self.prices.unwrap_or((0, i64::MAX))
    }
}

/// A request without faults.
#[derive(Debug, Clone)]
pub(crate) struct CheckedSearch {
    /// `None`: there is no word to look for.
    pub plan: Option<Plan>,
    pub filters: Filters,
    pub sort: Sort,
    pub limit: usize,
    pub cursor: Option<Cursor>,
    /// Of everything that a cursor belongs to.
    pub fingerprint: u32,
    pub price_bounds: Vec<i64>,
    pub facets: bool,
}

impl CheckedSearch {
    pub(crate) fn new(analyzer: &Analyzer, request: &SearchRequest) -> Result<Self, InvalidRequest> {
        check_text(&request.q)?;
        if !(1..=PAGE_HITS_MAX).contains(&request.limit) {
            return Err(InvalidRequest::new("limit", format!("expected 1 to {PAGE_HITS_MAX}")));
        }
        let prices = check_prices(request.min_price_cents, request.max_price_cents)?;
        check_bounds(&request.price_bounds_cents)?;
        let category = request.category_id.map(CategoryId::as_i64);
        let filters = Filters { category, prices, in_stock: request.in_stock };
        let fingerprint = fingerprint(&request.q, &filters, request.sort);
        let cursor = match &request.cursor {
            None => None,
            Some(text) if text.len() > CURSOR_CHARS_MAX => {
                return Err(InvalidRequest::new("cursor", format!("longer than {CURSOR_CHARS_MAX} characters")));
            }
            Some(text) => Some(Cursor::read(text, fingerprint)?),
        };
        Ok(Self {
            plan: Plan::new(analyzer, &request.q),
            filters,
            sort: request.sort,
            limit: request.limit,
            cursor,
            fingerprint,
            price_bounds: request.price_bounds_cents.iter().map(|bound| bound.get()).collect(),
            facets: request.facets,
        })
    }
}

/// The plan of a text that is being typed; `None` where it has no word.
pub(crate) fn check_suggest(analyzer: &Analyzer, q: &str, limit: usize) -> Result<Option<Plan>, InvalidRequest> {
    check_text(q)?;
    if !(1..=SUGGESTIONS_MAX).contains(&limit) {
        return Err(InvalidRequest::new("limit", format!("expected 1 to {SUGGESTIONS_MAX}")));
    }
    Ok(Plan::new(analyzer, q))
}

fn check_text(q: &str) -> Result<(), InvalidRequest> {
    // The first comparison keeps a text of megabytes from being counted.
    if q.len() > QUERY_CHARS_MAX * 4 || q.chars().count() > QUERY_CHARS_MAX {
        return Err(InvalidRequest::new("q", format!("longer than {QUERY_CHARS_MAX} characters")));
    }
    Ok(())
}

fn check_prices(min: Option<Cents>, max: Option<Cents>) -> Result<Option<(i64, i64)>, InvalidRequest> {
    for (field, bound) in [("min_price_cents", min), ("max_price_cents", max)] {
        if bound.is_some_and(|bound| bound.get() < 0) {
            return Err(InvalidRequest::new(field, "expected zero or more"));
        }
    }
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        return Err(InvalidRequest::new("max_price_cents", "expected at least min_price_cents"));
    }
    let bounds = (min.map_or(0, Cents::get), max.map_or(i64::MAX, Cents::get));
    Ok((min.is_some() || max.is_some()).then_some(bounds))
}

fn check_bounds(bounds: &[Cents]) -> Result<(), InvalidRequest> {
    let field = "price_bounds_cents";
    if bounds.len() > FACET_PRICE_BOUNDS_MAX {
        return Err(InvalidRequest::new(field, format!("more than {FACET_PRICE_BOUNDS_MAX}")));
    }
    if bounds.iter().any(|bound| bound.get() <= 0) || !bounds.is_sorted_by(|left, right| left < right) {
        return Err(InvalidRequest::new(field, "not ascending numbers above zero"));
    }
    Ok(())
}

fn fingerprint(q: &str, filters: &Filters, sort: Sort) -> u32 {
    let said = format!("{q}\0{filters:?}\0{sort:?}");
    let hash = fnv(said.as_bytes(), FNV_START);
    u32::try_from((hash >> 32) ^ (hash & 0xffff_ffff)).unwrap_or_default()
}
