//! Secrets that are kept in files: `MALL_AUTH__ADMIN_SECRET_FILE` names the file that holds `MALL_AUTH__ADMIN_SECRET`.
//! Containers are given their secrets so, and the environment of a process, which others may see, has none.

use std::{io::Read as _, os::unix::fs::PermissionsExt as _};

use super::layers::variable;

/// The keys whose value may be in a file: those that hold a password or a key.
pub(super) const KEYS: [&str; 9] = [
    "admin_password",
    "auth.admin_secret",
    "auth.shopper_secret",
    "database.url",
    "images.oss_access_key_id",
    "images.oss_access_key_secret",
    "kafka.sasl_password",
    "redis.url",
    "search.url",
];
const SUFFIX: &str = "_FILE";
/// No secret is longer.
const BYTES_MAX: u64 = 16 * 1024;
/// Every user of the machine may read the file.
const OTHERS_READ: u32 = 0o004;

/// Variables by name and value.
pub(super) type Variables = Vec<(String, String)>;

/// Replaces each variable that names the file of a secret by the variable of that secret. Also returns warnings.
pub(super) fn resolve(env: Variables) -> Result<(Variables, Vec<String>), Vec<String>> {
    let (mut resolved, mut warnings, mut errors) = (Vec::with_capacity(env.len()), Vec::new(), Vec::new());
    for (name, value) in &env {
        let secret = KEYS.iter().map(|key| variable(key)).find(|of| name.strip_suffix(SUFFIX) == Some(of.as_str()));
        match secret {
            None => resolved.push((name.clone(), value.clone())),
            // As compose files leave out what is optional.
            Some(_) if value.is_empty() => {}
            Some(secret) if env.iter().any(|(other, text)| *other == secret && !text.is_empty()) => {
                errors.push(format!("{name}: {secret} is set too; use one of them"));
            }
            Some(secret) => match read(value) {
                Ok((text, is_open)) => {
                    if is_open {
                        warnings.push(format!("{name}: every user of this machine may read {value}"));
                    }
                    resolved.push((secret, text));
                }
                Err(error) => errors.push(format!("{name}: can't read {value}: {error}")),
            },
        }
    }
    if errors.is_empty() { Ok((resolved, warnings)) } else { Err(errors) }
}

/// The secret in the file at `path` without the line's end, and whether every user may read it.
fn read(path: &str) -> Result<(String, bool), String> {
    let open = || -> std::io::Result<(String, bool)> {
        let file = std::fs::File::open(path)?;
        let is_open = file.metadata()?.permissions().mode() & OTHERS_READ != 0;
        let mut text = String::new();
        file.take(BYTES_MAX + 1).read_to_string(&mut text)?;
        Ok((text, is_open))
    };
    let (mut text, is_open) = open().map_err(|error| error.to_string())?;
    if text.len() as u64 > BYTES_MAX {
        return Err(format!("it is longer than {BYTES_MAX} bytes"));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok((text, is_open)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn owned(env: &[(&str, &str)]) -> Variables {
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_secret_is_read_from_its_file() {
        let dir = TempDir::new("secret-files");
        let write = |name: &str, text: &str, mode: u32| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path.display().to_string()
        };
        let (closed, open) = (write("closed", "a secret\n", 0o400), write("open", "another", 0o444));
        let (empty, long) = (write("empty", "\n", 0o400), write("long", &"x".repeat(20_000), 0o400));
        let env = [("MALL_REDIS__URL_FILE", closed.as_str()), ("MALL_SEARCH__CA_FILE", "ca"), ("MALL_REDIS__URL", "")];
        let expect = owned(&[("MALL_REDIS__URL", "a secret"), ("MALL_SEARCH__CA_FILE", "ca"), ("MALL_REDIS__URL", "")]);
        assert_eq!(resolve(owned(&env)), Ok((expect, Vec::new())));
        let (_, warnings) = resolve(owned(&[("MALL_ADMIN_PASSWORD_FILE", open.as_str())])).unwrap();
        assert_eq!(warnings, [format!("MALL_ADMIN_PASSWORD_FILE: every user of this machine may read {open}")]);
        let refused = |env: &[(&str, &str)], expect: &str| {
            let errors = resolve(owned(env)).unwrap_err();
            assert!(errors.len() == 1 && errors[0].contains(expect), "{errors:?}");
        };
        refused(&[("MALL_ADMIN_PASSWORD_FILE", &closed), ("MALL_ADMIN_PASSWORD", "x")], "use one of them");
        refused(&[("MALL_DATABASE__URL_FILE", "/nowhere/url")], "can't read /nowhere/url: No such file");
        refused(&[("MALL_DATABASE__URL_FILE", &empty)], "it is empty");
        refused(&[("MALL_DATABASE__URL_FILE", &long)], "longer than 16384 bytes");
        // Only secrets may be in files; the layers refuse this one by name.
        let other = owned(&[("MALL_LOG__LEVEL_FILE", "x")]);
        assert_eq!(resolve(other.clone()), Ok((other, Vec::new())));
    }
}
