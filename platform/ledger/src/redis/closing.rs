//! Closes ledgers that may have lost something, so that nothing is decided until they are rebuilt in a new term.

use std::collections::{BTreeMap, BTreeSet};

use contract::{ActivityId, stock::Term};
use redis::{RedisResult, cmd, pipe};

use super::{RedisLedger, script, unavailable};
use crate::LedgerUnavailable;

/// How long Redis remembers which gateways have reported, in seconds.
const REPORTED_KEPT_S: u64 = 3600;
/// A gateway that was not heard for this long is not waited for, in seconds.
const HEARD_WITHIN_S: u64 = 5;

/// The closed ledgers, each with the term for which it is closed.
pub type Closed = BTreeMap<ActivityId, Term>;

impl RedisLedger {
    /// Makes every script answer FROZEN for `activity` until it is opened in `term`, and announces that to the gateways.
    ///
    /// # Errors
    /// If Redis does not answer, or the ledger is in `term` or a higher one.
    pub async fn close(&self, activity: ActivityId, term: Term) -> Result<(), LedgerUnavailable> {
        let [ledger] = script::keys(activity, ["ledger"]);
        let closed: RedisResult<bool> =
            script::CLOSE.key(ledger).arg(term.0).invoke_async(&mut self.connection()).await;
        closed.map_err(|error| unavailable(&error))?;
        self.send(cmd("HSET").arg(script::CLOSED).arg(activity.as_i64()).arg(term.0))
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(())
    }

    /// The ledgers that are closed.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn closed(&self) -> Result<Closed, LedgerUnavailable> {
        let mut ask = cmd("HGETALL");
        ask.arg(script::CLOSED);
        let found: RedisResult<Vec<(String, u64)>> = ask.query_async(&mut self.connection()).await;
        let found = found.map_err(|error| unavailable(&error))?;
        Ok(found.into_iter().filter_map(|(activity, term)| Some((activity.parse().ok()?, Term(term)))).collect())
    }

    /// Announces that `activity` is open: the relay reads its outbox again.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn reopened(&self, activity: ActivityId) -> Result<(), LedgerUnavailable> {
        let mut forget = pipe();
        forget.cmd("HDEL").arg(script::CLOSED).arg(activity.as_i64()).ignore();
        forget.cmd("DEL").arg(script::resting(activity)).ignore();
        let done: RedisResult<()> = forget.query_async(&mut self.connection()).await;
        done.map_err(|error| unavailable(&error))
    }

    /// Records that the gateway whose relay is `name` lives. It does so several times a second.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn note_gateway(&self, name: &str) -> Result<(), LedgerUnavailable> {
        let now_s = self.now_s().await?;
        let mut note = pipe();
        note.cmd("ZADD").arg(script::GATEWAYS).arg(now_s).arg(name).ignore();
        note.cmd("ZREMRANGEBYSCORE").arg(script::GATEWAYS).arg("-inf").arg(now_s.saturating_sub(60)).ignore();
        let done: RedisResult<()> = note.query_async(&mut self.connection()).await;
        done.map_err(|error| unavailable(&error))
    }

    /// Records that the gateway whose relay is `name` ends, and is not waited for.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn forget_gateway(&self, name: &str) -> Result<(), LedgerUnavailable> {
        self.send(cmd("ZREM").arg(script::GATEWAYS).arg(name)).await.map_err(|error| unavailable(&error))?;
        Ok(())
    }

    /// Records that the gateway whose relay is `name` has reported what it remembers of `activity`, which is closed for
    /// `term`.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn note_report(&self, activity: ActivityId, name: &str, term: Term) -> Result<(), LedgerUnavailable> {
        let key = script::resting(activity);
        let mut say = pipe();
        say.cmd("HSET").arg(&key).arg(name).arg(term.0).ignore();
        say.cmd("EXPIRE").arg(&key).arg(REPORTED_KEPT_S).ignore();
        let done: RedisResult<()> = say.query_async(&mut self.connection()).await;
        done.map_err(|error| unavailable(&error))
    }

    /// Whether every gateway that was heard of late has reported since `activity` was closed for `term`.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn all_reported(&self, activity: ActivityId, term: Term) -> Result<bool, LedgerUnavailable> {
        let since = self.now_s().await?.saturating_sub(HEARD_WITHIN_S);
        let mut ask = pipe();
        ask.cmd("ZRANGEBYSCORE").arg(script::GATEWAYS).arg(since).arg("+inf");
        ask.cmd("HGETALL").arg(script::resting(activity));
        let found: RedisResult<(BTreeSet<String>, BTreeMap<String, u64>)> =
            ask.query_async(&mut self.connection()).await;
        let (living, reported) = found.map_err(|error| unavailable(&error))?;
        Ok(living.iter().all(|gateway| reported.get(gateway) == Some(&term.0)))
    }

    /// The server's clock, which all gateways share.
    async fn now_s(&self) -> Result<u64, LedgerUnavailable> {
        let time: RedisResult<(u64, u64)> = cmd("TIME").query_async(&mut self.connection()).await;
        Ok(time.map_err(|error| unavailable(&error))?.0)
    }
}
