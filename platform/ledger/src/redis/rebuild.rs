//! Ledgers as a whole: compared, rebuilt, read back.

use std::collections::HashMap;

use contract::{
    ActivityId, OrderId, UserId,
    activity::Rules,
    stock::{Entry, Hold, HoldState, RequestKey, Reservation, Snapshot, Term},
};
use redis::{RedisResult, Value, cmd, from_redis_value_ref, pipe, streams::StreamRangeReply};

use super::{RedisLedger, outbox, script, unavailable, wire};
use crate::LedgerUnavailable;

/// Fields or members of one command.
const CHUNK: usize = 500;
/// Elements of an outbox that are read at a time.
const OUTBOX_READ_MAX: usize = 256;

/// The state of a ledger in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The term in which it is, or for which it is closed.
    pub term: Term,
    /// The run on which it was opened; else that it is closed.
    run: String,
    /// Whether its counters are there.
    has_counters: bool,
    /// Whether its orders, requests, users, restocks and outbox are there.
    has_parts: bool,
    /// Whether its outbox is there.
    has_outbox: bool,
}

impl State {
    /// Whether the ledger answers on `run` and has all of its parts.
    pub fn sells_on(&self, run: &str) -> bool {
        self.run == run && self.has_counters && self.has_parts
    }

    /// Whether somebody has closed it for its term and not opened it yet.
    pub(super) fn is_closed(&self) -> bool {
        self.run == "closed" || self.run == "rebuilt"
    }

    /// Whether what it decided and the log does not have may still be in its outbox.
    pub(super) const fn has_outbox(&self) -> bool {
        self.has_outbox
    }
}

impl RedisLedger {
    /// The id of the server's run: another one after each restart.
    ///
    /// # Errors
    /// If Redis does not answer, or is loading its data.
    pub async fn run_id(&self) -> Result<String, LedgerUnavailable> {
        let info = self.send(cmd("INFO").arg("server")).await.map_err(|error| unavailable(&error))?;
        wire::run_id(&info).ok_or_else(|| LedgerUnavailable("Redis has no run_id".to_owned()))
    }

    /// The state of the ledger of each of `activities`; `None` where its counters are not here.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn states(&self, activities: &[ActivityId]) -> Result<Vec<Option<State>>, LedgerUnavailable> {
        let mut states = Vec::with_capacity(activities.len());
        for activities in activities.chunks(CHUNK) {
            let mut ask = pipe();
            for activity in activities {
                let [ledger, orders, requests, users, restocks, outbox] = script::keys(*activity, script::PARTS);
                ask.cmd("HMGET").arg(ledger).arg(&["run", "term", "seq"]);
                for hash in [orders, requests, users] {
                    ask.cmd("HEXISTS").arg(hash).arg(script::MARK);
                }
                ask.cmd("SISMEMBER").arg(restocks).arg(script::MARK);
                ask.cmd("EXISTS").arg(outbox);
            }
            let found: RedisResult<Vec<Value>> = ask.query_async(&mut self.connection()).await;
            let found = found.map_err(|error| unavailable(&error))?;
            for found in found.chunks(script::PARTS.len()) {
                let state = state(found).ok_or_else(|| LedgerUnavailable(format!("not a ledger: {found:?}")))?;
                states.push(state);
            }
        }
        Ok(states)
    }

    /// What waits in `activity`'s outbox, oldest first.
    ///
    /// # Errors
    /// If Redis does not answer, or an element can't be read.
    pub async fn outbox(&self, activity: ActivityId) -> Result<Vec<Entry>, LedgerUnavailable> {
        let (mut entries, mut from) = (Vec::new(), "-".to_owned());
        loop {
            let mut range = cmd("XRANGE");
            range.arg(script::outbox(activity)).arg(from).arg("+").arg("COUNT").arg(OUTBOX_READ_MAX);
            let found: StreamRangeReply =
                range.query_async(&mut self.connection()).await.map_err(|error| unavailable(&error))?;
            let Some(last) = found.ids.last() else { return Ok(entries) };
            from = format!("({}", last.id);
            for element in &found.ids {
                entries.extend(outbox::decode(activity, element)?);
            }
        }
    }

    /// Replaces what Redis has of a ledger that is closed for the term of `snapshot`. It stays closed.
    ///
    /// # Errors
    /// If Redis does not answer, or the ledger is not closed for this term any more.
    pub async fn rebuild(&self, snapshot: &Snapshot) -> Result<(), LedgerUnavailable> {
        let (activity, term, rules) = (snapshot.activity, snapshot.term, snapshot.rules);
        self.rebuild_step(activity, "begin", term, &[]).await?;
        let rows = Rows::of(snapshot);
        for (index, fields) in [(2, &rows.orders), (3, &rows.requests), (4, &rows.users), (5, &rows.restocks)] {
            // Fields and their values stay together.
            for chunk in fields.chunks(2 * CHUNK) {
                let put = [&[index.to_string()], chunk].concat();
                self.rebuild_step(activity, "put", term, &put).await?;
            }
        }
        let counts = [snapshot.total, rows.available, rows.held, rows.sold, snapshot.epoch, snapshot.seq];
        let rules = [rules.starts_at_ms, rules.ends_at_ms, rules.per_user_limit.into()];
        let end: Vec<String> = rules.iter().chain(&counts).map(u64::to_string).collect();
        self.rebuild_step(activity, "end", term, &end).await
    }

    /// Opens a ledger that was rebuilt in `term`: it sells. What its outbox had is on the log.
    ///
    /// # Errors
    /// If Redis does not answer, or the ledger is not as it was rebuilt.
    pub async fn open_in(&self, activity: ActivityId, term: Term) -> Result<(), LedgerUnavailable> {
        self.rebuild_step(activity, "open", term, &[]).await
    }

    async fn rebuild_step(
        &self,
        activity: ActivityId,
        step: &str,
        term: Term,
        args: &[String],
    ) -> Result<(), LedgerUnavailable> {
        let mut script = script::REBUILD.prepare_invoke();
        for key in script::keys(activity, ["ledger", "orders", "requests", "users", "restocks", "outbox", "window"]) {
            script.key(key);
        }
        script.arg(step).arg(term.0).arg(args);
        let done: RedisResult<bool> = script.invoke_async(&mut self.connection()).await;
        done.map(drop).map_err(|error| unavailable(&error))
    }

    /// A ledger as it is here; `None` where its counters are not.
    ///
    /// # Errors
    /// If Redis does not answer, or what is here is no ledger.
    pub async fn snapshot(&self, activity: ActivityId) -> Result<Option<Snapshot>, LedgerUnavailable> {
        let [ledger, orders, requests, restocks] = script::keys(activity, ["ledger", "orders", "requests", "restocks"]);
        let mut ask = pipe();
        ask.atomic().cmd("HGETALL").arg(ledger).cmd("HGETALL").arg(orders).cmd("HGETALL").arg(requests);
        ask.cmd("SMEMBERS").arg(restocks);
        type Hash = HashMap<String, String>;
        let read: RedisResult<(Hash, Hash, Hash, Vec<String>)> = ask.query_async(&mut self.connection()).await;
        let (ledger, orders, requests, restocks) = read.map_err(|error| unavailable(&error))?;
        if !ledger.contains_key("seq") {
            return Ok(None);
        }
        let read = || -> Option<Snapshot> {
            let number = |name: &str| ledger.get(name)?.parse::<u64>().ok();
            let keys: HashMap<&str, &str> = requests
                .iter()
                .filter(|(key, _)| *key != script::MARK)
                .map(|(key, first)| (first.as_str(), key.as_str()))
                .collect();
            let mut holds = orders
                .iter()
                .filter(|(order, _)| *order != script::MARK)
                .map(|(order, hold)| read_hold(order, hold, keys.get(order.as_str()).copied()))
                .collect::<Option<Vec<_>>>()?;
            holds.sort_unstable_by_key(|hold| hold.reservation.order);
            let restocks = restocks.iter().filter(|id| *id != script::MARK);
            let mut restocks = restocks.map(|id| id.parse().ok()).collect::<Option<Vec<_>>>()?;
            restocks.sort_unstable();
            let rules = Rules {
                per_user_limit: number("limit")?.try_into().ok()?,
                starts_at_ms: number("starts")?,
                ends_at_ms: number("ends")?,
            };
            let (total, term) = (number("total")?, Term(number("term")?));
            let (epoch, seq) = (number("epoch")?, number("seq")?);
            Some(Snapshot { activity, rules, total, term, is_open: true, epoch, seq, holds, restocks })
        };
        let unreadable = || LedgerUnavailable(format!("activity {activity}: what Redis has is no ledger"));
        read().map(Some).ok_or_else(unreadable)
    }
}

/// Reads the answers to what [`RedisLedger::states`] asks about one ledger; the outer `None` if they are malformed.
fn state(found: &[Value]) -> Option<Option<State>> {
    let [counters, parts @ ..] = found else { return None };
    let (run, term, seq): (Option<String>, Option<u64>, Option<u64>) = from_redis_value_ref(counters).ok()?;
    let (Some(run), Some(term)) = (run, term) else { return Some(None) };
    let there = parts.iter().map(|part| from_redis_value_ref(part).ok()).collect::<Option<Vec<bool>>>()?;
    let has_parts = there.iter().all(|there| *there);
    let has_outbox = there.last() == Some(&true);
    Some(Some(State { term: Term(term), run, has_counters: seq.is_some(), has_parts, has_outbox }))
}

/// An order as `shapes.lua` has it.
fn read_hold(order: &str, hold: &str, request: Option<&str>) -> Option<Hold> {
    let mut parts = hold.split(':');
    let user = parts.next()?.parse().ok()?;
    let quantity = parts.next().map_or(Some(1), |units| units.parse().ok())?;
    let state = match parts.next().unwrap_or("h") {
        "h" => HoldState::Held,
        "s" => HoldState::Sold,
        "r" => HoldState::Released,
        _ => return None,
    };
    let request = match request {
        Some(text) => Some(RequestKey::from_hex(text)?),
        None => None,
    };
    Some(Hold { reservation: Reservation { order: order.parse().ok()?, user, request, quantity }, state })
}

/// A snapshot as Redis keeps it: fields and values by turns.
#[derive(Default)]
struct Rows {
    orders: Vec<String>,
    requests: Vec<String>,
    users: Vec<String>,
    restocks: Vec<String>,
    available: u64,
    held: u64,
    sold: u64,
}

impl Rows {
    fn of(snapshot: &Snapshot) -> Self {
        let mut rows = Self::default();
        let mut shares: HashMap<UserId, (u64, OrderId)> = HashMap::new();
        for Hold { reservation, state } in &snapshot.holds {
            let Reservation { order, user, request, quantity } = *reservation;
            let letter = match state {
                HoldState::Held => 'h',
                HoldState::Sold => 's',
                HoldState::Released => 'r',
            };
            rows.orders.extend([order.to_string(), format!("{user}:{quantity}:{letter}")]);
            if let Some(request) = request {
                rows.requests.extend([text(request), order.to_string()]);
            }
            match state {
                HoldState::Held => rows.held += u64::from(quantity),
                HoldState::Sold => rows.sold += u64::from(quantity),
                HoldState::Released => continue,
            }
            let share = shares.entry(user).or_insert((0, order));
            *share = (share.0 + u64::from(quantity), order);
        }
        for (user, (quantity, latest)) in shares {
            rows.users.extend([user.to_string(), format!("{quantity}:{latest}")]);
        }
        rows.restocks.extend(snapshot.restocks.iter().map(ToString::to_string));
        rows.available = snapshot.total.saturating_sub(rows.held + rows.sold);
        rows
    }
}

fn text(request: RequestKey) -> String {
    request.hex().map(char::from).iter().collect()
}
