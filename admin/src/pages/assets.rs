//! The files of the pages, in the program. Their address has a hash of them, so they never change under it.

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse, Response},
};
use web::Problem;

const STYLE: &[u8] = include_bytes!("../../assets/admin.css");
const BOARD: &[u8] = include_bytes!("../../assets/board.js");
const FORMS: &[u8] = include_bytes!("../../assets/forms.js");
const ICON: &[u8] = include_bytes!("../../assets/icon.svg");

/// Changes with any of the files.
const HASH: u64 = fnv(ICON, fnv(FORMS, fnv(BOARD, fnv(STYLE, 0xcbf2_9ce4_8422_2325))));

/// FNV-1a with 64 bits, continued from `hash`.
const fn fnv(bytes: &[u8], mut hash: u64) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// Where browsers find a file.
pub(super) fn address(file: &str) -> String {
    format!("/admin/assets/{HASH:016x}/{file}")
}

/// The same for the public, who reach nothing below `/admin`.
pub(super) fn public_address(file: &str) -> String {
    format!("/audit/assets/{HASH:016x}/{file}")
}

pub(super) async fn show(Path((hash, file)): Path<(String, String)>) -> Response {
    let found = match file.as_str() {
        "admin.css" => Some(("text/css; charset=utf-8", STYLE)),
        "board.js" => Some(("text/javascript; charset=utf-8", BOARD)),
        "forms.js" => Some(("text/javascript; charset=utf-8", FORMS)),
        "icon.svg" => Some(("image/svg+xml", ICON)),
        _ => None,
    };
    match found.filter(|_| hash == format!("{HASH:016x}")) {
        Some((kind, bytes)) => {
            let headers = [
                (header::CONTENT_TYPE, kind),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, bytes).into_response()
        }
        None => Problem::not_found("there is no such file").into_response(),
    }
}
