//! Which part of an order a refund is for.

use std::collections::BTreeMap;

use contract::{Cents, OrderId, RefundId};
use sqlx::Row;

use crate::{
    StoreError,
    catalogue::{products::exists, search::stock_moved},
    db::{DbRow, Tx, quantity},
    money::refunds::{AskedRefund, RefundOf},
    orders::moves::{standing, step},
};
use domain::order_state::{Fulfilment, Happening, OrderState};

/// What a request for money comes to.
pub(crate) enum Wanted {
    /// The amount, and the units by line.
    Money(Cents, BTreeMap<u32, u32>),
    /// The request is refused.
    Refused(AskedRefund),
}

/// A refund that was sent.
pub(crate) struct Part {
    pub(crate) refund: RefundId,
    pub(crate) amount: i64,
    /// Units that were not shipped return to the stock.
    pub(crate) restock: bool,
}

/// A line of an order.
struct Line {
    line_no: i64,
    sku: i64,
    price: Cents,
    /// Units that are not refunded.
    left: u32,
}

/// Checks a request against the order, which the transaction has locked, and the money that is `left` of it.
pub(crate) async fn wanted(tx: &mut Tx, order: OrderId, of: &RefundOf, left: Cents) -> Result<Wanted, StoreError> {
    let (amount, units) = match of {
        RefundOf::Rest => (left, BTreeMap::new()),
        RefundOf::Amount(amount) => (*amount, BTreeMap::new()),
        RefundOf::Lines(units, amount) => {
            let lines = lines(tx, order).await?;
            let mut price = Cents::default();
            for (line_no, units) in units {
                let line = lines.iter().find(|line| line.line_no == i64::from(*line_no));
                let left = line.map_or(0, |line| line.left);
                let Some(line) = line.filter(|line| (1..=line.left).contains(units)) else {
                    return Ok(Wanted::Refused(AskedRefund::TooManyUnits { line_no: *line_no, left }));
                };
                let sum = line.price.times(*units).and_then(|of_line| price.plus(of_line));
                price = sum.ok_or_else(|| StoreError::contradiction("the lines of an order exceed any total"))?;
            }
            let most = price.min(left);
            let amount = amount.unwrap_or(most);
            if amount > most {
                return Ok(Wanted::Refused(AskedRefund::TooMuch(most)));
            }
            (amount, units.clone())
        }
    };
    // Of an order that was paid with nothing, nothing but the whole can go back.
    let is_free = *of == RefundOf::Rest && is_free(tx, order).await?;
    if (amount <= Cents::default() && !is_free) || amount > left {
        return Ok(Wanted::Refused(AskedRefund::TooMuch(left)));
    }
    Ok(Wanted::Money(amount, units))
}

/// Writes what the platform has sent back into the order. The order is refunded once all its money went back; until
/// then it returns to the state that it had before the request.
pub(crate) async fn order_refunded(tx: &mut Tx, order: OrderId, part: Part, now_ms: u64) -> Result<(), StoreError> {
    let Some(standing) = standing(tx, order).await? else { return Ok(()) };
    let OrderState::Refunding(fulfilment) = standing.state else { return Ok(()) };
    let query = sqlx::query("UPDATE orders SET refunded_cents = refunded_cents + ? WHERE id = ?");
    query.bind(part.amount).bind(order.as_i64()).execute(&mut **tx).await?;
    let row = sqlx::query(
        "SELECT CASE WHEN o.refunded_cents >= p.amount_cents THEN 1 ELSE 0 END AS is_whole FROM orders o \
         JOIN payments p ON p.id = o.paid_by WHERE o.id = ?",
    );
    let row = row.bind(order.as_i64()).fetch_optional(&mut **tx).await?;
    // Orders of versions without `paid_by` were refunded as a whole.
    let is_whole = row.map(|row| row.try_get::<i64, _>("is_whole")).transpose()?.is_none_or(|is_whole| is_whole != 0);
    let (units, happening) = if is_whole {
        let rest = lines(tx, order).await?.into_iter();
        (rest.map(|line| (line.line_no, line.sku, i64::from(line.left))).collect(), Happening::Refund)
    } else {
        (units_of(tx, order, part.refund).await?, Happening::RefundPart)
    };
    // The stock is locked in the order of the SKUs everywhere.
    let restock = part.restock && fulfilment == Fulfilment::Paid;
    for (line_no, sku, units) in units.into_iter().filter(|(_, _, units)| *units > 0) {
        let query =
            "UPDATE order_lines SET refunded_quantity = refunded_quantity + ? WHERE order_id = ? AND line_no = ?";
        let query = sqlx::query(query).bind(units).bind(order.as_i64()).bind(line_no);
        query.execute(&mut **tx).await?;
        if restock {
            let query = sqlx::query("UPDATE skus SET stock = stock + ? WHERE id = ?");
            query.bind(units).bind(sku).execute(&mut **tx).await?;
            stock_moved(tx, sku, units).await?;
        }
    }
    let to = standing.state.apply(happening).map_err(|error| StoreError::contradiction(error.to_string()))?;
    step(tx, &standing, to, now_ms).await?;
    Ok(())
}

async fn is_free(tx: &mut Tx, order: OrderId) -> Result<bool, StoreError> {
    exists(tx, "SELECT 1 FROM orders WHERE id = ? AND total_cents = 0", order.as_i64()).await
}

/// The lines of an order, by SKU.
async fn lines(tx: &mut Tx, order: OrderId) -> Result<Vec<Line>, StoreError> {
    let query = "SELECT line_no, sku_id, price_cents, quantity - refunded_quantity AS units FROM order_lines \
                 WHERE order_id = ? ORDER BY sku_id";
    let rows = sqlx::query(query).bind(order.as_i64()).fetch_all(&mut **tx).await?;
    let line = |row: &DbRow| {
        Ok(Line {
            line_no: row.try_get("line_no")?,
            sku: row.try_get("sku_id")?,
            price: Cents::new(row.try_get("price_cents")?),
            left: quantity(row, "units")?,
        })
    };
    rows.iter().map(line).collect()
}

/// Line, SKU and number of the units that a refund is for, by SKU.
async fn units_of(tx: &mut Tx, order: OrderId, refund: RefundId) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    let query = "SELECT l.line_no AS line_no, l.sku_id AS sku_id, r.quantity AS units FROM refund_lines r \
                 JOIN order_lines l ON l.order_id = ? AND l.line_no = r.line_no WHERE r.refund_id = ? ORDER BY l.sku_id";
    let rows = sqlx::query(query).bind(order.as_i64()).bind(refund.as_i64()).fetch_all(&mut **tx).await?;
    rows.iter().map(|row| Ok((row.try_get("line_no")?, row.try_get("sku_id")?, row.try_get("units")?))).collect()
}
