//! Closes ledgers that were lost while the server ran, so that nothing is decided until they are rebuilt.

use std::collections::BTreeMap;

use contract::ActivityId;
use redis::{RedisResult, cmd, pipe};

use super::{RedisLedger, script, unavailable};
use crate::LedgerUnavailable;

/// How long Redis remembers which relays rest, in seconds.
const RESTING_KEPT_S: u64 = 3600;

/// The closed ledgers, each with the token of its closing.
pub type Closed = BTreeMap<ActivityId, String>;

impl RedisLedger {
    /// Makes every script answer FROZEN for `activity`, and announces that to the gateways.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub async fn close(&self, activity: ActivityId, token: &str) -> Result<(), LedgerUnavailable> {
        let [ledger] = script::keys(activity, ["ledger"]);
        let closed: RedisResult<bool> = script::CLOSE.key(ledger).arg(token).invoke_async(&mut self.connection()).await;
        closed.map_err(|error| unavailable(&error))?;
        self.send(cmd("HSET").arg(script::CLOSED).arg(activity.as_i64()).arg(token))
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(())
    }

    /// The ledgers that are closed.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub async fn closed(&self) -> Result<Closed, LedgerUnavailable> {
        let mut ask = cmd("HGETALL");
        ask.arg(script::CLOSED);
        let found: RedisResult<Vec<(String, String)>> = ask.query_async(&mut self.connection()).await;
        let found = found.map_err(|error| unavailable(&error))?;
        Ok(found.into_iter().filter_map(|(activity, token)| Some((activity.parse().ok()?, token))).collect())
    }

    /// Announces that `activity` was compared: the relay reads its outbox again.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub async fn reopened(&self, activity: ActivityId) -> Result<(), LedgerUnavailable> {
        let mut forget = pipe();
        forget.cmd("HDEL").arg(script::CLOSED).arg(activity.as_i64()).ignore();
        forget.cmd("DEL").arg(script::resting(activity)).ignore();
        let done: RedisResult<()> = forget.query_async(&mut self.connection()).await;
        done.map_err(|error| unavailable(&error))
    }

    /// Records that the relay `name` appends nothing of `activity` since the closing `token`, and has reported what its
    /// gateway remembers.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub async fn rest_relay(&self, activity: ActivityId, name: &str, token: &str) -> Result<(), LedgerUnavailable> {
        let key = script::resting(activity);
        let mut say = pipe();
        say.cmd("HSET").arg(&key).arg(name).arg(token).ignore();
        say.cmd("EXPIRE").arg(&key).arg(RESTING_KEPT_S).ignore();
        let done: RedisResult<()> = say.query_async(&mut self.connection()).await;
        done.map_err(|error| unavailable(&error))
    }

    /// Whether the relay that holds the lease, if any, appends nothing of `activity` since the closing `token`.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub async fn relay_rests(&self, activity: ActivityId, token: &str) -> Result<bool, LedgerUnavailable> {
        let mut ask = pipe();
        ask.cmd("GET").arg(script::RELAY).cmd("HGETALL").arg(script::resting(activity));
        let found: RedisResult<(Option<String>, BTreeMap<String, String>)> =
            ask.query_async(&mut self.connection()).await;
        let (relay, resting) = found.map_err(|error| unavailable(&error))?;
        Ok(relay.is_none_or(|relay| resting.get(&relay).is_some_and(|since| since == token)))
    }

    /// Adds the marks to a ledger that an earlier version opened. `false` if a part of it is missing.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub async fn mark_parts(&self, activity: ActivityId) -> Result<bool, LedgerUnavailable> {
        let mut script = script::MARK_PARTS.prepare_invoke();
        for key in script::keys(activity, script::PARTS) {
            script.key(key);
        }
        let marked: RedisResult<bool> = script.invoke_async(&mut self.connection()).await;
        marked.map_err(|error| unavailable(&error))
    }
}
