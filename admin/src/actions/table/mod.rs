//! Files with a row for each change: what every row would do, why some can't, and the changes themselves.

pub(crate) mod products;
pub(crate) mod shipments;

use std::collections::BTreeMap;

use foundation::Clock;

use super::{Api, Refusal};
use crate::csv::{self, CsvError, Row};

/// How long rows are carried out for one request, in milliseconds. The rest is left for the next request: a request that
/// takes longer than `admin.request_timeout_ms` is cut.
const CARRY_OUT_MS: u64 = 8_000;

/// A column of a file, under its English and its Chinese name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) zh: &'static str,
    pub(crate) is_needed: bool,
}

/// Why nothing of a file is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileError {
    Csv(CsvError),
    MissingColumns(Vec<Column>),
    RepeatedColumn(String),
    NoRows,
}

/// Why a row is not taken.
#[derive(Debug, Clone)]
pub(crate) enum Problem {
    /// A quote is missing or superfluous.
    Torn,
    /// The row has this many cells.
    Cells {
        found: usize,
        expected: usize,
    },
    /// A value that can't be, in this column.
    Value {
        column: &'static str,
        detail: String,
    },
    /// The row is needed to have a value in this column.
    Missing(&'static str),
    UnknownCategory(String),
    /// More than one category has the name.
    AmbiguousCategory(String),
    /// The row on this line is of the same thing.
    Repeats(usize),
    /// The row on this line has another value for the product.
    Contradicts {
        line: usize,
        column: &'static str,
    },
    UnknownSku,
    UnknownOrder,
    /// The order is not paid, or was sent in another way.
    NotToShip(&'static str),
    NoAddress,
    /// It was tried, and refused.
    Refused(Refusal),
    /// The request's time was over. The next one continues here.
    NoTimeLeft,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid { field, detail } => Self::Value { column: field, detail },
            Refusal::NoAddress => Self::NoAddress,
            Refusal::Unknown(_)
            | Refusal::Changed { .. }
            | Refusal::Conflict(_)
            | Refusal::OtherRefund(_)
            | Refusal::NameTaken
            | Refusal::InsufficientStock { .. }
            | Refusal::Busy
            | Refusal::Unavailable(_)
            | Refusal::Fault(_) => Self::Refused(refusal),
        }
    }
}

/// What a row does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    NewProduct,
    NewSku,
    /// Of these columns.
    Changes(Vec<&'static str>),
    Ships,
    /// All is as the row has it.
    Nothing,
}

/// One row of the answer.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) line: usize,
    /// What the row is of, in the words of the file.
    pub(crate) subject: String,
    pub(crate) outcome: Result<Effect, Problem>,
}

/// Whether changes are only looked for, or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    DryRun,
    CarryOut,
}

/// The rows of a file by the names of its columns.
pub(crate) struct Table {
    places: BTreeMap<&'static str, usize>,
    /// Columns that mean nothing here.
    pub(crate) ignored: Vec<String>,
    pub(crate) rows: Vec<Row>,
    width: usize,
}

impl Table {
    /// Reads a file that has `columns`, in any order.
    pub(crate) fn read(text: &str, columns: &[Column]) -> Result<Self, FileError> {
        let mut rows = csv::rows(text).map_err(FileError::Csv)?;
        let header = rows.remove(0).cells;
        let (mut places, mut ignored) = (BTreeMap::new(), Vec::new());
        for (at, title) in header.iter().enumerate() {
            let key = title.to_lowercase();
            match columns.iter().find(|column| column.name == key || column.zh == key) {
                Some(column) if places.insert(column.name, at).is_some() => {
                    return Err(FileError::RepeatedColumn(title.clone()));
                }
                Some(_) => {}
                None if title.is_empty() => {}
                None => ignored.push(title.clone()),
            }
        }
        let is_missing = |column: &&Column| column.is_needed && !places.contains_key(column.name);
        let missing: Vec<Column> = columns.iter().filter(is_missing).copied().collect();
        if !missing.is_empty() {
            return Err(FileError::MissingColumns(missing));
        }
        if rows.is_empty() {
            return Err(FileError::NoRows);
        }
        Ok(Self { places, ignored, rows, width: header.len() })
    }

    /// The value of a row in a column; empty where the file has no such column.
    pub(crate) fn cell<'a>(&self, row: &'a Row, column: &str) -> &'a str {
        let cell = self.places.get(column).and_then(|at| row.cells.get(*at));
        cell.map_or("", |cell| csv::unmarked(cell))
    }

    /// Whether the row can be read at all. Blank cells after the last column are tolerated.
    pub(crate) fn check(&self, row: &Row) -> Result<(), Problem> {
        if row.is_torn {
            return Err(Problem::Torn);
        }
        let found = row.cells.len();
        let is_blank = |cells: &[String]| cells.iter().all(String::is_empty);
        if found < self.width || !is_blank(&row.cells[self.width..]) {
            return Err(Problem::Cells { found, expected: self.width });
        }
        Ok(())
    }
}

/// When this request has to end its work, epoch milliseconds.
fn deadline_ms<K, C: Clock>(api: &Api<K, C>) -> u64 {
    api.clock.now_ms() + CARRY_OUT_MS
}

/// Room for one import at a time: two of the same file at once would make each product twice.
pub(crate) fn turn<K, C>(api: &Api<K, C>) -> Result<tokio::sync::OwnedSemaphorePermit, Refusal> {
    std::sync::Arc::clone(&api.imports).try_acquire_owned().map_err(|_| Refusal::Busy)
}
