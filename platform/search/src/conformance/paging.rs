//! Pages.

use contract::money::Cents;

use super::{Make, SORTS, built, numbers, offers, page, product, put};
use crate::{
    index::{SearchError, SearchIndex},
    limits::{PAGE_HITS_MAX, RELEVANT_HITS_MAX},
    product::{Change, Product},
    request::{Hit, SearchRequest, Sort},
};

/// Many products with few prices, dates and sales, so that ids decide often.
fn alike(number: i64) -> Product {
    let title = if number % 3 == 0 { "手机 新款" } else { "大号的智能手机 黑色" };
    Product {
        offers: offers(&[number % 4 * 100]),
        sales: number.unsigned_abs() % 3,
        created_at_ms: number.unsigned_abs() % 5,
        ..product(number, title)
    }
}

/// All pages of a request; `between` is called after each.
fn all_pages(index: &dyn SearchIndex, request: &SearchRequest, mut between: impl FnMut(usize)) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut request = request.clone();
    for number in 0.. {
        let page = page(index, &request);
        assert!(page.hits.len() <= request.limit);
        assert!(page.next_cursor.is_none() || page.hits.len() == request.limit, "a page before the last is full");
        hits.extend(page.hits);
        let Some(cursor) = page.next_cursor else { break };
        request.cursor = Some(cursor);
        assert!(number < 10_000, "pages without end");
        between(number);
    }
    hits
}

fn key(hit: &Hit, sort: Sort) -> (i64, i64) {
    let product = &hit.product;
    #[expect(clippy::cast_possible_truncation, reason = "scores are whole 64ths")]
    let key = match sort {
        Sort::Relevance => (hit.score * 64.0) as i64,
        Sort::PriceAsc => -product.price_cents().get(),
        Sort::PriceDesc => product.price_cents().get(),
        Sort::Newest => product.created_at_ms as i64,
        Sort::Sales => product.sales as i64,
    };
    (key, product.id.as_i64())
}

pub(super) fn every_hit_once(make: &Make<'_>) {
    let index = built(make, (1..=50).map(alike).collect());
    for sort in SORTS {
        for limit in [1, 7, 25, 50, 100] {
            let request = SearchRequest { sort, limit, ..SearchRequest::new("手机") };
            let hits = all_pages(index.as_ref(), &request, |_| {});
            assert!(hits.windows(2).all(|two| key(&two[0], sort) > key(&two[1], sort)), "{sort:?} by {limit}");
            assert_eq!(hits.len(), 50, "{sort:?} by {limit}");
            assert_eq!(page(index.as_ref(), &request).total, 50);
        }
    }
}

pub(super) fn changing_index(make: &Make<'_>) {
    for sort in SORTS {
        let index = built(make, (1..=60).map(alike).collect());
        let request = SearchRequest { sort, limit: 5, ..SearchRequest::new("手机") };
        // Of every six products one changes, one goes and one comes; the rest stay as they are.
        let hits = all_pages(index.as_ref(), &request, |number| {
            let at = i64::try_from(number % 10).unwrap_or(0) * 6;
            let changed = Product { version: 2 + number as i64, offers: offers(&[150]), sales: 2, ..alike(at + 1) };
            let gone = Change::Remove { id: super::id(at + 2), version: 2 + number as i64 };
            let new = alike(1_000 + number as i64);
            index.apply(&[put(changed), gone, put(new)], None).expect("changes are applied");
        });
        let mut unchanged: Vec<i64> = hits
            .iter()
            .map(|hit| hit.product.id.as_i64())
            .filter(|id| *id <= 60 && id % 6 != 1 && id % 6 != 2)
            .collect();
        unchanged.sort_unstable();
        let expected: Vec<i64> = (1..=60).filter(|id| id % 6 != 1 && id % 6 != 2).collect();
        assert_eq!(unchanged, expected, "{sort:?}");
    }
}

pub(super) fn relevant_hits_end(make: &Make<'_>) {
    let count = RELEVANT_HITS_MAX + 150;
    let index = built(make, (1..=count as i64).map(|number| product(number, "手机")).collect());
    let limit = PAGE_HITS_MAX - 1;
    let hits = |sort: Sort| {
        let request = SearchRequest { sort, limit, ..SearchRequest::new("手机") };
        assert_eq!(page(index.as_ref(), &request).total, count as u64);
        let mut pages = Vec::new();
        let mut cursor = None;
        loop {
            let page = page(index.as_ref(), &SearchRequest { cursor, ..request.clone() });
            pages.extend(numbers(&page));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return pages;
            }
        }
    };
    assert_eq!(hits(Sort::Relevance).len(), RELEVANT_HITS_MAX);
    assert_eq!(hits(Sort::Newest).len(), count);
}

pub(super) fn foreign_cursors(make: &Make<'_>) {
    let index = built(make, (1..=9).map(alike).collect());
    let request = SearchRequest { limit: 2, ..SearchRequest::new("手机") };
    let cursor = page(index.as_ref(), &request).next_cursor;
    assert!(cursor.is_some());
    let check = |other: SearchRequest| match index.search(&other) {
        Err(SearchError::Invalid(invalid)) => assert_eq!(invalid.field, "cursor"),
        answer => panic!("{other:?}: {answer:?}"),
    };
    let with = || SearchRequest { cursor: cursor.clone(), ..request.clone() };
    check(SearchRequest { q: "黑色手机".to_owned(), ..with() });
    check(SearchRequest { sort: Sort::PriceAsc, ..with() });
    check(SearchRequest { in_stock: Some(true), ..with() });
    check(SearchRequest { min_price_cents: Some(Cents::new(0)), ..with() });
    let page = page(index.as_ref(), &SearchRequest { limit: 3, facets: true, ..with() });
    assert_eq!(page.hits.len(), 3, "the size of a page may change");
}
