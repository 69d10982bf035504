//! The ledgers in Redis: the same rules as `contract::stock`, as scripts.
//!
//! Redis is never the only record of a sale, and it may come back older than the log. So each ledger
//! names the run of the server on which it was last compared with the log, and answers FROZEN on any
//! other; [`fence`] compares it again, writes what is missing, and lets it go on.

mod closing;
pub mod fence;
mod outbox;
mod rebuild;
mod recent;
pub mod relay;
mod remembered;
mod script;
pub mod wire;

use contract::{
    ActivityId,
    activity::Rules,
    record::{Action, LedgerCommand},
    stock::{
        BatchReply, Counters, Outcome, Reservation, UNITS_MAX,
        script::{parse_counters, parse_reserve},
    },
};
use foundation::redis::Connection;
use redis::{Cmd, RedisError, ServerErrorKind, Value, cmd};

pub use closing::Closed;
pub use outbox::{Outbox, OutboxError};
pub use rebuild::{Parts, State};
pub use recent::RecentHolds;
pub use remembered::Remembered;

use crate::{LedgerClient, LedgerUnavailable};

/// Commands of one script; more are sent in several.
const ACT_COMMANDS_MAX: usize = 256;

/// The ledgers in one Redis. Clones share its connection.
#[derive(Clone)]
pub struct RedisLedger {
    connection: Connection,
}

impl RedisLedger {
    /// The ledgers at `url`. It connects when it is first asked, and again after every loss. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// Where the address is none.
    pub fn new(url: &str) -> Result<Self, LedgerUnavailable> {
        Ok(Self { connection: Connection::new(url).map_err(|error| unavailable(&error))? })
    }

    /// A connection for callers with commands of their own.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Asks as a gateway does. The gateways themselves go a shorter way ([`wire`]).
    ///
    /// # Errors
    /// Where the ledger is not open, frozen, or out of reach.
    pub async fn reserve(
        &self,
        caller: wire::Caller<'_>,
        activity: ActivityId,
        reservations: &[Reservation],
    ) -> Result<BatchReply, LedgerUnavailable> {
        let ask = |script| wire::reserve(script, caller, activity, reservations);
        let answer = match self.send(&ask(wire::Script::Known)).await {
            Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                self.send(&ask(wire::Script::Text)).await.map_err(|error| unavailable(&error))?
            }
            answer => answer.map_err(|error| unavailable(&error))?,
        };
        let Value::BulkString(reply) = &answer else {
            return Err(LedgerUnavailable(format!("not a reply: {answer:?}")));
        };
        parse_reserve(reply, reservations).map_err(|error| LedgerUnavailable(error.to_string()))
    }

    async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        command.query_async(&mut self.connection.clone()).await
    }

    /// Commands of one activity, at most [`ACT_COMMANDS_MAX`].
    async fn act_on(
        &self,
        activity: ActivityId,
        commands: &[LedgerCommand],
    ) -> Result<Vec<Outcome>, LedgerUnavailable> {
        let mut script = script::ACT.prepare_invoke();
        for key in script::keys(activity, ["ledger", "orders", "users", "restocks", "outbox", "requests"]) {
            script.key(key);
        }
        script.arg("").arg("");
        for LedgerCommand { action, .. } in commands {
            match *action {
                Action::Settle(order) => script.arg("s").arg(order.as_i64()).arg(0),
                Action::Release(order) => script.arg("r").arg(order.as_i64()).arg(0),
                Action::Restock { operation, delta } => script.arg("p").arg(operation.as_i64()).arg(delta),
                Action::End { ends_at_ms } => script.arg("e").arg(ends_at_ms).arg(0),
            };
        }
        let answer: String = match script.invoke_async(&mut self.connection.clone()).await {
            Ok(answer) => answer,
            // A ledger that was lost is no ledger that never was: only a server on which all of them were
            // found may say that an order is unknown.
            Err(error) if error.code() == Some("UNOPENED") && self.is_verified().await? => {
                return Ok(vec![Outcome::UnknownOrder; commands.len()]);
            }
            Err(error) => return Err(unavailable(&error)),
        };
        let outcome = |word| match word {
            "d" => Some(Outcome::Done),
            "u" => Some(Outcome::UnknownOrder),
            "c" => Some(Outcome::Conflict),
            "x" => Some(Outcome::Refused),
            _ => None,
        };
        let outcomes: Option<Vec<Outcome>> = answer.split(' ').map(outcome).collect();
        outcomes
            .filter(|outcomes| outcomes.len() == commands.len())
            .ok_or_else(|| LedgerUnavailable(format!("not an answer of the ledger's script: {answer:?}")))
    }
}

impl std::fmt::Debug for RedisLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisLedger")
    }
}

impl LedgerClient for RedisLedger {
    async fn open(&self, activity: ActivityId, stock: u64, rules: Rules) -> Result<Counters, LedgerUnavailable> {
        if stock > UNITS_MAX {
            return Err(LedgerUnavailable(format!("{stock} units are more than a ledger can count")));
        }
        if !self.is_verified().await? {
            return Err(LedgerUnavailable("Redis has yet to be compared with the log".to_owned()));
        }
        let mut script = script::OPEN.prepare_invoke();
        for key in script::keys(activity, script::PARTS) {
            script.key(key);
        }
        script.arg("").arg("").arg(stock).arg(rules.per_user_limit).arg(rules.starts_at_ms).arg(rules.ends_at_ms);
        let answer: Result<String, _> = script.invoke_async(&mut self.connection.clone()).await;
        let answer = answer.map_err(|error| unavailable(&error))?;
        parse_counters(&mut answer.split(' '))
            .ok_or_else(|| LedgerUnavailable(format!("not an answer of the ledger's script: {answer:?}")))
    }

    async fn act(&self, commands: Vec<LedgerCommand>) -> Result<Vec<Outcome>, LedgerUnavailable> {
        let mut outcomes = Vec::with_capacity(commands.len());
        for run in commands.chunk_by(|one, next| one.activity == next.activity) {
            for chunk in run.chunks(ACT_COMMANDS_MAX) {
                outcomes.extend(self.act_on(chunk[0].activity, chunk).await?);
            }
        }
        Ok(outcomes)
    }

    async fn counters(&self, activity: ActivityId) -> Result<Option<Counters>, LedgerUnavailable> {
        let [key] = script::keys(activity, ["ledger"]);
        let mut ask = cmd("HMGET");
        ask.arg(key).arg(&["epoch", "seq", "total", "available", "held", "sold"]);
        let fields: Vec<Option<String>> =
            ask.query_async(&mut self.connection.clone()).await.map_err(|error| unavailable(&error))?;
        let Some(fields) = fields.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        let counters = parse_counters(&mut fields.iter().map(String::as_str));
        counters.map(Some).ok_or_else(|| LedgerUnavailable(format!("not a ledger: {fields:?}")))
    }
}

fn unavailable(error: &RedisError) -> LedgerUnavailable {
    LedgerUnavailable(format!("Redis: {error}"))
}
