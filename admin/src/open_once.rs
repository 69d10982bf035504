//! A ledger is opened once. One that was open and is lost must be rebuilt with what was sold, never opened again with
//! all of its units.

use contract::{
    ActivityId,
    activity::Rules,
    record::LedgerCommand,
    stock::{Counters, Outcome},
};
use foundation::Clock;
use ledger::{LedgerClient, LedgerUnavailable};
use store::Store;

use crate::audit::Book;

/// No ledger is opened before the journal is read, but this is waited for at most this many milliseconds: where its last record has
/// expired, the end is never reached.
const READ_MAX_MS: u64 = 60_000;

/// Ledgers that are not asked to open where the database or the journal knows that they were open.
#[derive(Debug, Clone)]
pub struct OpenOnce<K, C> {
    ledgers: K,
    store: Store,
    journal: Book,
    clock: C,
    since_ms: u64,
}

impl<K, C: Clock> OpenOnce<K, C> {
    /// `ledgers`, opened by what `store` and `journal` know of them.
    pub fn new(ledgers: K, store: Store, journal: Book, clock: C) -> Self {
        let since_ms = clock.now_ms();
        Self { ledgers, store, journal, clock, since_ms }
    }
}

impl<K: LedgerClient, C: Clock> LedgerClient for OpenOnce<K, C> {
    async fn open(&self, activity: ActivityId, stock: u64, rules: Rules) -> Result<Counters, LedgerUnavailable> {
        if !self.journal.is_read() && self.clock.now_ms() < self.since_ms.saturating_add(READ_MAX_MS) {
            return Err(LedgerUnavailable("the journal is not read yet".to_owned()));
        }
        let sale = self.store.sales().sale(activity).await.map_err(|error| LedgerUnavailable(error.to_string()))?;
        let was_open = self.journal.head_seq(activity) > 0 || sale.is_some_and(|sale| sale.ledger_open);
        if !was_open {
            return self.ledgers.open(activity, stock, rules).await;
        }
        let lost = || LedgerUnavailable(format!("activity {activity}: its ledger was open and is lost; it is rebuilt"));
        self.ledgers.counters(activity).await?.ok_or_else(lost)
    }

    async fn act(&self, commands: Vec<LedgerCommand>) -> Result<Vec<Outcome>, LedgerUnavailable> {
        self.ledgers.act(commands).await
    }

    async fn counters(&self, activity: ActivityId) -> Result<Option<Counters>, LedgerUnavailable> {
        self.ledgers.counters(activity).await
    }
}
