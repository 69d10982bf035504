//! What both indexes do in the same way around a search.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use contract::{ids::CategoryId, money::Cents};

use crate::{
    cursor::Cursor,
    index::{IndexError, Outcome},
    limits::{FACET_CATEGORIES_MAX, PRODUCTS_MAX, SUGGESTIONS_MAX},
    plan::{Level, Matcher},
    product::{Change, Product},
    request::{CategoryCount, CheckedSearch, Facets, Hit, PriceCount, Sort, Suggestion},
    text::{Analyzer, highlight},
};

/// Suggestions come from what is typed; where that is nothing's beginning, from what it may have been meant to be, or from some
/// of its words.
pub(crate) const SUGGEST_LEVELS: [Level; 3] = [Level::Typing, Level::Relaxed, Level::Any];
/// Products that are looked at for each suggestion, since titles repeat.
const PRODUCTS_PER_SUGGESTION: usize = 3;

/// Products that are read at once.
///
/// # Errors
/// If that is more than [`PRODUCTS_MAX`].
pub(crate) fn check_products(limit: usize) -> Result<(), IndexError> {
    if limit > PRODUCTS_MAX {
        return Err(IndexError::TooMuch(format!("{limit} products at once, more than {PRODUCTS_MAX}")));
    }
    Ok(())
}

/// An outcome for each change, and of those to be written the newest of each product with its place. `version` is what the
/// index has.
pub(crate) fn newest(
    changes: &[Change],
    version: impl Fn(i64) -> Option<i64>,
) -> (Vec<Outcome>, Vec<(usize, &Change)>) {
    let mut newest: HashMap<i64, (usize, i64)> = HashMap::new();
    let mut outcomes = Vec::with_capacity(changes.len());
    for (at, change) in changes.iter().enumerate() {
        if let Err(reason) = change.check() {
            outcomes.push(Outcome::Rejected(reason));
            continue;
        }
        let id = change.id().as_i64();
        let before = newest.get(&id).map(|(_, version)| *version).or_else(|| version(id));
        if before.is_some_and(|before| change.version() <= before) {
            outcomes.push(Outcome::Older);
        } else {
            newest.insert(id, (at, change.version()));
            outcomes.push(Outcome::Written);
        }
    }
    let mut places: Vec<usize> = newest.into_values().map(|(at, _)| at).collect();
    places.sort_unstable();
    (outcomes, places.into_iter().filter_map(|at| Some((at, changes.get(at)?))).collect())
}

/// Puts what became of the newest change of each product in its place. Where the index had a newer one still, it was newer than
/// the product's other changes too.
pub(crate) fn settle(changes: &[Change], outcomes: &mut [Outcome], newest: &[(usize, &Change)], written: Vec<Outcome>) {
    let mut older = HashSet::new();
    for ((at, change), outcome) in newest.iter().zip(written) {
        if outcome == Outcome::Older {
            older.insert(change.id());
        }
        outcomes[*at] = outcome;
    }
    for (change, outcome) in changes.iter().zip(outcomes) {
        if *outcome == Outcome::Written && older.contains(&change.id()) {
            *outcome = Outcome::Older;
        }
    }
}

/// Hits of this page at most.
pub(crate) fn limit(search: &CheckedSearch) -> usize {
    match search.sort {
        Sort::Relevance => search.limit.min(Cursor::relevant_left(search.cursor)),
        Sort::PriceAsc | Sort::PriceDesc | Sort::Newest | Sort::Sales => search.limit,
    }
}

/// The cursor after a full page that ends with this key and id.
pub(crate) fn next(search: &CheckedSearch, level: Level, hits: usize, key: i64, id: i64) -> Option<String> {
    let seen = search.cursor.map_or(0, |cursor| cursor.seen).saturating_add(u32::try_from(hits).unwrap_or(u32::MAX));
    let cursor = Cursor { level, seen, key, id };
    let is_end = search.sort == Sort::Relevance && Cursor::relevant_left(Some(cursor)) == 0;
    (!is_end).then(|| cursor.write(search.fingerprint))
}

pub(crate) fn hit(analyzer: &Analyzer, matcher: &Matcher, product: Product, score: u32) -> Hit {
    Hit {
        title: highlight(analyzer, &product.title, matcher),
        subtitle: highlight(analyzer, &product.subtitle, matcher),
        score: f64::from(score) / 64.0,
        product,
    }
}

/// Products to look at for `limit` suggestions.
pub(crate) fn suggested_products(limit: usize) -> usize {
    limit.min(SUGGESTIONS_MAX) * PRODUCTS_PER_SUGGESTION
}

/// Each title once, in the order of the products.
pub(crate) fn suggestions(
    analyzer: &Analyzer,
    matcher: &Matcher,
    products: impl Iterator<Item = Product>,
    limit: usize,
) -> Vec<Suggestion> {
    let mut suggestions: Vec<Suggestion> = Vec::new();
    for product in products {
        if suggestions.len() == limit {
            break;
        }
        if suggestions.iter().all(|other| other.text != product.title) {
            let title = highlight(analyzer, &product.title, matcher);
            suggestions.push(Suggestion { product_id: product.id, text: product.title, title });
        }
    }
    suggestions
}

/// Facets from counts by price band and by category.
pub(crate) fn facets(bounds: &[i64], prices: &[u64], categories: impl Iterator<Item = (i64, u64)>) -> Facets {
    let mut categories: Vec<(i64, u64)> = categories.filter(|(_, count)| *count > 0).collect();
    categories.sort_unstable_by_key(|(category, count)| (Reverse(*count), *category));
    categories.truncate(FACET_CATEGORIES_MAX);
    let counted = categories
        .into_iter()
        .filter_map(|(category, count)| Some(CategoryCount { category_id: CategoryId::from_i64(category)?, count }));
    let bound = |at: Option<usize>| at.and_then(|at| bounds.get(at)).map(|bound| Cents::new(*bound));
    let bands = prices.iter().enumerate().map(|(band, count)| PriceCount {
        from_cents: bound(band.checked_sub(1)),
        below_cents: bound(Some(band)),
        count: *count,
    });
    Facets { categories: counted.collect(), prices: bands.collect(), in_stock: 0, out_of_stock: 0 }
}
