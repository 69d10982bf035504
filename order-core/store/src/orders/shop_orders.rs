//! Orders of the shop: stock, order, lines and cart in one transaction.

use std::collections::BTreeMap;

use contract::{AddressId, Cents, OrderId, SkuId, UserId};
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    accounts::{LOCK_USER, addresses::address_of},
    areas::Orders,
    catalogue::products::to_json,
    catalogue::search::stock_moved,
    db::{Db, Settings, Tx, big, count, is_taken, lock_row, push_in},
    idempotency::stored_key,
    orders::cart::{CART_UNITS_MAX, Offered, offered_of, offered_query, take_cart},
    orders::cart_claims::{CartClaim, ClaimState, claim_state},
    orders::moves,
    orders::queries::{Order, OrderLine},
    tx::{Ending, NewRow, Write},
};
use domain::{
    Outgoing,
    order_state::{Fulfilment, OrderState},
};

/// Lines of one order at most.
pub const ORDER_LINES_MAX: usize = 100;
/// Characters of a line's title in the database.
const LINE_TITLE_CHARS_MAX: usize = 200;
/// Tries to order a cart in the database; a try fails where a line changes between reading and deleting it.
const CART_TRIES_MAX: u32 = 4;

/// An order as its buyer asks for it.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// Who buys.
    pub user: UserId,
    /// Where it goes.
    pub address: AddressId,
    /// What is bought.
    pub goods: Goods,
    /// The Idempotency-Key, and a digest of what was asked under it.
    pub request: Option<(String, [u8; 32])>,
    /// The total that the buyer has agreed to.
    pub expected_total: Option<Cents>,
}

/// What is bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goods {
    /// These units: each SKU once, 1 to [`ORDER_LINES_MAX`] of them, of each 1 to [`CART_UNITS_MAX`].
    Items(BTreeMap<SkuId, u32>),
    /// What is in the buyer's cart in the database, which the order's own transaction empties.
    Cart,
    /// The lines that a claim took out of the buyer's cart in Redis.
    Claim(CartClaim),
}

/// What became of an order that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It is written; its units are taken.
    Placed(Order),
    /// It was written under this key before.
    Again(Order),
    /// There is nothing in the cart. Another request may have ordered it a moment ago.
    CartEmpty,
    /// The cart changed during each try to order it. Nothing is ordered.
    CartChanged,
    /// Another request has written the claim's order.
    ClaimOrdered,
    /// The claim was voided: its lines go back into the cart.
    ClaimVoid,
    /// Something else was asked for under this key before.
    KeyReused,
    /// The buyer has no such address.
    UnknownAddress,
    /// These are not for sale.
    UnknownSkus(Vec<SkuId>),
    /// Of these there is less than was asked for: so much.
    InsufficientStock(Vec<(SkuId, u64)>),
    /// The sum is beyond what can be paid.
    TooDear,
    /// The total is this, and not what the buyer has agreed to.
    PriceChanged(Cents),
    /// The buyer's unpaid orders and this one would be more than this number of orders.
    TooManyUnpaid(u32),
    /// The buyer's unpaid orders and this one would have more than this number of units.
    TooManyUnpaidUnits(u32),
}

impl Orders<'_> {
    /// Writes an order and takes its units, all of it or nothing. Prices are those of this moment.
    ///
    /// # Errors
    /// If the database fails.
    ///
    /// # Panics
    /// If the items or the claim are not as [`Goods`] says.
    pub async fn place_order(self, new: &NewOrder, now_ms: u64) -> Result<Placed, StoreError> {
        for _ in 0..CART_TRIES_MAX {
            let placed = self.place_once(new, now_ms).await?;
            if placed != Placed::CartChanged {
                return Ok(placed);
            }
        }
        Ok(Placed::CartChanged)
    }

    async fn place_once(self, new: &NewOrder, now_ms: u64) -> Result<Placed, StoreError> {
        if let Some(answered) = self.placed_before(new.user, new.request.as_ref()).await? {
            return Ok(answered);
        }
        let order = if let Goods::Claim(claim) = &new.goods { claim.order } else { self.next_order()? };
        let row = NewRow { lock: moves::LOCK, id: order.as_i64() };
        let placed = self.store.write(Write::PlaceOrder, row, |tx| self.try_to_place(tx, order, new, now_ms));
        let refused = match placed.await {
            Ok(placed @ Placed::Placed(_)) => return Ok(placed),
            Err(StoreError::Database(error)) if is_taken(&error) => Err(StoreError::Database(error)),
            Err(error) => return Err(error),
            Ok(refused) => Ok(refused),
        };
        // A duplicate of this request may have been faster and have taken the key, the cart or the last units.
        match self.placed_before(new.user, new.request.as_ref()).await? {
            Some(answered) => Ok(answered),
            None => refused,
        }
    }

    /// The outcome of an earlier request of `user` with the same Idempotency-Key; `None` without such a request.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn placed_before(
        self,
        user: UserId,
        request: Option<&(String, [u8; 32])>,
    ) -> Result<Option<Placed>, StoreError> {
        let Some((key, body_hash)) = request else { return Ok(None) };
        let key = stored_key(key);
        let query = "SELECT body_hash, order_id FROM order_requests WHERE user_id = ? AND request_key = ?";
        let row = sqlx::query(query).bind(user.as_i64()).bind(&*key).fetch_optional(self.store.readers()).await?;
        let Some(row) = row else { return Ok(None) };
        let first_hash: Vec<u8> = row.try_get("body_hash")?;
        if first_hash != body_hash {
            return Ok(Some(Placed::KeyReused));
        }
        let order = crate::db::id(&row, "order_id", OrderId::from_i64)?;
        let order = self.order(user, order).await?;
        order.map(Placed::Again).map(Some).ok_or_else(|| StoreError::contradiction("a request without its order"))
    }

    async fn try_to_place(
        self,
        mut tx: Tx,
        order: OrderId,
        new: &NewOrder,
        now_ms: u64,
    ) -> Result<Ending<Placed>, StoreError> {
        let row = sqlx::query("SELECT * FROM addresses WHERE id = ? AND user_id = ?");
        let row = row.bind(new.address.as_i64()).bind(new.user.as_i64()).fetch_optional(&mut *tx).await?;
        let Some(address) = row else { return Ok(Ending::RollBack(Placed::UnknownAddress)) };
        let address = serde_json::to_value(address_of(&address)?.fields)
            .map_err(|error| StoreError::contradiction(error.to_string()))?;
        let units = match take_goods(&mut tx, new).await? {
            Ok(taken) => taken,
            Err(refused) => return Ok(Ending::RollBack(refused)),
        };

        if let Some(refused) = self.over_bounds(&mut tx, new.user, (&units, false)).await? {
            return Ok(Ending::RollBack(refused));
        }
        let lacking = take_stock(&mut tx, &units).await?;
        let offered = offered(&mut tx, &units).await?;
        let for_sale = |sku: &SkuId| offered.get(sku).is_some_and(|offered| offered.on_shelf);
        let unknown: Vec<SkuId> = units.keys().filter(|sku| !for_sale(sku)).copied().collect();
        if !unknown.is_empty() {
            return Ok(Ending::RollBack(Placed::UnknownSkus(unknown)));
        }
        if !lacking.is_empty() {
            let left = |sku: &SkuId| offered.get(sku).map(|offered| (*sku, offered.stock));
            return Ok(Ending::RollBack(Placed::InsufficientStock(lacking.iter().filter_map(left).collect())));
        }
        let lines: Vec<OrderLine> =
            units.iter().filter_map(|(sku, units)| offered.get(sku).map(|offered| line_of(offered, *units))).collect();
        let Some(total) = sum(&lines) else { return Ok(Ending::RollBack(Placed::TooDear)) };

        if new.expected_total.is_some_and(|expected| expected != total) {
            return Ok(Ending::RollBack(Placed::PriceChanged(total)));
        }
        let expires_at_ms = now_ms.saturating_add(self.store.settings.pay_within_ms);
        // There is nothing to be paid for.
        let is_free = total == Cents::default();
        if is_free && let Some(refused) = self.over_bounds(&mut tx, new.user, (&units, true)).await? {
            return Ok(Ending::RollBack(refused));
        }
        let state = if is_free { OrderState::Bought(Fulfilment::Paid) } else { OrderState::PendingPayment };
        let placed = Order {
            id: order,
            state,
            activity: None,
            total,
            created_at_ms: now_ms,
            expires_at_ms,
            address: Some(address),
            shipment: None,
            refunded: Cents::default(),
            lines,
        };
        write_order(&mut tx, &placed, new).await?;
        let deadline = Outgoing::deadline(self.store.settings.pay_within_ms, order, expires_at_ms);
        tx.send((!is_free).then_some(deadline));
        tx.send([Outgoing::event(order, new.user, state, now_ms)]);
        Ok(Ending::Commit(tx, Placed::Placed(placed)))
    }

    /// The refusal where the buyer has too much that is not paid or, of orders that cost nothing, not sent. Orders of
    /// flash sales have a limit of their own, and are paid for within their sale's time.
    async fn over_bounds(
        self,
        tx: &mut Tx,
        user: UserId,
        (units, are_free): (&BTreeMap<SkuId, u32>, bool),
    ) -> Result<Option<Placed>, StoreError> {
        let Settings { unpaid_max, unpaid_units_max, .. } = self.store.settings;
        if unpaid_max == u32::MAX && unpaid_units_max == u32::MAX {
            return Ok(None);
        }
        // One order of a user at a time, or two that are placed at once would not count each other. A token's user need
        // not have a row; then nothing is locked.
        lock_row(tx, LOCK_USER, user.as_i64()).await?;
        let mut query = QueryBuilder::<Db>::new(
            "SELECT COUNT(DISTINCT o.id) AS orders, CAST(COALESCE(SUM(l.quantity), 0) AS SIGNED) AS units FROM orders o \
             JOIN order_lines l ON l.order_id = o.id WHERE o.activity_id IS NULL AND o.user_id = ",
        );
        let state = if are_free { OrderState::Bought(Fulfilment::Paid) } else { OrderState::PendingPayment };
        query.push_bind(user.as_i64()).push(" AND o.status = ").push_bind(state.as_str());
        if are_free {
            query.push(" AND o.total_cents = 0");
        }
        let row = query.build().fetch_one(&mut **tx).await?;
        if count(&row, "orders")? >= u64::from(unpaid_max) {
            return Ok(Some(Placed::TooManyUnpaid(unpaid_max)));
        }
        let asked: u64 = units.values().copied().map(u64::from).sum();
        let is_over = count(&row, "units")?.saturating_add(asked) > u64::from(unpaid_units_max);
        Ok(is_over.then_some(Placed::TooManyUnpaidUnits(unpaid_units_max)))
    }

    /// An id for an order that may be written.
    ///
    /// # Errors
    /// [`StoreError::Ids`] where none can be made now.
    pub fn next_order(self) -> Result<OrderId, StoreError> {
        let number = self.store.next_id()?;
        OrderId::from_i64(number).ok_or_else(|| StoreError::Ids(number.to_string()))
    }
}

/// Takes the units that are to be ordered from the cart or the claim. The inner error is the refusal.
async fn take_goods(tx: &mut Tx, new: &NewOrder) -> Result<Result<BTreeMap<SkuId, u32>, Placed>, StoreError> {
    let units = match &new.goods {
        Goods::Items(units) => units.clone(),
        Goods::Cart => match take_cart(tx, new.user).await? {
            None => return Ok(Err(Placed::CartChanged)),
            Some(units) if units.is_empty() => return Ok(Err(Placed::CartEmpty)),
            Some(units) => units,
        },
        Goods::Claim(claim) => match claim_state(tx, new.user, claim).await? {
            ClaimState::Open => claim.lines.clone(),
            ClaimState::Ordered => return Ok(Err(Placed::ClaimOrdered)),
            ClaimState::Void => return Ok(Err(Placed::ClaimVoid)),
        },
    };
    assert!((1..=ORDER_LINES_MAX).contains(&units.len()), "{} lines", units.len());
    assert!(units.values().all(|units| (1..=CART_UNITS_MAX).contains(units)), "{units:?}");
    Ok(Ok(units))
}

/// Takes the units of `lines` out of the stock, in the order of their ids, so that two orders never wait for
/// each other; the SKUs that have not enough.
async fn take_stock(tx: &mut Tx, lines: &BTreeMap<SkuId, u32>) -> Result<Vec<SkuId>, StoreError> {
    let mut lacking = Vec::new();
    for (sku, units) in lines {
        let taken = sqlx::query("UPDATE skus SET stock = stock - ? WHERE id = ? AND stock >= ?")
            .bind(i64::from(*units))
            .bind(sku.as_i64())
            .bind(i64::from(*units))
            .execute(&mut **tx)
            .await?;
        if taken.rows_affected() == 0 {
            lacking.push(*sku);
        } else {
            stock_moved(tx, sku.as_i64(), -i64::from(*units)).await?;
        }
    }
    Ok(lacking)
}

/// Puts the units of the lines of `orders` back into the stock, in the order of the SKUs.
pub(crate) async fn give_back_units(tx: &mut Tx, orders: &[i64]) -> Result<(), StoreError> {
    if orders.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Db>::new(
        "SELECT sku_id, CAST(SUM(quantity) AS SIGNED) AS units FROM order_lines WHERE order_id",
    );
    push_in(&mut query, orders.iter().copied());
    query.push(" GROUP BY sku_id ORDER BY sku_id");
    for row in query.build().fetch_all(&mut **tx).await? {
        let (sku, units): (i64, i64) = (row.try_get("sku_id")?, row.try_get("units")?);
        let query = sqlx::query("UPDATE skus SET stock = stock + ? WHERE id = ?");
        query.bind(units).bind(sku).execute(&mut **tx).await?;
        stock_moved(tx, sku, units).await?;
    }
    Ok(())
}

/// What the shop says of them now; their rows are this transaction's.
async fn offered(tx: &mut Tx, lines: &BTreeMap<SkuId, u32>) -> Result<BTreeMap<SkuId, Offered>, StoreError> {
    let skus: Vec<SkuId> = lines.keys().copied().collect();
    let rows = offered_query(&skus).build().fetch_all(&mut **tx).await?;
    rows.iter().map(|row| offered_of(row).map(|offered| (offered.sku, offered))).collect()
}

fn line_of(offered: &Offered, quantity: u32) -> OrderLine {
    let mut title = offered.title.clone();
    for value in offered.attributes.values() {
        title.push(' ');
        title.push_str(value);
    }
    if title.chars().count() > LINE_TITLE_CHARS_MAX {
        title = title.chars().take(LINE_TITLE_CHARS_MAX - 1).chain(['…']).collect();
    }
    OrderLine { sku: offered.sku, title, quantity, price: offered.price, refunded: 0 }
}

fn sum(lines: &[OrderLine]) -> Option<Cents> {
    lines.iter().try_fold(Cents::default(), |sum, line| sum.plus(line.price.times(line.quantity)?))
}

async fn write_order(tx: &mut Tx, order: &Order, new: &NewOrder) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO orders (id, user_id, status, total_cents, created_at_ms, expires_at_ms, updated_at_ms, address) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(order.id.as_i64())
    .bind(new.user.as_i64())
    .bind(order.state.as_str())
    .bind(order.total.get())
    .bind(big(order.created_at_ms)?)
    .bind(big(order.expires_at_ms)?)
    .bind(big(order.created_at_ms)?)
    .bind(to_json(&order.address)?)
    .execute(&mut **tx)
    .await?;
    let mut insert =
        QueryBuilder::<Db>::new("INSERT INTO order_lines (order_id, line_no, sku_id, title, price_cents, quantity) ");
    insert.push_values((1_i64..).zip(&order.lines), |mut values, (line_no, line)| {
        values.push_bind(order.id.as_i64()).push_bind(line_no).push_bind(line.sku.as_i64());
        values.push_bind(&line.title).push_bind(line.price.get()).push_bind(i64::from(line.quantity));
    });
    insert.build().execute(&mut **tx).await?;
    if let Some((key, body_hash)) = &new.request {
        let key = stored_key(key);
        sqlx::query("INSERT INTO order_requests (user_id, request_key, body_hash, order_id) VALUES (?, ?, ?, ?)")
            .bind(new.user.as_i64())
            .bind(&*key)
            .bind(&body_hash[..])
            .bind(order.id.as_i64())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}
