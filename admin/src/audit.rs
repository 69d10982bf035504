//! Ledger, log and database held against each other. They are never read at one instant; but each says
//! which entry of the journal it has come to, and the log knows its totals at every entry.

mod book;
#[cfg(test)]
mod tests;

use contract::{
    ActivityId,
    stock::{Counters, Term},
};
use domain::{DatabaseCounts, SaleError, SaleStore};
use foundation::Clock;
use ledger::{LedgerClient, LedgerUnavailable};
use serde::Serialize;
use utoipa::ToSchema;

pub use book::{Book, Follower, Totals};

/// How long a side that lags is waited for, in milliseconds.
pub const WAIT_MS: u64 = 5_000;
/// How often it is looked at meanwhile.
const LOOK_EVERY_MS: u64 = 20;

/// The answer of an audit. All counts are units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Audit {
    /// The sale.
    pub activity_id: ActivityId,
    /// When the ledger was read, epoch milliseconds.
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = contract::openapi::time)]
    pub at: u64,
    /// The ledger's term: a higher one after each recovery.
    pub term: u64,
    /// The ledger's epoch.
    pub epoch: u64,
    /// The ledger's last entry.
    pub seq: u64,
    /// Units that the ledger manages.
    pub total: u64,
    /// Units that are available.
    pub available: u64,
    /// Units waiting for payment.
    pub held: u64,
    /// Units paid for.
    pub sold: u64,
    /// The sum of the journal up to the ledger's `seq`.
    pub log: LogSide,
    /// Units by the state of their orders.
    pub database: DatabaseSide,
    /// The last entry that the database has taken in.
    #[serde(skip)]
    pub(crate) database_seq: u64,
    /// The checks, one for each invariant.
    pub checks: Vec<Check>,
    /// Whether every check passes.
    pub ok: bool,
}

/// The journal: units of all its entries of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogSide {
    /// Units that were ever held.
    pub held: u64,
    /// Of them, paid for.
    pub settled: u64,
    /// Of them, given back.
    pub released: u64,
    /// The last entry that was read.
    pub head_seq: u64,
}

/// The database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct DatabaseSide {
    /// Units waiting for payment.
    pub pending_payment: u64,
    /// Units paid for.
    pub paid: u64,
    /// Units of orders that were closed unpaid.
    pub closed: u64,
    /// Units refunded.
    pub refunded: u64,
    /// Compensated without becoming an order.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
}

/// One line of the auditor's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    /// `I1`, `I2` or `I3`.
    pub id: &'static str,
    /// Whether the check passes.
    pub ok: bool,
    /// The figures of the check.
    pub detail: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The database did not say.
    #[error(transparent)]
    Store(#[from] SaleError),
    /// The ledger did not say.
    #[error(transparent)]
    Ledger(#[from] LedgerUnavailable),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(units: &u64) -> bool {
    *units == 0
}

/// What the three sides said.
struct Sides {
    ledger: Counters,
    /// The log at the ledger's `seq`, where it has come so far.
    log_then: Option<Totals>,
    database: DatabaseCounts,
    /// The log at the database's `seq`.
    log_there: Option<Totals>,
    /// The last entry that the log or the database had before the ledger was asked. A ledger that is behind it has
    /// lost entries.
    floor_seq: u64,
    head_seq: u64,
    waited_ms: u64,
}

/// Audits one sale.
///
/// # Errors
/// If the ledger or the database does not answer at all.
pub async fn audit<S: SaleStore, K: LedgerClient, C: Clock>(
    activity: ActivityId,
    sides: (&S, &K, &Book, &C),
) -> Result<Audit, AuditError> {
    Ok(look(activity, sides, WAIT_MS).await?.0)
}

/// Audits one sale; a side that lags is waited for, for `wait_ms` at most. Whether all sides have reached the ledger's
/// entry: where they have not, a check that is not `ok` may only mean that it could not be made.
///
/// # Errors
/// If the ledger or the database does not answer at all.
pub(crate) async fn look<S: SaleStore, K: LedgerClient, C: Clock>(
    activity: ActivityId,
    (store, ledgers, book, clock): (&S, &K, &Book, &C),
    wait_ms: u64,
) -> Result<(Audit, bool), AuditError> {
    let at = clock.now_ms();
    let mirrored_seq =
        store.audit_counts(activity).await.map_err(Into::<SaleError>::into)?.map_or(0, |counts| counts.seq);
    let floor_seq = mirrored_seq.max(book.head_seq(activity));
    let mut ledger = CLOSED;
    let mut is_asked = false;
    let deadline_ms = at + wait_ms;
    let (database, log_there, caught_up) = loop {
        if !is_asked || ledger.seq < floor_seq {
            ledger = ledgers.counters(activity).await?.unwrap_or(CLOSED);
            is_asked = true;
        }
        let database = store.audit_counts(activity).await.map_err(Into::<SaleError>::into)?.unwrap_or_default();
        let log_there = book.at(activity, database.seq);
        let caught_up = ledger.seq >= floor_seq && database.seq >= ledger.seq && log_there.is_some();
        if caught_up || clock.now_ms() >= deadline_ms {
            break (database, log_there, caught_up);
        }
        clock.sleep_until(clock.now_ms() + LOOK_EVERY_MS).await;
    };
    let sides = Sides {
        ledger,
        log_then: book.at(activity, ledger.seq),
        database,
        log_there,
        floor_seq,
        head_seq: book.head_seq(activity),
        waited_ms: clock.now_ms().saturating_sub(at),
    };
    Ok((report(activity, at, &sides), caught_up))
}

/// A ledger that was never opened.
const CLOSED: Counters = Counters { total: 0, available: 0, held: 0, sold: 0, term: Term::FIRST, epoch: 0, seq: 0 };

fn report(activity_id: ActivityId, at: u64, sides: &Sides) -> Audit {
    let Counters { total, available, held, sold, term, epoch, seq } = sides.ledger;
    let log = sides.log_then.unwrap_or_default();
    let units = sides.database.by_status;
    let checks = vec![no_oversell(sides), one_order_each(sides), nothing_lost(sides)];
    let ok = checks.iter().all(|check| check.ok);
    Audit {
        activity_id,
        at,
        term: term.0,
        epoch,
        seq,
        total,
        available,
        held,
        sold,
        log: LogSide { held: log.held, settled: log.settled, released: log.released, head_seq: sides.head_seq },
        database: DatabaseSide {
            pending_payment: units.pending_payment,
            paid: units.paid,
            closed: units.closed,
            refunded: units.refunded,
            failed: units.failed,
        },
        database_seq: sides.database.seq,
        checks,
        ok,
    }
}

/// I1: nobody has promised more than there is.
fn no_oversell(sides: &Sides) -> Check {
    let Sides { ledger, database, .. } = sides;
    let over = |promised: u64, total: u64| promised.saturating_sub(total);
    let in_ledger = over(ledger.held + ledger.sold, ledger.total);
    let in_log = sides.log_then.map(|log| over(log.outstanding() + log.settled, log.total));
    let orders = database.by_status.pending_payment + database.by_status.paid;
    let in_database =
        over(database.by_hold.held + database.by_hold.sold, database.total).max(over(orders, database.total));
    let ok = !sides.ledger_is_behind() && in_ledger == 0 && in_log == Some(0) && in_database == 0;
    let in_log = in_log.map_or_else(|| "unknown".to_owned(), |units| units.to_string());
    let detail = format!("oversold units: ledger {in_ledger}, log {in_log}, database {in_database}{}", lag(sides));
    Check { id: "I1", ok, detail }
}

/// I2: every hold on the log is one order or one compensation.
fn one_order_each(sides: &Sides) -> Check {
    let Sides { database, ledger, .. } = sides;
    let units = database.by_status;
    let (kept, failed, missing) = (units.all() - units.failed, units.failed, units.missing);
    let held = sides.log_there.map(|log| log.held);
    let is_compared = !sides.ledger_is_behind() && database.seq >= ledger.seq;
    let ok = is_compared && held == Some(units.all()) && missing == 0;
    let held = held.map_or_else(|| "unknown".to_owned(), |units| units.to_string());
    let detail = format!(
        "at seq {}: {held} units held on the log; {kept} in orders, {failed} compensated, {missing} without an order{}",
        database.seq,
        lag(sides)
    );
    Check { id: "I2", ok, detail }
}

/// I3: total = available + held + sold, and all sides mean the same by it.
fn nothing_lost(sides: &Sides) -> Check {
    let Sides { ledger, database, .. } = sides;
    let hold = database.by_hold;
    let ledger_adds_up = ledger.total == ledger.available + ledger.held + ledger.sold;
    let as_logged = sides
        .log_then
        .is_some_and(|log| (log.total, log.outstanding(), log.settled) == (ledger.total, ledger.held, ledger.sold));
    let database_adds_up = database.total == database.stock_left + hold.held + hold.sold;
    let mirrored = sides.log_there.is_some_and(|log| {
        (log.total, log.outstanding(), log.settled, log.released)
            == (database.total, hold.held, hold.sold, hold.released)
    });
    // At one entry they are the same without the log's help; a database that is behind is not compared.
    let agree = database.seq > ledger.seq
        || (database.seq, database.total, hold.held, hold.sold) == (ledger.seq, ledger.total, ledger.held, ledger.sold);
    let detail = format!(
        "ledger at seq {}: {} = {} + {} + {}{}; database at seq {}: {} = {} + {} + {}{}{}",
        ledger.seq,
        ledger.total,
        ledger.available,
        ledger.held,
        ledger.sold,
        logged(as_logged, sides.log_then),
        database.seq,
        database.total,
        database.stock_left,
        hold.held,
        hold.sold,
        logged(mirrored, sides.log_there),
        lag(sides)
    );
    let ok = ledger_adds_up && as_logged && database_adds_up && mirrored && agree && !sides.ledger_is_behind();
    Check { id: "I3", ok, detail }
}

const fn logged(same: bool, log: Option<Totals>) -> &'static str {
    match (same, log) {
        (true, _) => ", as logged",
        (false, Some(_)) => ", not as logged",
        (false, None) => ", not compared with the log, which was not read at that seq",
    }
}

impl Sides {
    /// The ledger lacks entries that the log or the database had before it was asked.
    const fn ledger_is_behind(&self) -> bool {
        self.ledger.seq < self.floor_seq
    }
}

/// What was waited for, and in vain.
fn lag(sides: &Sides) -> String {
    let behind = |name: &str, seq: u64| match sides.ledger.seq.saturating_sub(seq) {
        0 => String::new(),
        entries => format!("; the {name} is {entries} entries behind the ledger"),
    };
    let waited = if sides.waited_ms > 0 { format!("; waited {} ms", sides.waited_ms) } else { String::new() };
    let ledger = match sides.floor_seq.checked_sub(sides.ledger.seq) {
        None | Some(0) => String::new(),
        Some(_) if sides.ledger.seq == 0 => format!("; the ledger is lost, it was at seq {}", sides.floor_seq),
        Some(entries) => format!("; the ledger is {entries} entries behind the log or the database"),
    };
    format!("{waited}{ledger}{}{}", behind("log", sides.head_seq), behind("database", sides.database.seq))
}
