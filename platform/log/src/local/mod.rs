//! The log of the embedded profile: a SQLite file of its own, one writer thread with group commit,
//! one reader thread, and consumers that are woken, never poll.

mod backup;
mod consumer;
mod storage;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use contract::topic::Topic;
use foundation::health::{Verdict, Writes};
use tokio::sync::{oneshot, watch};

pub use self::{
    backup::{CommittedOffsets, committed_offsets, copy_log},
    consumer::LocalConsumer,
};
use self::{
    storage::{Storage, StoredTopic},
    writer::{COMMIT_RECORDS_MAX, Request, Writer},
};
use crate::{Log, LogError, NewRecord, Partition, Record, groups::Groups};

/// Requests that may wait for the writer; one more is refused with [`LogError::Full`].
const WRITER_QUEUE_MAX: usize = 4096;
/// Reads that may wait for the reader thread.
const READER_QUEUE_MAX: usize = 1024;
/// How long a write may take that only finds out whether the log can be written.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// The file can't be opened as a log.
#[derive(Debug, thiserror::Error)]
#[error("the log {path} can't be opened: {reason}")]
pub struct OpenError {
    path: String,
    reason: String,
}

struct Read {
    topic: i64,
    partition: Partition,
    offset: u64,
    max: usize,
    reply: oneshot::Sender<Result<Vec<Record>, LogError>>,
}

/// Offsets that a group has committed.
pub(crate) type GroupCommit = (Arc<str>, Vec<(Partition, u64)>);

/// What the writer, the reader and the consumers all see.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Moves when a record is readable or a group changes.
    changed: watch::Sender<u64>,
    syncs: AtomicU64,
    writes: Writes,
}

#[derive(Default)]
pub(crate) struct State {
    topics: BTreeMap<Arc<str>, ReadableTopic>,
    groups: Groups,
}

struct ReadableTopic {
    id: i64,
    ends: Vec<u64>,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // State is moved in steps that can't panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    fn add_topic(&self, topic: &StoredTopic) {
        let readable = ReadableTopic { id: topic.id, ends: topic.ends.clone() };
        self.state().topics.insert(topic.name.clone(), readable);
    }

    fn publish(&self, ends: &HashMap<Partition, u64>, commits: Vec<GroupCommit>, synced: bool) {
        if synced {
            self.syncs.fetch_add(1, Ordering::Relaxed);
        }
        {
            let mut state = self.state();
            #[expect(clippy::iter_over_hash_type, reason = "each end is set on its own, in any order")]
            for (partition, end) in ends {
                if let Some(topic) = state.topics.get_mut(&partition.topic) {
                    topic.ends[partition.index as usize] = *end;
                }
            }
            for (group, offsets) in commits {
                state.groups.committed(&group, offsets);
            }
        }
        if !ends.is_empty() {
            self.wake();
        }
    }
}

/// The local log. Clones share it; [`LocalLog::close`] ends it.
#[derive(Clone)]
pub struct LocalLog {
    shared: Arc<Shared>,
    writer: mpsc::SyncSender<Request>,
    reader: mpsc::SyncSender<Read>,
    /// Until [`LocalLog::close`] waits for it.
    writing: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl LocalLog {
    /// Opens or makes the log at `path`.
    ///
    /// # Errors
    /// [`OpenError`] where the file can't be read and written as a log.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError { path: path.display().to_string(), reason };
        let storage = Storage::open(path).map_err(|error| failed(error.to_string()))?;
        let reading = Storage::open_reader(path).map_err(|error| failed(error.to_string()))?;
        let topics = storage.topics().map_err(|error| failed(error.to_string()))?;
        let committed = storage.committed().map_err(|error| failed(error.to_string()))?;

        let (changed, writes) = (watch::Sender::new(0), Writes::default());
        let shared = Arc::new(Shared { state: Mutex::default(), changed, syncs: AtomicU64::new(0), writes });
        topics.iter().for_each(|topic| shared.add_topic(topic));
        for offset in committed {
            if let Some(topic) = topics.iter().find(|topic| topic.id == offset.topic) {
                let partition = Partition { topic: topic.name.clone(), index: offset.partition };
                shared.state().groups.committed(&offset.group, [(partition, offset.next)]);
            }
        }

        let (writer, requests) = mpsc::sync_channel(WRITER_QUEUE_MAX);
        let (reader, reads) = mpsc::sync_channel(READER_QUEUE_MAX);
        let topics = topics.into_iter().map(|topic| (topic.name.clone(), topic)).collect();
        let write = Writer { storage, shared: shared.clone(), requests, topics };
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| failed(error.to_string()))
        };
        let writing = spawn("log-writer", Box::new(move || write.run()))?;
        // It ends by itself once the last handle to the log is gone.
        spawn("log-reader", Box::new(move || serve(&reading, &reads)))?;
        Ok(Self { shared, writer, reader, writing: Arc::new(Mutex::new(Some(writing))) })
    }

    /// Commits that made records durable, since the log was opened: each is one sync of the disk.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// Whether the log can be written, by the outcome of the latest writes. Where there are none, one row is written.
    ///
    /// # Errors
    /// Why it can't.
    pub async fn check_writable(&self) -> Result<(), String> {
        match self.shared.writes.verdict(Instant::now()) {
            Verdict::Writable => return Ok(()),
            Verdict::Failing(reason) => return Err(reason),
            Verdict::Unknown => {}
        }
        let asked = tokio::time::timeout(PROBE_MAX, self.ask(|reply| Request::Probe { reply })).await;
        match asked {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the log did not answer a write within {PROBE_MAX:?}")),
        }
    }

    /// Writes what waits and ends the writer. Later calls answer [`LogError::Closed`].
    pub fn close(&self) {
        // The writer may have ended before.
        drop(self.writer.send(Request::Close));
        let writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Request,
    ) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        self.writer.try_send(request(reply)).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => LogError::Full("too many requests wait for the writer"),
            mpsc::TrySendError::Disconnected(_) => LogError::Closed,
        })?;
        answer.await.unwrap_or(Err(LogError::Closed))
    }

    fn partitions(&self, topics: &[&str]) -> Result<Vec<Partition>, LogError> {
        let state = self.shared.state();
        let mut partitions = Vec::new();
        for name in topics {
            let (name, topic) =
                state.topics.get_key_value(*name).ok_or_else(|| LogError::UnknownTopic((*name).to_owned()))?;
            partitions.extend((0_u32..).zip(&topic.ends).map(|(index, _)| Partition { topic: name.clone(), index }));
        }
        Ok(partitions)
    }
}

fn serve(storage: &Storage, reads: &mpsc::Receiver<Read>) {
    while let Ok(Read { topic, partition, offset, max, reply }) = reads.recv() {
        let records =
            storage.read(topic, &partition, offset, max).map_err(|error| LogError::Unknown(error.to_string()));
        // A consumer that was dropped no longer waits.
        drop(reply.send(records));
    }
}

impl Log for LocalLog {
    type Consumer = LocalConsumer;

    async fn create_topics(&self, topics: Vec<Topic>) -> Result<(), LogError> {
        self.ask(|reply| Request::CreateTopics { topics, reply }).await
    }

    async fn topics(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        let state = self.shared.state();
        Ok(state.topics.keys().filter(|name| name.starts_with(prefix)).map(ToString::to_string).collect())
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        if records.len() > COMMIT_RECORDS_MAX {
            return Err(LogError::Full("more records than one commit takes"));
        }
        self.ask(|reply| Request::Append { records, reply }).await
    }

    async fn join(&self, group: &str, topics: &[&str]) -> Result<LocalConsumer, LogError> {
        let partitions = self.partitions(topics)?;
        let member = self.shared.state().groups.join(group, partitions);
        self.shared.wake();
        Ok(LocalConsumer::member(self.clone(), group, member))
    }

    async fn follow(&self, topics: &[&str]) -> Result<LocalConsumer, LogError> {
        Ok(LocalConsumer::follower(self.clone(), self.partitions(topics)?))
    }

    async fn ends(&self, topic: &str) -> Result<Vec<(Partition, u64)>, LogError> {
        let state = self.shared.state();
        let (name, found) =
            state.topics.get_key_value(topic).ok_or_else(|| LogError::UnknownTopic(topic.to_owned()))?;
        let at = |(index, end): (u32, &u64)| (Partition { topic: name.clone(), index }, *end);
        Ok((0_u32..).zip(&found.ends).map(at).collect())
    }
}
