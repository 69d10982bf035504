//! Opening and ending the ledger of a sale, in whatever order the two are asked for.

use contract::{
    ActivityId,
    activity::Rules,
    record::{Action, LedgerCommand},
    stock::{Counters, Outcome},
};
use ledger::{LedgerClient, LedgerUnavailable};
use store::{Opening, Sale, Store, StoreError};

/// Why a ledger was not opened or ended; the call may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerUnavailable),
}

/// The result of a call that opens a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenOutcome {
    /// It is open, perhaps since an earlier call.
    Open(Counters),
    /// There is no such sale.
    Unknown,
    /// The sale ended before its ledger was opened.
    Over,
    /// The sale is a draft.
    Draft,
}

/// Opens the ledger of a sale unless it is open or the sale is over.
///
/// # Errors
/// See [`OpenError`].
pub async fn open<K: LedgerClient>(
    store: &Store,
    ledgers: &K,
    activity: ActivityId,
    now_ms: u64,
) -> Result<OpenOutcome, OpenError> {
    let Sale { stock, activity: decided, .. } = match store.sales().decide_opening(activity, now_ms).await? {
        Opening::Open(sale) => sale,
        Opening::Unknown => return Ok(OpenOutcome::Unknown),
        Opening::Over => return Ok(OpenOutcome::Over),
        Opening::Draft => return Ok(OpenOutcome::Draft),
        Opening::Opened(_) => {
            let counters = ledgers.counters(activity).await?;
            return counters.map(OpenOutcome::Open).ok_or_else(|| {
                OpenError::Ledger(LedgerUnavailable("the ledger was lost and has yet to be rebuilt".to_owned()))
            });
        }
    };
    let counters = ledgers.open(activity, stock, decided.rules).await?;
    // The sale may have been ended after the decision, and the end may have reached the ledger before its opening.
    let rules = store.sales().sale(activity).await?.map_or(decided.rules, |sale| sale.activity.rules);
    if rules.ends_at_ms < decided.rules.ends_at_ms {
        return Ok(OpenOutcome::Open(end_open(ledgers, activity, rules).await?.unwrap_or(counters)));
    }
    Ok(OpenOutcome::Open(counters))
}

/// Ends the ledger of a sale that the database has ended, so that it sells no more when this returns. The command
/// on the log does the same later.
///
/// # Errors
/// [`LedgerUnavailable`] where the ledger did not answer.
pub async fn end<K: LedgerClient>(ledgers: &K, sale: &Sale) -> Result<(), LedgerUnavailable> {
    let (activity, rules) = (sale.activity.id, sale.activity.rules);
    if !sale.opening {
        return Ok(());
    }
    // A process that is about to open it finds it open, and over.
    if !sale.ledger_open {
        ledgers.open(activity, sale.stock, rules).await?;
    }
    end_open(ledgers, activity, rules).await?;
    Ok(())
}

async fn end_open<K: LedgerClient>(
    ledgers: &K,
    activity: ActivityId,
    rules: Rules,
) -> Result<Option<Counters>, LedgerUnavailable> {
    let action = Action::End { ends_at_ms: rules.ends_at_ms };
    let outcomes = ledgers.act(vec![LedgerCommand { activity, action }]).await?;
    if outcomes != [Outcome::Done] {
        return Err(LedgerUnavailable(format!("activity {activity}: the ledger answered {outcomes:?} to its end")));
    }
    ledgers.counters(activity).await
}
