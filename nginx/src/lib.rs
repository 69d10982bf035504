//! The shop's pages. order-core serves this table; `mall shop-assets` writes the same files for nginx.
#![forbid(unsafe_code)]

use std::{fs, io, path::Path};

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// A file of the shop.
#[derive(Debug)]
pub struct Asset {
    /// Its path below the directory of the assets, such as `css/shop.css`.
    pub path: &'static str,
    /// Its bytes.
    pub plain: &'static [u8],
    /// The same, compressed by gzip.
    pub gzip: &'static [u8],
}

impl Asset {
    /// Its media type.
    pub fn content_type(&self) -> &'static str {
        match self.path.rsplit_once('.').map(|(_, extension)| extension) {
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some(_) | None => "application/octet-stream",
        }
    }
}

/// The addresses that the page answers to, as axum writes them. `nginx/conf.d` and `js/main.js` have the same.
pub const PAGES: [&str; 13] = [
    "/",
    "/search",
    "/category/{id}",
    "/product/{id}",
    "/sale/{id}",
    "/cart",
    "/checkout",
    "/pay/return",
    "/pay/{id}",
    "/orders",
    "/orders/{id}",
    "/account",
    "/sign-in",
];

/// The file whose path below the directory of the assets is `path`.
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// The page. Its scripts call the gateway at `gateway`, or at the page's own origin where that is empty.
///
/// # Panics
/// If `gateway` has a character that no address has and that would end an attribute.
pub fn page(gateway: &str) -> String {
    assert!(!gateway.contains(['"', '<', '>', '&']), "{gateway} is no address");
    PAGE.replace("@ASSETS@", &format!("/assets/{HASH}")).replace("@GATEWAY@", gateway)
}

/// The page's `Content-Security-Policy`: scripts and styles of its own only, requests to its origin and to `gateway`,
/// pictures of its origin and of `pictures` (CSP sources, separated by spaces).
pub fn policy(gateway: &str, pictures: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: {pictures}; \
         connect-src 'self' {gateway}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// Writes the page and every file, plain and compressed, below `directory`, as nginx serves them.
///
/// # Errors
/// If a file can't be written.
pub fn write_to(directory: &Path, gateway: &str) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join("index.html"), page(gateway))?;
    let assets = directory.join("assets").join(HASH);
    for asset in &ASSETS {
        let path = assets.join(asset.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, asset.plain)?;
        fs::write(assets.join(format!("{}.gz", asset.path)), asset.gzip)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// What the first page may weigh, compressed and without pictures.
    const FIRST_PAGE_BYTES_MAX: usize = 80 * 1024;

    #[test]
    fn compressed_files_are_the_files() {
        for asset in &ASSETS {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(asset.gzip).read_to_end(&mut plain).unwrap();
            assert_eq!(plain, asset.plain, "{}", asset.path);
        }
    }

    #[test]
    fn the_whole_shop_weighs_less_than_a_first_page_may() {
        let bytes: usize = page("").len() + ASSETS.iter().map(|asset| asset.gzip.len()).sum::<usize>();
        assert!(bytes <= FIRST_PAGE_BYTES_MAX, "{bytes} bytes");
    }

    #[test]
    fn every_file_that_the_page_and_the_scripts_name_exists() {
        let mut named = 0;
        for path in page("").split(['"', '\'']).filter_map(|text| text.strip_prefix(&format!("/assets/{HASH}/"))) {
            assert!(find(path).is_some(), "the page names {path}");
            named += 1;
        }
        assert!(named > 5, "{named} files");
        for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
            let text = std::str::from_utf8(asset.plain).unwrap();
            let folder = Path::new(asset.path).parent().unwrap();
            for import in text.split('"').filter(|part| part.starts_with("./") || part.starts_with("../")) {
                let joined = folder.join(import);
                let mut path: Vec<&str> = Vec::new();
                for part in joined.iter().filter_map(|part| part.to_str()) {
                    match part {
                        "." => {}
                        ".." => drop(path.pop()),
                        _ => path.push(part),
                    }
                }
                assert!(find(&path.join("/")).is_some(), "{} imports {import}", asset.path);
            }
        }
    }

    #[test]
    fn nothing_is_inline() {
        for forbidden in ["<script>", "style=", " onclick", "javascript:"] {
            assert!(!page("").contains(forbidden), "{forbidden}");
        }
        for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
            let text = std::str::from_utf8(asset.plain).unwrap();
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(forbidden), "{} uses {forbidden}", asset.path);
            }
        }
    }

    #[test]
    fn written_files_are_the_table() {
        let directory = tempfile::tempdir().unwrap();
        write_to(directory.path(), "http://gateway.test").unwrap();
        let read = |path: &str| fs::read(directory.path().join(path)).unwrap();
        assert_eq!(read("index.html"), page("http://gateway.test").as_bytes());
        for asset in &ASSETS {
            assert_eq!(read(&format!("assets/{HASH}/{}", asset.path)), asset.plain);
            assert_eq!(read(&format!("assets/{HASH}/{}.gz", asset.path)), asset.gzip);
        }
    }
}
