//! `mall backup`: a copy of the data directory of an embedded mall, which may run meanwhile.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use commit_log::{committed_offsets, copy_log};
use foundation::Config;
use rusqlite::{Connection, OpenFlags, params};

const DATABASE: &str = "mall.db";
const LOG: &str = "log.db";
/// The directories that are copied; the search index is built again.
const DIRECTORIES: [&str; 2] = ["images", "ids"];

/// Copies what `config` keeps in its data directory to the new directory `to`: the database first and the log after it, because
/// what the database lacks is read again from the log, and nothing knows what the log lacks.
pub(crate) fn back_up(config: &Config, to: &Path) -> Result<()> {
    let key = "database.url";
    ensure!(config.database.url.is_none(), "{key}: back that server up with its own tools; see docs/operations.md");
    ensure!(config.kafka.is_none(), "kafka.brokers: the log is there; see docs/operations.md");
    let (from, log) = (&config.data_dir, config.data_dir.join(LOG));
    ensure!(log.is_file(), "there is no log {}; start the mall once first", log.display());
    ensure!(!to.exists(), "{} exists; a backup needs a new directory", to.display());
    // A directory of the final name is whole.
    let partial = to.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("{} is left over", partial.display()))?;
    }
    let make = DirBuilder::new().recursive(true).mode(0o700).create(&partial);
    make.with_context(|| format!("can't make {}", partial.display()))?;
    let offsets = committed_offsets(&log).with_context(|| format!("can't read {}", log.display()))?;
    copy_database(&from.join(DATABASE), &partial.join(DATABASE))?;
    copy_log(&log, &partial.join(LOG), &offsets).with_context(|| format!("can't copy {}", log.display()))?;
    copy_files(from, &partial, is_kept)?;
    for directory in DIRECTORIES.iter().filter(|directory| from.join(directory).is_dir()) {
        copy_files(&from.join(directory), &partial.join(directory), |_| true)?;
    }
    sync(&partial)?;
    fs::rename(&partial, to).with_context(|| format!("can't rename {}", partial.display()))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    Ok(File::open(parent)?.sync_all()?)
}

fn copy_database(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> rusqlite::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(from, flags)?;
        db.execute("VACUUM INTO ?", params![to.to_string_lossy()])?;
        Ok(())
    };
    copy().with_context(|| format!("can't copy {}", from.display()))
}

/// Secrets: neither databases nor the files that say which process works here.
fn is_kept(name: &str) -> bool {
    !name.contains(".db") && name != "lock" && name != "secrets-lock"
}

/// Copies the files of one directory.
fn copy_files(from: &Path, to: &Path, keeps: impl Fn(&str) -> bool) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("can't read {}", from.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_file() && keeps(&name.to_string_lossy()) {
            let path = entry.path();
            fs::copy(&path, to.join(&name)).with_context(|| format!("can't copy {}", path.display()))?;
        }
    }
    Ok(())
}

/// Has every file of a directory on the disk, and the directory.
fn sync(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    Ok(File::open(directory)?.sync_all()?)
}
