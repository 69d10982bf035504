//! A log whose disk can lose what it had not yet synced, and whose answers can be lost.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use commit_log::{
    Consumer, Cursor, Log, LogError, NewRecord, Partition, Record,
    groups::{Groups, MemberId},
};
use contract::topic::{Topic, partition_of};
use tokio::sync::{oneshot, watch};

use foundation::Clock;

use crate::world::World;

/// What a client has given up lands within this time.
const LATE_MAX_MS: u64 = 8_000;
/// How long it waits before.
const GIVEN_UP_MAX_MS: u64 = 2_000;

/// The log of one run. Clones share it; what is durable outlives [`SimLog::crash`].
#[derive(Clone)]
pub struct SimLog {
    world: World,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    arrived: Arc<tokio::sync::Notify>,
    habits: Habits,
}

/// What a log may do to those who ask it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// One answer in this many is lost although the work was done; 0: none.
    pub loses_answer_in: u64,
    /// One append in this many is given up by its client and lands some seconds later; 0: none.
    pub late_in: u64,
    /// A broken log that says yes before it has synced: the simulation must catch it.
    pub hasty: bool,
}

#[derive(Default)]
struct State {
    up: bool,
    topics: BTreeMap<Arc<str>, Vec<Vec<Record>>>,
    groups: Groups,
    waiting: Vec<Waiting>,
    /// Handed to the disk, not yet synced.
    syncing: Vec<Waiting>,
    /// What its client has given up, and when it lands.
    late: Vec<(u64, Write)>,
}

struct Waiting {
    what: Write,
    reply: Option<oneshot::Sender<Result<(), LogError>>>,
}

enum Write {
    Append(Vec<NewRecord>),
    Commit { group: String, member: MemberId, offsets: Vec<(Partition, u64)> },
}

fn down() -> LogError {
    LogError::Unknown("the log is down".to_owned())
}

impl State {
    fn place(&mut self, record: NewRecord) {
        let NewRecord { topic, key, value } = record;
        let Some(partitions) = self.topics.get_mut(&topic) else { return };
        let index = partition_of(&key, u32::try_from(partitions.len()).unwrap_or(1));
        let records = &mut partitions[index as usize];
        let offset = records.len() as u64;
        records.push(Record { partition: Partition { topic, index }, offset, key, value });
    }

    fn settle(&mut self, write: Write) -> Result<(), LogError> {
        match write {
            Write::Append(records) => records.into_iter().for_each(|record| self.place(record)),
            Write::Commit { group, member, offsets } => {
                self.groups.check_commit(&group, member, &offsets)?;
                self.groups.committed(&group, offsets);
            }
        }
        Ok(())
    }
}

impl SimLog {
    /// An empty log that is up.
    pub fn new(world: World, habits: Habits) -> Self {
        let state = State { up: true, ..State::default() };
        let changed = watch::Sender::new(0);
        Self { world, state: Arc::new(Mutex::new(state)), changed, arrived: Arc::default(), habits }
    }

    /// A log that loses no answers.
    pub fn reliable(world: World) -> Self {
        Self::new(world, Habits::default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// The writer: groups what waits, syncs, answers. Runs as the log's part.
    pub async fn write(self) {
        self.state().up = true;
        self.wake();
        loop {
            let arrived = self.arrived.notified();
            {
                let mut state = self.state();
                let waiting = std::mem::take(&mut state.waiting);
                state.syncing.extend(waiting);
            }
            if self.state().syncing.is_empty() {
                arrived.await;
                continue;
            }
            self.world.pause().await;
            let mut replies = Vec::new();
            {
                let mut state = self.state();
                for waiting in std::mem::take(&mut state.syncing) {
                    replies.push((waiting.reply, state.settle(waiting.what)));
                }
            }
            for (reply, result) in replies {
                if let Some(reply) = reply {
                    // The caller may be gone.
                    drop(reply.send(result));
                }
            }
            self.wake();
        }
    }

    /// Brings in what was given up. Runs beside the log.
    pub async fn land_late(self) {
        loop {
            let now_ms = self.world.now_ms();
            let mut landed = false;
            {
                let mut state = self.state();
                while let Some(at) = state.late.iter().position(|(at_ms, _)| *at_ms <= now_ms) {
                    let (_, write) = state.late.remove(at);
                    landed |= state.settle(write).is_ok();
                }
            }
            if landed {
                self.wake();
            }
            self.world.sleep_until(now_ms + 50).await;
        }
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.state().topics.len()
    }

    /// Whether something that was given up may still land.
    pub fn expects_late(&self) -> bool {
        !self.state().late.is_empty()
    }

    /// Power loss of the log: of what was with the disk but not synced a torn beginning may stand,
    /// what was only queued is lost, and its callers do not learn which.
    pub fn crash(&self) {
        let mut state = self.state();
        state.up = false;
        state.waiting.clear();
        let syncing = std::mem::take(&mut state.syncing);
        let mut survive = self.world.below(1 + 2 * syncing.len() as u64);
        for Waiting { what, .. } in syncing {
            match what {
                Write::Append(mut records) => {
                    if survive == 0 {
                        let torn = self.world.index(1 + records.len());
                        records.truncate(torn);
                    }
                    records.into_iter().for_each(|record| state.place(record));
                }
                Write::Commit { .. } if survive > 0 => drop(state.settle(what)),
                Write::Commit { .. } => {}
            }
            if survive == 0 {
                break;
            }
            survive -= 1;
        }
        drop(state);
        self.wake();
    }

    /// Every durable record of `topic`, by partition and offset.
    pub fn records(&self, topic: &str) -> Vec<Record> {
        self.state().topics.get(topic).map(|partitions| partitions.concat()).unwrap_or_default()
    }

    /// Records that `group` has not committed on `topic`.
    pub fn lag(&self, group: &str, topic: &str) -> u64 {
        let state = self.state();
        let Some((name, partitions)) = state.topics.get_key_value(topic) else { return 0 };
        let committed = |index| state.groups.committed_offset(group, &Partition { topic: name.clone(), index });
        (0_u32..).zip(partitions).map(|(index, records)| records.len() as u64 - committed(index)).sum()
    }

    async fn ask(&self, what: Write) -> Result<(), LogError> {
        self.world.pause().await;
        if self.habits.late_in > 0 && matches!(what, Write::Append(_)) && self.world.one_in(self.habits.late_in) {
            let at_ms = self.world.now_ms() + self.world.below(LATE_MAX_MS);
            self.state().late.push((at_ms, what));
            self.world.sleep_until(self.world.now_ms() + self.world.below(GIVEN_UP_MAX_MS)).await;
            return Err(LogError::Unknown("no acknowledgement".to_owned()));
        }
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.state();
            if !state.up {
                return Err(down());
            }
            let mut reply = Some(reply);
            if self.habits.hasty && matches!(what, Write::Append(_)) {
                drop(reply.take().map(|reply| reply.send(Ok(()))));
            }
            state.waiting.push(Waiting { what, reply });
        }
        self.arrived.notify_one();
        let answer = answer.await.unwrap_or_else(|_| Err(down()));
        self.world.pause().await;
        // The answer can be lost on its way although the work was done.
        let lost = self.habits.loses_answer_in > 0 && self.world.one_in(self.habits.loses_answer_in);
        if lost { Err(down()) } else { answer }
    }

    fn partitions(&self, topics: &[&str]) -> Result<Vec<Partition>, LogError> {
        let state = self.state();
        let mut all = Vec::new();
        for name in topics {
            let found = state.topics.get_key_value(*name);
            let (name, partitions) = found.ok_or_else(|| LogError::UnknownTopic((*name).to_owned()))?;
            all.extend((0_u32..).zip(partitions).map(|(index, _)| Partition { topic: name.clone(), index }));
        }
        Ok(all)
    }
}

impl Log for SimLog {
    type Consumer = SimConsumer;

    async fn create_topics(&self, topics: Vec<Topic>) -> Result<(), LogError> {
        let mut state = self.state();
        for topic in topics {
            let partitions = topic.partitions as usize;
            let found = state.topics.entry(topic.name.as_str().into()).or_insert_with(|| vec![Vec::new(); partitions]);
            if found.len() != partitions {
                return Err(LogError::TopicDiffers(topic.name));
            }
        }
        Ok(())
    }

    async fn topics(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        Ok(self.state().topics.keys().filter(|name| name.starts_with(prefix)).map(ToString::to_string).collect())
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        {
            let state = self.state();
            if let Some(unknown) = records.iter().find(|record| !state.topics.contains_key(&record.topic)) {
                return Err(LogError::UnknownTopic(unknown.topic.to_string()));
            }
        }
        self.ask(Write::Append(records)).await
    }

    async fn join(&self, group: &str, topics: &[&str]) -> Result<SimConsumer, LogError> {
        let partitions = self.partitions(topics)?;
        let member = self.state().groups.join(group, partitions);
        self.wake();
        Ok(SimConsumer::new(self, Some((group.to_owned(), member, 0)), Vec::new()))
    }

    async fn follow(&self, topics: &[&str]) -> Result<SimConsumer, LogError> {
        Ok(SimConsumer::new(self, None, self.partitions(topics)?))
    }

    async fn ends(&self, topic: &str) -> Result<Vec<(Partition, u64)>, LogError> {
        let partitions = self.partitions(&[topic])?;
        let state = self.state();
        let end = |partition: &Partition| state.topics[&partition.topic][partition.index as usize].len() as u64;
        Ok(partitions.iter().map(|partition| (partition.clone(), end(partition))).collect())
    }
}

/// Reads the log of a run.
pub struct SimConsumer {
    log: SimLog,
    /// Group, member and the generation last seen.
    membership: Option<(String, MemberId, u64)>,
    cursor: Cursor,
    changed: watch::Receiver<u64>,
}

impl SimConsumer {
    fn new(log: &SimLog, membership: Option<(String, MemberId, u64)>, partitions: Vec<Partition>) -> Self {
        let cursor = Cursor::new(partitions.into_iter().map(|partition| (partition, 0)));
        Self { log: log.clone(), membership, cursor, changed: log.changed.subscribe() }
    }

    fn follow_group(&mut self) {
        let Some((group, member, generation)) = &mut self.membership else { return };
        self.cursor.follow(&self.log.state().groups, group, *member, generation);
    }

    fn take(&mut self, max: usize) -> Vec<Record> {
        let state = self.log.state();
        let mut taken = Vec::new();
        for (partition, position) in self.cursor.readable() {
            let records = &state.topics[&partition.topic][partition.index as usize];
            let from = usize::try_from(position).unwrap_or(usize::MAX).min(records.len());
            // A fetch ends where the seed says, as a real one ends where its bytes do.
            let left = max - taken.len();
            taken.extend(records[from..].iter().take(left).cloned());
        }
        drop(state);
        self.cursor.pass(&taken);
        taken
    }
}

impl Consumer for SimConsumer {
    async fn poll(&mut self, max: usize) -> Result<Vec<Record>, LogError> {
        loop {
            self.changed.mark_unchanged();
            self.log.world.pause().await;
            if !self.log.state().up {
                return Err(down());
            }
            self.follow_group();
            let max = if self.log.world.one_in(4) { max.min(1 + self.log.world.index(8)) } else { max };
            let taken = self.take(max);
            if !taken.is_empty() {
                return Ok(taken);
            }
            if self.changed.changed().await.is_err() {
                return Err(LogError::Closed);
            }
        }
    }

    async fn commit(&mut self, offsets: Vec<(Partition, u64)>) -> Result<(), LogError> {
        let Some((group, member, _)) = self.membership.clone() else { return Ok(()) };
        self.log.ask(Write::Commit { group, member, offsets }).await
    }

    fn rewind(&mut self, partition: &Partition, offset: u64) {
        self.cursor.rewind(partition, offset);
    }

    fn pause(&mut self, partition: &Partition) {
        self.cursor.pause(partition);
    }

    fn resume(&mut self, partition: &Partition) {
        self.cursor.resume(partition);
    }
}

impl Drop for SimConsumer {
    fn drop(&mut self) {
        if let Some((group, member, _)) = &self.membership {
            self.log.state().groups.leave(group, *member);
            self.log.wake();
        }
    }
}
