//! The diagram of the database is the database.

use std::{collections::BTreeSet, path::Path};

use store::{Ids, Settings, Store};

/// The file whose first Mermaid `erDiagram` is compared, from this package's directory.
const DIAGRAM: &str = "../../ARCHITECTURE.md";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_diagram_is_the_migrated_database() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings::new(1000);
    let ids = Ids::new(|| Ok::<_, String>(1));
    let store = Store::open(&directory.path().join("mall.db"), ids, settings).await.unwrap();
    let migrated: BTreeSet<_> = store.columns().await.unwrap().into_iter().collect();
    let drawn = drawn(&std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(DIAGRAM)).unwrap());
    assert!(migrated.len() > 100, "the database has tables");
    let only = |one: &BTreeSet<_>, other| one.difference(other).cloned().collect::<Vec<_>>();
    assert_eq!((only(&migrated, &drawn), only(&drawn, &migrated)), (Vec::new(), Vec::new()));
}

/// The (table, column, type) triples of the first `erDiagram` in `text`.
fn drawn(text: &str) -> BTreeSet<(String, String, String)> {
    let diagram =
        text.split("```mermaid\nerDiagram\n").nth(1).expect("a diagram").split("```").next().expect("its end");
    let mut columns = BTreeSet::new();
    let mut table = None;
    for line in diagram.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (table, words.as_slice()) {
            (None, [name, "{"]) => table = Some((*name).to_owned()),
            (Some(_), ["}"]) => table = None,
            (Some(name), [kind, column, ..]) => {
                columns.insert((name.clone(), (*column).to_owned(), (*kind).to_owned()));
                table = Some(name);
            }
            (other, _) => table = other,
        }
    }
    columns
}
