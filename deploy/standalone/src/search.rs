//! `mall search`: asks the process that has the index, or works on a search server itself.

use std::{
    fs::{File, TryLockError},
    io::{self, BufRead, BufReader, IsTerminal, Write},
    os::unix::{ffi::OsStrExt, net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use foundation::{Clock as _, Config, DataDir, SystemClock, metrics::Registry};
use order_core::search::{
    control::{Comparison, Progress, RebuildResult, Reply, Request, SOCKET_PATH_BYTES_MAX, Stage, socket_path},
    rebuild, verify,
};
use tokio::sync::watch;

use crate::{cli::SearchCommand, ground::Ground, runtime, tasks};

/// Held in the data directory by a rebuild that this command does itself.
const LOCK: &str = "search-rebuild-lock";
/// How often a line of progress is written where nobody watches it.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Bytes of a line of the answer.
const REPLY_BYTES_MAX: u64 = 1 << 20;

/// Whether the index is as it should be.
pub(crate) fn run(config: Config, command: SearchCommand) -> Result<bool> {
    let request = match command {
        SearchCommand::Verify => Request::Verify,
        SearchCommand::Rebuild { verify } => Request::Rebuild { verify },
    };
    let reply = if has_owner(&config) {
        ask(&config.data_dir, request)?
    } else {
        runtime()?.block_on(work(config, request))?
    };
    match reply {
        Reply::Verified(comparison) => show(&comparison, "the index"),
        Reply::Rebuilt(RebuildResult { is_in_place: true, comparison }) => {
            let Comparison { products, position, .. } = comparison;
            tasks::say(&format!("the new index is in place: {products} products at offset {position}"))?;
            Ok(true)
        }
        Reply::Rebuilt(RebuildResult { comparison, .. }) => {
            let is_same = show(&comparison, "the new index")?;
            tasks::say("the old index stays in place")?;
            Ok(is_same)
        }
        Reply::Failed(reason) => bail!("{reason}"),
        Reply::Progress(_) => bail!("the mall has ended"),
    }
}

/// Whether only the process that runs order-core can work on the index: the index, or what it is compared with, is in the data
/// directory.
pub(crate) const fn has_owner(config: &Config) -> bool {
    config.search.is_none() || config.database.url.is_none() || config.kafka.is_none()
}

/// Says what differs; whether nothing does.
fn show(comparison: &Comparison, index: &str) -> Result<bool> {
    let Comparison { products, position, different, first } = comparison;
    if *different == 0 {
        tasks::say(&format!("{index} equals the database: {products} products at offset {position}"))?;
        return Ok(true);
    }
    tasks::say(&format!(
        "{index} differs from the database in {different} of {products} products, at offset {position}:"
    ))?;
    for difference in first {
        tasks::say(&format!("{}: {}", difference.product, difference.what))?;
    }
    Ok(false)
}

/// Asks the mall that runs on this data directory.
fn ask(data: &Path, request: Request) -> Result<Reply> {
    let path = socket_path(data);
    let bytes = path.as_os_str().as_bytes().len();
    ensure!(
        bytes <= SOCKET_PATH_BYTES_MAX,
        "{}: {bytes} bytes are too many for the path of a socket (at most {SOCKET_PATH_BYTES_MAX}); use a shorter data_dir",
        path.display()
    );
    let place = data.display();
    let mut mall = match UnixStream::connect(&path) {
        Ok(mall) => mall,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            bail!("no mall runs on the data directory {place}; start it first");
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!("{}: permission denied; run this as the user that runs the mall", path.display());
        }
        Err(error) => return Err(error).context(path.display().to_string()),
    };
    writeln!(mall, "{}", serde_json::to_string(&request)?)?;
    let mut shown = ProgressLine::new();
    let mut lines = BufReader::new(mall);
    loop {
        let mut line = String::new();
        let ended = || format!("the mall on the data directory {place} ended before it answered");
        io::Read::take(&mut lines, REPLY_BYTES_MAX).read_line(&mut line).with_context(ended)?;
        ensure!(!line.is_empty(), ended());
        let reply = serde_json::from_str(&line).context("the mall is of another version than this command")?;
        match reply {
            Reply::Progress(progress) => shown.show(progress),
            Reply::Verified(_) | Reply::Rebuilt(_) | Reply::Failed(_) => {
                shown.end();
                return Ok(reply);
            }
        }
    }
}

/// Works on the search server that the settings name.
async fn work(config: Config, request: Request) -> Result<Reply> {
    let data = DataDir::share(&config.data_dir)?;
    let secrets = data.secrets(&config)?;
    let lock = match request {
        Request::Verify => None,
        Request::Rebuild { .. } => Some(lock(data.path())?),
    };
    let ground = Ground { config, data, secrets, metrics: Registry::default() };
    let (store, log, search) = (tasks::connect(&ground.config).await?, ground.log().await?, ground.search()?);
    let (progress, mut seen) = watch::channel(Progress::default());
    let work = async {
        Ok(match request {
            Request::Verify => Reply::Verified(verify(&log, &store, &search, &progress).await?),
            Request::Rebuild { verify } => {
                let parts = (&log, &store, &search);
                Reply::Rebuilt(rebuild(parts, SystemClock.now_ms(), verify, progress.clone()).await?)
            }
        })
    };
    tokio::pin!(work);
    let mut shown = ProgressLine::new();
    let done: Result<Reply> = loop {
        tokio::select! {
            done = &mut work => break done,
            Ok(()) = seen.changed() => shown.show(*seen.borrow_and_update()),
        }
    };
    shown.end();
    drop(lock);
    let reply = done?;
    store.close().await;
    log.close();
    Ok(reply)
}

/// One rebuild at a time from one data directory.
fn lock(data: &Path) -> Result<File> {
    let path = data.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another rebuild of the search index is under way"),
        Err(TryLockError::Error(error)) => Err(error).context(path.display().to_string()),
    }
}

/// Progress on standard error: one line that changes on a terminal, now and then a line elsewhere.
struct ProgressLine {
    is_terminal: bool,
    last: Option<(Stage, Instant)>,
}

impl ProgressLine {
    fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), last: None }
    }

    fn show(&mut self, Progress { stage, done, total }: Progress) {
        let text = match stage {
            Stage::Wait => "waiting for the worker",
            Stage::Build => "building the new index",
            Stage::Compare => "comparing with the database",
            Stage::Swap => "putting the new index in place",
            Stage::Follow => "following the log",
        };
        let is_due = self.last.is_none_or(|(last, at)| last != stage || at.elapsed() >= LINE_EVERY);
        let mut out = io::stderr().lock();
        // Nothing is lost where nobody can read it.
        let (Ok(()) | Err(_)) = if self.is_terminal {
            self.last = Some((stage, Instant::now()));
            write!(out, "\r\x1b[K{text}: {done} of {total}").and_then(|()| out.flush())
        } else if is_due {
            self.last = Some((stage, Instant::now()));
            writeln!(out, "{text}: {done} of {total}")
        } else {
            Ok(())
        };
    }

    fn end(&self) {
        if self.is_terminal && self.last.is_some() {
            let (Ok(()) | Err(_)) = writeln!(io::stderr().lock());
        }
    }
}
