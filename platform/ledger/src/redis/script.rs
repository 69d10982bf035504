//! The scripts, and the keys they work on.

use std::sync::LazyLock;

use contract::{ActivityId, stock::script::key_prefix};

/// A Lua script, called by its digest once the server knows it.
pub(super) type Script = LazyLock<redis::Script>;

macro_rules! text {
    ($($file:literal)+) => {
        concat!(include_str!("../../../../contract/lua/run.lua"), $(include_str!(concat!("../../../../contract/lua/", $file))),+)
    };
}

macro_rules! script {
    ($($file:literal)+) => {
        LazyLock::new(|| redis::Script::new(text!($($file)+)))
    };
}

pub(super) static RESERVE: Script = script!("parts.lua" "shapes.lua" "reserve.lua");
pub(super) static ACT: Script = script!("parts.lua" "all_parts.lua" "shapes.lua" "act.lua");
pub(super) static CLOSE: Script = script!("parts.lua" "close.lua");
pub(super) static REBUILD: Script = script!("parts.lua" "all_parts.lua" "rebuild.lua");
pub(super) static TRIM: Script = script!("trim.lua");
pub(super) static LEASE: Script = script!("lease.lua");

/// `reserve.lua` as it is sent the first time; [`redis::Script`] does not give its text back.
pub(super) const RESERVE_TEXT: &str = text!("parts.lua" "shapes.lua" "reserve.lua");

/// Names the relay that relays.
pub(super) const RELAY: &str = "mall:relay";

/// The sorted set of the gateways' relays, each with the second in which it was last heard.
pub(super) const GATEWAYS: &str = "mall:gateways";

/// The hash of the ledgers that are closed for a new term: activity to term. The relay leaves their outboxes alone, and
/// each gateway reports what it remembers of them.
pub(super) const CLOSED: &str = "mall:closed";

/// The member that every part of a ledger has as long as it is not lost; see `lua/parts.lua`.
pub(super) const MARK: &str = "mark";

/// The keys of a ledger, in the order in which most scripts take them.
pub(super) const PARTS: [&str; 6] = ["ledger", "orders", "requests", "users", "restocks", "outbox"];

/// One key of an activity.
pub(super) fn key(activity: ActivityId, name: &str) -> String {
    let mut key = key_prefix(activity);
    key.push_str(name);
    key
}

/// The stream in which what the ledger decided waits for the relay.
pub(super) fn outbox(activity: ActivityId) -> String {
    key(activity, "outbox")
}

/// The activity whose outbox `key` is.
pub(super) fn activity_of_outbox(key: &str) -> Option<ActivityId> {
    key.strip_prefix("mall:{")?.strip_suffix(".0}:outbox")?.parse().ok()
}

/// The hash of the orders that were confirmed to gateways shortly before Redis came back, order by order.
pub(super) fn remembered(activity: ActivityId) -> String {
    key(activity, "remembered")
}

/// The hash of the gateways that have reported what they remember of a closed ledger: relay to the term of the closing.
pub(super) fn resting(activity: ActivityId) -> String {
    key(activity, "resting")
}

/// The keys of a script, in its order.
pub(super) fn keys<const N: usize>(activity: ActivityId, names: [&str; N]) -> [String; N] {
    names.map(|name| key(activity, name))
}
