//! What every index must do, to run against each of them.
//!
//! A suite that panics has found a fault. Every case gets an index of its own from the caller.

mod finding;
mod paging;
mod writing;

use contract::{
    ids::{CategoryId, ProductId},
    money::Cents,
};

use crate::{
    index::{Position, SearchIndex},
    product::{Attribute, Category, Change, Offer, Product},
    request::{Page, SearchRequest, Sort},
};

/// Makes a new index, which nobody has built yet.
pub type Make<'a> = dyn Fn() -> Box<dyn SearchIndex> + 'a;

/// What an index must do: panics where it does not.
type Case = fn(&Make<'_>);

const CASES: &[(&str, Case)] = &[
    ("an index must be built first", writing::must_be_built),
    ("only the newest version counts", writing::newest_version_counts),
    ("a removal is a version too", writing::removals_are_versions),
    ("what can't be indexed stops nothing", writing::rejected_alone),
    ("the position is written with the changes", writing::position_is_written),
    ("sales change without a version", writing::sales_change_alone),
    ("a rebuild replaces all at once", writing::rebuild_replaces),
    ("a rebuild that is dropped changes nothing", writing::rebuild_can_be_dropped),
    ("versions are listed by id", writing::versions_are_listed),
    ("products are read out by id", writing::products_are_read),
    ("words are found", finding::words),
    ("the best comes first", finding::best_first),
    ("filters hold", finding::filters),
    ("facets are counted", finding::facets),
    ("what was found is shown", finding::fragments),
    ("typing is completed", finding::suggestions),
    ("a request that is invalid names its field", finding::invalid_requests),
    ("text is never a query language", finding::hostile_text),
    ("pages have everything once", paging::every_hit_once),
    ("pages hold while the index changes", paging::changing_index),
    ("relevant hits end", paging::relevant_hits_end),
    ("a cursor is of one search", paging::foreign_cursors),
];

/// Runs every case.
///
/// # Panics
/// If the index does not do what it must.
pub fn run(make: &Make<'_>) {
    for (name, case) in CASES {
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(make))).is_err();
        assert!(!failed, "{name}");
    }
}

fn id(number: i64) -> ProductId {
    ProductId::from_i64(number).unwrap_or_else(|| unreachable!("ids of tests are above zero"))
}

fn category(number: i64, name: &str) -> Category {
    let id = CategoryId::from_i64(number).unwrap_or_else(|| unreachable!("ids of tests are above zero"));
    Category { id, name: name.to_owned() }
}

/// A product in stock for 100 yuan, version 1.
fn product(number: i64, title: &str) -> Product {
    Product {
        id: id(number),
        version: 1,
        title: title.to_owned(),
        subtitle: String::new(),
        categories: vec![category(1, "百货")],
        attributes: Vec::new(),
        offers: offers(&[10_000]),
        sales: 0,
        created_at_ms: 1_700_000_000_000 + number.unsigned_abs(),
    }
}

/// A SKU in stock for each price.
fn offers(prices_cents: &[i64]) -> Vec<Offer> {
    prices_cents.iter().map(|price| Offer { price_cents: Cents::new(*price), in_stock: true }).collect()
}

fn put(product: Product) -> Change {
    Change::Put(Box::new(product))
}

/// An index with these products.
fn built(make: &Make<'_>, products: Vec<Product>) -> Box<dyn SearchIndex> {
    let index = make();
    let mut rebuild = index.rebuild().expect("a rebuild begins");
    rebuild.add(products).expect("products are added");
    rebuild.finish(Position::new("0").as_ref()).expect("a rebuild finishes");
    index
}

fn page(index: &dyn SearchIndex, request: &SearchRequest) -> Page {
    index.search(request).expect("the index answers")
}

fn numbers(page: &Page) -> Vec<i64> {
    page.hits.iter().map(|hit| hit.product.id.as_i64()).collect()
}

/// Ids of the first hits for a text.
fn found(index: &dyn SearchIndex, q: &str) -> Vec<i64> {
    numbers(&page(index, &SearchRequest { limit: 100, ..SearchRequest::new(q) }))
}

fn found_by_id(index: &dyn SearchIndex, q: &str) -> Vec<i64> {
    let mut found = found(index, q);
    found.sort_unstable();
    found
}

fn all_versions(index: &dyn SearchIndex) -> Vec<(i64, i64)> {
    let mut versions = Vec::new();
    index.versions(&mut |id, version| versions.push((id.as_i64(), version))).expect("versions are listed");
    versions
}

const SORTS: [Sort; 5] = [Sort::Relevance, Sort::PriceAsc, Sort::PriceDesc, Sort::Newest, Sort::Sales];

fn attribute(name: &str, value: &str) -> Attribute {
    Attribute { name: name.to_owned(), value: value.to_owned() }
}
