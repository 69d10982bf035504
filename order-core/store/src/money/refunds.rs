//! Money that goes back: asked for, decided, sent, and only then gone. The refunds of a payment never exceed it.

use std::collections::BTreeMap;

use contract::{Cents, OrderId, PaymentId, RefundId, UserId};
use serde_json::json;
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    accounts::audit_log::Change,
    areas::Money,
    db::{Db, DbRow, Store, Tx, big, count, id, lock_row},
    money::parts::{Part, Wanted, order_refunded, wanted},
    money::payments::SUCCEEDED,
    money::refund_review::pay_for_nothing,
    orders::moves::{Moved, standing, step},
    tx::{Ending, Found, NewRow, Repeat, Write, look_up},
};
use domain::{
    DueRefund, RefundStore,
    order_state::{Happening, OrderState},
};

/// `refunds.status`: a buyer asks.
pub(crate) const REQUESTED: &str = "requested";
/// The request to the provider is due.
pub(crate) const APPROVED: &str = "approved";
/// The shop keeps the money.
const REFUSED: &str = "refused";
/// The provider has sent it.
pub(crate) const DONE: &str = "done";
/// It failed too often, and waits for an admin.
pub(crate) const PARKED: &str = "parked";
/// Characters of `refunds.last_error`.
const ERROR_CHARS_MAX: usize = 300;
/// `payments.status` of money that went back.
const REFUNDED: &str = "refunded";

/// The purpose of a refund. Only [`Purpose::Order`] changes the order's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It returns the payment that paid the order, at the buyer's request.
    Order,
    /// The order was paid already.
    Twice,
    /// The order could not be paid any more.
    Late,
}

impl Purpose {
    /// The word in the database's `refunds.purpose`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Twice => "twice",
            Self::Late => "late",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Order, Self::Twice, Self::Late].into_iter().find(|purpose| purpose.as_str() == text)
    }

    /// The reason of a refund that no buyer asked for.
    const fn reason(self) -> &'static str {
        match self {
            Self::Order => "",
            Self::Twice => "the order was paid already",
            Self::Late => "the order could not be paid any more",
        }
    }
}

/// What became of the wish to have the money back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedRefund {
    /// The shop decides.
    Asked(RefundId),
    /// The user has no such order.
    Unknown,
    /// There is no money to give back in this state.
    Refused(OrderState),
    /// Fewer units of this line are left to refund than were asked for.
    TooManyUnits { line_no: u32, left: u32 },
    /// The amount is not between a cent and this.
    TooMuch(Cents),
}

/// What the buyer wants the money back for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundOf {
    /// All that is left of the order.
    Rest,
    /// Units by line of the order, and the amount if it is not their price.
    Lines(BTreeMap<u32, u32>, Option<Cents>),
    /// A part of the money, for no certain units.
    Amount(Cents),
}

/// The shop's decision on a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The money goes back. With `restock`, so do units that were not shipped.
    Approve { restock: bool },
    /// The shop keeps the money.
    Refuse,
}

impl Money<'_> {
    /// `user` wants the money for an order back, all that is left.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn ask_refund(self, of: (UserId, OrderId), reason: &str, now_ms: u64) -> Result<AskedRefund, StoreError> {
        self.ask_refund_of(of, &RefundOf::Rest, reason, now_ms).await
    }

    /// `user` wants the money for a part of an order back, or for all that is left. An order has one open request.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn ask_refund_of(
        self,
        (user, order): (UserId, OrderId),
        of: &RefundOf,
        reason: &str,
        now_ms: u64,
    ) -> Result<AskedRefund, StoreError> {
        let number = self.store.next_id()?;
        self.store
            .write(Write::AskRefund, NewRow { lock: LOCK, id: number }, |tx| async {
                let mut tx = tx;
                let standing = standing(&mut tx, order).await?.filter(|standing| standing.user == user);
                let Some(standing) = standing else { return Ok(Ending::RollBack(AskedRefund::Unknown)) };
                let Ok(to) = standing.state.apply(Happening::AskRefund) else {
                    return Ok(Ending::RollBack(AskedRefund::Refused(standing.state)));
                };
                pay_for_nothing(&mut tx, order, now_ms).await?;
                let row = sqlx::query(
                    "SELECT p.id, p.amount_cents - o.refunded_cents AS left_cents FROM orders o \
                 JOIN payments p ON p.id = o.paid_by WHERE o.id = ? AND p.status = ?",
                );
                let row = row.bind(order.as_i64()).bind(SUCCEEDED).fetch_optional(&mut *tx).await?;
                let Some(payment) = row else { return Ok(Ending::RollBack(AskedRefund::Refused(standing.state))) };
                let left = Cents::new(payment.try_get("left_cents")?);
                let payment = id(&payment, "id", PaymentId::from_i64)?;
                let (amount, lines) = match wanted(&mut tx, order, of, left).await? {
                    Wanted::Money(amount, lines) => (amount, lines),
                    Wanted::Refused(refused) => return Ok(Ending::RollBack(refused)),
                };
                let new = NewRefund { order, payment, purpose: Purpose::Order, amount, status: REQUESTED, reason };
                let Some(refund) = insert_refund(&mut tx, number, &new, now_ms).await? else {
                    return Ok(Ending::RollBack(AskedRefund::Refused(standing.state)));
                };
                for (line_no, quantity) in lines {
                    sqlx::query("INSERT INTO refund_lines (refund_id, line_no, quantity) VALUES (?, ?, ?)")
                        .bind(number)
                        .bind(i64::from(line_no))
                        .bind(i64::from(quantity))
                        .execute(&mut *tx)
                        .await?;
                }
                step(&mut tx, &standing, to, now_ms).await?;
                Ok(Ending::Commit(tx, AskedRefund::Asked(refund)))
            })
            .await
    }

    /// The shop gives the money for an order back, or does not. Given back, the order is refunded once its
    /// provider has sent the money.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn decide_refund(self, order: OrderId, approve: bool, now_ms: u64) -> Result<Moved, StoreError> {
        let decision = if approve { Decision::Approve { restock: true } } else { Decision::Refuse };
        self.decide_refund_as((order, None), decision, now_ms).await
    }

    /// [`Money::decide_refund`], with a choice of what happens to units that were not shipped. Where a request is
    /// named, the decision is about this one and no other.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn decide_refund_as(
        self,
        (order, request): (OrderId, Option<RefundId>),
        decision: Decision,
        now_ms: u64,
    ) -> Result<Moved, StoreError> {
        let (approve, restock, decision) = match decision {
            Decision::Approve { restock } => (true, restock, APPROVED),
            Decision::Refuse => (false, false, REFUSED),
        };
        let after_lost_commit = look_up(|tx, decided: Result<Decided, Moved>| find_decision(tx, decision, decided));
        let decided = self.store.write(Write::DecideRefund, after_lost_commit, |tx| async {
            let mut tx = tx;
            let Some(standing) = standing(&mut tx, order).await? else {
                return Ok(Ending::RollBack(Err(Moved::Unknown)));
            };
            let Ok(back) = standing.state.apply(Happening::RefuseRefund) else {
                return Ok(Ending::RollBack(Err(Moved::Refused(standing.state))));
            };
            let sql = "SELECT id, amount_cents FROM refunds WHERE order_id = ? AND status = ? AND purpose = ?";
            let row = sqlx::query(sql);
            let row = row.bind(order.as_i64()).bind(REQUESTED).bind(Purpose::Order.as_str());
            let Some(row) = row.fetch_optional(&mut *tx).await? else {
                // It was decided before, and the money is on its way.
                return Ok(Ending::RollBack(Err(Moved::Refused(standing.state))));
            };
            let refund = id(&row, "id", RefundId::from_i64)?;
            if request.is_some_and(|request| request != refund) {
                return Ok(Ending::RollBack(Err(Moved::OtherRefund(refund))));
            }
            let query = sqlx::query("UPDATE refunds SET status = ?, restock = ? WHERE id = ?");
            query.bind(decision).bind(i64::from(restock)).bind(refund.as_i64()).execute(&mut *tx).await?;
            let after = json!({ "refund": decision, "refund_id": refund });
            tx.note(Change::new("order", order.as_i64(), json!({ "refund": REQUESTED, "refund_id": refund }), after));
            let state = if !approve {
                step(&mut tx, &standing, back, now_ms).await?.to
            } else if row.try_get::<i64, _>("amount_cents")? == 0 {
                // No platform has money to send.
                done(&mut tx, refund, now_ms).await?;
                OrderState::Refunded
            } else {
                standing.state
            };
            Ok(Ending::Commit(tx, Ok(Decided { refund, state })))
        });
        Ok(decided.await?.map_or_else(|refused| refused, |decided| Moved::To(decided.state)))
    }

    /// The number of approved refunds whose method is not one of `methods`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn refunds_not_by(self, methods: &[&str]) -> Result<u64, StoreError> {
        let mut query = QueryBuilder::<Db>::new(
            "SELECT COUNT(*) AS refunds FROM refunds r JOIN payments p ON p.id = r.payment_id WHERE r.status = ",
        );
        query.push_bind(APPROVED);
        if !methods.is_empty() {
            push_methods(&mut query, " AND p.method NOT IN (", methods);
        }
        count(&query.build().fetch_one(self.store.readers()).await?, "refunds")
    }
}

/// Makes a refund's row this transaction's own.
const LOCK: &str = "UPDATE refunds SET status = status WHERE id = ?";

/// A refund that was decided.
#[derive(Debug, Clone, Copy)]
struct Decided {
    refund: RefundId,
    /// The state of its order.
    state: OrderState,
}

/// Whether the transaction that decided a refund is committed.
async fn find_decision(mut tx: Tx, decision: &str, decided: Result<Decided, Moved>) -> Result<Found, StoreError> {
    let Ok(Decided { refund, .. }) = decided else { return Ok(Found::Nothing) };
    lock_row(&mut tx, LOCK, refund.as_i64()).await?;
    let row = sqlx::query("SELECT status FROM refunds WHERE id = ?").bind(refund.as_i64()).fetch_one(&mut *tx).await?;
    let status: &str = row.try_get("status")?;
    // An approved refund may have been sent or parked since.
    Ok(Found::from(status == decision || (decision == APPROVED && [DONE, PARKED].contains(&status))))
}

/// Adds the refund of a payment that came without an order to pay for. The transaction has to be the one that took
/// the payment in.
pub(crate) async fn send_back(
    tx: &mut Tx,
    number: i64,
    (order, payment): (OrderId, PaymentId),
    (purpose, amount): (Purpose, Cents),
    now_ms: u64,
) -> Result<RefundId, StoreError> {
    let new = NewRefund { order, payment, purpose, amount, status: APPROVED, reason: purpose.reason() };
    let refund = insert_refund(tx, number, &new, now_ms).await?;
    refund.ok_or_else(|| StoreError::contradiction(format!("payment {payment} has refunds before it arrived")))
}

/// `None`, and no row, where the payment's refunds would exceed the payment.
async fn insert_refund(
    tx: &mut Tx,
    number: i64,
    new: &NewRefund<'_>,
    now_ms: u64,
) -> Result<Option<RefundId>, StoreError> {
    if !is_covered(tx, new).await? {
        return Ok(None);
    }
    sqlx::query(
        "INSERT INTO refunds (id, order_id, payment_id, purpose, status, amount_cents, reason, created_at_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(number)
    .bind(new.order.as_i64())
    .bind(new.payment.as_i64())
    .bind(new.purpose.as_str())
    .bind(new.status)
    .bind(new.amount.get())
    .bind(new.reason)
    .bind(big(now_ms)?)
    .execute(&mut **tx)
    .await?;
    RefundId::from_i64(number).map(Some).ok_or_else(|| StoreError::Ids(number.to_string()))
}

impl RefundStore for Store {
    type Error = StoreError;

    async fn due_refunds(&self, methods: &[&str], limit: u32) -> Result<Vec<DueRefund>, StoreError> {
        if methods.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<Db>::new(
            "SELECT r.id, r.payment_id, r.amount_cents, r.tries, r.next_try_at_ms, p.method, p.provider_trade_no \
             FROM refunds r \
             JOIN payments p ON p.id = r.payment_id WHERE r.status = ",
        );
        query.push_bind(APPROVED);
        push_methods(&mut query, " AND p.method IN (", methods);
        query.push(" ORDER BY r.next_try_at_ms, r.id LIMIT ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(self.readers()).await?;
        let due = |row: &DbRow| {
            let trade_no: Option<String> = row.try_get("provider_trade_no")?;
            Ok(DueRefund {
                refund: id(row, "id", RefundId::from_i64)?,
                payment: id(row, "payment_id", PaymentId::from_i64)?,
                method: row.try_get("method")?,
                trade_no: trade_no.unwrap_or_default(),
                amount: Cents::new(row.try_get("amount_cents")?),
                tries: u32::try_from(count(row, "tries")?).unwrap_or(u32::MAX),
                next_try_at_ms: count(row, "next_try_at_ms")?,
            })
        };
        rows.iter().map(due).collect()
    }

    async fn refund_done(&self, due: &DueRefund, now_ms: u64) -> Result<(), StoreError> {
        let repeat = Repeat("a refund that is done is not approved any more, and is left alone");
        self.write(Write::RefundDone, repeat, |tx| async {
            let mut tx = tx;
            if !done(&mut tx, due.refund, now_ms).await? {
                return Ok(Ending::RollBack(()));
            }
            Ok(Ending::Commit(tx, ()))
        })
        .await
    }

    async fn refund_failed(
        &self,
        due: &DueRefund,
        reason: &str,
        next_try_at_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        let reason: String = reason.chars().take(ERROR_CHARS_MAX).collect();
        let status = if next_try_at_ms.is_some() { APPROVED } else { PARKED };
        let next_try_at_ms = big(next_try_at_ms.unwrap_or(0))?;
        self.write(Write::RefundFailed, Repeat("a failed try is known by its number"), |tx| async {
            let mut tx = tx;
            let query = "UPDATE refunds SET status = ?, tries = tries + 1, next_try_at_ms = ?, last_error = ? \
                         WHERE id = ? AND status = ? AND tries = ?";
            let query = sqlx::query(query).bind(status).bind(next_try_at_ms).bind(&reason);
            let query = query.bind(due.refund.as_i64()).bind(APPROVED).bind(i64::from(due.tries));
            query.execute(&mut *tx).await?;
            Ok(Ending::Commit(tx, ()))
        })
        .await
    }

    async fn parked_refunds(&self) -> Result<u64, StoreError> {
        let query = sqlx::query("SELECT COUNT(*) AS refunds FROM refunds WHERE status = ?").bind(PARKED);
        count(&query.fetch_one(self.readers()).await?, "refunds")
    }
}

/// Notes that the money of an approved refund has gone back; `false` where that was noted before.
async fn done(tx: &mut Tx, refund: RefundId, now_ms: u64) -> Result<bool, StoreError> {
    // Another refunder may have parked it while this one sent the money.
    let done = sqlx::query("UPDATE refunds SET status = ? WHERE id = ? AND status IN (?, ?)")
        .bind(DONE)
        .bind(refund.as_i64())
        .bind(APPROVED)
        .bind(PARKED)
        .execute(&mut **tx)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let row = sqlx::query("SELECT order_id, payment_id, purpose, amount_cents, restock FROM refunds WHERE id = ?");
    let row = row.bind(refund.as_i64()).fetch_one(&mut **tx).await?;
    note_refunded(tx, id(&row, "payment_id", PaymentId::from_i64)?).await?;
    match purpose_of(&row)? {
        Purpose::Order => {
            let part = Part { refund, amount: row.try_get("amount_cents")?, restock: count(&row, "restock")? != 0 };
            order_refunded(tx, id(&row, "order_id", OrderId::from_i64)?, part, now_ms).await?;
        }
        Purpose::Twice | Purpose::Late => {}
    }
    Ok(true)
}

/// The purpose in a row of `refunds`.
pub(crate) fn purpose_of(row: &DbRow) -> Result<Purpose, StoreError> {
    let purpose: &str = row.try_get("purpose")?;
    Purpose::parse(purpose).ok_or_else(|| StoreError::contradiction(format!("a refund is for {purpose:?}")))
}

/// Appends `condition`, an open `IN (`, with at least one method.
fn push_methods(query: &mut QueryBuilder<Db>, condition: &str, methods: &[&str]) {
    query.push(condition);
    let mut list = query.separated(", ");
    for method in methods {
        list.push_bind((*method).to_owned());
    }
    query.push(")");
}

/// A payment of which all money has gone back is refunded.
async fn note_refunded(tx: &mut Tx, payment: PaymentId) -> Result<(), StoreError> {
    let query = "UPDATE payments SET status = ? WHERE id = ? AND amount_cents <= (SELECT COALESCE(SUM(r.amount_cents), 0) \
                 FROM refunds r WHERE r.order_id = payments.order_id AND r.payment_id = payments.id AND r.status = ?)";
    let query = sqlx::query(query).bind(REFUNDED).bind(payment.as_i64()).bind(DONE);
    query.execute(&mut **tx).await?;
    Ok(())
}

/// A row of `refunds`.
struct NewRefund<'a> {
    order: OrderId,
    payment: PaymentId,
    purpose: Purpose,
    amount: Cents,
    status: &'static str,
    reason: &'a str,
}

/// Whether the payment covers this refund beside all earlier ones that were not refused. The payment stays locked until
/// the transaction ends.
async fn is_covered(tx: &mut Tx, new: &NewRefund<'_>) -> Result<bool, StoreError> {
    let payment = new.payment.as_i64();
    if !lock_row(tx, "UPDATE payments SET status = status WHERE id = ?", payment).await? {
        return Ok(false);
    }
    // A payment and its refunds belong to the same order; refunds have an index by order.
    let row = sqlx::query(
        "SELECT p.amount_cents AS paid, CAST(COALESCE(SUM(r.amount_cents), 0) AS SIGNED) AS refunded FROM payments p \
         LEFT JOIN refunds r ON r.order_id = p.order_id AND r.payment_id = p.id AND r.status <> ? \
         WHERE p.id = ? GROUP BY p.id, p.amount_cents",
    );
    let row = row.bind(REFUSED).bind(payment).fetch_one(&mut **tx).await?;
    let (paid, refunded) = (count(&row, "paid")?, count(&row, "refunded")?);
    let amount = u64::try_from(new.amount.get()).map_err(|_| StoreError::contradiction("a refund below zero"))?;
    Ok(refunded.checked_add(amount).is_some_and(|refunded| refunded <= paid))
}
