//! Where the mall's secrets come from: an option, a variable, or the mall's data directory.

use std::path::Path;

use foundation::{
    Secret,
    data_dir::{ADMIN_PASSWORD_FILE, SHOPPER_SECRET_FILE, read_secret},
};

use crate::options::Access;

/// A secret's names.
pub(crate) struct Names {
    what: &'static str,
    option: &'static str,
    variable: &'static str,
    file: &'static str,
}

pub(crate) const SHOPPER: Names = Names {
    what: "key of the shoppers' tokens",
    option: "--shopper-secret",
    variable: "MALL_AUTH__SHOPPER_SECRET",
    file: SHOPPER_SECRET_FILE,
};

pub(crate) const ADMIN: Names = Names {
    what: "password of the user admin",
    option: "--admin-password",
    variable: "MALL_ADMIN_PASSWORD",
    file: ADMIN_PASSWORD_FILE,
};

/// The secret that was given, or the one that the mall keeps in its data directory; and where it is from.
pub(crate) fn find_secret(access: &Access, given: Option<&String>, names: &Names) -> Result<(Secret, String), String> {
    let Names { what, option, variable, file } = names;
    // An empty variable counts as absent.
    if let Some(text) = given.filter(|text| !text.is_empty()) {
        return Ok((Secret::new(text.clone()), format!("{option} or {variable}")));
    }
    let dir: &Path = if access.data_dir.as_os_str().is_empty() { Path::new("data") } else { &access.data_dir };
    let path = dir.join(file).display().to_string();
    match read_secret(dir, file) {
        Ok(Some(secret)) => Ok((secret, path)),
        Ok(None) => {
            Err(format!("no {what}: there is no {path}; give {option}, set {variable}, or name the mall's --data-dir"))
        }
        Err(error) => Err(error.to_string()),
    }
}
