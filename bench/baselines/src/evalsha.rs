//! axum and redis-rs: one EVALSHA a request, on one connection that all requests share, so that the commands of a moment go out together.

use redis::{AsyncCommands, Script, aio::ConnectionManager};

use crate::{
    Fault,
    server::{Outcome, Sells},
};

/// Stock, orders by user, orders by id, and a stream for a worker that writes them to a database.
const BUY: &str = "local had = redis.call('HGET', KEYS[2], ARGV[1])
if had then return had end
if tonumber(redis.call('GET', KEYS[1]) or '0') < 1 then return '' end
redis.call('DECR', KEYS[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('XADD', KEYS[3], '*', 'user', ARGV[1], 'order', ARGV[2])
return ARGV[2]";

pub(crate) struct Shop {
    redis: ConnectionManager,
    buy: Script,
}

impl Shop {
    pub(crate) async fn open(url: &str) -> Result<Self, Fault> {
        let redis = redis::Client::open(url)?.get_connection_manager().await?;
        Ok(Self { redis, buy: Script::new(BUY) })
    }
}

impl Sells for Shop {
    async fn create(&self, activity: i64, stock: i64) -> Result<(), Fault> {
        let mut redis = self.redis.clone();
        let _: () = redis.set("current", activity).await?;
        Ok(redis.set(format!("stock:{activity}"), stock).await?)
    }

    async fn buy(&self, activity: i64, user: i64, order: i64) -> Result<Outcome, Fault> {
        let mut call = self.buy.prepare_invoke();
        call.key(format!("stock:{activity}")).key(format!("orders:{activity}")).key(format!("outbox:{activity}"));
        let granted: String = call.arg(user).arg(order).invoke_async(&mut self.redis.clone()).await?;
        Ok(if granted.is_empty() { Outcome::SoldOut } else { Outcome::Granted(granted.parse()?) })
    }

    async fn find(&self, user: i64, order: i64) -> Result<Option<&'static str>, Fault> {
        let mut redis = self.redis.clone();
        let activity: Option<i64> = redis.get("current").await?;
        let Some(activity) = activity else { return Ok(None) };
        let found: Option<i64> = redis.hget(format!("orders:{activity}"), user).await?;
        Ok((found == Some(order)).then_some("pending_payment"))
    }
}
