//! The journal as it is on the log.

use std::sync::Arc;

use commit_log::NewRecord;
use contract::{
    record::{Entries, Record as _, activity_key},
    stock::Entry,
    topic,
};

/// What to append for `entries`, which keep their order.
pub fn records(entries: &[Entry]) -> Vec<NewRecord> {
    let topic: Arc<str> = topic::ORDERS.into();
    let record = |entries: Entries| NewRecord {
        topic: topic.clone(),
        key: activity_key(entries.activity()).to_vec(),
        value: entries.to_bytes(),
    };
    Entries::group(entries).map(record).collect()
}
