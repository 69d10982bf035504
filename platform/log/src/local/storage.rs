//! The local log's file: one SQLite database, written by one thread.

use std::{path::Path, sync::Arc};

use contract::topic::{Retention, Topic};
use rusqlite::{Connection, OpenFlags, params};

use crate::{Partition, Record};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS topic (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    partitions INTEGER NOT NULL,
    retention_ms INTEGER
);
CREATE TABLE IF NOT EXISTS record (
    topic INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (topic, partition, offset)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS committed (
    consumer_group TEXT NOT NULL,
    topic INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS write_probe (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL
);
";

const INSERT: &str = "INSERT INTO record (topic, partition, offset, at_ms, key, value) VALUES (?, ?, ?, ?, ?, ?)";
const COMMIT_OFFSET: &str = "INSERT INTO committed (consumer_group, topic, partition, next) VALUES (?, ?, ?, ?)
    ON CONFLICT (consumer_group, topic, partition) DO UPDATE SET next = max(next, excluded.next)";
const READ: &str = "SELECT offset, key, value FROM record
    WHERE topic = ? AND partition = ? AND offset >= ? ORDER BY offset LIMIT ?";

/// A topic as it is in the file.
#[derive(Debug, Clone)]
pub(crate) struct StoredTopic {
    pub(crate) id: i64,
    pub(crate) name: Arc<str>,
    pub(crate) retention: Retention,
    /// The offset after the last record, by partition.
    pub(crate) ends: Vec<u64>,
}

/// A record with its place.
pub(crate) struct Placed {
    pub(crate) topic: i64,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// An offset that a group has committed.
pub(crate) struct GroupOffset {
    pub(crate) group: Arc<str>,
    pub(crate) topic: i64,
    pub(crate) partition: u32,
    pub(crate) next: u64,
}

pub(crate) struct Storage {
    db: Connection,
}

/// SQLite integers are signed; offsets and times fit.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

impl Storage {
    /// The writer's connection. A commit is on the disk when it returns (`synchronous = FULL`).
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let db = Connection::open(path)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.execute_batch(SCHEMA)?;
        Ok(Self { db })
    }

    /// A connection that only reads.
    pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Self> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        Ok(Self { db })
    }

    pub(crate) fn topics(&self) -> rusqlite::Result<Vec<StoredTopic>> {
        let mut statement = self.db.prepare("SELECT id, name, partitions, retention_ms FROM topic ORDER BY id")?;
        let rows = statement.query_map([], |row| {
            let retention = row.get::<_, Option<i64>>(3)?;
            let retention = retention.map_or(Retention::LatestPerKey, |ms| Retention::AgeMs(unsigned(ms)));
            let ends = vec![0; row.get::<_, u32>(2)? as usize];
            Ok(StoredTopic { id: row.get(0)?, name: row.get::<_, String>(1)?.into(), retention, ends })
        })?;
        let mut topics = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let last = "SELECT offset FROM record WHERE topic = ? AND partition = ? ORDER BY offset DESC LIMIT 1";
        let mut last = self.db.prepare(last)?;
        for topic in &mut topics {
            for (partition, end) in (0_u32..).zip(&mut topic.ends) {
                let mut rows = last.query(params![topic.id, partition])?;
                if let Some(row) = rows.next()? {
                    *end = unsigned(row.get(0)?) + 1;
                }
            }
        }
        Ok(topics)
    }

    pub(crate) fn create_topic(&self, topic: &Topic) -> rusqlite::Result<StoredTopic> {
        let retention_ms = match topic.retention {
            Retention::AgeMs(ms) => Some(signed(ms)),
            Retention::LatestPerKey => None,
        };
        self.db.execute(
            "INSERT INTO topic (name, partitions, retention_ms) VALUES (?, ?, ?)",
            params![topic.name, topic.partitions, retention_ms],
        )?;
        let ends = vec![0; topic.partitions as usize];
        let name = topic.name.as_str().into();
        Ok(StoredTopic { id: self.db.last_insert_rowid(), name, retention: topic.retention, ends })
    }

    pub(crate) fn committed(&self) -> rusqlite::Result<Vec<GroupOffset>> {
        let mut statement = self.db.prepare("SELECT consumer_group, topic, partition, next FROM committed")?;
        let rows = statement.query_map([], |row| {
            let group = row.get::<_, String>(0)?.into();
            Ok(GroupOffset { group, topic: row.get(1)?, partition: row.get(2)?, next: unsigned(row.get(3)?) })
        })?;
        rows.collect()
    }

    /// Writes all of it or none, durably: one commit, one sync.
    pub(crate) fn write(&mut self, records: &[Placed], offsets: &[GroupOffset], at_ms: u64) -> rusqlite::Result<()> {
        let transaction = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for record in records {
                let Placed { topic, partition, offset, key, value } = record;
                insert.execute(params![topic, partition, signed(*offset), signed(at_ms), key, value])?;
            }
            let mut commit = transaction.prepare_cached(COMMIT_OFFSET)?;
            for GroupOffset { group, topic, partition, next } in offsets {
                commit.execute(params![group, topic, partition, signed(*next)])?;
            }
        }
        transaction.commit()
    }

    /// Writes one row, durably, to find out whether the file can be written.
    pub(crate) fn write_probe(&self, at_ms: u64) -> rusqlite::Result<()> {
        let sql =
            "INSERT INTO write_probe (id, at_ms) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at_ms = excluded.at_ms";
        self.db.prepare_cached(sql)?.execute(params![signed(at_ms)]).map(drop)
    }

    /// Up to `max` records of one partition from `offset` on.
    pub(crate) fn read(
        &self,
        topic: i64,
        partition: &Partition,
        offset: u64,
        max: usize,
    ) -> rusqlite::Result<Vec<Record>> {
        let mut statement = self.db.prepare_cached(READ)?;
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![topic, partition.index, signed(offset), limit], |row| {
            let offset = unsigned(row.get(0)?);
            Ok(Record { partition: partition.clone(), offset, key: row.get(1)?, value: row.get(2)? })
        })?;
        rows.collect()
    }

    /// Drops records below `passed` that are older than `before_ms`. The last record always stays:
    /// it is what the next offset is known by.
    pub(crate) fn trim_age(&self, topic: i64, partition: u32, passed: u64, before_ms: u64) -> rusqlite::Result<usize> {
        self.db.execute(
            "DELETE FROM record WHERE topic = ?1 AND partition = ?2 AND offset < ?3 AND at_ms < ?4
             AND offset < (SELECT MAX(offset) FROM record WHERE topic = ?1 AND partition = ?2)",
            params![topic, partition, signed(passed), signed(before_ms)],
        )
    }

    /// Drops records for which the partition has a newer one of the same key.
    pub(crate) fn compact(&self, topic: i64, partition: u32) -> rusqlite::Result<usize> {
        self.db.execute(
            "DELETE FROM record WHERE topic = ?1 AND partition = ?2 AND offset NOT IN
             (SELECT MAX(offset) FROM record WHERE topic = ?1 AND partition = ?2 GROUP BY key)",
            params![topic, partition],
        )
    }
}
