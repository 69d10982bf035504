//! Whatever is asked and written.
#![expect(clippy::unwrap_used, reason = "a test may end so")]

use std::{collections::BTreeMap, sync::LazyLock};

use contract::{
    ids::{CategoryId, ProductId},
    money::Cents,
};
use proptest::prelude::*;
use search::{
    Analyzer, Change, Embedded, Fragment, Outcome, Product, SearchError, SearchIndex, SearchRequest, Sort, State,
    generator, limits,
};

/// An index of 500 products that no case writes to.
static INDEX: LazyLock<(tempfile::TempDir, Embedded)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let index = Embedded::open(dir.path(), Analyzer::shared().clone()).unwrap();
    let mut rebuild = index.rebuild().unwrap();
    rebuild.add(generator::products(17, 500).into_iter().map(|item| item.product).collect()).unwrap();
    rebuild.finish(None).unwrap();
    (dir, index)
});

/// Words that are there, pieces of them, and anything at all.
fn text() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "手机",
        "华为",
        "连衣裙",
        "iphone",
        "samsung",
        "shouji",
        "hwsj",
        "256GB",
        "RX-7800XT",
        "红色",
        "智能",
        "壳",
        "pro",
        "的",
        "机器人",
    ]);
    let piece = prop_oneof![
        4 => known.prop_map(str::to_owned),
        1 => "\\PC{0,12}",
        1 => "[\u{0}-\u{ff}]{0,12}",
        1 => "[a-z0-9]{1,8}",
        1 => "[\u{4e00}-\u{9fa5}]{1,6}",
        1 => "[ \"'*?~^:+(){}\\[\\]|&!/\\\\-]{1,4}",
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn whole(pieces: &[Fragment]) -> String {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

fn sort() -> impl Strategy<Value = Sort> {
    prop::sample::select(vec![Sort::Relevance, Sort::PriceAsc, Sort::PriceDesc, Sort::Newest, Sort::Sales])
}

proptest! {
    #[test]
    fn any_text_has_an_answer(q in text(), sort in sort(), limit in 1_usize..20) {
        let request = SearchRequest { sort, limit, facets: true, ..SearchRequest::new(q.clone()) };
        match INDEX.1.search(&request) {
            Ok(page) => {
                prop_assert!(page.hits.len() <= limit && page.total >= page.hits.len() as u64);
                for hit in &page.hits {
                    prop_assert_eq!(whole(&hit.title), hit.product.title.as_str());
                    prop_assert_eq!(whole(&hit.subtitle), hit.product.subtitle.as_str());
                    prop_assert!(hit.score > 0.0);
                }
                if let Some(cursor) = page.next_cursor {
                    let next = INDEX.1.search(&SearchRequest { cursor: Some(cursor), ..request }).unwrap();
                    prop_assert_eq!(next.total, page.total);
                    prop_assert!(next.hits.iter().all(|hit| page.hits.iter().all(|before| before.product.id != hit.product.id)));
                }
            }
            Err(SearchError::Invalid(invalid)) => {
                prop_assert_eq!(invalid.field, "q");
                prop_assert!(q.chars().count() > limits::QUERY_CHARS_MAX);
            }
            Err(SearchError::Index(error)) => prop_assert!(false, "{}", error),
        }
        if q.chars().count() <= limits::QUERY_CHARS_MAX {
            prop_assert!(INDEX.1.suggest(&q, limit).unwrap().len() <= limit);
        }
    }

    #[test]
    fn any_request_is_answered_or_names_its_field(
        min in prop::option::of(any::<i64>()),
        max in prop::option::of(any::<i64>()),
        category in prop::option::of(0..i64::MAX),
        limit in prop_oneof![0_usize..110, any::<usize>()],
        cursor in prop::option::of("[A-Za-z0-9_-]{0,60}"),
        bounds in prop::collection::vec(-5_i64..1_000_000, 0..20),
    ) {
        let request = SearchRequest {
            min_price_cents: min.map(Cents::new),
            max_price_cents: max.map(Cents::new),
            category_id: category.and_then(CategoryId::from_i64),
            limit,
            cursor,
            price_bounds_cents: bounds.into_iter().map(Cents::new).collect(),
            ..SearchRequest::new("手机")
        };
        if let Err(error) = INDEX.1.search(&request) {
            let SearchError::Invalid(invalid) = error else { panic!("{error}") };
            let fields = ["min_price_cents", "max_price_cents", "limit", "cursor", "price_bounds_cents"];
            prop_assert!(fields.contains(&invalid.field), "{}", invalid);
        }
    }
}

/// Up to eight versions of few products, in any order, some of them removals.
fn changes() -> impl Strategy<Value = Vec<Vec<(i64, i64, bool)>>> {
    let change = (1_i64..6, 1_i64..9, prop::bool::weighted(0.3));
    prop::collection::vec(prop::collection::vec(change, 0..6), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_newest_version_counts_in_any_order(batches in changes()) {
        let shelf: Vec<Product> = generator::products(4, 6).into_iter().map(|item| item.product).collect();
        let dir = tempfile::tempdir().unwrap();
        let mut index = Embedded::open(dir.path(), Analyzer::shared().clone()).unwrap();
        index.rebuild().unwrap().finish(None).unwrap();
        let mut model: BTreeMap<ProductId, (i64, bool)> = BTreeMap::new();
        for (number, batch) in batches.iter().enumerate() {
            let change = |(product, version, removes): &(i64, i64, bool)| {
                let product = &shelf[usize::try_from(*product).unwrap()];
                if *removes {
                    Change::Remove { id: product.id, version: *version }
                } else {
                    Change::Put(Box::new(Product { version: *version, ..product.clone() }))
                }
            };
            let changes: Vec<Change> = batch.iter().map(change).collect();
            let outcomes = index.apply(&changes, None).unwrap();
            for (change, outcome) in changes.iter().zip(outcomes) {
                let newer = model.get(&change.id()).is_none_or(|(version, _)| change.version() > *version);
                prop_assert_eq!(outcome, if newer { Outcome::Written } else { Outcome::Older });
                if newer {
                    model.insert(change.id(), (change.version(), matches!(change, Change::Put(_))));
                }
            }
            if number == batches.len() / 2 {
                drop(index);
                index = Embedded::open(dir.path(), Analyzer::shared().clone()).unwrap();
                prop_assert_eq!(index.state(), Ok(State::Ready));
            }
            let mut versions = Vec::new();
            index.versions(&mut |id, version| versions.push((id, version))).unwrap();
            let live = model.iter().filter(|(_, (_, is_live))| *is_live).map(|(id, (version, _))| (*id, *version));
            prop_assert_eq!(versions, live.collect::<Vec<_>>());
        }
    }
}
