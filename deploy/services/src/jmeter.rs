//! Apache JMeter, which makes load.

use std::path::PathBuf;

use crate::{process::has, skipped, tools};

/// The directory of JMeter; that of the variable JMETER_HOME, if it is set. `None`, reported as skipped, if there is none.
pub fn jmeter_home() -> Option<PathBuf> {
    let home = std::env::var_os("JMETER_HOME").map_or_else(|| tools().join("jmeter"), PathBuf::from);
    if has("java") && home.join("bin/ApacheJMeter.jar").is_file() {
        return Some(home);
    }
    skipped("jmeter", "no Java or no JMeter; `bash deploy/services/services.sh install-tools` installs it");
    None
}
