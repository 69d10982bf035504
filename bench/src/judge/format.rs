//! The lines of a history: what clients asked of a sale and what they were answered. `docs/judge.md` describes the format.

use serde::{Deserialize, Serialize};

pub(crate) const FORMAT: &str = "sale-history";
pub(crate) const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub format: String,
    pub version: u32,
    /// Units on sale.
    pub stock: u64,
    /// Units that one user may have; 0: any number.
    #[serde(default)]
    pub per_user_limit: u64,
    /// What was asked, for the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Orders may close without a client's doing, so that their units come back at times that no client sees.
    #[serde(default)]
    pub may_close: bool,
    /// The last line is an `end`, so that a file which was cut between two lines is noticed.
    #[serde(default)]
    pub has_end: bool,
}

impl Header {
    pub(crate) fn new(system: String, stock: u64, per_user_limit: u64) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            stock,
            per_user_limit,
            system: Some(system),
            may_close: false,
            has_end: true,
        }
    }
}

/// Every other line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Line {
    /// A request to buy.
    Buy {
        user: String,
        /// Two calls of one user with the same key are the same request.
        key: String,
        #[serde(default = "one")]
        quantity: u64,
        sent_ns: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answered_ns: Option<u64>,
        answer: Answer,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<String>,
        /// The answer's body or a digest of it; repeats are compared.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    /// A request to give the units of an order back.
    Cancel {
        user: String,
        order: String,
        sent_ns: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answered_ns: Option<u64>,
        /// Whether the answer was yes; false where there was none.
        done: bool,
    },
    /// An order that `user` read back.
    Read {
        user: String,
        order: String,
        sent_ns: u64,
        answered_ns: u64,
        found: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quantity: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<State>,
    },
    /// The last line.
    End { lines: u64 },
}

const fn one() -> u64 {
    1
}

/// What a client was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Yes,
    SoldOut,
    /// This user may not have more units.
    Limit,
    /// Nothing was decided: too busy, not started, a server's fault.
    Refused,
    /// No answer came: whether the request was carried out is not known.
    None,
}

/// The state of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Accepted, and not an order yet.
    Queued,
    Pending,
    Paid,
    /// Its units are for sale again.
    Closed,
}
