//! The directory where everything that lasts is kept: one process at a time, and its secrets.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::config::{Config, Secret};

/// Holds the key of the shoppers' tokens where the settings name none.
pub const SHOPPER_SECRET_FILE: &str = "shopper-secret";
/// Holds the key of the admins' tokens where the settings name none.
pub const ADMIN_SECRET_FILE: &str = "admin-secret";
/// Holds the first admin's password where the settings name none.
pub const ADMIN_PASSWORD_FILE: &str = "admin-password";

/// Of the directory: passwords, tokens' keys, names and addresses are below it.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// What the group and everybody may do.
const OTHERS: u32 = 0o077;
const EVERYBODY: u32 = 0o007;

const LOCK_FILE: &str = "lock";
/// Held while a secret is looked for and made.
const SECRETS_LOCK_FILE: &str = "secrets-lock";

/// Why the data directory can't be used. Every message names the path.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It can't be made, read or written.
    #[error("data directory {}: can't {action} {}: {error}", dir.display(), file.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What was tried.
        action: &'static str,
        /// On what, inside of the directory.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another process works on it.
    #[error("data directory {}: process {holder} uses it already", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// What the other process wrote of itself.
        holder: String,
    },
    /// A secret's file has nothing in it.
    #[error("data directory {}: {file} is empty; delete it to have a new one made", dir.display())]
    EmptySecret {
        /// The directory.
        dir: PathBuf,
        /// The file.
        file: &'static str,
    },
    /// The system has no randomness.
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

/// A directory that this process has for itself, until it is dropped or the process ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
    readable: Option<String>,
}

/// What tokens are signed with, and the first admin's password.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Key of the shoppers' tokens.
    pub shopper: Secret,
    /// Key of the admins' tokens.
    pub admin: Secret,
    /// Password of the user `admin`, if that user has yet to be made.
    pub admin_password: Secret,
    /// The password was made by this start: the one time to print it.
    pub admin_password_is_new: bool,
}

impl DataDir {
    /// Makes the directory where it is missing, tries that it can be written, and locks it.
    ///
    /// # Errors
    /// If it can't be used, or another process uses it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let dir = path;
        if !dir.is_dir() {
            let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir);
            made.map_err(|error| fault(dir, "make", Path::new("it"), error))?;
        }
        let file = Path::new(LOCK_FILE);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(LOCK_FILE));
        let mut lock = opened.map_err(|error| fault(dir, "write", file, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                if lock.read_to_string(&mut holder).is_err() || holder.trim().is_empty() {
                    holder = "another".to_owned();
                }
                return Err(DataDirError::InUse { dir: dir.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(fault(dir, "lock", file, error)),
        }
        let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(|error| fault(dir, "write", file, error))?;
        Ok(Self { path: dir.to_owned(), _lock: lock, readable: close_to_others(dir) })
    }

    /// The same for processes that share it: they keep nothing there but secrets and leases. Beside a
    /// process that has it for itself there is no room for them.
    ///
    /// # Errors
    /// If it can't be used, or a process has it for itself.
    pub fn share(path: &Path) -> Result<Self, DataDirError> {
        let dir = path;
        if !dir.is_dir() {
            let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir);
            made.map_err(|error| fault(dir, "make", Path::new("it"), error))?;
        }
        let file = Path::new(LOCK_FILE);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(LOCK_FILE));
        let lock = opened.map_err(|error| fault(dir, "write", file, error))?;
        match lock.try_lock_shared() {
            Ok(()) => Ok(Self { path: dir.to_owned(), _lock: lock, readable: close_to_others(dir) }),
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(dir.join(LOCK_FILE)).unwrap_or_default();
                Err(DataDirError::InUse { dir: dir.to_owned(), holder: holder.trim().to_owned() })
            }
            Err(TryLockError::Error(error)) => Err(fault(dir, "lock", file, error)),
        }
    }

    /// A warning where other users of this machine can read it, and this process can't change that.
    pub fn warning(&self) -> Option<&str> {
        self.readable.as_deref()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where worker ids are leased ([`crate::ids::lease_worker`]).
    pub fn ids(&self) -> PathBuf {
        self.path.join("ids")
    }

    /// The configured secrets, and for each that is absent the one kept here, made at random by the
    /// first start.
    ///
    /// # Errors
    /// If one can't be read or written.
    pub fn secrets(&self, config: &Config) -> Result<Secrets, DataDirError> {
        let kept = |configured: &Option<Secret>, file, bytes| match configured {
            Some(secret) => Ok((secret.clone(), false)),
            None => self.keep(file, bytes),
        };
        let (admin_password, admin_password_is_new) = kept(&config.admin_password, ADMIN_PASSWORD_FILE, 12)?;
        Ok(Secrets {
            shopper: kept(&config.auth.shopper_secret, SHOPPER_SECRET_FILE, 32)?.0,
            admin: kept(&config.auth.admin_secret, ADMIN_SECRET_FILE, 32)?.0,
            admin_password,
            admin_password_is_new,
        })
    }

    /// The secret in `file`, created by `make` on the first start.
    ///
    /// # Errors
    /// If it can't be read, made or written.
    pub fn kept(
        &self,
        file: &'static str,
        make: impl FnOnce() -> Result<String, String>,
    ) -> Result<Secret, DataDirError> {
        let make = || make().map_err(|error| fault(&self.path, "make", Path::new(file), io::Error::other(error)));
        Ok(self.keep_made(file, make)?.0)
    }

    fn keep(&self, file: &'static str, bytes: usize) -> Result<(Secret, bool), DataDirError> {
        self.keep_made(file, || random_hex(bytes).map_err(DataDirError::NoRandomness))
    }

    fn keep_made(
        &self,
        file: &'static str,
        make: impl FnOnce() -> Result<String, DataDirError>,
    ) -> Result<(Secret, bool), DataDirError> {
        // Processes that share the directory and start together must not make two.
        let lock = Path::new(SECRETS_LOCK_FILE);
        let guard = File::create(self.path.join(lock)).and_then(|guard| guard.lock().map(|()| guard));
        let _guard = guard.map_err(|error| fault(&self.path, "lock", lock, error))?;
        if let Some(secret) = read_secret(&self.path, file)? {
            return Ok((secret, false));
        }
        let text = make()?;
        write_durably(&self.path, file, &text).map_err(|error| fault(&self.path, "write", Path::new(file), error))?;
        Ok((Secret::new(text), true))
    }
}

/// The secret in `file` of the data directory `dir`, which may be in use by the mall; `None` where there
/// is no such file. For tools on the same machine.
///
/// # Errors
/// If it can't be read, or is empty.
pub fn read_secret(dir: &Path, file: &'static str) -> Result<Option<Secret>, DataDirError> {
    match fs::read_to_string(dir.join(file)) {
        Ok(text) if text.trim().is_empty() => Err(DataDirError::EmptySecret { dir: dir.to_owned(), file }),
        Ok(text) => Ok(Some(Secret::new(text.trim().to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(dir, "read", Path::new(file), error)),
    }
}

/// `bytes` random bytes in lower-case hexadecimal.
///
/// # Errors
/// If the system gives none.
pub fn random_hex(bytes: usize) -> Result<String, getrandom::Error> {
    let mut random = vec![0_u8; bytes];
    getrandom::fill(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The file is whole or absent, whenever the machine stops.
fn write_durably(dir: &Path, file: &str, text: &str) -> io::Result<()> {
    let unfinished = dir.join(format!("{file}.new"));
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&unfinished)?;
    writeln!(out, "{text}")?;
    out.sync_all()?;
    fs::rename(&unfinished, dir.join(file))?;
    File::open(dir)?.sync_all()
}

/// Closes the directory, and the files in it that an earlier version made, to other users. What is in its folders is behind
/// its own mode. Returns a warning where that is not possible, as on a volume that belongs to another user.
fn close_to_others(dir: &Path) -> Option<String> {
    let close = |path: &Path, mode: u32| -> io::Result<()> {
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found.permissions().mode(),
            // Another process that shares the directory has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if found & OTHERS == 0 {
            return Ok(());
        }
        match fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
            // A volume that a group shares is the operator's choice.
            Err(_) if found & EVERYBODY == 0 => Ok(()),
            result => result,
        }
    };
    let closed = close(dir, DIRECTORY_MODE).and_then(|()| {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                close(&entry.path(), FILE_MODE)?;
            }
        }
        Ok(())
    });
    closed.err().map(|error| format!("data directory {}: other users can read it: {error}", dir.display()))
}

fn fault(dir: &Path, action: &'static str, file: &Path, error: io::Error) -> DataDirError {
    DataDirError::Io { dir: dir.to_owned(), action, file: file.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn config(env: &[(&str, &str)]) -> Config {
        crate::config::load(None, env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).unwrap()
    }

    #[test]
    fn one_process_at_a_time() {
        let temp = TempDir::new("lock");
        let path = temp.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert_eq!(error, format!("data directory {}: process {} uses it already", path.display(), std::process::id()));
        drop(first);
        assert!(DataDir::open(&path).is_ok());
    }

    #[test]
    fn a_directory_that_exists_is_closed_to_others() {
        let temp = TempDir::new("mode");
        let (dir, file) = (temp.path().join("data"), temp.path().join("data/mall.db"));
        fs::create_dir(&dir).unwrap();
        fs::write(&file, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for (open, kind) in
            [(DataDir::open as fn(&Path) -> Result<DataDir, DataDirError>, "open"), (DataDir::share, "share")]
        {
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
            let opened = open(&dir).unwrap();
            assert_eq!((mode(&dir), mode(&file), opened.warning()), (0o700, 0o600, None), "{kind}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let temp = TempDir::new("file");
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("inside")] {
            let error = DataDir::open(&path).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn secrets_are_made_once_and_kept() {
        let temp = TempDir::new("secrets");
        let dir = DataDir::open(temp.path()).unwrap();
        let first = dir.secrets(&config(&[])).unwrap();
        assert!(first.admin_password_is_new && first.shopper != first.admin);
        let mode = fs::metadata(temp.path().join(SHOPPER_SECRET_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = dir.secrets(&config(&[])).unwrap();
        assert!(!again.admin_password_is_new && again.shopper == first.shopper);
        assert_eq!(read_secret(temp.path(), ADMIN_PASSWORD_FILE).unwrap(), Some(again.admin_password));
        let configured = dir.secrets(&config(&[("MALL_AUTH__SHOPPER_SECRET", "s")])).unwrap();
        assert_eq!(configured.shopper.expose(), "s");
        assert_eq!(read_secret(temp.path(), SHOPPER_SECRET_FILE).unwrap(), Some(first.shopper));
    }

    #[test]
    fn an_empty_secret_is_refused() {
        let temp = TempDir::new("empty");
        fs::write(temp.path().join(ADMIN_SECRET_FILE), "\n").unwrap();
        let error = DataDir::open(temp.path()).unwrap().secrets(&config(&[])).unwrap_err().to_string();
        assert!(error.ends_with("admin-secret is empty; delete it to have a new one made"), "{error}");
    }
}
