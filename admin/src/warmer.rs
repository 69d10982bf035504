//! Opens ledgers in time for their sales, and gives back what is left in them after their sales.

use contract::{
    ActivityId,
    record::{Action, LedgerCommand},
    stock::Outcome,
};
use foundation::Clock;
use ledger::LedgerClient;
use store::{Sale, Store};

use crate::opening::{self, OpenError, OpenOutcome};

/// A ledger is opened this long before its sale starts, in milliseconds.
pub const LEAD_MS: u64 = 10 * 60_000;
/// Milliseconds after the end of a sale until its unsold units go back to the SKU.
const CLEAR_AFTER_MS: u64 = 5_000;
/// How often sales are looked for, in milliseconds.
const LOOK_EVERY_MS: u64 = 1_000;

/// Opens the ledger of every sale that starts within [`LEAD_MS`] or runs, and clears those of sales that are over.
#[derive(Debug)]
pub struct Warmer<K, C> {
    store: Store,
    ledgers: K,
    clock: C,
}

impl<K: LedgerClient, C: Clock> Warmer<K, C> {
    /// A warmer; several do no harm.
    pub const fn new(store: Store, ledgers: K, clock: C) -> Self {
        Self { store, ledgers, clock }
    }

    /// Opens what is to be opened and clears what is over, then rests until it is time to look again. A sale that
    /// fails does not keep the others waiting.
    ///
    /// # Errors
    /// The first [`OpenError`] of a sale, after all of them were tried.
    pub async fn step(&mut self) -> Result<(), OpenError> {
        let mut result = Ok(());
        for activity in self.store.sales().sales_to_open(self.clock.now_ms(), LEAD_MS).await? {
            result = result.and(self.open(activity).await);
        }
        for activity in self.store.sales().sales_to_clear(self.clock.now_ms().saturating_sub(CLEAR_AFTER_MS)).await? {
            result = result.and(self.clear(activity).await);
        }
        result?;
        self.clock.sleep_until(self.clock.now_ms() + LOOK_EVERY_MS).await;
        Ok(())
    }

    async fn open(&self, activity: ActivityId) -> Result<(), OpenError> {
        match opening::open(&self.store, &self.ledgers, activity, self.clock.now_ms()).await? {
            OpenOutcome::Open(counters) => tracing::info!(%activity, total = counters.total, "the ledger is open"),
            OpenOutcome::Over => tracing::warn!(%activity, "the sale ended before its ledger was opened"),
            OpenOutcome::Unknown | OpenOutcome::Draft => {}
        }
        Ok(())
    }

    /// Takes out what nobody has; units of orders that are closed later follow in a later step. Asking twice
    /// does no harm: the ledger never gives more than it has.
    async fn clear(&self, activity: ActivityId) -> Result<(), OpenError> {
        let Some(counters) = self.ledgers.counters(activity).await? else { return Ok(()) };
        let Some(delta) = i64::try_from(counters.available).ok().filter(|units| *units > 0).map(|units| -units) else {
            return Ok(());
        };
        let action = Action::Restock { operation: self.store.sales().new_operation()?, delta };
        let outcomes = self.ledgers.act(vec![LedgerCommand { activity, action }]).await?;
        if outcomes == [Outcome::Done] {
            tracing::info!(%activity, units = counters.available, "what was not sold is the SKU's again");
        }
        Ok(())
    }
}

/// The sale's ledger should be open now.
pub fn is_due(sale: &Sale, now_ms: u64) -> bool {
    let rules = sale.activity.rules;
    !sale.is_draft && rules.starts_at_ms <= now_ms.saturating_add(LEAD_MS) && now_ms < rules.ends_at_ms
}
