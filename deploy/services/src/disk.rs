//! A disk that can be filled.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::skipped;

/// What is written at a time to fill the disk.
const BLOCK: [u8; 4096] = [0; 4096];

/// A small file system in memory. Dropping it unmounts it.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts an empty one of `mebibytes`. `None`, said loudly, where this process may not mount.
    ///
    /// # Panics
    /// If there is no temporary directory.
    pub fn mount(mebibytes: u32) -> Option<Self> {
        let dir = match tempfile::tempdir() {
            Ok(dir) => dir,
            Err(error) => panic!("no temporary directory: {error}"),
        };
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        match mounted {
            Ok(it) if it.status.success() => Some(Self { dir }),
            Ok(it) => {
                skipped("small disk", String::from_utf8_lossy(&it.stderr).trim());
                None
            }
            Err(error) => {
                skipped("small disk", &format!("mount: {error}"));
                None
            }
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves no room on it.
    ///
    /// # Panics
    /// If that does not work.
    pub fn fill(&self) {
        let mut file = match std::fs::File::create(self.filler()) {
            Ok(file) => file,
            Err(error) => panic!("{}: {error}", self.filler().display()),
        };
        while file.write_all(&BLOCK).is_ok() {}
    }

    /// Takes [`SmallDisk::fill`] back.
    ///
    /// # Panics
    /// If it was not filled.
    pub fn free(&self) {
        if let Err(error) = std::fs::remove_file(self.filler()) {
            panic!("{}: {error}", self.filler().display());
        }
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that was killed a moment ago may still be there.
        drop(Command::new("umount").arg("-l").arg(self.dir.path()).status());
    }
}
