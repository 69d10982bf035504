//! The scripts, and the keys they work on.

use std::sync::LazyLock;

use contract::ActivityId;

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
pub(super) static OPEN: Script = script!("parts.lua" "all_parts.lua" "open.lua");
pub(super) static CLOSE: Script = script!("close.lua");
pub(super) static MARK_PARTS: Script = script!("parts.lua" "all_parts.lua" "mark.lua");
pub(super) static REBUILD: Script = script!("parts.lua" "all_parts.lua" "rebuild.lua");
pub(super) static THAW: Script = script!("thaw.lua");
pub(super) static LEASE: Script = script!("lease.lua");

/// `reserve.lua` as it is sent the first time; [`redis::Script`] does not give its text back.
pub(super) const RESERVE_TEXT: &str = text!("parts.lua" "shapes.lua" "reserve.lua");

/// Holds the run id under which every ledger that the log knows was found here. Without it a ledger that is
/// missing may have been lost, and must not be opened again.
pub(super) const VERIFIED: &str = "mall:verified";

/// Names the relay that relays.
pub(super) const RELAY: &str = "mall:relay";

/// The hash of the ledgers that were closed because they, or parts of them, were lost: activity to token. The relay
/// leaves their outboxes alone, and each gateway reports what it remembers of them.
pub(super) const CLOSED: &str = "mall:closed";

/// The member that every part of a ledger has as long as it is not lost; see `lua/parts.lua`.
pub(super) const MARK: &str = "mark";

/// Every key of every activity matches it.
pub(super) const KEYS: &str = "mall:{*}:*";

/// The keys of a ledger, in the order in which most scripts take them.
pub(super) const PARTS: [&str; 6] = ["ledger", "orders", "requests", "users", "restocks", "outbox"];

/// One key of an activity. All of them hash to one slot of a cluster.
pub(super) fn key(activity: ActivityId, name: &str) -> String {
    format!("mall:{{{activity}}}:{name}")
}

/// The stream in which what the ledger decided waits for the relay.
pub(super) fn outbox(activity: ActivityId) -> String {
    key(activity, "outbox")
}

/// The hash of what gateways were told "held" shortly before Redis came back, order by order.
pub(super) fn remembered(activity: ActivityId) -> String {
    key(activity, "remembered")
}

/// The activity of whose ledger `key` is a part; `None` if it is not a part of any.
pub(super) fn activity_of(key: &str) -> Option<ActivityId> {
    let (activity, part) = key.strip_prefix("mall:{")?.split_once("}:")?;
    if PARTS.contains(&part) { activity.parse().ok() } else { None }
}

/// The hash of the relays that append nothing of a closed ledger: relay to the token of the closing.
pub(super) fn resting(activity: ActivityId) -> String {
    key(activity, "resting")
}

pub(super) fn activity_of_outbox(key: &str) -> Option<ActivityId> {
    key.strip_prefix("mall:{")?.strip_suffix("}:outbox")?.parse().ok()
}

/// The keys of a script, in its order.
pub(super) fn keys<const N: usize>(activity: ActivityId, names: [&str; N]) -> [String; N] {
    names.map(|name| key(activity, name))
}
