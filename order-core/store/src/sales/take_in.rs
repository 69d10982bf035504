//! Journal entries into the database: what a plan needs is read, what it says is written, in one transaction.

use std::collections::BTreeSet;

use contract::{
    ActivityId, Cents, OrderId, SkuId, UserId,
    activity::Rules,
    stock::{Entry, Hold, HoldState, RequestKey, Reservation},
};
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    accounts::addresses::default_addresses,
    areas::Sales,
    catalogue::search::stock_moved,
    db::{Db, DbRow, INSERT_ROWS_MAX, Tx, big, count, count_or_none, id, lock_row, push_in, quantity},
    orders::moves,
    sales::parked::parked_among,
    sales::terms::{promises_of, terms_of, write_promises, write_terms},
    tx::{Ending, Found},
};
use domain::{
    Line, TAKE_IN_MAX, TakenIn,
    plan::{HoldRow, Known, LedgerRow, Lookups, Offer, OrderRow, Plan, TermRow},
};

/// `inbox.source` of an admin's restocks.
pub(crate) const RESTOCK: &str = "restock";

impl Sales<'_> {
    pub(crate) async fn take_in_lines(
        self,
        mut tx: Tx,
        lines: &[Line],
        now_ms: u64,
    ) -> Result<Ending<(TakenIn, Option<WrittenRow>)>, StoreError> {
        assert!(lines.len() <= TAKE_IN_MAX, "{} entries at once", lines.len());
        if lines.is_empty() {
            return Ok(Ending::RollBack((TakenIn::default(), None)));
        }
        let parked = parked_among(&mut tx, lines).await?;
        let (aside, lines): (Vec<Line>, Vec<Line>) =
            lines.iter().partition(|line| parked.contains(&line.entry.activity));
        let entries = Line::entries(&lines);
        let known = known(&mut tx, &entries).await?;
        let plan = Plan::new(&known, &entries, self.store.settings.pay_within_ms, now_ms)?;
        let mut taken = plan.taken;
        let row = WrittenRow::of(&plan);
        if taken.applied > 0 {
            write_plan(&mut tx, plan, now_ms).await?;
        }
        taken.set_aside = self.set_aside(&mut tx, &aside).await?;
        let is_new = taken.applied + taken.set_aside > 0;
        Ok(if is_new { Ending::Commit(tx, (taken, row)) } else { Ending::RollBack((taken, None)) })
    }
}

/// A row that a batch has written, by which it is found after a lost COMMIT.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WrittenRow {
    /// A ledger, up to this `seq`.
    Ledger(ActivityId, u64),
    /// An order that failed.
    Order(OrderId),
    /// A term.
    Term(ActivityId, TermRow),
    /// A promise that waits for a term to open.
    Promise(OrderId),
}

impl WrittenRow {
    fn of(plan: &Plan) -> Option<Self> {
        let ledger = plan.ledgers.first_key_value().map(|(activity, (_, row))| Self::Ledger(*activity, row.seq));
        let order = || plan.orders.first().map(|row| Self::Order(row.id));
        let term = || plan.terms.first_key_value().map(|(activity, row)| Self::Term(*activity, *row));
        let promise = || plan.set_aside.first().map(|(_, promise)| Self::Promise(promise.reservation.order));
        ledger.or_else(order).or_else(term).or_else(promise)
    }
}

/// Whether the transaction that wrote `row` is committed.
pub(crate) async fn find_written(mut tx: Tx, row: Option<WrittenRow>) -> Result<Found, StoreError> {
    Ok(match row {
        Some(WrittenRow::Ledger(activity, seq)) => {
            lock_row(&mut tx, "UPDATE ledgers SET seq = seq WHERE activity_id = ?", activity.as_i64()).await?;
            let row = sqlx::query("SELECT seq FROM ledgers WHERE activity_id = ?").bind(activity.as_i64());
            let now = row.fetch_optional(&mut *tx).await?.map(|row| count(&row, "seq")).transpose()?;
            Found::from(now.is_some_and(|now| now >= seq))
        }
        Some(WrittenRow::Order(order)) => Found::from(lock_row(&mut tx, moves::LOCK, order.as_i64()).await?),
        Some(WrittenRow::Term(activity, row)) => {
            lock_row(&mut tx, "UPDATE terms SET term = term WHERE activity_id = ?", activity.as_i64()).await?;
            let now = terms_of(&mut tx, std::iter::once(activity.as_i64())).await?.remove(&activity);
            Found::from(now.is_some_and(|now| (now.term, now.is_open) >= (row.term, row.is_open)))
        }
        Some(WrittenRow::Promise(order)) => {
            let lock = "UPDATE promises SET quantity = quantity WHERE order_id = ?";
            Found::from(lock_row(&mut tx, lock, order.as_i64()).await?)
        }
        // Entries were only set aside with a parked sale. That is done once.
        None => Found::Repeatable,
    })
}

pub(crate) async fn write_plan(tx: &mut Tx, plan: Plan, now_ms: u64) -> Result<(), StoreError> {
    for (activity, (seq_before, row)) in &plan.ledgers {
        match seq_before {
            None => insert_ledger(tx, *activity, row).await?,
            Some(seq) => move_ledger(tx, *activity, *seq, row).await?,
        }
    }
    write_terms(tx, &plan.terms).await?;
    write_promises(tx, &plan.dealt_with, &plan.set_aside).await?;
    let holds: Vec<&HoldRow> = plan.holds.values().collect();
    for rows in holds.chunks(INSERT_ROWS_MAX) {
        insert_holds(tx, rows).await?;
    }
    for rows in plan.orders.chunks(INSERT_ROWS_MAX) {
        insert_orders(tx, rows).await?;
    }
    for to in [HoldState::Sold, HoldState::Released] {
        let turned = plan.turned.iter().filter(|(_, state)| **state == to).map(|(order, _)| *order);
        turn_holds(tx, turned.collect(), to).await?;
    }
    for (activity, operation, delta) in plan.restocks {
        sqlx::query("INSERT INTO inbox (source, subject_id, message_id, at_ms) VALUES (?, ?, ?, ?)")
            .bind(RESTOCK)
            .bind(activity.as_i64())
            .bind(operation.as_i64())
            .bind(big(now_ms)?)
            .execute(&mut **tx)
            .await?;
        if delta < 0 {
            give_back(tx, activity, delta).await?;
        }
    }
    tx.send(plan.outgoing);
    Ok(())
}

pub(crate) async fn known(tx: &mut Tx, entries: &[Entry]) -> Result<Known, StoreError> {
    let activities: BTreeSet<ActivityId> = entries.iter().map(|entry| entry.activity).collect();
    let ids = || activities.iter().map(|activity| activity.as_i64());
    let mut known = Known::default();
    if activities.is_empty() {
        return Ok(known);
    }
    let mut query = QueryBuilder::<Db>::new("SELECT * FROM ledgers WHERE activity_id");
    push_in(&mut query, ids());
    for row in query.build().fetch_all(&mut **tx).await? {
        known.ledgers.insert(id(&row, "activity_id", ActivityId::from_i64)?, ledger_row(&row)?);
    }
    let mut query =
        QueryBuilder::<Db>::new("SELECT id, sku_id, title, price_cents, pay_within_ms FROM activities WHERE id");
    push_in(&mut query, ids());
    for row in query.build().fetch_all(&mut **tx).await? {
        let (sku, price) = (id(&row, "sku_id", SkuId::from_i64)?, Cents::new(row.try_get("price_cents")?));
        let pay_within_ms = count_or_none(&row, "pay_within_ms")?;
        let offer = Offer { sku, title: row.try_get("title")?, price, pay_within_ms };
        known.offers.insert(id(&row, "id", ActivityId::from_i64)?, offer);
    }
    known.terms = terms_of(tx, ids()).await?;
    let mut lookups = Lookups::new(entries, &known.terms);
    for activity in &lookups.promises {
        known.promises.insert(*activity, promises_of(tx, *activity).await?);
    }
    lookups.add_promises(known.promises.values().flatten());
    if !lookups.holds.is_empty() {
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM reservations WHERE order_id");
        push_in(&mut query, lookups.holds.iter().map(|order| order.as_i64()));
        for row in query.build().fetch_all(&mut **tx).await? {
            let row = hold_row(&row)?;
            known.holds.insert(row.hold.reservation.order, row);
        }
    }
    if !lookups.failed.is_empty() {
        let mut query = QueryBuilder::<Db>::new(
            "SELECT o.id AS id FROM orders o LEFT JOIN reservations r ON r.order_id = o.id \
             WHERE r.order_id IS NULL AND o.id",
        );
        push_in(&mut query, lookups.failed.iter().map(|order| order.as_i64()));
        for row in query.build().fetch_all(&mut **tx).await? {
            known.failed.insert(id(&row, "id", OrderId::from_i64)?);
        }
    }
    Ok(known)
}

async fn insert_ledger(tx: &mut Tx, activity: ActivityId, row: &LedgerRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO ledgers (activity_id, epoch, seq, total, stock_left, per_user_limit, starts_at_ms, ends_at_ms, \
         opened_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(activity.as_i64())
    .bind(big(row.epoch)?)
    .bind(big(row.seq)?)
    .bind(big(row.total)?)
    .bind(big(row.stock_left)?)
    .bind(i64::from(row.rules.per_user_limit))
    .bind(big(row.rules.starts_at_ms)?)
    .bind(big(row.rules.ends_at_ms)?)
    .bind(big(row.opened_at_ms)?)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Units that left the ledger are the SKU's again. (Those that came to it left the SKU when they were asked for.)
async fn give_back(tx: &mut Tx, activity: ActivityId, delta: i64) -> Result<(), StoreError> {
    for sql in [
        "UPDATE skus SET stock = stock - ? WHERE id = (SELECT sku_id FROM activities WHERE id = ?)",
        "UPDATE activities SET stock = stock + ? WHERE id = ?",
    ] {
        sqlx::query(sql).bind(delta).bind(activity.as_i64()).execute(&mut **tx).await?;
    }
    let sku = sqlx::query("SELECT sku_id FROM activities WHERE id = ?").bind(activity.as_i64());
    match sku.fetch_optional(&mut **tx).await? {
        Some(row) => stock_moved(tx, row.try_get("sku_id")?, -delta).await,
        None => Ok(()),
    }
}

/// The guard on the old `seq` makes the whole batch count once, even if another process has taken it in.
async fn move_ledger(tx: &mut Tx, activity: ActivityId, seq_before: u64, row: &LedgerRow) -> Result<(), StoreError> {
    let moved = sqlx::query(
        "UPDATE ledgers SET epoch = ?, seq = ?, total = ?, stock_left = ?, starts_at_ms = ?, ends_at_ms = ? \
         WHERE activity_id = ? AND seq = ?",
    )
    .bind(big(row.epoch)?)
    .bind(big(row.seq)?)
    .bind(big(row.total)?)
    .bind(big(row.stock_left)?)
    .bind(big(row.rules.starts_at_ms)?)
    .bind(big(row.rules.ends_at_ms)?)
    .bind(activity.as_i64())
    .bind(big(seq_before)?)
    .execute(&mut **tx)
    .await?;
    if moved.rows_affected() == 1 {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!("activity {activity}: somebody else moved the mirror past {seq_before}")))
}

async fn insert_holds(tx: &mut Tx, rows: &[&HoldRow]) -> Result<(), StoreError> {
    let mut insert = QueryBuilder::<Db>::new(
        "INSERT INTO reservations (order_id, activity_id, user_id, request_key, quantity, state, stock_taken, seq) ",
    );
    let seqs: Vec<i64> = rows.iter().map(|row| big(row.seq)).collect::<Result<_, _>>()?;
    insert.push_values(rows.iter().zip(seqs), |mut values, (row, seq)| {
        let asked = &row.hold.reservation;
        values.push_bind(asked.order.as_i64()).push_bind(row.activity.as_i64()).push_bind(asked.user.as_i64());
        values.push_bind(asked.request.map(|key| key.0.to_vec())).push_bind(i64::from(asked.quantity));
        values.push_bind(hold_word(row.hold.state)).push_bind(i64::from(row.stock_taken)).push_bind(seq);
    });
    insert.build().execute(&mut **tx).await?;
    Ok(())
}

async fn insert_orders(tx: &mut Tx, rows: &[OrderRow]) -> Result<(), StoreError> {
    let mut insert = QueryBuilder::<Db>::new(
        "INSERT INTO orders (id, user_id, activity_id, status, total_cents, created_at_ms, expires_at_ms, \
         updated_at_ms, address) ",
    );
    let addresses = default_addresses(tx, rows.iter().map(|row| row.user)).await?;
    let times = |row: &OrderRow| Ok::<_, StoreError>((big(row.created_at_ms)?, big(row.expires_at_ms)?));
    let times: Vec<(i64, i64)> = rows.iter().map(times).collect::<Result<_, _>>()?;
    insert.push_values(rows.iter().zip(times), |mut values, (row, (created_at, expires_at))| {
        values.push_bind(row.id.as_i64()).push_bind(row.user.as_i64()).push_bind(row.activity.as_i64());
        values.push_bind(row.state.as_str()).push_bind(row.total.get());
        values.push_bind(created_at).push_bind(expires_at).push_bind(created_at);
        values.push_bind(addresses.get(&row.user).cloned());
    });
    insert.build().execute(&mut **tx).await?;

    let lines: Vec<(&OrderRow, &Offer)> =
        rows.iter().filter_map(|row| row.offer.as_ref().map(|offer| (row, offer))).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let mut insert =
        QueryBuilder::<Db>::new("INSERT INTO order_lines (order_id, line_no, sku_id, title, price_cents, quantity) ");
    insert.push_values(lines, |mut values, (row, offer)| {
        values.push_bind(row.id.as_i64()).push_bind(1_i64).push_bind(offer.sku.as_i64());
        values.push_bind(&offer.title).push_bind(offer.price.get()).push_bind(i64::from(row.quantity));
    });
    insert.build().execute(&mut **tx).await?;
    Ok(())
}

async fn turn_holds(tx: &mut Tx, orders: Vec<OrderId>, to: HoldState) -> Result<(), StoreError> {
    for orders in orders.chunks(INSERT_ROWS_MAX) {
        let mut update = QueryBuilder::<Db>::new("UPDATE reservations SET state = ");
        update.push_bind(hold_word(to)).push(" WHERE state = ").push_bind(hold_word(HoldState::Held));
        update.push(" AND order_id");
        push_in(&mut update, orders.iter().map(|order| order.as_i64()));
        let turned = update.build().execute(&mut **tx).await?.rows_affected();
        if turned != orders.len() as u64 {
            return Err(StoreError::contradiction(format!("{turned} of {} holds became {to:?}", orders.len())));
        }
    }
    Ok(())
}

pub(crate) const fn hold_word(state: HoldState) -> &'static str {
    match state {
        HoldState::Held => "held",
        HoldState::Sold => "sold",
        HoldState::Released => "released",
    }
}

pub(crate) fn hold_state(word: &str) -> Result<HoldState, StoreError> {
    [HoldState::Held, HoldState::Sold, HoldState::Released]
        .into_iter()
        .find(|state| hold_word(*state) == word)
        .ok_or_else(|| StoreError::contradiction(format!("a reservation is {word:?}")))
}

pub(crate) fn ledger_row(row: &DbRow) -> Result<LedgerRow, StoreError> {
    let rules = Rules {
        per_user_limit: quantity(row, "per_user_limit")?,
        starts_at_ms: count(row, "starts_at_ms")?,
        ends_at_ms: count(row, "ends_at_ms")?,
    };
    let (epoch, seq) = (count(row, "epoch")?, count(row, "seq")?);
    let (total, stock_left) = (count(row, "total")?, count(row, "stock_left")?);
    Ok(LedgerRow { rules, epoch, seq, total, stock_left, opened_at_ms: count(row, "opened_at_ms")? })
}

/// The reservation that a row of holds or promises has.
pub(crate) fn reservation(row: &DbRow) -> Result<Reservation, StoreError> {
    let request: Option<Vec<u8>> = row.try_get("request_key")?;
    let request = request.map(|bytes| <[u8; 16]>::try_from(bytes).map(RequestKey)).transpose();
    Ok(Reservation {
        order: id(row, "order_id", OrderId::from_i64)?,
        user: id(row, "user_id", UserId::from_i64)?,
        request: request.map_err(|_| StoreError::contradiction("a request key is not 16 bytes"))?,
        quantity: quantity(row, "quantity")?,
    })
}

pub(crate) fn hold_row(row: &DbRow) -> Result<HoldRow, StoreError> {
    let hold = Hold { reservation: reservation(row)?, state: hold_state(row.try_get("state")?)? };
    let stock_taken: i64 = row.try_get("stock_taken")?;
    Ok(HoldRow {
        activity: id(row, "activity_id", ActivityId::from_i64)?,
        hold,
        seq: count(row, "seq")?,
        stock_taken: stock_taken != 0,
    })
}
