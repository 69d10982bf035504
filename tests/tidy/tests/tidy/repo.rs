//! What the rules look at: the files that git knows or would add, and the packages that cargo knows.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// A text file; binary files are left out.
pub(crate) struct TextFile {
    /// From the root of the repository.
    pub path: String,
    pub text: String,
}

impl TextFile {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// A package of the workspace.
pub(crate) struct Package {
    pub name: String,
    /// Its directory, from the root of the repository.
    pub dir: String,
    pub manifest: String,
    /// Names of what it is built from.
    pub dependencies: Vec<String>,
    /// Features that it asks of those that it is built from, by name.
    pub features: Vec<(String, Vec<String>)>,
    /// Names of what only its tests are built from.
    pub dev_dependencies: Vec<String>,
    /// Its `lib.rs` and `main.rs`, from the root of the repository.
    pub roots: Vec<String>,
}

pub(crate) struct Repo {
    pub files: Vec<TextFile>,
    pub packages: Vec<Package>,
    root: PathBuf,
}

impl Repo {
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let listed =
            run(Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]), &root);
        let files = listed.split('\0').filter(|path| !path.is_empty()).filter_map(|path| {
            let text = String::from_utf8(fs::read(root.join(path)).ok()?).ok()?;
            Some(TextFile { path: path.to_owned(), text })
        });
        let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
        let metadata: Value = serde_json::from_str(&run(cargo().args(arguments), &root)).unwrap();
        let packages = metadata["packages"].as_array().unwrap().iter().map(|package| read_package(package, &root));
        Self { files: files.collect(), packages: packages.collect(), root }
    }

    /// Whether there is a file or folder of this path from the root.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.root.join(path.trim_start_matches('/')).exists()
    }

    /// Names of all that `package` is built from, directly or not.
    pub(crate) fn built_from(&self, package: &str) -> Vec<String> {
        let arguments =
            ["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "-f", "{p}", "-p", package];
        let tree = run(cargo().args(arguments), &self.root);
        tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }

    /// A file's text; empty if the file is missing.
    pub(crate) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }
}

fn cargo() -> Command {
    Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
}

fn run(command: &mut Command, dir: &Path) -> String {
    let output = command.current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn read_package(package: &Value, root: &Path) -> Package {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let relative = |path: &Value| Path::new(&text(path)).strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let named = |dev: bool| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        dependencies.filter(|dependency| (dependency["kind"] == "dev") == dev).map(|one| text(&one["name"])).collect()
    };
    let features = package["dependencies"].as_array().unwrap().iter().filter(|one| one["kind"] != "dev").map(|one| {
        let asked = one["features"].as_array().unwrap().iter();
        (text(&one["name"]), asked.map(text).collect())
    });
    let targets = package["targets"].as_array().unwrap().iter();
    let built = targets.filter(|target| {
        target["kind"].as_array().unwrap().iter().all(|kind| !["test", "bench", "example"].contains(&&*text(kind)))
    });
    let manifest = relative(&package["manifest_path"]);
    Package {
        name: text(&package["name"]),
        dir: manifest.trim_end_matches("/Cargo.toml").to_owned(),
        dependencies: named(false),
        features: features.collect(),
        dev_dependencies: named(true),
        roots: built.map(|target| relative(&target["src_path"])).collect(),
        manifest,
    }
}
