//! Reservations as bytes to Redis and back, for whoever owns the connection.

use contract::{
    ActivityId, OrderId,
    stock::{BatchReply, Counters, Outcome, RequestKey, Reservation, Window},
};
use redis::{Cmd, Value, cmd};

use super::script;

/// How the script is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// By its digest: the server answers NOSCRIPT where it does not know it, and nothing has happened.
    Known,
    /// By its text, which the server then knows.
    Text,
}

/// The server's answer is none that the scripts give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an answer of the ledger's script: {0}")]
pub struct Unreadable(String);

/// Who asks, and under which rules.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The run id of the server that the connection leads to ([`run_id`]); empty has the script ask.
    pub run: &'a str,
    /// Epoch milliseconds; `None` is the server's clock, by which all gateways agree.
    pub now_ms: Option<u64>,
    /// How often a user may try.
    pub window: Window,
    /// Nothing new is held, because the caller knows that the sale is over.
    pub repeats_only: bool,
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
    let keys = script::keys(activity, ["ledger", "orders", "requests", "users", "outbox", "window"]);
    command.arg(keys.len()).arg(&keys);
    command.arg(caller.run);
    match caller.now_ms {
        _ if caller.repeats_only => command.arg("over"),
        Some(now_ms) => command.arg(now_ms),
        None => command.arg(""),
    };
    command.arg(caller.window.max.min(Window::MAX)).arg(caller.window.within_ms);
    for asked in reservations {
        command.arg(asked.order.as_i64()).arg(asked.user.as_i64());
        match asked.request {
            Some(request) => command.arg(&hex(request)[..]),
            None => command.arg(""),
        };
        command.arg(asked.quantity);
    }
    command
}

/// Reads the script's answer to `asked`.
///
/// # Errors
/// Where it is none; what was asked may have happened.
pub fn parse_reserve(answer: &Value, asked: &[Reservation]) -> Result<BatchReply, Unreadable> {
    let unreadable = || Unreadable(format!("{answer:?}").chars().take(200).collect());
    let Value::BulkString(bytes) = answer else { return Err(unreadable()) };
    let mut words = std::str::from_utf8(bytes).map_err(|_| unreadable())?.split(' ');
    let counters = parse_counters(&mut words).ok_or_else(unreadable)?;
    let mut outcomes = Vec::with_capacity(asked.len());
    for reservation in asked {
        let outcome = match words.next().ok_or_else(unreadable)? {
            "h" => Outcome::Held { order: reservation.order, repeated: false },
            "s" => Outcome::SoldOut,
            "l" => Outcome::LimitReached,
            "n" => Outcome::NotStarted,
            "e" => Outcome::Ended,
            "w" => Outcome::RateLimited,
            "k" => Outcome::KeyReused,
            "c" => Outcome::Conflict,
            word => match word.strip_prefix('r').and_then(|id| id.parse::<OrderId>().ok()) {
                Some(order) => Outcome::Held { order, repeated: true },
                None => return Err(unreadable()),
            },
        };
        outcomes.push(outcome);
    }
    if words.next().is_some() { Err(unreadable()) } else { Ok(BatchReply { outcomes, counters }) }
}

/// `epoch seq total available held sold`.
pub(super) fn parse_counters<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Counters> {
    let mut next = || words.next()?.parse().ok();
    let (epoch, seq) = (next()?, next()?);
    Some(Counters { total: next()?, available: next()?, held: next()?, sold: next()?, epoch, seq })
}

/// The run id in the answer to `INFO server`.
pub fn run_id(info: &Value) -> Option<String> {
    let Value::BulkString(bytes) = info else { return None };
    let text = std::str::from_utf8(bytes).ok()?;
    let id = text.lines().find_map(|line| line.strip_prefix("run_id:"))?;
    (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// A request's key as Lua and the outbox have it.
pub(super) fn hex(request: RequestKey) -> [u8; 32] {
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(request.0) {
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    text
}

pub(super) fn unhex(text: &str) -> Option<RequestKey> {
    let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)?;
    Some(RequestKey(number.to_be_bytes()))
}
