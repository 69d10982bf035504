//! The directory of an embedded index: a lock, the name of the current file, and the file.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::file;
use crate::index::IndexError;

const LOCK: &str = "lock";
const CURRENT: &str = "current";

/// A directory that this process alone writes to, as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, IndexError> {
        let failed = |error: io::Error| IndexError::Unavailable(format!("{}: {error}", path.display()));
        if fs::metadata(path).is_ok_and(|it| !it.is_dir()) {
            let what = "is a file, and the directory of the search index belongs there; move it away";
            return Err(IndexError::Unavailable(format!("{} {what}", path.display())));
        }
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let what =
                    "another process has the search index in this directory open; each needs a directory of its own";
                Err(IndexError::Busy(format!("{}: {what}", path.display())))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The number of the current file; `None` if there is none yet, an error if its name is not a number.
    pub(super) fn current(&self) -> Result<Option<u64>, String> {
        match fs::read_to_string(self.path.join(CURRENT)) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| format!("`{CURRENT}` names no file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("`{CURRENT}`: {error}")),
        }
    }

    /// Makes a file the current one, so that a process that ends at any moment leaves the old one or this one.
    pub(super) fn set_current(&self, number: u64) -> io::Result<()> {
        let new = self.path.join("current.new");
        let mut file = File::create(&new)?;
        writeln!(file, "{number}")?;
        file.sync_all()?;
        fs::rename(&new, self.path.join(CURRENT))?;
        File::open(&self.path)?.sync_all()
    }

    pub(super) fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("products-{number}.db"))
    }

    /// Numbers of the files that there are.
    pub(super) fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("products-")?.strip_suffix(".db"));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    /// Removes every file but one.
    pub(super) fn remove_others(&self, than: Option<u64>) -> io::Result<()> {
        for number in self.numbers()?.into_iter().filter(|number| Some(*number) != than) {
            file::remove(&self.file(number))?;
        }
        Ok(())
    }
}
