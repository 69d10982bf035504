//! The one thread that writes the local log. Whatever waits when a sync ends goes into the next one:
//! group commit without a timer.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use contract::topic::{Retention, Topic, partition_of};
use tokio::sync::oneshot;

use super::{
    GroupCommit, Shared,
    storage::{GroupOffset, Placed, Storage, StoredTopic},
};
use crate::{LogError, NewRecord, Partition, groups::MemberId};

/// Records that share one commit at most.
pub(crate) const COMMIT_RECORDS_MAX: usize = 8192;
const TRIM_EVERY: Duration = Duration::from_secs(60);

pub(crate) type Reply<T> = oneshot::Sender<Result<T, LogError>>;

/// What the writer is asked to do.
pub(crate) enum Request {
    Append {
        records: Vec<NewRecord>,
        reply: Reply<()>,
    },
    Commit {
        group: Arc<str>,
        member: MemberId,
        offsets: Vec<(Partition, u64)>,
        reply: Reply<()>,
    },
    CreateTopics {
        topics: Vec<Topic>,
        reply: Reply<()>,
    },
    /// Writes one row where nothing else is written.
    Probe {
        reply: Reply<()>,
    },
    Close,
}

pub(crate) struct Writer {
    pub(crate) storage: Storage,
    pub(crate) shared: Arc<Shared>,
    pub(crate) requests: Receiver<Request>,
    pub(crate) topics: HashMap<Arc<str>, StoredTopic>,
}

/// What goes into one commit, and whom to tell.
#[derive(Default)]
struct Pending {
    records: Vec<Placed>,
    offsets: Vec<GroupOffset>,
    /// Ends of the partitions that grow, as they stand after the commit.
    ends: HashMap<Partition, u64>,
    commits: Vec<GroupCommit>,
    replies: Vec<Reply<()>>,
    /// Somebody wants to know whether the file can be written.
    probe: bool,
}

impl Writer {
    pub(crate) fn run(mut self) {
        let mut trimmed = Instant::now();
        loop {
            let first = match self.requests.recv_timeout(TRIM_EVERY) {
                Ok(Request::Close) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
            };
            let open = first.is_none_or(|first| self.commit_with_waiting(first));
            if trimmed.elapsed() >= TRIM_EVERY {
                self.trim();
                trimmed = Instant::now();
            }
            if !open {
                return;
            }
        }
    }

    /// One commit for `first` and all that waits behind it; false once the log is closed.
    fn commit_with_waiting(&mut self, first: Request) -> bool {
        let mut pending = Pending::default();
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Append { records, reply } => self.place(records, reply, &mut pending),
                Request::Commit { group, member, offsets, reply } => {
                    self.place_offsets(group, member, offsets, reply, &mut pending);
                }
                Request::CreateTopics { topics, reply } => {
                    // A closed receiver has stopped waiting for the answer.
                    drop(reply.send(self.create_topics(&topics)));
                }
                Request::Probe { reply } => {
                    pending.probe = true;
                    pending.replies.push(reply);
                }
                Request::Close => {
                    self.commit(pending);
                    return false;
                }
            }
            next = if pending.records.len() < COMMIT_RECORDS_MAX { self.requests.try_recv().ok() } else { None };
        }
        self.commit(pending);
        true
    }

    /// Gives each record its offset. A request that names an unknown topic gets none of them.
    fn place(&self, records: Vec<NewRecord>, reply: Reply<()>, pending: &mut Pending) {
        if let Some(unknown) = records.iter().find(|record| !self.topics.contains_key(&record.topic)) {
            drop(reply.send(Err(LogError::UnknownTopic(unknown.topic.to_string()))));
            return;
        }
        for NewRecord { topic, key, value } in records {
            let stored = &self.topics[&topic];
            let partitions = u32::try_from(stored.ends.len()).unwrap_or(u32::MAX);
            let index = partition_of(&key, partitions);
            let end = pending.ends.entry(Partition { topic, index }).or_insert(stored.ends[index as usize]);
            pending.records.push(Placed { topic: stored.id, partition: index, offset: *end, key, value });
            *end += 1;
        }
        pending.replies.push(reply);
    }

    fn place_offsets(
        &self,
        group: Arc<str>,
        member: MemberId,
        offsets: Vec<(Partition, u64)>,
        reply: Reply<()>,
        pending: &mut Pending,
    ) {
        if let Err(error) = self.shared.state().groups.check_commit(&group, member, &offsets) {
            drop(reply.send(Err(error)));
            return;
        }
        for (partition, next) in &offsets {
            if let Some(topic) = self.topics.get(&partition.topic) {
                let group = group.clone();
                pending.offsets.push(GroupOffset { group, topic: topic.id, partition: partition.index, next: *next });
            }
        }
        pending.commits.push((group, offsets));
        pending.replies.push(reply);
    }

    fn commit(&mut self, pending: Pending) {
        let Pending { records, offsets, ends, commits, replies, probe } = pending;
        let is_empty = records.is_empty() && offsets.is_empty();
        if is_empty && !probe {
            replies.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
            return;
        }
        let written = if is_empty {
            self.storage.write_probe(now_ms())
        } else {
            self.storage.write(&records, &offsets, now_ms())
        };
        let result = written.map_err(|error| {
            // The caller that asked for a probe reports the result.
            if !is_empty {
                tracing::error!(%error, records = records.len(), "the local log could not be written");
            }
            LogError::Unknown(error.to_string())
        });
        match &result {
            Ok(()) => self.shared.writes.succeeded(Instant::now()),
            Err(error) => self.shared.writes.failed(error.to_string(), Instant::now()),
        }
        if result.is_ok() && !is_empty {
            for (partition, end) in &ends {
                if let Some(topic) = self.topics.get_mut(&partition.topic) {
                    topic.ends[partition.index as usize] = *end;
                }
            }
            self.shared.publish(&ends, commits, !records.is_empty());
        }
        replies.into_iter().for_each(|reply| drop(reply.send(result.clone())));
    }

    fn create_topics(&mut self, topics: &[Topic]) -> Result<(), LogError> {
        for topic in topics {
            match self.topics.get(topic.name.as_str()) {
                Some(stored) if stored.ends.len() == topic.partitions as usize => {}
                Some(_) => return Err(LogError::TopicDiffers(topic.name.clone())),
                None => {
                    let created =
                        self.storage.create_topic(topic).map_err(|error| LogError::Unknown(error.to_string()))?;
                    self.shared.add_topic(&created);
                    self.topics.insert(created.name.clone(), created);
                }
            }
        }
        Ok(())
    }

    fn trim(&self) {
        for topic in self.topics.values() {
            for (index, end) in (0_u32..).zip(&topic.ends) {
                let partition = Partition { topic: topic.name.clone(), index };
                let trimmed = match topic.retention {
                    Retention::LatestPerKey => self.storage.compact(topic.id, index),
                    Retention::AgeMs(age_ms) => {
                        let passed = self.shared.state().groups.passed_by_all(&partition).unwrap_or(*end);
                        self.storage.trim_age(topic.id, index, passed, now_ms().saturating_sub(age_ms))
                    }
                };
                if let Err(error) = trimmed {
                    tracing::warn!(%error, topic = %topic.name, "the local log could not be trimmed");
                }
            }
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
