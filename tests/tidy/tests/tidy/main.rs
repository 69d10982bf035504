//! The rules of the repository. A rule that isn't checked is a wish.
#![expect(clippy::unwrap_used, reason = "a test may end so, its helpers too")]

mod imports;
mod repo;
mod source;

use std::{fmt::Display, sync::LazyLock};

use repo::{Package, Repo};

/// Lines of a Rust file, at most. Beyond 500 there is a reason at its head.
const FILE_LINES_MAX: usize = 800;
/// Lines of a function, at most. Beyond 70 there is a reason at its head.
const FUNCTION_LINES_MAX: usize = 100;

/// What a package of the workspace may be built from.
enum Uses {
    /// These packages of the workspace.
    Only(&'static [&'static str]),
    /// Any of them: it puts the services together.
    All,
}

const PACKAGES: &[(&str, Uses)] = &[
    ("contract", Uses::Only(&[])),
    ("commit-log", Uses::Only(&["contract", "foundation"])),
    ("foundation", Uses::Only(&["contract"])),
    ("web", Uses::Only(&["contract", "foundation"])),
    ("ledger", Uses::Only(&["contract", "commit-log", "foundation"])),
    ("limits", Uses::Only(&["contract", "foundation", "web"])),
    ("gateway-core", Uses::Only(&["contract"])),
    ("gateway", Uses::Only(&["contract", "commit-log", "foundation", "gateway-core", "ledger"])),
    ("images", Uses::Only(&["contract", "foundation"])),
    ("search", Uses::Only(&["contract"])),
    ("pay", Uses::Only(&["contract"])),
    ("domain", Uses::Only(&["contract"])),
    ("store", Uses::Only(&["contract", "domain", "foundation", "limits"])),
    ("workers", Uses::Only(&["contract", "commit-log", "domain", "foundation", "ledger"])),
    (
        "order-core",
        Uses::Only(&[
            "contract",
            "commit-log",
            "domain",
            "foundation",
            "images",
            "ledger",
            "limits",
            "pay",
            "search",
            "shop",
            "store",
            "web",
            "workers",
        ]),
    ),
    (
        "admin",
        Uses::Only(&[
            "contract",
            "commit-log",
            "domain",
            "foundation",
            "images",
            "ledger",
            "limits",
            "pay",
            "store",
            "web",
        ]),
    ),
    ("baselines", Uses::Only(&["contract"])),
    ("bench", Uses::Only(&["contract", "foundation", "ledger", "search", "services"])),
    ("services", Uses::Only(&[])),
    ("shop", Uses::Only(&[])),
    ("standalone", Uses::All),
    ("sim", Uses::Only(&["contract", "commit-log", "domain", "foundation", "gateway-core", "ledger", "workers"])),
    ("support", Uses::Only(&["contract", "commit-log", "foundation", "ledger"])),
    ("tidy", Uses::Only(&[])),
];

/// Packages that the tests of every other package may use as well.
const LIBRARIES: &[&str] =
    &["contract", "commit-log", "domain", "foundation", "ledger", "services", "store", "support"];

/// What a package without IO may not be built from.
const RUNTIMES: &[&str] =
    &["tokio", "tokio-util", "monoio", "glommio", "may", "may_minihttp", "mio", "redis", "hyper", "axum", "sqlx"];
const SANS_IO: &[&str] = &["contract", "domain", "gateway-core"];
/// Packages that may not use tokio's runtime, sockets and timers, so that the simulation can run them.
const SANS_RUNTIME: &[&str] = &["workers", "sim"];
/// Features of tokio that need no runtime.
const PLAIN_TOKIO: &[&str] = &["macros", "sync"];
/// What the simulation is not built from, by any way.
const NOT_SIMULATED: &[&str] = &["axum", "hyper", "sqlx", "sqlx-core"];

/// Pins threads, and says at each place why that is sound.
const MAY_BE_UNSAFE: &[&str] = &["gateway"];

const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

/// Circles that are left, by the root of their crate and one of their modules. Mend one, and delete its line here.
const KNOWN_CIRCLES: &[(&str, &str)] = &[
    ("admin/src/lib.rs", "pages::frame"),
    ("order-core/store/src/lib.rs", "db"),
    ("admin/src/lib.rs", "pages::bulk"),
    ("order-core/pay/src/lib.rs", "trade"),
    ("platform/service/src/lib.rs", "config::layers"),
    ("order-core/store/src/lib.rs", "orders::moves"),
];

/// A word that no Rust file has, and what to do instead. In two pieces, since this is a Rust file.
const WORDS: &[(&str, &str, &str)] = &[
    ("to", "do!", "write it"),
    ("unimple", "mented!", "write it"),
    ("FIX", "ME", "fix it, or open an issue"),
    ("X", "XX", "fix it, or open an issue"),
    ("#[ign", "ore", "a test that isn't run proves nothing: make it run, or delete it"),
];

/// Words that a reader has to translate, and what to say instead. In two pieces, since this file is tracked.
const DIALECT: &[(&str, &str, &str)] = &[
    ("an", "ew", "again, or what happens: it is rebuilt, replaced, started over"),
    ("who", "ever", "name who: the caller, a client, another process"),
    ("so ma", "ny", "this many, or the number's name"),
    ("bea", "rs", "tolerates, accepts, has"),
    ("stand th", "ere", "are in this state, occur"),
    ("stands th", "ere", "is in this state, occurs"),
    ("stands a", "t", "is at, has the value"),
    ("stands i", "n", "is in"),
    ("stands o", "n", "is on, is built on"),
];

/// Directories of one machine, which no other has. In two pieces, since this file is tracked.
const MACHINE_PATHS: &[(&str, &str)] = &[("/wo", "rk/"), ("/ho", "me/"), ("/ro", "ot/")];

static REPO: LazyLock<Repo> = LazyLock::new(Repo::read);

struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, path: &str, line: usize, what: impl Display) {
        self.0.push(format!("{path}:{line}: {what}"));
    }
}

/// Fails with every fault that `rule` finds.
fn hold(rule: impl FnOnce(&Repo, &mut Faults)) {
    let mut faults = Faults(Vec::new());
    rule(&REPO, &mut faults);
    assert!(faults.0.is_empty(), "\n{}\n", faults.0.join("\n"));
}

#[test]
fn files_are_short() {
    hold(|repo, faults| {
        for file in repo.files.iter().filter(|file| file.is_rust()) {
            let lines = file.text.lines().count();
            if lines > FILE_LINES_MAX {
                faults.add(&file.path, lines, format!("over {FILE_LINES_MAX} lines: split it at a seam"));
            }
        }
    });
}

#[test]
fn functions_are_short() {
    hold(|repo, faults| {
        for file in repo.files.iter().filter(|file| file.is_rust()) {
            for function in source::functions(&file.text) {
                if function.lines > FUNCTION_LINES_MAX {
                    let (name, lines) = (function.name, function.lines);
                    let what = format!("fn {name} has {lines} lines, over {FUNCTION_LINES_MAX}: take a step out of it");
                    faults.add(&file.path, function.line, what);
                }
            }
        }
    });
}

#[test]
fn dependencies_point_one_way() {
    hold(|repo, faults| {
        let in_workspace = |name: &&String| repo.packages.iter().any(|package| package.name == **name);
        for package in &repo.packages {
            let Some((_, uses)) = PACKAGES.iter().find(|(name, _)| *name == package.name) else {
                let what = "a package that the rules don't know: say in tests/tidy what it may be built from";
                faults.add(&package.manifest, line_of(repo, package, "name"), what);
                continue;
            };
            let Uses::Only(allowed) = uses else { continue };
            for name in package.dependencies.iter().filter(in_workspace) {
                if !allowed.contains(&name.as_str()) {
                    let what = format!("{} may not be built from {name}: {allowed:?} it may", package.name);
                    faults.add(&package.manifest, line_of(repo, package, name), what);
                }
            }
            // A package's own tests ask it for features.
            for name in package.dev_dependencies.iter().filter(in_workspace).filter(|name| **name != package.name) {
                if !allowed.contains(&name.as_str()) && !LIBRARIES.contains(&name.as_str()) {
                    let what =
                        format!("a test of {} with {name} belongs in deploy/standalone or tests/sim", package.name);
                    faults.add(&package.manifest, line_of(repo, package, name), what);
                }
            }
        }
    });
}

/// The line of a manifest that begins with `key`; 1 where none does.
fn line_of(repo: &Repo, package: &Package, key: &str) -> usize {
    let text = repo.text(&package.manifest);
    let found = text
        .lines()
        .position(|line| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with([' ', '.', '='])));
    found.map_or(1, |at| at + 1)
}

#[test]
fn what_decides_has_no_runtime() {
    hold(|repo, faults| {
        for package in repo.packages.iter().filter(|package| SANS_IO.contains(&package.name.as_str())) {
            for name in package.dependencies.iter().filter(|name| RUNTIMES.contains(&name.as_str())) {
                let what =
                    format!("{} decides without IO: what needs {name} belongs in a shell around it", package.name);
                faults.add(&package.manifest, line_of(repo, package, name), what);
            }
        }
    });
}

/// The core is split by state. A struct there is either a type whose fields only its own module sees, or plain data
/// whose fields are all public.
#[test]
fn fields_of_the_core_belong_to_their_module() {
    hold(|repo, faults| {
        for file in repo.files.iter().filter(|file| file.is_rust() && file.path.starts_with("gateway/core/src/")) {
            for (line, what) in source::shared_fields(&file.text) {
                faults.add(&file.path, line, what);
            }
        }
    });
}

#[test]
fn what_is_simulated_has_no_runtime() {
    hold(|repo, faults| {
        for package in repo.packages.iter().filter(|package| SANS_RUNTIME.contains(&package.name.as_str())) {
            let of_tokio = package.features.iter().filter(|(name, _)| name == "tokio").flat_map(|(_, asked)| asked);
            for feature in of_tokio.filter(|feature| !PLAIN_TOKIO.contains(&feature.as_str())) {
                let what = format!("{} may not use tokio's {feature}: the simulation has no runtime", package.name);
                faults.add(&package.manifest, line_of(repo, package, "tokio"), what);
            }
        }
        for name in repo.built_from("sim").iter().filter(|name| NOT_SIMULATED.contains(&name.as_str())) {
            faults.add("tests/sim/Cargo.toml", 1, format!("the simulation is built from {name}"));
        }
    });
}

/// A file can be understood and tested without those that use it.
#[test]
fn files_do_not_import_each_other_in_circles() {
    hold(|repo, faults| {
        let mut known: Vec<_> = KNOWN_CIRCLES.to_vec();
        let text = |path: &str| repo.files.iter().find(|file| file.path == path).map(|file| file.text.clone());
        let roots = repo.packages.iter().flat_map(|package| &package.roots).filter(|root| root.contains("/src/"));
        for root in roots {
            for circle in imports::Crate::read(root, &text).circles() {
                let is_in =
                    |(crate_root, module): &(&str, &str)| crate_root == root && circle.iter().any(|one| one == module);
                if let Some(at) = known.iter().position(is_in) {
                    known.remove(at);
                    continue;
                }
                let what = format!("{} use each other: move what two of them need into a third", circle.join(", "));
                faults.add(root, 1, what);
            }
        }
        for (root, module) in known {
            faults.add(root, 1, format!("{module} is in no circle any more: delete it from KNOWN_CIRCLES"));
        }
    });
}

#[test]
fn packages_are_safe_and_inherit() {
    hold(|repo, faults| {
        for package in &repo.packages {
            for root in &package.roots {
                let forbids = repo.text(root).lines().any(|line| line == "#![forbid(unsafe_code)]");
                if !forbids && !MAY_BE_UNSAFE.contains(&package.name.as_str()) {
                    faults.add(root, 1, "add #![forbid(unsafe_code)]");
                }
            }
            let text = repo.text(&package.manifest);
            if !text.contains("\n[lints]\nworkspace = true\n") {
                faults.add(&package.manifest, 1, "add the section [lints] with workspace = true");
            }
            for key in INHERITED {
                let inherited = format!("{key}.workspace = true");
                if !text.lines().any(|line| line == inherited) {
                    faults.add(&package.manifest, line_of(repo, package, key), format!("write {inherited}"));
                }
            }
        }
    });
}

#[test]
fn nothing_is_left_for_later() {
    hold(|repo, faults| {
        for file in repo.files.iter().filter(|file| file.is_rust()) {
            for (head, tail, instead) in WORDS {
                let word = format!("{head}{tail}");
                for (at, line) in file.text.lines().enumerate().filter(|(_, line)| has_word(line, &word)) {
                    faults.add(&file.path, at + 1, format!("{}: {instead}", line.trim()));
                }
            }
        }
    });
}

#[test]
fn words_are_those_of_the_field() {
    hold(|repo, faults| {
        for file in &repo.files {
            for (head, tail, instead) in DIALECT {
                let word = format!("{head}{tail}");
                let lines = file.text.lines().map(str::to_lowercase).enumerate();
                for (at, line) in lines.filter(|(_, line)| has_word(line, &word)) {
                    faults.add(&file.path, at + 1, format!("{}: {instead}", line.trim()));
                }
            }
        }
    });
}

/// Whether `line` has `word` with no letter, digit or dash before or letter after it.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let inner = |c: char| c.is_alphanumeric() || c == '_';
        !line[..at].ends_with(|c: char| inner(c) || c == '-') && !line[at + word.len()..].starts_with(inner)
    })
}

#[test]
fn no_file_knows_a_machine() {
    hold(|repo, faults| {
        for file in &repo.files {
            for (head, tail) in MACHINE_PATHS {
                let path = format!("{head}{tail}");
                for (at, line) in file.text.lines().enumerate().filter(|(_, line)| has_path(line, &path)) {
                    let line: String = line.trim().chars().take(120).collect();
                    faults.add(&file.path, at + 1, format!("{line}: a directory of one machine; make it relative"));
                }
            }
        }
    });
}

/// Whether an absolute path in `line` begins with `path`.
fn has_path(line: &str, path: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || "_-./}".contains(c);
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(goes_on))
}

/// The crates that `deny.toml` bans. cargo-deny checks more, but takes minutes to build.
#[test]
fn no_banned_crate_is_locked() {
    hold(|repo, faults| {
        let rules = repo.text("deny.toml");
        let banned: Vec<(&str, &str)> = rules
            .lines()
            .filter_map(|line| line.trim().strip_prefix("{ crate = \"")?.split_once('"'))
            .map(|(name, rest)| (name, rest.split_once("wrappers = [").map_or("", |(_, wrappers)| wrappers)))
            .collect();
        assert!(banned.iter().any(|(name, _)| *name == "openssl"), "deny.toml bans {banned:?}");
        let quoted = |line: &str| Some(line.trim().strip_prefix('"')?.split(['"', ' ']).next()?.to_owned());
        let mut package = String::new();
        for (at, line) in repo.text("Cargo.lock").lines().enumerate() {
            if let Some(name) = line.strip_prefix("name = ") {
                package = quoted(name).unwrap_or_default();
            }
            // A crate that a wrapper may use may be there, and no other crate may use it.
            let used = if line.starts_with("name = ") { Some(package.clone()) } else { quoted(line) };
            let fault = banned.iter().find(|(name, wrappers)| {
                let is_named = used.as_deref() == Some(*name);
                let is_wrapped =
                    wrappers.contains(&format!("\"{package}\"")) || (package == *name && !wrappers.is_empty());
                is_named && !is_wrapped
            });
            if fault.is_some() {
                faults.add("Cargo.lock", at + 1, format!("{line}: deny.toml says why not"));
            }
        }
    });
}

#[test]
fn the_architecture_names_every_package() {
    hold(|repo, faults| {
        let Some(file) = repo.files.iter().find(|file| file.path == "ARCHITECTURE.md") else { return };
        for package in &repo.packages {
            if !has_word(&file.text, &package.dir) && !has_word(&file.text, &format!("{}/", package.dir)) {
                faults.add(&file.path, 1, format!("say what {} is for", package.dir));
            }
        }
    });
}

#[test]
fn documents_name_files_that_exist() {
    hold(|repo, faults| {
        for file in repo.files.iter().filter(|file| file.path.ends_with(".md")) {
            let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            for (at, line) in file.text.lines().enumerate() {
                for target in links(line).filter(|target| !repo.has(&format!("{folder}/{target}"))) {
                    faults.add(&file.path, at + 1, format!("{target}: the link leads nowhere"));
                }
                for path in paths(line).filter(|path| !repo.has(path)) {
                    faults.add(&file.path, at + 1, format!("{path}: there is no such file"));
                }
            }
        }
    });
}

/// Targets of the links in a line of Markdown that lead to a file of the repository.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

/// Words in backticks that are paths from the root of the repository: with a folder, and a name that has an ending.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    const ENDINGS: &[&str] = &["rs", "sh", "txt", "toml", "lua", "sql", "md", "py", "yaml", "dict", "pack"];
    let is_path = |word: &&str| {
        let (folder, name) = word.rsplit_once('/').unwrap_or_default();
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let is_plain = word.chars().all(|c| c.is_alphanumeric() || "._-/".contains(c));
        !folder.is_empty() && ENDINGS.contains(&ending) && is_plain && !word.starts_with('/')
    };
    line.split('`').skip(1).step_by(2).filter(is_path)
}

#[test]
fn the_rules_find_what_they_look_for() {
    let line =
        "[a](b/c.md#d), [e](https://f/g), [h](#i), `gateway/core/src/lib.rs`, `a.rs`, `x/*.toml`, `YYYY/MM_name.sql`";
    assert_eq!(links(line).collect::<Vec<_>>(), ["b/c.md"]);
    assert_eq!(paths(line).collect::<Vec<_>>(), ["gateway/core/src/lib.rs", "YYYY/MM_name.sql"]);

    for (head, tail, _) in WORDS {
        let word = format!("{head}{tail}");
        assert!(has_word(&format!("    {word}(\"later\")"), &word), "{word}");
        assert!(!has_word(&format!("a{word}"), &word), "{word}");
    }
    assert!(!has_word("mktemp XXXXXX", &["X", "XX"].concat()));
    for (head, tail) in MACHINE_PATHS {
        let path = format!("{head}{tail}");
        assert!(has_path(&format!("open(\"{path}x\")"), &path), "{path}");
        assert!(!has_path(&format!("https://example.com{path}x"), &path), "{path}");
        assert!(!has_path(&format!("$DIR{path} .{path} ${{DIR}}{path}"), &path), "{path}");
    }
}
