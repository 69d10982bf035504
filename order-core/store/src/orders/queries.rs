//! Orders as their owners see them.

use std::collections::BTreeMap;

use contract::{ActivityId, Cents, OrderId, SkuId, UserId, snowflake::first_at_ms};
use sqlx::{QueryBuilder, Row};

use crate::{
    Refund, StoreError,
    areas::Orders,
    catalogue::products::from_json,
    db::{Db, DbRow, big, count, id, id_or_none, push_in, quantity},
    page::{Listed, Page},
    sales::sale_store::order_state,
};
use domain::order_state::OrderState;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Its state.
    pub state: OrderState,
    /// The flash sale that the order comes from.
    pub activity: Option<ActivityId>,
    /// What it costs.
    pub total: Cents,
    /// When the ledger said yes, epoch milliseconds.
    pub created_at_ms: u64,
    /// When it is closed unless it is paid, epoch milliseconds.
    pub expires_at_ms: u64,
    /// Where it goes. An order of a flash sale has none if its buyer had no default address.
    pub address: Option<serde_json::Value>,
    /// How it was sent.
    pub shipment: Option<serde_json::Value>,
    /// The amount that was refunded.
    pub refunded: Cents,
    /// What was bought.
    pub lines: Vec<OrderLine>,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    /// What.
    pub sku: SkuId,
    /// The title at the time of the order.
    pub title: String,
    /// How many.
    pub quantity: u32,
    /// What one cost then.
    pub price: Cents,
    /// Units that were refunded.
    pub refunded: u32,
}

/// An order as the shop sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffOrder {
    /// As its owner sees it.
    pub order: Order,
    /// Who that is.
    pub user: UserId,
    /// The refund that its buyer asks for and that is not decided yet.
    pub request: Option<Refund>,
}

/// Which orders.
#[derive(Debug, Clone, Default)]
pub struct OrderQuery {
    /// Of this status only.
    pub status: Option<String>,
    /// Of this user only.
    pub user: Option<UserId>,
    /// Of users with this telephone number only.
    pub phone: Option<String>,
    /// Of this flash sale only, and only where units were held for them.
    pub activity: Option<ActivityId>,
    /// Made at this time or later, epoch milliseconds.
    pub since_ms: Option<u64>,
    /// Made before this time, epoch milliseconds.
    pub until_ms: Option<u64>,
}

/// An id may be made this long before the order with it, in milliseconds: the recovery of a ledger makes orders of what
/// gateways remember. It narrows a search by time down to a part of the table.
const ID_BEFORE_MS: u64 = 24 * 3600 * 1000;
/// Clocks differ by less.
const CLOCKS_DIFFER_MS: u64 = 60_000;

impl Orders<'_> {
    /// Unpaid orders whose time is over at `now_ms`, the longest first, at most `max`. An order that waits as long as all
    /// others is closed by a record on the log; it is among them only if its time was over at `lost_ms`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn overdue_orders(self, now_ms: u64, lost_ms: u64, max: u32) -> Result<Vec<OrderId>, StoreError> {
        let rows = sqlx::query(
            "SELECT id FROM orders WHERE status = ? AND expires_at_ms <= ? \
             AND (expires_at_ms <= ? OR expires_at_ms - created_at_ms <> ?) ORDER BY expires_at_ms LIMIT ?",
        )
        .bind(OrderState::PendingPayment.as_str())
        .bind(big(now_ms)?)
        .bind(big(lost_ms)?)
        .bind(big(self.store.settings.pay_within_ms)?)
        .bind(i64::from(max))
        .fetch_all(self.store.readers())
        .await?;
        rows.iter().map(|row| id(row, "id", OrderId::from_i64)).collect()
    }

    /// Orders of whomever, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn staff_orders(self, which: &OrderQuery, page: Page) -> Result<Listed<StaffOrder>, StoreError> {
        // Each way has an index on what it is ordered by.
        let (from, order) = match which.activity {
            Some(_) => ("reservations INNER JOIN orders ON orders.id = reservations.order_id", "reservations.order_id"),
            None => ("orders", "orders.id"),
        };
        let mut query = QueryBuilder::<Db>::new(format!("SELECT orders.* FROM {from} WHERE {order} < "));
        query.push_bind(page.before);
        if let Some(activity) = which.activity {
            query.push(" AND reservations.activity_id = ").push_bind(activity.as_i64());
        }
        if let Some(user) = which.user {
            query.push(" AND orders.user_id = ").push_bind(user.as_i64());
        }
        if let Some(phone) = &which.phone {
            query
                .push(" AND orders.user_id IN (SELECT id FROM users WHERE phone = ")
                .push_bind(phone.clone())
                .push(")");
        }
        if let Some(status) = &which.status {
            query.push(" AND orders.status = ").push_bind(status.clone());
        }
        if let Some(since_ms) = which.since_ms {
            let lowest = first_at_ms(since_ms.saturating_sub(ID_BEFORE_MS));
            query.push(format!(" AND {order} >= ")).push_bind(lowest);
            query.push(" AND orders.created_at_ms >= ").push_bind(big(since_ms)?);
        }
        if let Some(until_ms) = which.until_ms {
            let above = first_at_ms(until_ms.saturating_add(CLOCKS_DIFFER_MS));
            query.push(format!(" AND {order} < ")).push_bind(above);
            query.push(" AND orders.created_at_ms < ").push_bind(big(until_ms)?);
        }
        query.push(format!(" ORDER BY {order} DESC LIMIT ")).push_bind(page.rows());
        let rows = query.build().fetch_all(self.store.readers()).await?;
        Ok(page.cut(self.as_staff_sees(&rows).await?, |order| order.order.id.as_i64()))
    }

    /// An order of whomever.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn staff_order(self, order: OrderId) -> Result<Option<StaffOrder>, StoreError> {
        let query = sqlx::query("SELECT * FROM orders WHERE id = ?").bind(order.as_i64());
        let row = query.fetch_optional(self.store.readers()).await?;
        Ok(self.as_staff_sees(row.as_slice()).await?.pop())
    }

    async fn as_staff_sees(self, rows: &[DbRow]) -> Result<Vec<StaffOrder>, StoreError> {
        let orders = self.with_lines(rows).await?;
        let refunding = orders.iter().filter(|order| matches!(order.state, OrderState::Refunding(_)));
        let mut requests = self.store.money().requests_of(refunding.map(|order| order.id)).await?;
        let mut staff = |(row, order): (&DbRow, Order)| {
            let request = requests.remove(&order.id);
            Ok(StaffOrder { order, user: id(row, "user_id", UserId::from_i64)?, request })
        };
        rows.iter().zip(orders).map(&mut staff).collect()
    }

    /// An order of `user`; `None` where it is somebody else's.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn order(self, user: UserId, order: OrderId) -> Result<Option<Order>, StoreError> {
        let row = sqlx::query("SELECT * FROM orders WHERE id = ? AND user_id = ?")
            .bind(order.as_i64())
            .bind(user.as_i64())
            .fetch_optional(self.store.readers())
            .await?;
        let mut orders = self.with_lines(row.as_slice()).await?;
        Ok(orders.pop())
    }

    /// Orders of `user`, the newest first, of one status where one is named.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn of_user(self, user: UserId, status: Option<&str>, page: Page) -> Result<Listed<Order>, StoreError> {
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM orders WHERE user_id = ");
        query.push_bind(user.as_i64()).push(" AND id < ").push_bind(page.before);
        if let Some(status) = status {
            query.push(" AND status = ").push_bind(status.to_owned());
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.rows());
        let rows = query.build().fetch_all(self.store.readers()).await?;
        Ok(page.cut(self.with_lines(&rows).await?, |order| order.id.as_i64()))
    }

    async fn with_lines(self, rows: &[DbRow]) -> Result<Vec<Order>, StoreError> {
        let mut lines: BTreeMap<OrderId, Vec<OrderLine>> = BTreeMap::new();
        if !rows.is_empty() {
            let ids: Vec<i64> = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
            let mut query = QueryBuilder::<Db>::new("SELECT * FROM order_lines WHERE order_id");
            push_in(&mut query, ids);
            query.push(" ORDER BY order_id, line_no");
            for row in query.build().fetch_all(self.store.readers()).await? {
                lines.entry(id(&row, "order_id", OrderId::from_i64)?).or_default().push(OrderLine {
                    sku: id(&row, "sku_id", SkuId::from_i64)?,
                    title: row.try_get("title")?,
                    quantity: quantity(&row, "quantity")?,
                    price: Cents::new(row.try_get("price_cents")?),
                    refunded: quantity(&row, "refunded_quantity")?,
                });
            }
        }
        let mut order = |row: &DbRow| {
            let order = id(row, "id", OrderId::from_i64)?;
            Ok(Order {
                id: order,
                state: order_state(row)?,
                activity: id_or_none(row, "activity_id", ActivityId::from_i64)?,
                total: Cents::new(row.try_get("total_cents")?),
                created_at_ms: count(row, "created_at_ms")?,
                expires_at_ms: count(row, "expires_at_ms")?,
                address: json(row, "address")?,
                shipment: json(row, "shipment")?,
                refunded: Cents::new(row.try_get("refunded_cents")?),
                lines: lines.remove(&order).unwrap_or_default(),
            })
        };
        rows.iter().map(&mut order).collect()
    }
}

/// A column that holds JSON, or nothing.
fn json(row: &DbRow, column: &str) -> Result<Option<serde_json::Value>, StoreError> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(from_json).transpose()
}
