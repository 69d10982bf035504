//! Which files of a crate name items of which others, and the circles among them.
//!
//! A parent module and the modules within it are one thing: only files that are not within each other count. A name that
//! a module passes on with `pub use` counts for the file that has the item.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::blank;

/// A module's path from the root of the crate.
type Module = Vec<String>;

/// The modules of one crate, by their paths.
pub(crate) struct Crate {
    modules: BTreeMap<Module, Code>,
}

struct Code {
    /// Paths that it names.
    named: Vec<Vec<String>>,
    /// Names that it passes on, with their paths.
    passed_on: BTreeMap<String, Vec<String>>,
}

impl Crate {
    /// The crate whose root is the file `root`; `text` reads a file, if there is one.
    pub(crate) fn read(root: &str, text: &impl Fn(&str) -> Option<String>) -> Self {
        let mut modules = BTreeMap::new();
        let mut open = vec![(Module::new(), root.to_owned())];
        while let Some((module, path)) = open.pop() {
            let code = without_tests(&String::from_utf8_lossy(&blank(&text(&path).unwrap_or_default())));
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let within = match name {
                "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
                _ => path.trim_end_matches(".rs").to_owned(),
            };
            for child in declared(&code) {
                let places = [format!("{within}/{child}.rs"), format!("{within}/{child}/mod.rs")];
                let place = places.into_iter().find(|place| text(place).is_some());
                open.extend(place.map(|place| ([module.clone(), vec![child]].concat(), place)));
            }
            modules.insert(module, Code::read(&code));
        }
        Self { modules }
    }

    /// Groups of modules that name each other, each with its modules in the order of their paths.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        let names: BTreeMap<&Module, BTreeSet<&Module>> =
            self.modules.iter().map(|(module, code)| (module, self.named_by(module, code))).collect();
        let reach: BTreeMap<&Module, BTreeSet<&Module>> =
            names.keys().map(|module| (*module, reached(module, &names))).collect();
        let mut circles = BTreeSet::new();
        for (module, reached) in &reach {
            let circle: Vec<String> =
                reached.iter().filter(|other| reach[*other].contains(module)).map(|one| one.join("::")).collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    fn named_by(&self, module: &Module, code: &Code) -> BTreeSet<&Module> {
        let targets = code.named.iter().filter_map(|path| self.home(self.absolute(module, path)?));
        targets.filter(|other| !other.starts_with(module) && !module.starts_with(other)).collect()
    }

    /// `path` from the root of the crate, if it leads into the crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let supers = path.iter().take_while(|part| *part == "super").count();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([module, &path[1..]].concat()),
            "super" => Some([module.get(..module.len().checked_sub(supers)?)?, &path[supers..]].concat()),
            child => {
                let within = [module.as_slice(), &[child.to_owned()]].concat();
                self.modules.contains_key(&within).then(|| [module, path].concat())
            }
        }
    }

    /// The module that has the item at `path`.
    fn home(&self, mut path: Vec<String>) -> Option<&Module> {
        // A chain of names that are passed on is short; one that has no end is no Rust.
        for _ in 0..8 {
            let length = (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
            let (module, code) = self.modules.get_key_value(&path[..length])?;
            let Some(passed_on) = path.get(length).and_then(|name| code.passed_on.get(name)) else {
                return Some(module);
            };
            match self.absolute(module, passed_on) {
                Some(next) => path = [next, path[length + 1..].to_vec()].concat(),
                None => return Some(module),
            }
        }
        None
    }
}

fn reached<'a>(start: &Module, names: &BTreeMap<&'a Module, BTreeSet<&'a Module>>) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&Module> = names[start].iter().copied().collect();
    while let Some(module) = open.pop() {
        if found.insert(module) {
            open.extend(&names[module]);
        }
    }
    found
}

impl Code {
    fn read(code: &str) -> Self {
        let (mut named, mut passed_on) = (Vec::new(), BTreeMap::new());
        let mut rest = code.to_owned();
        for (start, tree) in uses(code) {
            let before = code[..start].trim_end();
            let is_public = before.ends_with("pub") || before.ends_with(')') && before.contains("pub(");
            for (path, name) in expand(&tree, &[]) {
                if is_public {
                    passed_on.insert(name, path.clone());
                }
                named.push(path);
            }
            rest.replace_range(start..start + "use ".len() + tree.len(), &" ".repeat("use ".len() + tree.len()));
        }
        named.extend(paths(&rest));
        Self { named, passed_on }
    }
}

/// `use` items: where each begins, and its tree.
fn uses(code: &str) -> Vec<(usize, String)> {
    let starts = code.match_indices("use ").map(|(at, _)| at);
    let begins = |at: usize| code[..at].chars().next_back().is_none_or(|before| before.is_whitespace());
    let tree = |at: usize| Some((at, code[at + 4..].split_once(';')?.0.to_owned()));
    starts.filter(|at| begins(*at)).filter_map(tree).collect()
}

/// The paths of a tree of `use`, each with the name that it gets.
fn expand(tree: &str, before: &[String]) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    let words =
        |text: &str| text.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    if let Some((path, branches)) = tree.split_once('{') {
        let own: Vec<String> = words(path);
        let before = [before, &own].concat();
        let branches = branches.trim_end().strip_suffix('}').unwrap_or(branches);
        return branches_of(branches).iter().flat_map(|branch| expand(branch, &before)).collect();
    }
    let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name.trim())));
    let own: Vec<String> = words(path);
    let mut path = [before, &own].concat();
    if path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = name.map(str::to_owned).or_else(|| path.last().cloned());
    name.map(|name| (path, name)).into_iter().collect()
}

/// The parts between the outer commas.
fn branches_of(text: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0_usize, vec![String::new()]);
    for letter in text.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match parts.last_mut() {
            Some(_) if letter == ',' && depth == 0 => parts.push(String::new()),
            Some(part) => part.push(letter),
            None => {}
        }
    }
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect()
}

/// Paths in expressions and types.
fn paths(code: &str) -> Vec<Vec<String>> {
    let inner = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c: char| !inner(c)).filter(|word| word.contains("::"));
    words.map(|word| word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()).collect()
}

/// Names of modules that have files of their own.
fn declared(code: &str) -> Vec<String> {
    let lines = code.lines().filter_map(|line| line.trim().strip_suffix(';'));
    let names = lines.filter_map(|line| {
        line.split_once("mod ")
            .filter(|(before, _)| before.is_empty() || before.starts_with("pub") && before.ends_with([' ', ')']))
    });
    names.map(|(_, name)| name.trim().to_owned()).collect()
}

/// `code` without what is compiled for tests only.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let (mut rest, mut kept) = (code, String::new());
    while let Some((before, after)) = rest.split_once(MARK) {
        kept += before;
        let mut depth = 0_usize;
        let end = after.char_indices().find_map(|(at, letter)| {
            match letter {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            (depth == 0 && matches!(letter, ';' | '}')).then_some(at + 1)
        });
        rest = &after[end.unwrap_or(after.len())..];
    }
    kept + rest
}

#[test]
fn circles_are_found() {
    let check = |files: &[(&str, &str)], expect: &[&[&str]]| {
        let text = |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
        assert_eq!(Crate::read("src/lib.rs", &text).circles(), expect, "{files:?}");
    };
    let root = ("src/lib.rs", "mod a;\npub(crate) mod b;\npub use b::B;\n#[cfg(test)]\nmod tests;\n");
    check(&[root, ("src/a.rs", "use crate::b::B;"), ("src/b.rs", "struct B;")], &[]);
    check(&[root, ("src/a.rs", "use crate::b::B;"), ("src/b.rs", "fn f() { super::a::f() }")], &[&["a", "b"]]);
    // Through the name that the root passes on.
    check(&[root, ("src/a.rs", "use crate::{B as C, x};"), ("src/b.rs", "use crate::a;")], &[&["a", "b"]]);
    // What comments, texts and tests name does not count.
    let quiet = "// use crate::a;\nconst T: &str = \"crate::a\";\n#[cfg(test)]\nmod tests {\n    use crate::a;\n}\n";
    check(&[root, ("src/a.rs", "use crate::b::B;"), ("src/b.rs", quiet)], &[]);
    // A module within another one may use it.
    let inner = [("src/a.rs", "mod c;\nuse c::C;\nstruct A;"), ("src/a/c.rs", "use super::A;"), ("src/b.rs", "")];
    check(&[root, inner[0], inner[1], inner[2]], &[]);
    let nested = ("src/a.rs", "mod c;\nmod d;\n");
    let (c, d) = (("src/a/c.rs", "use super::d::{self, D};"), ("src/a/d.rs", "use super::c::C;"));
    check(&[root, nested, c, d, ("src/b.rs", "")], &[&["a::c", "a::d"]]);
}
