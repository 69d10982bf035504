//! Answers `mall search` for the embedded index of this process, over a Unix socket in the index's directory.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use commit_log::Log;
use store::Store;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Mutex, oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use workers::WorkerError;

use super::{
    Search,
    control::{Progress, REQUEST_BYTES_MAX, RebuildOrder, Reply, Request, SOCKET_PATH_BYTES_MAX},
    verify,
};

/// Callers at once; further ones wait to be accepted.
const CALLERS_MAX: usize = 4;
/// How long a caller may take to send its request, and to take a line of the answer.
const CALLER_MAX: Duration = Duration::from_secs(5);
/// How often progress is reported.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// The pause after a failure to accept a caller.
const PAUSE: Duration = Duration::from_millis(100);

/// What the owner of an index answers from. Clones are the same owner.
#[derive(Debug, Clone)]
pub struct Owner<L> {
    log: L,
    store: Store,
    search: Search,
    /// Held by the one command that is carried out.
    turn: Arc<Mutex<()>>,
}

/// A socket that only the user of this process can connect to. Dropping it removes its file.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // What can't be removed now is replaced by the next start.
        drop(fs::remove_file(&self.path));
    }
}

/// Listens at `path`, which no other process uses.
///
/// # Errors
/// If the path is too long for a socket, or the directory can't be written.
pub fn bind(path: &Path) -> io::Result<Socket> {
    let bytes = path.as_os_str().as_bytes().len();
    let new = path.with_extension("new");
    if new.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
        let reason = format!("{bytes} bytes are too many for the path of a socket; use a shorter data_dir");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    for left in [&new, path] {
        match fs::remove_file(left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    // Under its name it never has other permissions.
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    fs::rename(&new, path)?;
    Ok(Socket { listener, path: path.to_owned() })
}

impl<L: Log> Owner<L> {
    /// The owner of the index of `search`.
    pub fn new(log: L, store: Store, search: Search) -> Self {
        Self { log, store, search, turn: Arc::default() }
    }

    /// Answers callers until `stop`.
    pub async fn serve(self, socket: Socket, stop: CancellationToken) {
        let mut callers = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = callers.join_next() => continue,
                accepted = socket.listener.accept(), if callers.len() < CALLERS_MAX => accepted,
            };
            match accepted {
                Ok((caller, _)) => drop(callers.spawn(self.clone().answer(caller))),
                Err(error) => {
                    tracing::warn!(%error, "a caller of `mall search` could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn answer(self, mut caller: UnixStream) {
        let mut line = String::new();
        let mut reader = BufReader::new(&mut caller).take(REQUEST_BYTES_MAX);
        let Ok(Ok(_)) = timeout(CALLER_MAX, reader.read_line(&mut line)).await else { return };
        let reply = match serde_json::from_str(&line) {
            Ok(request) => self.carry_out(request, &mut caller).await,
            Err(error) => Reply::Failed(format!("not a request: {error}")),
        };
        // A caller that has gone away does not need the answer.
        let (Ok(()) | Err(_)) = send(&mut caller, &reply).await;
    }

    async fn carry_out(&self, request: Request, caller: &mut UnixStream) -> Reply {
        let Ok(_turn) = self.turn.try_lock() else {
            return Reply::Failed("another rebuild or comparison of the search index is under way".to_owned());
        };
        let (progress, mut seen) = watch::channel(Progress::default());
        let work = self.work(request, progress);
        tokio::pin!(work);
        let mut is_there = true;
        loop {
            tokio::select! {
                done = &mut work => return done.unwrap_or_else(|error| Reply::Failed(error.to_string())),
                Ok(()) = seen.changed(), if is_there => {
                    let now = *seen.borrow_and_update();
                    // A caller that has gone away does not end a rebuild that has begun.
                    is_there = send(caller, &Reply::Progress(now)).await.is_ok();
                    if !is_there && request == Request::Verify {
                        return Reply::Failed("the caller has gone away".to_owned());
                    }
                    tokio::select! {
                        done = &mut work => return done.unwrap_or_else(|error| Reply::Failed(error.to_string())),
                        () = sleep(PROGRESS_EVERY) => {}
                    }
                }
            }
        }
    }

    async fn work(&self, request: Request, progress: watch::Sender<Progress>) -> Result<Reply, WorkerError> {
        let Request::Rebuild { verify } = request else {
            return Ok(Reply::Verified(verify::verify(&self.log, &self.store, &self.search, &progress).await?));
        };
        let (done, rebuilt) = oneshot::channel();
        let ended = || WorkerError::Search("the worker that follows the log has ended".to_owned());
        let order = RebuildOrder { verify, progress, done };
        self.search.orders.send(order).await.map_err(|_| ended())?;
        Ok(Reply::Rebuilt(rebuilt.await.map_err(|_| ended())??))
    }
}

async fn send(caller: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let line = format!("{}\n", serde_json::to_string(reply)?);
    timeout(CALLER_MAX, caller.write_all(line.as_bytes())).await?
}
