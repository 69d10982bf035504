//! Log files: one a day, and another one whenever it is full. Old ones are deleted.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use time::{Date, OffsetDateTime, macros::format_description};

use crate::config::LogConfig;

const PREFIX: &str = "mall.";
const SUFFIX: &str = ".log";
/// Between two complaints that the files can't be written.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// A day's file, and its number where the day has several: `mall.2026-11-27.log`, `mall.2026-11-27.1.log`.
type Name = (Date, u32);

/// The files of one directory. A line that can't be written is lost, and said so on standard error once a minute: a full disk of
/// logs must not stop who writes them.
#[derive(Debug)]
pub(super) struct LogFiles {
    directory: PathBuf,
    bytes_max: u64,
    files_max: usize,
    keep_days: i64,
    open: Option<Open>,
    complained: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    name: Name,
    file: File,
    bytes: u64,
}

impl LogFiles {
    /// Opens the file of today; what it has already stays.
    ///
    /// # Errors
    /// If the directory can't be made or written.
    pub(super) fn open(config: &LogConfig, directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut files = Self {
            directory: directory.to_owned(),
            bytes_max: config.file_bytes_max,
            files_max: config.files_max.get(),
            keep_days: i64::try_from(config.keep_days.get()).unwrap_or(i64::MAX),
            open: None,
            complained: None,
        };
        files.turn_to(today())?;
        Ok(files)
    }

    fn write_on(&mut self, day: Date, line: &[u8]) -> io::Result<()> {
        let is_full = |open: &Open| open.bytes > 0 && open.bytes + line.len() as u64 > self.bytes_max;
        match &self.open {
            Some(open) if open.name.0 == day && !is_full(open) => {}
            Some(open) if open.name.0 == day => self.begin((day, open.name.1 + 1))?,
            _ => self.turn_to(day)?,
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.file.write_all(line)?;
        open.bytes += line.len() as u64;
        Ok(())
    }

    /// Goes on with the last file of `day`.
    fn turn_to(&mut self, day: Date) -> io::Result<()> {
        let last = self.names()?.into_iter().filter(|(of, _)| *of == day).max();
        self.begin(last.unwrap_or((day, 0)))
    }

    fn begin(&mut self, name: Name) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(self.path(name))?;
        let bytes = file.metadata()?.len();
        self.open = Some(Open { name, file, bytes });
        self.prune(name.0)
    }

    /// Deletes files that are older than the days that are kept, and the oldest ones beyond the number that is kept.
    fn prune(&self, day: Date) -> io::Result<()> {
        let mut names = self.names()?;
        names.sort_unstable();
        let beyond = names.len().saturating_sub(self.files_max);
        for (at, name) in names.into_iter().enumerate() {
            if at < beyond || (day - name.0).whole_days() >= self.keep_days {
                fs::remove_file(self.path(name))?;
            }
        }
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<Name>> {
        let entries = fs::read_dir(&self.directory)?.collect::<io::Result<Vec<_>>>()?;
        Ok(entries.iter().filter_map(|entry| parse(entry.file_name().to_str()?)).collect())
    }

    fn path(&self, (day, part): Name) -> PathBuf {
        let part = if part == 0 { String::new() } else { format!(".{part}") };
        self.directory.join(format!("{PREFIX}{day}{part}{SUFFIX}"))
    }
}

fn today() -> Date {
    OffsetDateTime::now_utc().date()
}

fn parse(name: &str) -> Option<Name> {
    let inner = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (day, part) = inner.split_once('.').unwrap_or((inner, "0"));
    let day = Date::parse(day, format_description!("[year]-[month]-[day]")).ok()?;
    Some((day, part.parse().ok()?))
}

impl Write for LogFiles {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.write_on(today(), line) {
            // Whatever is wrong with this file, the next line tries to open it again.
            self.open = None;
            if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                self.complained = Some(Instant::now());
                let said = format!("log.directory: {}: {error}; log lines are lost\n", self.directory.display());
                drop(io::stderr().write_all(said.as_bytes()));
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |open| open.file.flush())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::{config::LogFormat, testing::TempDir};

    fn config(keep_days: usize, files_max: usize, file_bytes_max: u64) -> LogConfig {
        LogConfig {
            format: LogFormat::Json,
            level: String::new(),
            directory: None,
            keep_days: NonZeroUsize::new(keep_days).unwrap(),
            file_bytes_max,
            files_max: NonZeroUsize::new(files_max).unwrap(),
        }
    }

    /// A day that is over, so that it is never today.
    fn day(number: u8) -> Date {
        Date::from_calendar_date(2001, time::Month::November, number).unwrap()
    }

    /// The files other than today's, which is made first.
    fn listed(directory: &TempDir) -> Vec<String> {
        let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| !name.contains(&today().to_string()));
        names.sort();
        names
    }

    #[test]
    fn a_file_ends_with_its_day_or_when_it_is_full() {
        let directory = TempDir::new("log-files");
        let mut files = LogFiles::open(&config(100_000, 100, 10), directory.path()).unwrap();
        for (number, line) in
            [(1, "12345\n"), (1, "123\n"), (1, "1\n"), (2, "a line of any length\n"), (2, "1\n"), (3, "1\n")]
        {
            files.write_on(day(number), line.as_bytes()).unwrap();
        }
        let names = ["mall.2001-11-01.1.log", "mall.2001-11-01.log", "mall.2001-11-02.1.log", "mall.2001-11-02.log"];
        assert_eq!(listed(&directory)[..4], names);
        let text = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(text("mall.2001-11-01.log"), "12345\n123\n");
        assert_eq!(text("mall.2001-11-01.1.log"), "1\n");
        // Another process of the same day goes on with the last one.
        let mut files = LogFiles::open(&config(100_000, 100, 10), directory.path()).unwrap();
        files.write_on(day(1), b"2\n").unwrap();
        assert_eq!(text("mall.2001-11-01.1.log"), "1\n2\n");
    }

    #[test]
    fn old_files_are_deleted_and_no_others() {
        let directory = TempDir::new("log-files");
        fs::write(directory.path().join("mall.notes.log"), "mine").unwrap();
        let mut files = LogFiles::open(&config(2, 100, 1_000), directory.path()).unwrap();
        for number in 1..=4 {
            files.write_on(day(number), b"line\n").unwrap();
        }
        assert_eq!(listed(&directory), ["mall.2001-11-03.log", "mall.2001-11-04.log", "mall.notes.log"]);

        let directory = TempDir::new("log-files");
        let mut files = LogFiles::open(&config(100_000, 3, 5), directory.path()).unwrap();
        for _ in 0..6 {
            files.write_on(day(28), b"line\n").unwrap();
        }
        let kept = listed(&directory);
        assert!(kept.len() <= 3 && kept.contains(&"mall.2001-11-28.5.log".to_owned()), "{kept:?}");
    }

    #[test]
    fn a_directory_that_is_gone_loses_lines_only() {
        let directory = TempDir::new("log-files");
        let mut files = LogFiles::open(&config(2, 3, 1_000), &directory.path().join("logs")).unwrap();
        fs::remove_dir_all(directory.path().join("logs")).unwrap();
        files.open = None;
        assert_eq!(files.write(b"lost\n").unwrap(), 5);
        fs::create_dir(directory.path().join("logs")).unwrap();
        assert_eq!(files.write(b"kept\n").unwrap(), 5);
        let kept = files.path((today(), 0));
        assert_eq!(fs::read_to_string(kept).unwrap(), "kept\n");
    }
}
