//! What `lua/reserve.lua` takes and returns, for every caller of it; and what Redis reports about itself.

use super::{BatchReply, Counters, Outcome, RequestKey, Reservation, Term, Window};
use crate::{ActivityId, OrderId, trace::TraceContext};

/// The keys of the script, in its order.
const KEYS: [&str; 6] = ["ledger", "orders", "requests", "users", "outbox", "window"];
/// Arguments before those of the reservations, the number of keys and the keys counted.
const FIXED_ARGUMENTS: usize = 1 + KEYS.len() + 5;
const ARGUMENTS_PER_RESERVATION: usize = 4;

/// `reserve.lua` as a server is asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReserveScript {
    /// SHA-1 of the text in hexadecimal: a server that does not know it answers NOSCRIPT, and nothing has happened.
    pub digest: String,
    /// The text, which a server knows once it was sent.
    pub text: &'static str,
}

/// Who asks, and under which rules.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The run id of the server that the connection leads to ([`run_id`]). If it is empty, the script asks the server.
    pub run: &'a str,
    /// The term in which the caller knows the ledger to sell; the script refuses any other. `None`: whichever it is.
    pub term: Option<Term>,
    /// Epoch milliseconds; `None` is the server's clock, which all gateways share.
    pub now_ms: Option<u64>,
    /// How often a user may try.
    pub window: Window,
    /// What may be held.
    pub holds: Holds,
    /// The caller's span, which the outbox keeps with what the batch holds.
    pub trace: Option<TraceContext>,
}

/// What a batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// What the rules allow.
    New,
    /// Nothing new, because the caller knows that the sale has ended.
    RepeatsOnly,
    /// What was promised before the ledger forgot it: whatever the time is, and however often its user tried.
    Promised,
}

/// The prefix of the keys of an activity's ledger. All of them hash to one slot of a cluster.
pub fn key_prefix(activity: ActivityId) -> String {
    // Behind the point is the part of the sale's stock that the ledger has; there is one.
    format!("mall:{{{activity}.0}}:")
}

/// Not a reply of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reply of the ledger's script")]
pub struct Unreadable;

/// How many times [`reserve_arguments`] calls `put`.
pub const fn reserve_argument_count(reservations: usize, is_traced: bool) -> usize {
    FIXED_ARGUMENTS + ARGUMENTS_PER_RESERVATION * reservations + is_traced as usize
}

/// The arguments that follow the script's digest or text, each given to `put`.
pub fn reserve_arguments(
    caller: Caller<'_>,
    activity: ActivityId,
    reservations: &[Reservation],
    mut put: impl FnMut(&[u8]),
) {
    let mut decimal = [0; 20];
    put(digits(KEYS.len() as u64, &mut decimal));
    let prefix = key_prefix(activity);
    for name in KEYS {
        put([prefix.as_bytes(), name.as_bytes()].concat().as_slice());
    }
    put(caller.run.as_bytes());
    match caller.term {
        Some(term) => put(digits(term.0, &mut decimal)),
        None => put(b""),
    }
    match (caller.holds, caller.now_ms) {
        (Holds::RepeatsOnly, _) => put(b"over"),
        (Holds::Promised, _) => put(b"promised"),
        (Holds::New, Some(now_ms)) => put(digits(now_ms, &mut decimal)),
        (Holds::New, None) => put(b""),
    }
    put(digits(caller.window.max.min(Window::MAX).into(), &mut decimal));
    put(digits(caller.window.within_ms, &mut decimal));
    for asked in reservations {
        put(digits(asked.order.as_i64().unsigned_abs(), &mut decimal));
        put(digits(asked.user.as_i64().unsigned_abs(), &mut decimal));
        match asked.request {
            Some(request) => put(&request.hex()),
            None => put(b""),
        }
        put(digits(asked.quantity.into(), &mut decimal));
    }
    if let Some(trace) = caller.trace {
        put(trace.to_string().as_bytes());
    }
}

/// `value` in decimal.
fn digits(mut value: u64, into: &mut [u8; 20]) -> &[u8] {
    let mut at = into.len();
    loop {
        at -= 1;
        into[at] = b"0123456789"[(value % 10) as usize];
        value /= 10;
        if value == 0 {
            return &into[at..];
        }
    }
}

/// Reads the script's reply to `asked`.
///
/// # Errors
/// If it is not a reply of the script. What was asked may have happened.
pub fn parse_reserve(reply: &[u8], asked: &[Reservation]) -> Result<BatchReply, Unreadable> {
    let mut words = std::str::from_utf8(reply).map_err(|_| Unreadable)?.split(' ');
    let counters = parse_counters(&mut words).ok_or(Unreadable)?;
    let mut outcomes = Vec::with_capacity(asked.len());
    for reservation in asked {
        let outcome = match words.next().ok_or(Unreadable)? {
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
                None => return Err(Unreadable),
            },
        };
        outcomes.push(outcome);
    }
    if words.next().is_some() { Err(Unreadable) } else { Ok(BatchReply { outcomes, counters }) }
}

/// `term epoch seq total available held sold`.
pub fn parse_counters<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Counters> {
    let mut next = || words.next()?.parse().ok();
    let (term, epoch, seq) = (Term(next()?), next()?, next()?);
    Some(Counters { total: next()?, available: next()?, held: next()?, sold: next()?, term, epoch, seq })
}

/// The run id in the reply to `INFO server`.
pub fn run_id(info: &str) -> Option<&str> {
    info_field(info, "run_id").filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether the reply to `INFO replication` is a replica's.
pub fn is_replica(info: &str) -> bool {
    info_field(info, "role").is_some_and(|role| role != "master")
}

/// Whether a server that gives this error is a replica, or has just become one. Older servers put the code of an error in
/// a script into its text.
pub fn is_replicas_error(code: &str, details: Option<&str>) -> bool {
    matches!(code, "READONLY" | "MASTERDOWN" | "UNBLOCKED")
        || details.is_some_and(|details| details.contains("-READONLY "))
}

/// One line of a reply to `INFO`.
pub fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

impl RequestKey {
    /// As the scripts and the outbox have it.
    pub fn hex(self) -> [u8; 32] {
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        text
    }

    /// The key that [`RequestKey::hex`] wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)?;
        Some(Self(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UserId;

    #[test]
    fn arguments_are_as_many_as_promised() {
        let (order, user) = (OrderId::from_i64(7).unwrap(), UserId::from_i64(8).unwrap());
        let asked = |request| Reservation { order, user, request, quantity: 3 };
        let reservations = [asked(None), asked(Some(RequestKey([0xab; 16])))];
        let window = Window { max: 2, within_ms: 1_000 };
        let trace = TraceContext::new(1, 2, true);
        let caller =
            Caller { run: "0a", term: Some(Term(4)), now_ms: Some(u64::MAX), window, holds: Holds::New, trace };
        let mut arguments = Vec::new();
        let activity = ActivityId::from_i64(1).unwrap();
        reserve_arguments(caller, activity, &reservations, |argument| {
            arguments.push(String::from_utf8(argument.to_vec()).unwrap());
        });
        assert_eq!(arguments.len(), reserve_argument_count(2, true));
        assert_eq!(arguments[..2], ["6", "mall:{1.0}:ledger"]);
        assert_eq!(arguments[6..12], ["mall:{1.0}:window", "0a", "4", "18446744073709551615", "2", "1000"]);
        let key = "ab".repeat(16);
        assert_eq!(arguments[12..20], ["7", "8", "", "3", "7", "8", key.as_str(), "3"]);
        assert_eq!(arguments[20..], ["00-00000000000000000000000000000001-0000000000000002-01"]);
        assert_eq!(RequestKey::from_hex(&key), reservations[1].request);
    }
}
