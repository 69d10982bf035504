//! Orders that gateways have promised and not read on the journal, as they report them.

use contract::{
    ActivityId,
    stock::{Promise, RequestKey, Reservation},
};
use redis::{RedisResult, cmd, pipe};

use super::{RedisLedger, script, unavailable};
use crate::LedgerUnavailable;

/// Nobody looks at them after that.
const KEPT_S: u64 = 24 * 3600;
/// Fields of one command.
const CHUNK: usize = 500;

impl RedisLedger {
    /// Leaves what was held for the fence to find.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn remember(&self, activity: ActivityId, holds: &[Promise]) -> Result<(), LedgerUnavailable> {
        let key = script::remembered(activity);
        for holds in holds.chunks(CHUNK) {
            let mut put = pipe();
            let fields = put.atomic().cmd("HSET").arg(&key);
            for Promise { reservation: Reservation { order, user, request, quantity }, at_ms } in holds {
                let request = request.map(|request| request.hex().map(char::from).iter().collect::<String>());
                let text = format!("{at_ms} {user} {quantity} {}", request.unwrap_or_default());
                fields.arg(order.as_i64()).arg(text);
            }
            put.ignore().cmd("EXPIRE").arg(&key).arg(KEPT_S).ignore();
            let done: RedisResult<()> = put.query_async(&mut self.connection()).await;
            done.map_err(|error| unavailable(&error))?;
        }
        Ok(())
    }

    /// Those of `holds` whose orders the ledger does not have.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn unknown(&self, activity: ActivityId, holds: Vec<Promise>) -> Result<Vec<Promise>, LedgerUnavailable> {
        let [key] = script::keys(activity, ["orders"]);
        let mut unknown = Vec::new();
        for holds in holds.chunks(CHUNK) {
            let mut ask = cmd("HMGET");
            ask.arg(&key);
            for held in holds {
                ask.arg(held.reservation.order.as_i64());
            }
            let found: RedisResult<Vec<Option<String>>> = ask.query_async(&mut self.connection()).await;
            let found = found.map_err(|error| unavailable(&error))?;
            unknown.extend(holds.iter().zip(found).filter(|(_, found)| found.is_none()).map(|(held, _)| *held));
        }
        Ok(unknown)
    }

    /// What was left for `activity`, oldest first.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn remembered(&self, activity: ActivityId) -> Result<Vec<Promise>, LedgerUnavailable> {
        let mut ask = cmd("HGETALL");
        ask.arg(script::remembered(activity));
        let found: RedisResult<Vec<(String, String)>> = ask.query_async(&mut self.connection()).await;
        let found = found.map_err(|error| unavailable(&error))?;
        let mut holds: Vec<Promise> = found.iter().filter_map(|(order, text)| read(order, text)).collect();
        holds.sort_unstable_by_key(|held| (held.at_ms, held.reservation.order));
        Ok(holds)
    }

    /// Which of `activities` something was left for.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn with_remembered(&self, activities: &[ActivityId]) -> Result<Vec<ActivityId>, LedgerUnavailable> {
        let mut with = Vec::new();
        for activities in activities.chunks(CHUNK) {
            let mut ask = pipe();
            for activity in activities {
                ask.cmd("EXISTS").arg(script::remembered(*activity));
            }
            let found: RedisResult<Vec<bool>> = ask.query_async(&mut self.connection()).await;
            let found = found.map_err(|error| unavailable(&error))?;
            with.extend(activities.iter().zip(found).filter(|(_, exists)| *exists).map(|(activity, _)| *activity));
        }
        Ok(with)
    }

    /// Takes `holds` away, once they are dealt with.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn forget(&self, activity: ActivityId, holds: &[Promise]) -> Result<(), LedgerUnavailable> {
        for holds in holds.chunks(CHUNK) {
            let mut delete = cmd("HDEL");
            delete.arg(script::remembered(activity));
            for held in holds {
                delete.arg(held.reservation.order.as_i64());
            }
            let done: RedisResult<u64> = delete.query_async(&mut self.connection()).await;
            done.map_err(|error| unavailable(&error))?;
        }
        Ok(())
    }
}

fn read(order: &str, text: &str) -> Option<Promise> {
    let mut words = text.split(' ');
    let at_ms = words.next()?.parse().ok()?;
    let (user, quantity) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let request = match words.next()? {
        "" => None,
        text => Some(RequestKey::from_hex(text)?),
    };
    Some(Promise { reservation: Reservation { order: order.parse().ok()?, user, request, quantity }, at_ms })
}
