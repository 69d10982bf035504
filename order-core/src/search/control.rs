//! What `mall search verify` and `mall search rebuild` ask for, and the answers: one JSON object a line.

use std::path::{Path, PathBuf};

use contract::ProductId;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use workers::WorkerError;

/// The name of the socket in the directory of an embedded index, which one process at a time has open.
const SOCKET: &str = "socket";
/// Bytes of a socket's path that Linux takes, without the zero that ends it; macOS takes 103.
pub const SOCKET_PATH_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// Differences that an answer names.
pub const DIFFERENCES_MAX: usize = 20;
/// Bytes of a request.
pub(super) const REQUEST_BYTES_MAX: u64 = 1_024;

/// The path of the socket of the embedded index in the data directory `data`.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("search").join(SOCKET)
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Compare the index with the database.
    Verify,
    /// Build a second index and put it in the place of the first one.
    Rebuild {
        /// Compare every document of the second index with the database first.
        verify: bool,
    },
}

/// A line of the answer. The last line is not a [`Reply::Progress`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The rebuild is still running.
    Progress(Progress),
    /// The index was compared.
    Verified(Comparison),
    /// The second index was built.
    Rebuilt(RebuildResult),
    /// Nothing was done, and why.
    Failed(String),
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The part of the work.
    pub stage: Stage,
    /// Products that are done.
    pub done: u64,
    /// Products there are, at about the beginning.
    pub total: u64,
}

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It has not begun.
    #[default]
    Wait,
    /// Products are read and written to the second index.
    Build,
    /// An index is compared with the database.
    Compare,
    /// The second index takes the place of the first one.
    Swap,
    /// Changes that were made meanwhile are written.
    Follow,
}

pub(super) type ProgressSender = watch::Sender<Progress>;

/// An index compared with the database.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// Products on the shelf that were compared.
    pub products: u64,
    /// The offset of the catalogue's topic up to which the index was complete, as `partition:offset`.
    pub position: String,
    /// Products that differ.
    pub different: u64,
    /// The first of them, at most [`DIFFERENCES_MAX`].
    pub first: Vec<Difference>,
}

/// A product that is in the index otherwise than in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which product.
    pub product: ProductId,
    /// What differs.
    pub what: String,
}

/// A second index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildResult {
    /// Whether it took the place of the first one: not where it differs from the database.
    pub is_in_place: bool,
    /// The comparison; of the number of products alone where no more was asked for.
    pub comparison: Comparison,
}

/// A rebuild that the worker is asked for.
#[derive(Debug)]
pub(super) struct RebuildOrder {
    pub verify: bool,
    pub progress: ProgressSender,
    pub done: oneshot::Sender<Result<RebuildResult, WorkerError>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_the_command_knows_them() {
        let check = |request: Request, json: &str| {
            assert_eq!(serde_json::to_string(&request).unwrap(), json);
            assert_eq!(serde_json::from_str::<Request>(json).unwrap(), request);
        };
        check(Request::Verify, r#"{"command":"verify"}"#);
        check(Request::Rebuild { verify: true }, r#"{"command":"rebuild","verify":true}"#);
        for line in ["", "{}", "[]", "verify", r#"{"command":"drop"}"#, r#"{"command":"rebuild"}"#] {
            assert!(serde_json::from_str::<Request>(line).is_err(), "{line}");
        }
        let reply = Reply::Progress(Progress { stage: Stage::Build, done: 1, total: 2 });
        let json = r#"{"progress":{"stage":"build","done":1,"total":2}}"#;
        assert_eq!(serde_json::to_string(&reply).unwrap(), json);
    }
}
