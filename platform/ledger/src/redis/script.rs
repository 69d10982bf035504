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

pub(super) static RESERVE: Script = script!("shapes.lua" "reserve.lua");
pub(super) static ACT: Script = script!("shapes.lua" "act.lua");
pub(super) static OPEN: Script = script!("open.lua");
pub(super) static REBUILD: Script = script!("rebuild.lua");
pub(super) static THAW: Script = script!("thaw.lua");
pub(super) static LEASE: Script = script!("lease.lua");

/// `reserve.lua` as it is sent the first time; [`redis::Script`] does not give its text back.
pub(super) const RESERVE_TEXT: &str = text!("shapes.lua" "reserve.lua");

/// Holds the run id under which every ledger that the log knows was found here. Without it a ledger that is
/// missing may have been lost, and must not be opened anew.
pub(super) const VERIFIED: &str = "mall:verified";

/// Names the relay that relays.
pub(super) const RELAY: &str = "mall:relay";

/// Every activity's ledger key matches it.
pub(super) const LEDGERS: &str = "mall:{*}:ledger";

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

pub(super) fn activity_of(ledger_key: &str) -> Option<ActivityId> {
    ledger_key.strip_prefix("mall:{")?.strip_suffix("}:ledger")?.parse().ok()
}

pub(super) fn activity_of_outbox(key: &str) -> Option<ActivityId> {
    key.strip_prefix("mall:{")?.strip_suffix("}:outbox")?.parse().ok()
}

/// The keys of a script, in its order.
pub(super) fn keys<const N: usize>(activity: ActivityId, names: [&str; N]) -> [String; N] {
    names.map(|name| key(activity, name))
}
