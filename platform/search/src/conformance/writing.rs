//! Changes, versions, rebuilds.

use contract::ids::ProductId;

use super::{Make, all_versions, built, found, found_by_id, id, numbers, offers, page, product, put};
use crate::{
    index::{Advance, IndexError, Outcome, Position, SearchError, SearchIndex, State},
    limits::{CHANGES_MAX, PRODUCTS_MAX},
    product::{Change, Product},
    request::{SearchRequest, Sort},
};

pub(super) fn must_be_built(make: &Make<'_>) {
    let index = make();
    assert!(matches!(index.state(), Ok(State::NeedsRebuild { .. })), "{:?}", index.state());
    let search = index.search(&SearchRequest::new("手机"));
    assert!(matches!(search, Err(SearchError::Index(IndexError::NeedsRebuild(_)))), "{search:?}");
    let applied = index.apply(&[put(product(1, "手机"))], None);
    assert!(matches!(applied, Err(IndexError::NeedsRebuild(_))), "{applied:?}");
    assert!(matches!(index.position(), Err(IndexError::NeedsRebuild(_))));

    index.rebuild().expect("a rebuild begins").finish(None).expect("a rebuild finishes");
    assert_eq!(index.state(), Ok(State::Ready));
    assert_eq!(index.position(), Ok(None));
    assert!(found(index.as_ref(), "手机").is_empty());
}

fn at(version: i64, title: &str) -> Change {
    put(Product { version, ..product(1, title) })
}

fn apply(index: &dyn SearchIndex, changes: &[Change]) -> Vec<Outcome> {
    index.apply(changes, None).expect("changes are applied")
}

pub(super) fn newest_version_counts(make: &Make<'_>) {
    let index = built(make, Vec::new());
    let index = index.as_ref();
    assert_eq!(apply(index, &[at(2, "二号手机")]), [Outcome::Written]);
    assert_eq!(apply(index, &[at(1, "一号冰箱")]), [Outcome::Older]);
    assert_eq!(apply(index, &[at(2, "二号冰箱")]), [Outcome::Older], "a version has one content");
    assert_eq!((found(index, "手机"), found(index, "冰箱")), (vec![1], vec![]));

    let outcomes = apply(index, &[at(5, "五号电视"), at(4, "四号冰箱"), at(7, "七号音箱"), at(6, "六号冰箱")]);
    assert_eq!(outcomes, [Outcome::Written, Outcome::Older, Outcome::Written, Outcome::Older]);
    assert_eq!((found(index, "音箱"), found(index, "电视"), found(index, "冰箱")), (vec![1], vec![], vec![]));
    assert_eq!(all_versions(index), [(1, 7)]);
}

pub(super) fn removals_are_versions(make: &Make<'_>) {
    let index = built(make, Vec::new());
    let index = index.as_ref();
    let remove = |number: i64, version: i64| Change::Remove { id: id(number), version };
    assert_eq!(apply(index, &[at(3, "三号手机")]), [Outcome::Written]);
    assert_eq!(apply(index, &[remove(1, 2)]), [Outcome::Older]);
    assert_eq!(found(index, "手机"), [1]);
    assert_eq!(apply(index, &[remove(1, 4)]), [Outcome::Written]);
    assert_eq!(apply(index, &[at(3, "三号手机"), at(4, "四号手机")]), [Outcome::Older, Outcome::Older]);
    assert!(found(index, "手机").is_empty(), "a late older version brings nothing back");
    assert!(all_versions(index).is_empty());
    assert_eq!(apply(index, &[at(5, "五号手机")]), [Outcome::Written]);
    assert_eq!(found(index, "手机"), [1]);

    assert_eq!(apply(index, &[remove(2, 9)]), [Outcome::Written], "one that was never there");
    let late = put(Product { version: 8, ..product(2, "八号手机") });
    assert_eq!(apply(index, &[late]), [Outcome::Older]);
    let size = index.size().expect("the size is known");
    assert_eq!((size.products, size.removed), (1, 1));
}

pub(super) fn rejected_alone(make: &Make<'_>) {
    let index = built(make, Vec::new());
    let index = index.as_ref();
    let bad = [
        Product { version: 0, ..product(1, "手机") },
        Product { title: "长".repeat(1_001), ..product(2, "") },
        Product { offers: Vec::new(), ..product(3, "手机") },
        Product { offers: offers(&[-1]), ..product(4, "手机") },
        Product { sales: u64::MAX, ..product(5, "手机") },
    ];
    let mut changes: Vec<Change> = bad.into_iter().map(put).collect();
    changes.push(put(product(6, "手机")));
    let outcomes = apply(index, &changes);
    for (at, outcome) in outcomes.iter().enumerate() {
        assert_eq!(matches!(outcome, Outcome::Rejected(_)), at < 5, "{at}: {outcome:?}");
    }
    assert_eq!(found(index, "手机"), [6]);
    let too_many = vec![Change::Remove { id: id(9), version: 1 }; CHANGES_MAX + 1];
    assert!(matches!(index.apply(&too_many, None), Err(IndexError::TooMuch(_))));
}

pub(super) fn position_is_written(make: &Make<'_>) {
    let index = built(make, Vec::new());
    assert_eq!(index.position(), Ok(Position::new("0")));
    let position = |text: &str| Position::new(text).expect("it is short");
    let step = |from: &str, to: &str| Advance { from: Some(position(from)), to: position(to) };
    let next = "分区 0: 17, \"1\": 4\n";
    index.apply(&[put(product(1, "手机"))], Some(&step("0", next))).expect("changes are applied");
    assert_eq!(index.position(), Ok(Some(position(next))));
    index.apply(&[put(product(2, "手机"))], None).expect("changes are applied");
    assert_eq!(index.position(), Ok(Some(position(next))));
    index.apply(&[], Some(&step(next, "18"))).expect("a position alone is applied");
    assert_eq!(index.position(), Ok(Some(position("18"))));
    for from in [Some(position("0")), None] {
        let stale = index.apply(&[], Some(&Advance { from, to: position("19") }));
        assert_eq!(stale, Err(IndexError::Moved), "a writer that does not know where the index is");
    }
    assert_eq!(index.position(), Ok(Some(position("18"))));
    assert_eq!(found_by_id(index.as_ref(), "手机"), [1, 2], "the position is no product");
    assert_eq!(all_versions(index.as_ref()).len(), 2);
    assert!(Position::new("x".repeat(5_000)).is_none());
}

pub(super) fn sales_change_alone(make: &Make<'_>) {
    let products = (1..=3).map(|number| Product { sales: 10 * number as u64, ..product(number, "手机") }).collect();
    let index = built(make, products);
    let index = index.as_ref();
    let by_sales = || numbers(&page(index, &SearchRequest { sort: Sort::Sales, ..SearchRequest::new("手机") }));
    assert_eq!(by_sales(), [3, 2, 1]);
    apply(index, &[put(Product { version: 5, sales: 20, ..product(2, "手机") })]);
    index.refresh_sales(&[(id(1), 1_000), (id(2), 20), (id(9), 5)]).expect("sales are refreshed");
    assert_eq!(by_sales(), [1, 3, 2]);
    assert_eq!(all_versions(index), [(1, 1), (2, 5), (3, 1)], "versions are as they were");
    assert_eq!(apply(index, &[put(product(1, "旧手机"))]), [Outcome::Older]);
    assert_eq!(apply(index, &[put(Product { version: 2, ..product(1, "新手机") })]), [Outcome::Written]);
    assert_eq!(found(index, "新手机")[0], 1);
}

pub(super) fn rebuild_replaces(make: &Make<'_>) {
    let index = built(make, vec![product(1, "旧手机"), product(2, "旧冰箱")]);
    let index = index.as_ref();
    let mut rebuild = index.rebuild().expect("a rebuild begins");
    assert!(matches!(index.rebuild().map(drop), Err(IndexError::Busy(_))), "one at a time");
    let outcomes =
        rebuild.add(vec![product(1, "新手机"), product(1, "手机"), product(3, "新电视")]).expect("products are added");
    assert_eq!(outcomes, [Outcome::Written, Outcome::Older, Outcome::Written]);
    let mut added = Vec::new();
    rebuild.versions(&mut |id, version| added.push((id.as_i64(), version))).expect("versions are listed");
    assert_eq!(added, [(1, 1), (3, 1)]);
    // Records that are appended during the build.
    let followed = [Change::Remove { id: id(4), version: 2 }, put(Product { version: 2, ..product(3, "新电脑") })];
    assert_eq!(rebuild.apply(&followed), Ok(vec![Outcome::Written, Outcome::Written]));
    assert_eq!(rebuild.apply(&[put(product(4, "新手表"))]), Ok(vec![Outcome::Older]), "a removal is kept");
    let read = rebuild.products(Some(id(2)), 10).expect("products are read");
    assert_eq!(read.iter().map(|product| &*product.title).collect::<Vec<_>>(), ["新电脑"]);

    apply(index, &[put(Product { version: 2, ..product(2, "旧音箱") })]);
    assert_eq!((found(index, "旧"), found(index, "新")), (vec![2, 1], vec![]), "searches see the old index");
    rebuild.finish(Position::new("7").as_ref()).expect("a rebuild finishes");
    assert_eq!((found(index, "旧"), found_by_id(index, "新")), (vec![], vec![1, 3]));
    assert_eq!(index.position(), Ok(Position::new("7")));
    let stale = Advance { from: Position::new("0"), to: Position::new("8").expect("it is short") };
    assert_eq!(index.apply(&[], Some(&stale)), Err(IndexError::Moved), "a writer that knows nothing of the rebuild");
    apply(index, &[put(Product { version: 2, ..product(2, "旧音箱") })]);
    assert_eq!(found(index, "旧"), [2], "the log is followed from the position of the rebuild");
    index.rebuild().map(drop).expect("another rebuild begins");
}

pub(super) fn rebuild_can_be_dropped(make: &Make<'_>) {
    let index = built(make, vec![product(1, "手机")]);
    let mut rebuild = index.rebuild().expect("a rebuild begins");
    rebuild.add(vec![product(2, "手机")]).expect("products are added");
    drop(rebuild);
    assert_eq!(found(index.as_ref(), "手机"), [1]);
    assert_eq!(index.position(), Ok(Position::new("0")));
    let mut rebuild = index.rebuild().expect("another rebuild begins");
    rebuild.add(vec![product(3, "手机")]).expect("products are added");
    rebuild.finish(None).expect("a rebuild finishes");
    assert_eq!(found(index.as_ref(), "手机"), [3], "nothing is left of the dropped one");
}

pub(super) fn versions_are_listed(make: &Make<'_>) {
    let count = 2_500;
    let number = |at: i64| at * 7_919 % 1_000_003 + 1;
    let products = (1..=count).map(|at| Product { version: at, ..product(number(at), "手机") }).collect();
    let index = built(make, products);
    let mut expected: Vec<(i64, i64)> = (1..=count).map(|at| (number(at), at)).collect();
    expected.sort_unstable();
    assert_eq!(all_versions(index.as_ref()), expected);
    index.apply(&[Change::Remove { id: id(expected[5].0), version: count + 1 }], None).expect("changes are applied");
    expected.remove(5);
    assert_eq!(all_versions(index.as_ref()), expected);
}

pub(super) fn products_are_read(make: &Make<'_>) {
    let count = 2_500;
    let number = |at: i64| at * 7_919 % 1_000_003 + 1;
    let mut products: Vec<Product> = (1..=count)
        .map(|at| Product { version: at, subtitle: format!("第{at}号"), ..product(number(at), "手机") })
        .collect();
    let index = make();
    let mut rebuild = index.rebuild().expect("a rebuild begins");
    rebuild.add(products.clone()).expect("products are added");
    products.sort_unstable_by_key(|product| product.id);
    let pages = |read: &mut dyn FnMut(Option<ProductId>, usize) -> Result<Vec<Product>, IndexError>| {
        let mut all: Vec<Product> = Vec::new();
        loop {
            let page = read(all.last().map(|product| product.id), 400).expect("products are read");
            let is_last = page.len() < 400;
            all.extend(page);
            if is_last {
                return all;
            }
        }
    };
    assert_eq!(pages(&mut |after, limit| rebuild.products(after, limit)), products, "of the second index");
    rebuild.finish(None).expect("a rebuild finishes");
    assert_eq!(pages(&mut |after, limit| index.products(after, limit)), products);

    index.apply(&[Change::Remove { id: products[5].id, version: count + 1 }], None).expect("changes are applied");
    products.remove(5);
    products[7] = Product { version: count + 1, title: "电视".to_owned(), ..products[7].clone() };
    index.apply(&[put(products[7].clone())], None).expect("changes are applied");
    assert_eq!(pages(&mut |after, limit| index.products(after, limit)), products);
    let last = products.last().map(|product| product.id);
    assert_eq!(index.products(last, 10), Ok(vec![]));
    assert!(matches!(index.products(None, PRODUCTS_MAX + 1), Err(IndexError::TooMuch(_))));
}
