//! The textbook: SET NX against repeats, DECR the stock, and LPUSH to a queue, from which a worker inserts orders into MySQL.

use std::time::Duration;

use redis::{AsyncCommands, ExistenceCheck, SetOptions, aio::ConnectionManager};
use sqlx::{MySqlPool, QueryBuilder};

use crate::{
    Fault, mysql,
    server::{Outcome, Sells},
};

/// Orders of one INSERT.
const BATCH: usize = 200;
const IDLE: Duration = Duration::from_millis(5);
const AFTER_A_FAULT: Duration = Duration::from_millis(100);

pub(crate) struct Shop {
    redis: ConnectionManager,
    database: MySqlPool,
}

impl Shop {
    pub(crate) async fn open(redis: &str, database: &str) -> Result<Self, Fault> {
        let redis = redis::Client::open(redis)?.get_connection_manager().await?;
        let database = mysql::connect(database).await?;
        tokio::spawn(work(redis.clone(), database.clone()));
        Ok(Self { redis, database })
    }
}

/// Writes queued orders to the database. What was taken from the queue and not written when the process dies is lost.
async fn work(mut redis: ConnectionManager, database: MySqlPool) {
    loop {
        let taken: Vec<String> = redis.rpop("queue", std::num::NonZero::new(BATCH)).await.unwrap_or_default();
        if taken.is_empty() {
            tokio::time::sleep(IDLE).await;
            continue;
        }
        let orders: Vec<Vec<i64>> = taken.iter().map(|text| text.split(' ').flat_map(str::parse).collect()).collect();
        loop {
            let mut insert = QueryBuilder::new("INSERT IGNORE INTO orders (id, activity_id, user_id) ");
            insert.push_values(&orders, |mut row, order| {
                for number in order {
                    row.push_bind(*number);
                }
            });
            if insert.build().execute(&database).await.is_ok() {
                break;
            }
            tokio::time::sleep(AFTER_A_FAULT).await;
        }
    }
}

impl Sells for Shop {
    async fn create(&self, activity: i64, stock: i64) -> Result<(), Fault> {
        Ok(self.redis.clone().set(format!("stock:{activity}"), stock).await?)
    }

    async fn buy(&self, activity: i64, user: i64, order: i64) -> Result<Outcome, Fault> {
        let mut redis = self.redis.clone();
        let buyer = format!("buyer:{activity}:{user}");
        let once = SetOptions::default().conditional_set(ExistenceCheck::NX).get(true);
        let had: Option<i64> = redis.set_options(&buyer, order, once).await?;
        if let Some(had) = had {
            return Ok(Outcome::Granted(had));
        }
        let stock = format!("stock:{activity}");
        let left: i64 = redis.decr(&stock, 1).await?;
        if left < 0 {
            let _: i64 = redis.incr(&stock, 1).await?;
            let _: i64 = redis.del(&buyer).await?;
            return Ok(Outcome::SoldOut);
        }
        let _: i64 = redis.lpush("queue", format!("{order} {activity} {user}")).await?;
        Ok(Outcome::Granted(order))
    }

    async fn find(&self, user: i64, order: i64) -> Result<Option<&'static str>, Fault> {
        mysql::find(&self.database, user, order).await
    }
}
