//! Nothing but `Store::write` writes to the database, and each of its names belongs to one call.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use store::Write;

/// Files that may use the pool of connections that write. Only one of them begins transactions; the others open the
/// pool, close it, and replace its connections.
const POOL_FILES: [&str; 4] = ["connect.rs", "db.rs", "server.rs", "tx/write.rs"];

/// The source files by their path below `src`, without tests.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut directories: Vec<PathBuf> = vec![root.clone()];
    let mut sources = BTreeMap::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if name.starts_with("tests") {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else {
                sources.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    assert!(sources.len() > 20, "the sources of the store");
    sources
}

#[test]
fn each_name_belongs_to_one_call() {
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for (file, text) in sources().into_iter().filter(|(file, _)| !file.starts_with("tx")) {
        // A handle of an area has the store as its field.
        let text = text.split_whitespace().collect::<String>().replace("self.store.write(", "self.write(");
        for rest in text.split("self.write(Write::").skip(1) {
            *calls.entry(rest.chars().take_while(char::is_ascii_alphanumeric).collect()).or_default() += 1;
        }
        let (named, called) = (text.matches("Write::").count(), text.matches("self.write(Write::").count());
        assert_eq!(named, called, "{file} names writes elsewhere than in calls");
    }
    let expected = Write::ALL.iter().map(|write| (format!("{write:?}"), 1)).collect();
    assert_eq!(calls, expected);
}

#[test]
fn only_the_write_path_begins_a_transaction_that_writes() {
    for (name, text) in sources() {
        assert!(!text.contains(".writers") || POOL_FILES.contains(&&*name), "{name} uses the pool that writes");
        assert!(!text.contains("begin_write") || name == "tx/write.rs", "{name} begins a transaction that writes");
        let executed = text.matches(".execute(self.readers())").count();
        assert!(executed <= usize::from(name == "db.rs"), "{name} executes statements on the connections that read");
    }
}
