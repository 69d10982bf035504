//! Makes the table of the shop's files: each compressed, all under one name that is a hash of them.
#![forbid(unsafe_code)]

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

/// The page itself; it is not among the files, because it names where they are.
const PAGE: &str = "index.html";

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("shop");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    println!("cargo::rerun-if-changed=shop");
    let mut paths = Vec::new();
    collect(&root, &root, &mut paths)?;
    paths.sort();
    let (mut table, mut hash) = (String::new(), Fnv::new());
    for (index, path) in paths.iter().enumerate() {
        let plain = fs::read(root.join(path))?;
        hash.add(path.as_bytes());
        hash.add(&plain);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&plain)?;
        let gzip = out.join(format!("{index}.gz"));
        fs::write(&gzip, encoder.finish()?)?;
        let file = root.join(path);
        writeln!(
            table,
            "    Asset {{ path: {path:?}, plain: include_bytes!({file:?}), gzip: include_bytes!({gzip:?}) }},"
        )
        .map_err(io::Error::other)?;
    }
    let page = root.join(PAGE);
    hash.add(&fs::read(&page)?);
    let text = format!(
        "/// Changes with any of the files.\npub const HASH: &str = \"{:016x}\";\n\
         /// Every file but the page, by path.\npub static ASSETS: [Asset; {}] = [\n{table}];\n\
         const PAGE: &str = include_str!({page:?});\n",
        hash.0,
        paths.len()
    );
    fs::write(out.join("assets.rs"), text)
}

fn collect(root: &Path, directory: &Path, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, paths)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str)
            && name != PAGE
        {
            paths.push(name.to_owned());
        }
    }
    Ok(())
}

/// FNV-1a with 64 bits: the same in every build, and nobody gains by a collision.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
