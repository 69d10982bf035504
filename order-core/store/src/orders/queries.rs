//! Orders as their owners see them.

use std::collections::BTreeMap;

use contract::{ActivityId, Cents, OrderId, SkuId, UserId};
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    catalogue::products::from_json,
    db::{Db, DbRow, Store, count, id, id_or_none, push_in, quantity},
    page::{Listed, Page},
    sales::sale_store::order_state,
};
use domain::order_state::OrderState;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Where it stands.
    pub state: OrderState,
    /// The flash sale it comes from.
    pub activity: Option<ActivityId>,
    /// What it costs.
    pub total: Cents,
    /// When the ledger said yes, epoch milliseconds.
    pub created_at_ms: u64,
    /// When it is closed unless it is paid, epoch milliseconds.
    pub expires_at_ms: u64,
    /// Where it goes; orders of a flash sale have none.
    pub address: Option<serde_json::Value>,
    /// How it was sent.
    pub shipment: Option<serde_json::Value>,
    /// What was bought.
    pub lines: Vec<OrderLine>,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    /// What.
    pub sku: SkuId,
    /// As it was called then.
    pub title: String,
    /// How many.
    pub quantity: u32,
    /// What one cost then.
    pub price: Cents,
}

/// An order as the shop sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffOrder {
    /// As its owner sees it.
    pub order: Order,
    /// Who that is.
    pub user: UserId,
}

/// Which orders.
#[derive(Debug, Clone, Default)]
pub struct OrderQuery {
    /// Of this status only.
    pub status: Option<String>,
    /// Of this user only.
    pub user: Option<UserId>,
}

impl Store {
    /// Orders of whomever, the newest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn staff_orders(&self, which: &OrderQuery, page: Page) -> Result<Listed<StaffOrder>, StoreError> {
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM orders WHERE id < ");
        query.push_bind(page.before);
        if let Some(user) = which.user {
            query.push(" AND user_id = ").push_bind(user.as_i64());
        }
        if let Some(status) = &which.status {
            query.push(" AND status = ").push_bind(status.clone());
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.rows());
        let rows = query.build().fetch_all(self.readers()).await?;
        Ok(page.cut(self.as_staff_sees(&rows).await?, |order| order.order.id.as_i64()))
    }

    /// An order of whomever.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn staff_order(&self, order: OrderId) -> Result<Option<StaffOrder>, StoreError> {
        let query = sqlx::query("SELECT * FROM orders WHERE id = ?").bind(order.as_i64());
        let row = query.fetch_optional(self.readers()).await?;
        Ok(self.as_staff_sees(row.as_slice()).await?.pop())
    }

    async fn as_staff_sees(&self, rows: &[DbRow]) -> Result<Vec<StaffOrder>, StoreError> {
        let orders = self.with_lines(rows).await?;
        let staff =
            |(row, order): (&DbRow, Order)| Ok(StaffOrder { order, user: id(row, "user_id", UserId::from_i64)? });
        rows.iter().zip(orders).map(staff).collect()
    }

    /// An order of `user`; `None` where it is somebody else's.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn order(&self, user: UserId, order: OrderId) -> Result<Option<Order>, StoreError> {
        let row = sqlx::query("SELECT * FROM orders WHERE id = ? AND user_id = ?")
            .bind(order.as_i64())
            .bind(user.as_i64())
            .fetch_optional(self.readers())
            .await?;
        let mut orders = self.with_lines(row.as_slice()).await?;
        Ok(orders.pop())
    }

    /// Orders of `user`, the newest first, of one status where one is named.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn orders(&self, user: UserId, status: Option<&str>, page: Page) -> Result<Listed<Order>, StoreError> {
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM orders WHERE user_id = ");
        query.push_bind(user.as_i64()).push(" AND id < ").push_bind(page.before);
        if let Some(status) = status {
            query.push(" AND status = ").push_bind(status.to_owned());
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.rows());
        let rows = query.build().fetch_all(self.readers()).await?;
        Ok(page.cut(self.with_lines(&rows).await?, |order| order.id.as_i64()))
    }

    async fn with_lines(&self, rows: &[DbRow]) -> Result<Vec<Order>, StoreError> {
        let mut lines: BTreeMap<OrderId, Vec<OrderLine>> = BTreeMap::new();
        if !rows.is_empty() {
            let ids: Vec<i64> = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
            let mut query = QueryBuilder::<Db>::new("SELECT * FROM order_lines WHERE order_id");
            push_in(&mut query, ids);
            query.push(" ORDER BY order_id, line_no");
            for row in query.build().fetch_all(self.readers()).await? {
                lines.entry(id(&row, "order_id", OrderId::from_i64)?).or_default().push(OrderLine {
                    sku: id(&row, "sku_id", SkuId::from_i64)?,
                    title: row.try_get("title")?,
                    quantity: quantity(&row, "quantity")?,
                    price: Cents::new(row.try_get("price_cents")?),
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
