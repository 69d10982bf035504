//! k6, which makes load.

use std::path::PathBuf;

use crate::{skipped, tools};

/// The program k6; the one of the variable K6, if it is set. `None`, reported as skipped, if there is none.
pub fn k6() -> Option<PathBuf> {
    let program = std::env::var_os("K6").map_or_else(|| tools().join("k6"), PathBuf::from);
    if program.is_file() {
        return Some(program);
    }
    skipped("k6", "there is no k6; `bash deploy/services/services.sh install-tools` builds it");
    None
}
