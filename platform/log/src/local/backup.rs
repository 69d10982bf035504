//! A copy of the log's file while a mall writes it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

/// The offsets that every group had committed at one time.
#[derive(Debug)]
pub struct CommittedOffsets(Vec<(String, i64, i64, i64)>);

/// Reads the offsets that are committed in the log at `path`.
///
/// # Errors
/// If the file can't be read as a log.
pub fn committed_offsets(path: &Path) -> rusqlite::Result<CommittedOffsets> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let mut statement = db.prepare("SELECT consumer_group, topic, partition, next FROM committed")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    Ok(CommittedOffsets(rows.collect::<rusqlite::Result<_>>()?))
}

/// Copies the log at `path` to the new file `to`. In the copy every group has committed `offsets`: it reads again what it did
/// after they were read, because the database that goes with the copy may lack that.
///
/// # Errors
/// If the log can't be read, or the copy can't be written.
pub fn copy_log(path: &Path, to: &Path, offsets: &CommittedOffsets) -> rusqlite::Result<()> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.execute("VACUUM INTO ?", params![to.to_string_lossy()])?;
    let mut copy = Connection::open(to)?;
    let transaction = copy.transaction()?;
    transaction.execute("DELETE FROM committed", [])?;
    for (group, topic, partition, next) in &offsets.0 {
        let insert = "INSERT INTO committed (consumer_group, topic, partition, next) VALUES (?, ?, ?, ?)";
        transaction.execute(insert, params![group, topic, partition, next])?;
    }
    transaction.commit()?;
    copy.close().map_err(|(_, error)| error)
}
