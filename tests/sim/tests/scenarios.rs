//! The table of scenarios names tests that exist.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::{collections::BTreeSet, fs, path::Path};

/// What stands between backquotes, in its order.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// How many tests `proof` names, each after the file that has it.
fn named_tests(root: &Path, name: &str, proof: &str) -> usize {
    let (mut file, mut tests) = (None, 0);
    for word in quoted(proof) {
        if word.ends_with(".rs") {
            file = Some(fs::read_to_string(root.join(word)).unwrap_or_else(|error| panic!("{name}: {word}: {error}")));
        } else if !word.contains(' ') {
            let text = file.as_ref().unwrap_or_else(|| panic!("{name}: {word} is in no file"));
            let is_there = ["(", "<"].iter().any(|next| text.contains(&format!("fn {word}{next}")));
            let is_there = is_there || text.contains(&format!("{word} =>"));
            assert!(is_there, "{name}: there is no test {word}");
            tests += 1;
        }
    }
    tests
}

/// Each cell of the table in docs/failures.md, but for those of the last row.
#[test]
fn every_failure_that_is_survived_names_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().parent().unwrap();
    let page = fs::read_to_string(root.join("docs/failures.md")).unwrap();
    let (_, table) = page.split_once("| lost |").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 5, "{} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for cell in &cells[2..4] {
            let tests = named_tests(root, cells[1], cell);
            assert!(tests > 0 || *cell == "not promised", "{}: {cell}", cells[1]);
        }
    }
}

#[test]
fn every_scenario_names_its_tests() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(here.join("SCENARIOS.md")).unwrap();
    let root = here.parent().unwrap().parent().unwrap();
    let mut named = BTreeSet::new();
    for row in
        table.lines().filter(|line| line.starts_with("| C") || line.starts_with("| S") || line.starts_with("| H"))
    {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (name, proof) = (cells[1], cells[3]);
        assert!(named.insert(name.to_owned()), "{name} is there twice");
        let tests = named_tests(root, name, proof);
        assert!(tests > 0 || proof.contains("missing"), "{name} names neither a test nor what is missing");
    }
    let numbered = |letter: &str, count: u32| (1..=count).map(|number| format!("{letter}{number}")).collect::<Vec<_>>();
    let all = [numbered("C", 12), numbered("S", 1), numbered("H", 6), numbered("CE", 13)].concat();
    assert_eq!(named, all.into_iter().collect());
}
