//! The ledgers in Redis: the same rules as `contract::stock`, as scripts.
//!
//! The log is the truth, and a ledger in Redis is a cache that belongs to one term ([`contract::stock::Term`]). It names
//! the run of the server on which it was opened in that term, and answers FROZEN on any other, because a server that
//! comes back may be older than what was promised. [`fence`] then starts a new term, and rebuilds the ledger in it.

mod closing;
pub mod fence;
mod outbox;
mod rebuild;
pub mod relay;
mod remembered;
mod script;
pub mod wire;

use std::time::{Duration, Instant};

use contract::{
    ActivityId,
    activity::Rules,
    record::{Action, LedgerCommand},
    stock::{
        BatchReply, Counters, Outcome, Reservation,
        script::{parse_counters, parse_reserve},
    },
};
use foundation::redis::Connection;
use redis::{Cmd, RedisError, ServerErrorKind, Value, cmd};

pub use closing::Closed;
pub use outbox::{Outbox, OutboxError};
pub use rebuild::State;

use crate::{LedgerClient, LedgerUnavailable};

/// How long the fence may take to open a ledger before the caller has to ask again.
const OPENING_MAX: Duration = Duration::from_secs(5);
const OPENING_CHECKED_EVERY: Duration = Duration::from_millis(20);
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
    /// If the address is invalid.
    pub fn new(url: &str) -> Result<Self, LedgerUnavailable> {
        Ok(Self { connection: Connection::new(url).map_err(|error| unavailable(&error))? })
    }

    /// The ledgers behind `connection`.
    pub const fn over(connection: Connection) -> Self {
        Self { connection }
    }

    /// A connection for callers with commands of their own.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Asks as a gateway does. The gateways themselves go a shorter way ([`wire`]).
    ///
    /// # Errors
    /// If the ledger is not open, frozen, or out of reach.
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
            // It was never opened, or is lost: the database knows which.
            Err(error) if error.code() == Some("UNOPENED") => {
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
    /// Waits until the fence has opened the ledger; the fence reads from the database which ledgers to open.
    async fn open(&self, activity: ActivityId, _: u64, _: Rules) -> Result<Counters, LedgerUnavailable> {
        let deadline = Instant::now() + OPENING_MAX;
        loop {
            let run = self.run_id().await?;
            if let [Some(state)] = &self.states(&[activity]).await?[..]
                && state.sells_on(&run)
                && let Some(counters) = self.counters(activity).await?
            {
                return Ok(counters);
            }
            if Instant::now() >= deadline {
                return Err(LedgerUnavailable("order-core has not opened the ledger yet".to_owned()));
            }
            tokio::time::sleep(OPENING_CHECKED_EVERY).await;
        }
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
        ask.arg(key).arg(&["term", "epoch", "seq", "total", "available", "held", "sold"]);
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
