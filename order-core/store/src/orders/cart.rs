//! Carts in the database. They may live elsewhere too: what a cart is and how much it takes is decided here.

use std::collections::BTreeMap;

use contract::{Cents, ProductId, SkuId, UserId};
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    areas::Orders,
    catalogue::products::{Attributes, from_json},
    db::{Db, DbRow, Tx, big, count, id, is_taken, push_in, quantity},
    orders::shop_orders::ORDER_LINES_MAX,
    tx::{Ending, Found, Repeat, Write, look_up},
};

/// Different SKUs in one cart at most.
pub const CART_LINES_MAX: usize = 100;
/// Units of one SKU in a cart, and in one line of an order, at most.
pub const CART_UNITS_MAX: u32 = 999;
/// How often a line is tried to be added to; each time somebody else has touched it meanwhile.
const ADD_TRIES_MAX: u32 = 4;

/// One line of a cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CartLine {
    /// What.
    pub sku: SkuId,
    /// How many.
    pub quantity: u32,
    /// What one cost when the line was last touched.
    pub price: Cents,
}

/// What became of a change of a cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CartChange {
    /// It is so now.
    Done,
    /// There are [`CART_LINES_MAX`] lines already.
    TooManyLines,
    /// It would be more than [`CART_UNITS_MAX`] of one SKU.
    TooManyUnits,
    /// There is no such line to be changed.
    NoLine,
}

/// What the shop says of a SKU now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Which.
    pub sku: SkuId,
    /// Of which product.
    pub product: ProductId,
    /// What the product is called.
    pub title: String,
    /// The attributes that distinguish it from the product's other SKUs.
    pub attributes: Attributes,
    /// The price of one unit.
    pub price: Cents,
    /// Units that can be ordered.
    pub stock: u64,
    /// Shoppers see it.
    pub on_shelf: bool,
}

impl Orders<'_> {
    /// The lines of `user`'s cart, by SKU.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn cart(self, user: UserId) -> Result<Vec<CartLine>, StoreError> {
        let rows =
            sqlx::query("SELECT sku_id, quantity, price_cents FROM cart_items WHERE user_id = ? ORDER BY sku_id")
                .bind(user.as_i64())
                .fetch_all(self.store.readers())
                .await?;
        let line = |row: &DbRow| {
            let (sku, price) = (id(row, "sku_id", SkuId::from_i64)?, Cents::new(row.try_get("price_cents")?));
            Ok(CartLine { sku, quantity: quantity(row, "quantity")?, price })
        };
        rows.iter().map(line).collect()
    }

    /// Puts `line.quantity` more of a SKU into `user`'s cart.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_to_cart(self, user: UserId, line: CartLine, now_ms: u64) -> Result<CartChange, StoreError> {
        for _ in 0..ADD_TRIES_MAX {
            match self.try_to_add(user, line, now_ms).await {
                Ok(Some(change)) => return Ok(change),
                Err(StoreError::Database(error)) if is_taken(&error) => {}
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Unavailable(format!("the cart of user {user} changes all the time")))
    }

    /// `None` where somebody put the line there at the same time: it can be added to now.
    async fn try_to_add(self, user: UserId, line: CartLine, now_ms: u64) -> Result<Option<CartChange>, StoreError> {
        let Some(room) = CART_UNITS_MAX.checked_sub(line.quantity) else { return Ok(Some(CartChange::TooManyUnits)) };
        let after_lost_commit =
            look_up(|tx, added: Result<Added, _>| find_added(tx, (user, line.sku), now_ms, added.ok()));
        let added = self.store.write(Write::AddToCart, after_lost_commit, |tx| async {
            let mut tx = tx;
            lock_cart(&mut tx, user).await?;
            let added = sqlx::query(
                "UPDATE cart_items SET quantity = quantity + ?, price_cents = ?, updated_at_ms = ? \
                 WHERE user_id = ? AND sku_id = ? AND quantity <= ?",
            )
            .bind(i64::from(line.quantity))
            .bind(line.price.get())
            .bind(big(now_ms)?)
            .bind(user.as_i64())
            .bind(line.sku.as_i64())
            .bind(i64::from(room))
            .execute(&mut *tx)
            .await?;
            if added.rows_affected() == 0 {
                let rows = sqlx::query("SELECT sku_id, quantity FROM cart_items WHERE user_id = ?").bind(user.as_i64());
                let rows = rows.fetch_all(&mut *tx).await?;
                for row in &rows {
                    if id(row, "sku_id", SkuId::from_i64)? == line.sku {
                        return Ok(Ending::RollBack(Err((quantity(row, "quantity")? > room).then_some(CartChange::TooManyUnits))));
                    }
                }
                if rows.len() >= CART_LINES_MAX {
                    return Ok(Ending::RollBack(Err(Some(CartChange::TooManyLines))));
                }
                sqlx::query(
                    "INSERT INTO cart_items (user_id, sku_id, quantity, price_cents, updated_at_ms) VALUES (?, ?, ?, ?, ?)",
                )
                .bind(user.as_i64())
                .bind(line.sku.as_i64())
                .bind(i64::from(line.quantity))
                .bind(line.price.get())
                .bind(big(now_ms)?)
                .execute(&mut *tx)
                .await?;
            }
            let row = sqlx::query("SELECT quantity FROM cart_items WHERE user_id = ? AND sku_id = ?");
            let row = row.bind(user.as_i64()).bind(line.sku.as_i64()).fetch_one(&mut *tx).await?;
            let after = quantity(&row, "quantity")?;
            Ok(Ending::Commit(tx, Ok(Added { before: after - line.quantity, after })))
        });
        Ok(added.await?.map_or_else(|refused| refused, |_| Some(CartChange::Done)))
    }

    /// Changes how many of a SKU are in `user`'s cart.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_in_cart(self, user: UserId, line: CartLine, now_ms: u64) -> Result<CartChange, StoreError> {
        self.store
            .write(Write::SetInCart, Repeat("it sets values"), |tx| async {
                let mut tx = tx;
                let set = sqlx::query(
                    "UPDATE cart_items SET quantity = ?, price_cents = ?, updated_at_ms = ? \
                 WHERE user_id = ? AND sku_id = ?",
                )
                .bind(i64::from(line.quantity))
                .bind(line.price.get())
                .bind(big(now_ms)?)
                .bind(user.as_i64())
                .bind(line.sku.as_i64())
                .execute(&mut *tx)
                .await?;
                let is_set = set.rows_affected() == 1;
                Ok(Ending::Commit(tx, if is_set { CartChange::Done } else { CartChange::NoLine }))
            })
            .await
    }

    /// Takes SKUs out of `user`'s cart; all of them where none are named.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn take_from_cart(self, user: UserId, skus: Option<&[SkuId]>) -> Result<(), StoreError> {
        if skus.is_some_and(<[SkuId]>::is_empty) {
            return Ok(());
        }
        self.store
            .write(Write::TakeFromCart, Repeat("lines are deleted once"), |tx| async {
                let mut tx = tx;
                let mut delete = QueryBuilder::<Db>::new("DELETE FROM cart_items WHERE user_id = ");
                delete.push_bind(user.as_i64());
                if let Some(skus) = skus {
                    delete.push(" AND sku_id");
                    push_in(&mut delete, skus.iter().map(|sku| sku.as_i64()));
                }
                delete.build().execute(&mut *tx).await?;
                Ok(Ending::Commit(tx, ()))
            })
            .await
    }

    /// What the shop says of `skus` now; those that never were are missing.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn offered(self, skus: &[SkuId]) -> Result<Vec<Offered>, StoreError> {
        if skus.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = offered_query(skus);
        let rows = query.build().fetch_all(self.store.readers()).await?;
        rows.iter().map(offered_of).collect()
    }
}

/// Units of a line that was added to.
#[derive(Debug, Clone, Copy)]
struct Added {
    before: u32,
    after: u32,
}

/// Whether the transaction that added to a line is committed.
async fn find_added(
    mut tx: Tx,
    (user, sku): (UserId, SkuId),
    now_ms: u64,
    added: Option<Added>,
) -> Result<Found, StoreError> {
    let Some(Added { before, after }) = added else { return Ok(Found::Nothing) };
    let lock = sqlx::query("UPDATE cart_items SET quantity = quantity WHERE user_id = ? AND sku_id = ?");
    lock.bind(user.as_i64()).bind(sku.as_i64()).execute(&mut *tx).await?;
    let row = sqlx::query("SELECT quantity, updated_at_ms FROM cart_items WHERE user_id = ? AND sku_id = ?");
    let row = row.bind(user.as_i64()).bind(sku.as_i64()).fetch_optional(&mut *tx).await?;
    let (now, updated_at_ms) = match &row {
        Some(row) => (quantity(row, "quantity")?, count(row, "updated_at_ms")?),
        None => (0, 0),
    };
    Ok(match now {
        now if now == after && updated_at_ms == now_ms => Found::Committed,
        now if now == before => Found::Nothing,
        _ => Found::Unclear,
    })
}

/// Locks the lines of the cart, so that concurrent orders of it and additions to it wait for this transaction.
async fn lock_cart(tx: &mut Tx, user: UserId) -> Result<(), StoreError> {
    let lock = sqlx::query("UPDATE cart_items SET quantity = quantity WHERE user_id = ?");
    lock.bind(user.as_i64()).execute(&mut **tx).await?;
    Ok(())
}

/// Removes the lines of the cart, at most [`ORDER_LINES_MAX`], and returns them. `None` where a line changed in the
/// meantime; the transaction must be rolled back then.
pub(crate) async fn take_cart(tx: &mut Tx, user: UserId) -> Result<Option<BTreeMap<SkuId, u32>>, StoreError> {
    // The cart is locked before the SKUs: an addition holds its line while its foreign key waits for the SKU.
    lock_cart(tx, user).await?;
    let rows = sqlx::query("SELECT sku_id, quantity FROM cart_items WHERE user_id = ? ORDER BY sku_id LIMIT ?")
        .bind(user.as_i64())
        .bind(i64::try_from(ORDER_LINES_MAX).unwrap_or(i64::MAX))
        .fetch_all(&mut **tx)
        .await?;
    let line = |row: &DbRow| Ok((id(row, "sku_id", SkuId::from_i64)?, quantity(row, "quantity")?));
    let lines: BTreeMap<SkuId, u32> = rows.iter().map(line).collect::<Result<_, StoreError>>()?;
    if lines.is_empty() {
        return Ok(Some(lines));
    }
    // A line that was added after the lock is not locked, so it is deleted only with the quantity that was read.
    let mut delete = QueryBuilder::<Db>::new("DELETE FROM cart_items WHERE user_id = ");
    delete.push_bind(user.as_i64()).push(" AND (");
    let mut any = delete.separated(" OR ");
    for (sku, units) in &lines {
        any.push("(sku_id = ").push_bind_unseparated(sku.as_i64());
        any.push_unseparated(" AND quantity = ").push_bind_unseparated(i64::from(*units)).push_unseparated(")");
    }
    delete.push(")");
    let deleted = delete.build().execute(&mut **tx).await?.rows_affected();
    Ok((usize::try_from(deleted) == Ok(lines.len())).then_some(lines))
}

pub(crate) fn offered_query(skus: &[SkuId]) -> QueryBuilder<Db> {
    let mut query = QueryBuilder::<Db>::new(
        "SELECT s.id, s.product_id, s.attributes, s.price_cents, s.stock, p.title, p.on_shelf \
         FROM skus s JOIN products p ON p.id = s.product_id WHERE s.id",
    );
    push_in(&mut query, skus.iter().map(|sku| sku.as_i64()));
    query.push(" ORDER BY s.id");
    query
}

pub(crate) fn offered_of(row: &DbRow) -> Result<Offered, StoreError> {
    Ok(Offered {
        sku: id(row, "id", SkuId::from_i64)?,
        product: id(row, "product_id", ProductId::from_i64)?,
        title: row.try_get("title")?,
        attributes: from_json(row.try_get("attributes")?)?,
        price: Cents::new(row.try_get("price_cents")?),
        stock: count(row, "stock")?,
        on_shelf: count(row, "on_shelf")? != 0,
    })
}
