//! The modules of bench import each other without a circle.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// For each top module, the top modules that it names after `crate::`.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let mut imports = BTreeMap::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names = BTreeSet::new();
        read(&path, &mut names);
        names.remove(&name);
        imports.insert(name, names);
    }
    imports
}

fn read(path: &Path, names: &mut BTreeSet<String>) {
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| read(&entry.unwrap().path(), names));
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    // Tests may use anything.
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    for (_, rest) in code.match_indices("crate::").map(|(at, found)| code.split_at(at + found.len())) {
        if let Some(list) = rest.strip_prefix('{') {
            // The names at the beginning of each item of `use crate::{...}`.
            let mut depth = 0;
            let mut item = String::new();
            for letter in list.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.extend(word(&std::mem::take(&mut item))),
                    letter => item.push(letter),
                }
            }
            names.extend(word(&item));
        } else {
            names.extend(word(rest));
        }
    }
}

fn word(text: &str) -> Option<String> {
    let word: String = text.trim().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    (!word.is_empty()).then_some(word)
}

#[test]
fn no_module_imports_itself_through_others() {
    let mut imports = imports();
    assert!(imports["sale"].contains("crowd") && imports["crowd"].contains("load"), "{imports:?}");
    // Modules that import nothing that is left go, until none is left.
    while !imports.is_empty() {
        let leaves: Vec<String> = imports
            .iter()
            .filter(|(_, names)| !names.iter().any(|name| imports.contains_key(name)))
            .map(|(name, _)| name.clone())
            .collect();
        assert!(!leaves.is_empty(), "a circle among {imports:?}");
        imports.retain(|name, _| !leaves.contains(name));
    }
}
