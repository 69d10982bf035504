//! The embedded index: the suite, and what only a directory can suffer.
#![expect(clippy::unwrap_used, reason = "a test may end so")]

use std::{cell::RefCell, collections::HashSet, fs, path::Path};

use search::{
    Advance, Analyzer, Change, Embedded, IndexError, Outcome, Position, SearchIndex, SearchRequest, State, Synonyms,
    conformance, generator,
};

fn open(path: &Path) -> Embedded {
    Embedded::open(path, Analyzer::shared().clone()).unwrap()
}

#[test]
fn it_does_what_every_index_must() {
    let dirs = RefCell::new(Vec::new());
    conformance::run(&|| {
        let dir = tempfile::tempdir().unwrap();
        let index = open(dir.path());
        dirs.borrow_mut().push(dir);
        Box::new(index)
    });
}

/// A directory with an index of 100 products.
fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let mut rebuild = index.rebuild().unwrap();
    rebuild.add(generator::products(3, 100).into_iter().map(|item| item.product).collect()).unwrap();
    rebuild.finish(Position::new("5").as_ref()).unwrap();
    dir
}

fn count(index: &Embedded) -> usize {
    let mut count = 0;
    index.versions(&mut |_, _| count += 1).unwrap();
    count
}

/// The file with the products.
fn file(dir: &Path) -> std::path::PathBuf {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    names.into_iter().find(|path| path.extension().is_some_and(|end| end == "db")).unwrap()
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    let dir = filled();
    let index = open(dir.path());
    let first = generator::products(3, 1).remove(0).product;
    let removed = Change::Remove { id: first.id, version: 9 };
    let step = Advance { from: Position::new("5"), to: Position::new("6").unwrap() };
    assert_eq!(index.apply(&[removed], Some(&step)).unwrap(), [Outcome::Written]);
    index.refresh_sales(&[(generator::products(3, 2).remove(1).product.id, 77)]).unwrap();
    let hits = |index: &Embedded| index.search(&SearchRequest::new("手机")).unwrap();
    let before = hits(&index);
    drop(index);
    let index = open(dir.path());
    assert_eq!(hits(&index), before);
    assert_eq!(index.position().unwrap(), Position::new("6"));
    assert_eq!(count(&index), 99);
    assert_eq!(index.apply(&[Change::Put(Box::new(first))], None).unwrap(), [Outcome::Older], "it stays removed");
}

#[test]
fn a_directory_has_one_owner() {
    let dir = filled();
    let index = open(dir.path());
    let error = Embedded::open(dir.path(), Analyzer::shared().clone()).unwrap_err();
    assert!(matches!(&error, IndexError::Busy(reason) if reason.contains("another process")), "{error}");
    drop(index);
    open(dir.path());
}

#[test]
fn a_damaged_index_must_be_rebuilt() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 9] = [
        ("a missing file", |dir| fs::remove_file(file(dir)).unwrap()),
        ("an empty file", |dir| fs::write(file(dir), "").unwrap()),
        ("a file of something else", |dir| fs::write(file(dir), "no database ".repeat(1_000)).unwrap()),
        ("half of the file", |dir| {
            let bytes = fs::read(file(dir)).unwrap();
            fs::write(file(dir), &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("a page of zeros", |dir| {
            let mut bytes = fs::read(file(dir)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle..middle + 4_096].fill(0);
            fs::write(file(dir), bytes).unwrap();
        }),
        ("a letter in a title", |dir| {
            let mut bytes = fs::read(file(dir)).unwrap();
            // One of them may be in a part of the file that is free.
            let titles: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"\"title\":")).collect();
            titles.into_iter().for_each(|at| bytes[at + 10] ^= 1);
            fs::write(file(dir), bytes).unwrap();
        }),
        ("a byte of a title that is no UTF-8", |dir| {
            let mut bytes = fs::read(file(dir)).unwrap();
            let titles: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"\"title\":")).collect();
            titles.into_iter().for_each(|at| bytes[at + 10] = 0xff);
            fs::write(file(dir), bytes).unwrap();
        }),
        ("a name that is no number", |dir| fs::write(dir.join("current"), "x").unwrap()),
        ("no name", |dir| fs::remove_file(dir.join("current")).unwrap()),
    ];
    for (what, damage) in damages {
        let dir = filled();
        damage(dir.path());
        let index = open(dir.path());
        assert!(matches!(index.state(), Ok(State::NeedsRebuild { .. })), "{what}: {:?}", index.state());
        let mut rebuild = index.rebuild().unwrap();
        rebuild.add(generator::products(3, 50).into_iter().map(|item| item.product).collect()).unwrap();
        rebuild.finish(None).unwrap();
        assert_eq!((index.state(), count(&index)), (Ok(State::Ready), 50), "{what}");
        drop(index);
        assert_eq!(count(&open(dir.path())), 50, "{what}");
    }
}

#[test]
fn what_a_rebuild_left_is_removed() {
    let dir = filled();
    fs::write(dir.path().join("products-99.db"), "half a rebuild").unwrap();
    let index = open(dir.path());
    assert_eq!(count(&index), 100);
    assert!(!dir.path().join("products-99.db").exists());
    index.rebuild().unwrap().finish(None).unwrap();
    assert_eq!(
        fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "db"))
            .count(),
        1
    );
}

#[test]
fn numbers_of_old_versions_are_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    index.rebuild().unwrap().finish(None).unwrap();
    let items = generator::products(5, 400);
    let mut sizes = Vec::new();
    for version in 1..=12 {
        let changes: Vec<Change> = items
            .iter()
            .map(|item| Change::Put(Box::new(search::Product { version, ..item.product.clone() })))
            .collect();
        index.apply(&changes, None).unwrap();
        sizes.push(index.size().unwrap());
    }
    assert!(sizes.iter().all(|size| size.products == 400), "{sizes:?}");
    let most = sizes.iter().map(|size| size.memory_bytes).max().unwrap();
    assert!(most < 6 * sizes[0].memory_bytes, "{sizes:?}");
    let fresh_dir = tempfile::tempdir().unwrap();
    let fresh = open(fresh_dir.path());
    let mut rebuild = fresh.rebuild().unwrap();
    rebuild.add(items.iter().map(|item| search::Product { version: 12, ..item.product.clone() }).collect()).unwrap();
    rebuild.finish(None).unwrap();
    for q in ["手机", "华为手机", "shouji", "samsnug", "智能手", "hwsj", "连衣裙 红色"] {
        let request = SearchRequest { facets: true, ..SearchRequest::new(q) };
        assert_eq!(index.search(&request).unwrap(), fresh.search(&request).unwrap(), "{q}");
    }
}

#[test]
fn synonyms_are_found() {
    let (synonyms, errors) = Synonyms::parse("cellphone, 手机\n移动 电源 => 充电宝\n");
    assert!(errors.is_empty());
    let dir = tempfile::tempdir().unwrap();
    let items = generator::products(3, 300);
    let index = Embedded::open(dir.path(), Analyzer::new(synonyms)).unwrap();
    let mut rebuild = index.rebuild().unwrap();
    rebuild.add(items.iter().map(|item| item.product.clone()).collect()).unwrap();
    rebuild.finish(None).unwrap();
    let categories = |q: &str| -> HashSet<String> {
        let page = index.search(&SearchRequest { limit: 5, ..SearchRequest::new(q) }).unwrap();
        page.hits.iter().map(|hit| hit.product.categories.last().unwrap().name.clone()).collect()
    };
    assert_eq!(categories("cellphone"), HashSet::from(["手机".to_owned()]));
    assert_eq!(categories("移动电源"), HashSet::from(["充电宝".to_owned()]));
    let hits = index.search(&SearchRequest::new("cellphone")).unwrap().hits;
    assert!(hits.iter().any(|hit| hit.title.iter().any(|piece| piece.matched && piece.text.contains("手机"))));
}

#[test]
fn the_shops_synonyms_find_other_forms_of_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let items = generator::products(3, 2_000);
    let index = Embedded::open(dir.path(), Analyzer::new(Synonyms::shop())).unwrap();
    let mut rebuild = index.rebuild().unwrap();
    rebuild.add(items.iter().map(|item| item.product.clone()).collect()).unwrap();
    rebuild.finish(None).unwrap();
    let found = |q: &str| index.search(&SearchRequest::new(q)).unwrap().total;
    assert_eq!(found("power bank"), found("power banks"));
    for (q, category) in [
        ("laptop", "笔记本电脑"),
        ("Laptops", "笔记本电脑"),
        ("headphone", "耳机"),
        ("earphone", "耳机"),
        ("earphones", "耳机"),
    ] {
        let page = index.search(&SearchRequest { limit: 5, ..SearchRequest::new(q) }).unwrap();
        assert!(!page.hits.is_empty(), "{q} finds nothing");
        for hit in page.hits {
            assert!(
                hit.product.title.contains(category)
                    || hit.product.categories.iter().any(|c| c.name.contains(category)),
                "{q}: {}",
                hit.product.title
            );
        }
    }
}

#[test]
fn a_synonym_that_is_composed_is_found_by_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let mut product = generator::products(3, 1).remove(0).product;
    product.title = "云帆 Air 14 轻便电脑".to_owned();
    let index = Embedded::open(dir.path(), Analyzer::new(Synonyms::parse("laptop, 轻便型电脑").0)).unwrap();
    let mut rebuild = index.rebuild().unwrap();
    rebuild.add(vec![product]).unwrap();
    rebuild.finish(None).unwrap();
    for q in ["轻便型电脑", "laptop"] {
        assert_eq!(index.search(&SearchRequest::new(q)).unwrap().total, 1, "{q}");
    }
}
