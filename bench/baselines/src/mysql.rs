//! Straight to MySQL: one transaction a request.

use sqlx::{MySqlPool, mysql::MySqlPoolOptions};

use crate::{
    Fault,
    server::{Outcome, Sells},
};

/// More connections only wait for the lock of the one row.
const CONNECTIONS: u32 = 16;

pub(crate) struct Shop {
    database: MySqlPool,
}

/// A database with the tables.
pub(crate) async fn connect(url: &str) -> Result<MySqlPool, Fault> {
    let database = MySqlPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?;
    let sales = "CREATE TABLE IF NOT EXISTS sales (id BIGINT PRIMARY KEY, stock BIGINT NOT NULL)";
    sqlx::query(sales).execute(&database).await?;
    let orders = "CREATE TABLE IF NOT EXISTS orders (id BIGINT PRIMARY KEY, activity_id BIGINT NOT NULL, user_id BIGINT NOT NULL, \
                  UNIQUE KEY one_each (activity_id, user_id))";
    sqlx::query(orders).execute(&database).await?;
    Ok(database)
}

pub(crate) async fn find(database: &MySqlPool, user: i64, order: i64) -> Result<Option<&'static str>, Fault> {
    let select = "SELECT id FROM orders WHERE id = ? AND user_id = ?";
    let found: Option<(i64,)> = sqlx::query_as(select).bind(order).bind(user).fetch_optional(database).await?;
    Ok(found.map(|_| "pending_payment"))
}

impl Shop {
    pub(crate) async fn open(url: &str) -> Result<Self, Fault> {
        Ok(Self { database: connect(url).await? })
    }

    async fn order_of(&self, activity: i64, user: i64) -> Result<Option<i64>, Fault> {
        let select = "SELECT id FROM orders WHERE activity_id = ? AND user_id = ?";
        let found: Option<(i64,)> =
            sqlx::query_as(select).bind(activity).bind(user).fetch_optional(&self.database).await?;
        Ok(found.map(|(order,)| order))
    }
}

impl Sells for Shop {
    async fn create(&self, activity: i64, stock: i64) -> Result<(), Fault> {
        sqlx::query("INSERT INTO sales (id, stock) VALUES (?, ?)")
            .bind(activity)
            .bind(stock)
            .execute(&self.database)
            .await?;
        Ok(())
    }

    async fn buy(&self, activity: i64, user: i64, order: i64) -> Result<Outcome, Fault> {
        if let Some(had) = self.order_of(activity, user).await? {
            return Ok(Outcome::Granted(had));
        }
        let mut transaction = self.database.begin().await?;
        // The order first: its locks are many rows', and the stock's row is locked for as short as possible.
        let insert = "INSERT IGNORE INTO orders (id, activity_id, user_id) VALUES (?, ?, ?)";
        let inserted = sqlx::query(insert).bind(order).bind(activity).bind(user).execute(&mut *transaction).await?;
        if inserted.rows_affected() == 0 {
            transaction.rollback().await?;
            let had = self.order_of(activity, user).await?;
            return had.map(Outcome::Granted).ok_or_else(|| "an order that is there and is not".into());
        }
        let update = "UPDATE sales SET stock = stock - 1 WHERE id = ? AND stock > 0";
        let taken = sqlx::query(update).bind(activity).execute(&mut *transaction).await?;
        if taken.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(Outcome::SoldOut);
        }
        transaction.commit().await?;
        Ok(Outcome::Granted(order))
    }

    async fn find(&self, user: i64, order: i64) -> Result<Option<&'static str>, Fault> {
        find(&self.database, user, order).await
    }
}
