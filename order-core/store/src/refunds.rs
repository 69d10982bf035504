//! Money that goes back: asked for, decided, sent, and only then gone. The refunds of a payment never exceed it.

use contract::{Cents, OrderId, PaymentId, RefundId, UserId};
use sqlx::{QueryBuilder, Row};

use crate::{
    StoreError,
    db::{Db, DbRow, Store, Tx, big, count, id, lock_row},
    moves::{Moved, standing, step},
    payments::SUCCEEDED,
    tx::{Ending, Found, NewRow, Repeat, Write, look_up},
};
use domain::{
    DueRefund, RefundStore,
    order_state::{Happening, OrderState},
};

/// `refunds.status`: a buyer asks.
const REQUESTED: &str = "requested";
/// The provider is to be told.
const APPROVED: &str = "approved";
/// The shop keeps the money.
const REFUSED: &str = "refused";
/// The provider has sent it.
const DONE: &str = "done";
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
}

impl Store {
    /// `user` wants the money for an order back.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn ask_refund(
        &self,
        (user, order): (UserId, OrderId),
        reason: &str,
        now_ms: u64,
    ) -> Result<AskedRefund, StoreError> {
        let number = self.next_id()?;
        self.write(Write::AskRefund, NewRow { lock: LOCK, id: number }, |tx| async {
            let mut tx = tx;
            let standing = standing(&mut tx, order).await?.filter(|standing| standing.user == user);
            let Some(standing) = standing else { return Ok(Ending::RollBack(AskedRefund::Unknown)) };
            let Ok(to) = standing.state.apply(Happening::AskRefund) else {
                return Ok(Ending::RollBack(AskedRefund::Refused(standing.state)));
            };
            let row = sqlx::query(
                "SELECT p.id, p.amount_cents FROM orders o JOIN payments p ON p.id = o.paid_by \
                 WHERE o.id = ? AND p.status = ?",
            );
            let row = row.bind(order.as_i64()).bind(SUCCEEDED).fetch_optional(&mut *tx).await?;
            let Some(payment) = row else { return Ok(Ending::RollBack(AskedRefund::Refused(standing.state))) };
            let amount = Cents::new(payment.try_get("amount_cents")?);
            let payment = id(&payment, "id", PaymentId::from_i64)?;
            let new = NewRefund { order, payment, purpose: Purpose::Order, amount, status: REQUESTED, reason };
            let Some(refund) = insert_refund(&mut tx, number, &new, now_ms).await? else {
                return Ok(Ending::RollBack(AskedRefund::Refused(standing.state)));
            };
            step(&mut tx, &standing, to, now_ms).await?;
            Ok(Ending::Commit(tx, AskedRefund::Asked(refund)))
        })
        .await
    }

    /// The shop gives the money for an order back, or does not. Given back, the order is refunded once its
    /// provider has sent the money.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn decide_refund(&self, order: OrderId, approve: bool, now_ms: u64) -> Result<Moved, StoreError> {
        let decision = if approve { APPROVED } else { REFUSED };
        let after_lost_commit = look_up(|tx, decided: Result<Decided, Moved>| find_decision(tx, decision, decided));
        let decided = self.write(Write::DecideRefund, after_lost_commit, |tx| async {
            let mut tx = tx;
            let Some(standing) = standing(&mut tx, order).await? else {
                return Ok(Ending::RollBack(Err(Moved::Unknown)));
            };
            let Ok(back) = standing.state.apply(Happening::RefuseRefund) else {
                return Ok(Ending::RollBack(Err(Moved::Refused(standing.state))));
            };
            let row = sqlx::query("SELECT id FROM refunds WHERE order_id = ? AND status = ? AND purpose = ?");
            let row = row.bind(order.as_i64()).bind(REQUESTED).bind(Purpose::Order.as_str());
            let Some(row) = row.fetch_optional(&mut *tx).await? else {
                // It was decided before, and the money is on its way.
                return Ok(Ending::RollBack(Err(Moved::Refused(standing.state))));
            };
            let refund = id(&row, "id", RefundId::from_i64)?;
            let query = sqlx::query("UPDATE refunds SET status = ? WHERE id = ?");
            query.bind(decision).bind(refund.as_i64()).execute(&mut *tx).await?;
            if !approve {
                step(&mut tx, &standing, back, now_ms).await?;
            }
            let state = if approve { standing.state } else { back };
            Ok(Ending::Commit(tx, Ok(Decided { refund, state })))
        });
        Ok(decided.await?.map_or_else(|refused| refused, |decided| Moved::To(decided.state)))
    }

    /// The number of approved refunds whose method is not one of `methods`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn refunds_not_by(&self, methods: &[&str]) -> Result<u64, StoreError> {
        let mut query = QueryBuilder::<Db>::new(
            "SELECT COUNT(*) AS refunds FROM refunds r JOIN payments p ON p.id = r.payment_id WHERE r.status = ",
        );
        query.push_bind(APPROVED);
        if !methods.is_empty() {
            push_methods(&mut query, " AND p.method NOT IN (", methods);
        }
        count(&query.build().fetch_one(self.readers()).await?, "refunds")
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
    // An approved refund may have been sent since.
    Ok(Found::from(status == decision || (decision == APPROVED && status == DONE)))
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
            "SELECT r.id, r.payment_id, r.amount_cents, p.method, p.provider_trade_no FROM refunds r \
             JOIN payments p ON p.id = r.payment_id WHERE r.status = ",
        );
        query.push_bind(APPROVED);
        push_methods(&mut query, " AND p.method IN (", methods);
        query.push(" ORDER BY r.id LIMIT ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(self.readers()).await?;
        let due = |row: &DbRow| {
            let trade_no: Option<String> = row.try_get("provider_trade_no")?;
            Ok(DueRefund {
                refund: id(row, "id", RefundId::from_i64)?,
                payment: id(row, "payment_id", PaymentId::from_i64)?,
                method: row.try_get("method")?,
                trade_no: trade_no.unwrap_or_default(),
                amount: Cents::new(row.try_get("amount_cents")?),
            })
        };
        rows.iter().map(due).collect()
    }

    async fn refund_done(&self, due: &DueRefund, now_ms: u64) -> Result<(), StoreError> {
        let repeat = Repeat("a refund that is done is not approved any more, and is left alone");
        self.write(Write::RefundDone, repeat, |tx| async {
            let mut tx = tx;
            let done = sqlx::query("UPDATE refunds SET status = ? WHERE id = ? AND status = ?")
                .bind(DONE)
                .bind(due.refund.as_i64())
                .bind(APPROVED)
                .execute(&mut *tx)
                .await?;
            if done.rows_affected() == 0 {
                return Ok(Ending::RollBack(()));
            }
            let query = sqlx::query("UPDATE payments SET status = ? WHERE id = ?");
            query.bind(REFUNDED).bind(due.payment.as_i64()).execute(&mut *tx).await?;
            let row = sqlx::query("SELECT order_id, purpose FROM refunds WHERE id = ?");
            let row = row.bind(due.refund.as_i64()).fetch_one(&mut *tx).await?;
            let purpose: &str = row.try_get("purpose")?;
            let purpose = Purpose::parse(purpose)
                .ok_or_else(|| StoreError::contradiction(format!("a refund is for {purpose:?}")))?;
            match purpose {
                Purpose::Order => {
                    let standing = standing(&mut tx, id(&row, "order_id", OrderId::from_i64)?).await?;
                    if let Some(standing) = standing
                        && let Ok(to) = standing.state.apply(Happening::Refund)
                    {
                        step(&mut tx, &standing, to, now_ms).await?;
                    }
                }
                Purpose::Twice | Purpose::Late => {}
            }
            Ok(Ending::Commit(tx, ()))
        })
        .await
    }
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
