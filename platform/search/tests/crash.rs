//! kill -9 of a process in the middle of its writes.
#![expect(clippy::unwrap_used, reason = "a test may end so")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use contract::ids::ProductId;
use search::{Advance, Analyzer, Change, Embedded, Position, Product, SearchIndex, SearchRequest, State, generator};

/// Where the child writes; set for the child alone.
const DIR: &str = "SEARCH_CRASH_DIR";
const PRODUCTS: i64 = 300;
const BATCH: i64 = 25;
const KILLS: u32 = 3;
const CHANGES: i64 = 10_000;

fn open(path: &Path) -> Embedded {
    Embedded::open(path, Analyzer::shared().clone()).unwrap()
}

/// The change with this number in the log.
fn change(number: i64, shelf: &[Product]) -> Change {
    let product = &shelf[usize::try_from(number * 7 % PRODUCTS).unwrap()];
    if number % 11 == 0 {
        return Change::Remove { id: product.id, version: number };
    }
    Change::Put(Box::new(Product {
        version: number,
        title: format!("{} 第{number}版", product.title),
        ..product.clone()
    }))
}

fn shelf() -> Vec<Product> {
    generator::products(9, usize::try_from(PRODUCTS).unwrap()).into_iter().map(|item| item.product).collect()
}

/// Where the index says that it is in the log.
fn position(index: &Embedded) -> i64 {
    index.position().unwrap().map_or(0, |position| position.as_str().parse().unwrap())
}

/// The child: follows the log from where the index says, and reports each position that was acknowledged.
#[test]
fn follower() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let shelf = shelf();
    let index = open(Path::new(&dir));
    let mut at = position(&index);
    while at < CHANGES {
        let end = (at + BATCH).min(CHANGES);
        let changes: Vec<Change> = (at + 1..=end).map(|number| change(number, &shelf)).collect();
        let step = Advance { from: index.position().unwrap(), to: Position::new(end.to_string()).unwrap() };
        index.apply(&changes, Some(&step)).unwrap();
        println!("acknowledged {end}");
        at = end;
    }
}

fn start(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "follower", "--nocapture", "--test-threads=1"]).env(DIR, dir);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Reads what the child reports until it has acknowledged `end`; the last it acknowledged.
fn follow(child: &mut Child, end: i64) -> i64 {
    let mut last = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some((_, number)) = line.unwrap().split_once("acknowledged ") {
            last = number.parse().unwrap();
            if last >= end {
                break;
            }
        }
    }
    last
}

/// What the log up to `end` says.
fn replayed(end: i64) -> BTreeMap<ProductId, i64> {
    let shelf = shelf();
    let mut versions = BTreeMap::new();
    for number in 1..=end {
        match change(number, &shelf) {
            Change::Put(product) => versions.insert(product.id, product.version),
            Change::Remove { id, .. } => versions.remove(&id),
        };
    }
    versions
}

fn check(index: &Embedded, at: i64) {
    let mut versions = BTreeMap::new();
    index.versions(&mut |id, version| assert!(versions.insert(id, version).is_none(), "{id} is listed twice")).unwrap();
    assert_eq!(versions, replayed(at), "the index is not the log up to its position {at}");
    // Words and versions belong together.
    for (id, version) in versions.iter().take(20) {
        let page = index.search(&SearchRequest { limit: 100, ..SearchRequest::new(format!("第{version}版")) }).unwrap();
        assert!(page.hits.iter().any(|hit| hit.product.id == *id && hit.product.version == *version), "{version}");
    }
}

#[test]
fn what_was_acknowledged_survives() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).rebuild().unwrap().finish(None).unwrap();
    let mut acknowledged = 0;
    for kill in 0..KILLS {
        let mut child = start(dir.path());
        let last = follow(&mut child, acknowledged + 1_000 + i64::from(kill) * 525);
        // The child goes on writing until the signal reaches it.
        child.kill().unwrap();
        child.wait().unwrap();
        let index = open(dir.path());
        assert_eq!(index.state(), Ok(State::Ready));
        let at = position(&index);
        assert!(at >= last && last > acknowledged && at < CHANGES, "{last} was acknowledged, {at} is there");
        check(&index, at);
        acknowledged = last;
    }
    let mut child = start(dir.path());
    assert_eq!(follow(&mut child, i64::MAX), CHANGES, "it is read to its end");
    assert!(child.wait().unwrap().success());
    let index = open(dir.path());
    assert_eq!(position(&index), CHANGES);
    check(&index, CHANGES);
}

#[test]
fn a_rebuild_that_is_killed_leaves_the_old_index() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let mut rebuild = index.rebuild().unwrap();
    rebuild.add(shelf()).unwrap();
    rebuild.finish(Position::new("1").as_ref()).unwrap();
    // What a process leaves that is killed after its rebuild wrote its file and before it is in place.
    let mut rebuild = index.rebuild().unwrap();
    rebuild.add(shelf().into_iter().take(10).collect()).unwrap();
    std::mem::forget(rebuild);
    drop(index);
    let index = open(dir.path());
    let mut count = 0;
    index.versions(&mut |_, _| count += 1).unwrap();
    assert_eq!((count, position(&index)), (PRODUCTS, 1));
}
