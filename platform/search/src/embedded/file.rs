//! What outlives the process: every product with its version, and the position in the log, in one SQLite file.
//!
//! A change and the position that it belongs to are one transaction, synced before [`File::write`] returns. Each row has a
//! checksum of its own, since SQLite's pages have none.

use std::path::{Path, PathBuf};

use contract::ids::ProductId;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use crate::{
    fnv::{FNV_START, fnv},
    index::{IndexError, Position},
    product::{Change, Product},
};

/// In the file's header; another number is a file of another version of this crate.
const FORMAT: i64 = 2;
/// How long one connection waits for another of this process.
const BUSY_MS: u64 = 5_000;
/// Connections for reading that are kept open.
const READERS_MAX: usize = 8;

const SCHEMA: &str = "CREATE TABLE products (
        id INTEGER PRIMARY KEY,
        version INTEGER NOT NULL,
        product TEXT,
        checksum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE position (one INTEGER PRIMARY KEY CHECK (one = 1), position TEXT NOT NULL) STRICT;";

#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// `None` after an error: what became of a commit that failed is known only to a new connection.
    writer: std::sync::Mutex<Option<Connection>>,
    readers: std::sync::Mutex<Vec<Connection>>,
}

impl File {
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        let connection = connect(path, true)?;
        connection.execute_batch(SCHEMA)?;
        connection.pragma_update(None, "user_version", FORMAT)?;
        Ok(Self::new(path, connection))
    }

    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let connection = connect(path, false)?;
        let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if format != FORMAT {
            return Err(FileError::Damaged(format!("its format is {format}, not {FORMAT}")));
        }
        let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if check != "ok" {
            return Err(FileError::Damaged(check));
        }
        Ok(Self::new(path, connection))
    }

    fn new(path: &Path, connection: Connection) -> Self {
        Self { path: path.to_owned(), writer: Some(connection).into(), readers: Vec::new().into() }
    }

    /// Writes what is newer than what the file has, and the position, or nothing of it.
    pub(super) fn write(&self, changes: &[&Change], position: Option<&Position>) -> Result<(), FileError> {
        self.with_writer(|connection| {
            let transaction = connection.transaction()?;
            {
                let mut put = transaction.prepare_cached(
                    "INSERT INTO products (id, version, product, checksum) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE SET \
                     version = excluded.version, product = excluded.product, checksum = excluded.checksum \
                     WHERE excluded.version >= version",
                )?;
                for change in changes {
                    let (id, version) = (change.id().as_i64(), change.version());
                    let product = match change {
                        Change::Put(product) => Some(serde_json::to_string(product)?),
                        Change::Remove { .. } => None,
                    };
                    put.execute(params![id, version, product, checksum(id, version, product.as_deref())])?;
                }
            }
            if let Some(position) = position {
                let sql = "INSERT INTO position (one, position) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET \
                           position = excluded.position";
                transaction.execute(sql, [position.as_str()])?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    pub(super) fn position(&self) -> Result<Option<Position>, FileError> {
        self.with_reader(|connection| {
            let sql = "SELECT position FROM position";
            let position: Option<String> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
            Ok(position.and_then(Position::new))
        })
    }

    /// Calls `visit` with id, version and product of every row; `None` for a removed one.
    pub(super) fn read_all(&self, mut visit: impl FnMut(i64, i64, Option<String>)) -> Result<(), FileError> {
        self.with_reader(|connection| {
            let mut rows = connection.prepare("SELECT id, version, product, checksum FROM products ORDER BY id")?;
            let mut rows = rows.query([])?;
            while let Some(row) = rows.next()? {
                let (id, version, product): (i64, i64, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                if row.get::<_, i64>(3)? != checksum(id, version, product.as_deref()) {
                    return Err(FileError::Damaged(format!("product {id} has another checksum than its row says")));
                }
                visit(id, version, product);
            }
            Ok(())
        })
    }

    /// The products of these ids, `None` for those that are removed or unknown.
    pub(super) fn products(&self, ids: &[i64]) -> Result<Vec<Option<Product>>, FileError> {
        self.with_reader(|connection| {
            let mut one = connection.prepare_cached("SELECT product FROM products WHERE id = ?")?;
            let mut products = Vec::with_capacity(ids.len());
            for id in ids {
                let text: Option<Option<String>> = one.query_row([id], |row| row.get(0)).optional()?;
                let product = text.flatten().map(|text| serde_json::from_str(&text)).transpose();
                products.push(product.map_err(|error| FileError::Damaged(format!("product {id}: {error}")))?);
            }
            Ok(products)
        })
    }

    /// The next products after the id `after`, at most `limit`, with their ids.
    pub(super) fn products_after(&self, after: i64, limit: usize) -> Result<Vec<(i64, Product)>, FileError> {
        self.with_reader(|connection| {
            let sql = "SELECT id, product FROM products WHERE id > ? AND product IS NOT NULL ORDER BY id LIMIT ?";
            let mut rows = connection.prepare_cached(sql)?;
            let mut rows = rows.query(params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?;
            let mut products = Vec::with_capacity(limit);
            while let Some(row) = rows.next()? {
                let (id, text): (i64, String) = (row.get(0)?, row.get(1)?);
                products.push((id, product_of(id, &text)?));
            }
            Ok(products)
        })
    }

    /// Everything in the file itself and synced, nothing in the log beside it.
    pub(super) fn settle(&self) -> Result<(), FileError> {
        self.with_writer(|connection| {
            let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if busy == 0 { Ok(()) } else { Err(FileError::Failed("the checkpoint was kept from its work".to_owned())) }
        })
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |it| it.len());
        bytes(&self.path) + bytes(&beside(&self.path, "-wal"))
    }

    fn with_writer<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, FileError>) -> Result<T, FileError> {
        let mut writer = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut connection = match writer.take() {
            Some(connection) => connection,
            None => connect(&self.path, false)?,
        };
        let done = work(&mut connection)?;
        *writer = Some(connection);
        Ok(done)
    }

    fn with_reader<T>(&self, work: impl FnOnce(&Connection) -> Result<T, FileError>) -> Result<T, FileError> {
        let lock = || self.readers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let kept = lock().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => connect(&self.path, false)?,
        };
        let done = work(&connection)?;
        let mut readers = lock();
        if readers.len() < READERS_MAX {
            readers.push(connection);
        }
        Ok(done)
    }
}

/// Removes a file and what SQLite keeps beside it.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    for path in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn connect(path: &Path, is_new: bool) -> Result<Connection, FileError> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if is_new {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit that was acknowledged survives the machine too.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn checksum(id: i64, version: i64, product: Option<&str>) -> i64 {
    let hash = fnv(&version.to_le_bytes(), fnv(&id.to_le_bytes(), FNV_START));
    let hash = product.map_or(hash, |product| fnv(product.as_bytes(), fnv(&[1], hash)));
    i64::from_le_bytes(hash.to_le_bytes())
}

/// Why a file did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("{0}")]
    Damaged(String),
    #[error("{0}")]
    Failed(String),
    #[error("it is at another position")]
    Moved,
}

impl From<rusqlite::Error> for FileError {
    fn from(error: rusqlite::Error) -> Self {
        let is_damaged = if let rusqlite::Error::SqliteFailure(failure, _) = &error {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        } else {
            // A column of another type than the schema's, or text that is no UTF-8.
            matches!(
                error,
                rusqlite::Error::InvalidColumnType(..)
                    | rusqlite::Error::FromSqlConversionFailure(..)
                    | rusqlite::Error::IntegralValueOutOfRange(..)
                    | rusqlite::Error::Utf8Error(..)
            )
        };
        if is_damaged { Self::Damaged(error.to_string()) } else { Self::Failed(error.to_string()) }
    }
}

impl From<serde_json::Error> for FileError {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<FileError> for IndexError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Damaged(reason) => Self::NeedsRebuild(reason),
            FileError::Failed(reason) => Self::Unavailable(reason),
            FileError::Moved => Self::Moved,
        }
    }
}

/// A product of a row.
pub(super) fn product_of(id: i64, text: &str) -> Result<Product, FileError> {
    let product: Product =
        serde_json::from_str(text).map_err(|error| FileError::Damaged(format!("product {id}: {error}")))?;
    if ProductId::from_i64(id) == Some(product.id) {
        Ok(product)
    } else {
        Err(FileError::Damaged(format!("product {id} is another")))
    }
}
