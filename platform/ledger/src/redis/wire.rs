//! Reservations as bytes to Redis, for callers that have a connection of their own.

use contract::{
    ActivityId,
    stock::{
        Reservation,
        script::{ReserveScript, reserve_arguments},
    },
};
use redis::{Cmd, Value, cmd};

use super::script;

pub use contract::stock::script::{Caller, Holds};

/// How the script is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// By its digest: the server answers NOSCRIPT where it does not know it, and nothing has happened.
    Known,
    /// By its text, which the server then knows.
    Text,
}

/// The script that reserves.
pub fn reserve_script() -> ReserveScript {
    ReserveScript { digest: script::RESERVE.get_hash().to_owned(), text: script::RESERVE_TEXT }
}

/// Appends the command that asks `activity`'s ledger for `reservations` to `out`.
pub fn pack_reserve(
    out: &mut Vec<u8>,
    script: Script,
    caller: Caller<'_>,
    activity: ActivityId,
    reservations: &[Reservation],
) {
    reserve(script, caller, activity, reservations).write_packed_command(out);
}

pub(super) fn reserve(script: Script, caller: Caller<'_>, activity: ActivityId, reservations: &[Reservation]) -> Cmd {
    let mut command = match script {
        Script::Known => cmd("EVALSHA"),
        Script::Text => cmd("EVAL"),
    };
    match script {
        Script::Known => command.arg(script::RESERVE.get_hash()),
        Script::Text => command.arg(script::RESERVE_TEXT),
    };
    reserve_arguments(caller, activity, reservations, |argument| {
        command.arg(argument);
    });
    command
}

/// The run id in the reply to `INFO server`.
pub(super) fn run_id(info: &Value) -> Option<String> {
    let Value::BulkString(bytes) = info else { return None };
    Some(contract::stock::script::run_id(std::str::from_utf8(bytes).ok()?)?.to_owned())
}
