//! Audits every sale again and again, so that an alert finds what is wrong before a person looks.

use std::collections::BTreeMap;

use contract::ActivityId;
use domain::SaleStore;
use foundation::{
    Clock,
    metrics::{Counter, Gauge, Registry},
};
use ledger::LedgerClient;

use crate::audit::{AuditError, Book, audit};

/// Between two rounds, in milliseconds, at least.
const ROUND_EVERY_MS: u64 = 15_000;
/// The rest after a round, as a multiple of the time that the round took: the database adds up all orders of a sale for an audit.
const REST_FACTOR: u64 = 10;
/// Audits of one round; the next round begins with the sale after the last one.
const ROUND_MAX: usize = 32;

/// Audits the sales whose journal has grown since their last audit that found nothing.
#[derive(Debug)]
pub(crate) struct Auditor<S, K, C> {
    store: S,
    ledgers: K,
    book: Book,
    clock: C,
    /// Up to which entry each sale is audited.
    audited: BTreeMap<ActivityId, u64>,
    /// Sales whose last audit failed.
    failing: BTreeMap<ActivityId, Failure>,
    /// The last sale of the last round.
    last: Option<ActivityId>,
    audits: Counter,
    failed: Gauge,
    oversold: Gauge,
}

/// What an audit found.
#[derive(Debug, Clone, Copy)]
struct Failure {
    /// More units are promised than exist, or the audit could not exclude it.
    oversold: bool,
}

impl<S: SaleStore, K: LedgerClient, C: Clock> Auditor<S, K, C> {
    pub(crate) fn new(store: S, ledgers: K, book: Book, clock: C, metrics: &Registry) -> Self {
        let failed = "Sales whose last audit failed: a count is wrong, or a side could not be compared.";
        let oversold = "Sales whose last audit could not exclude that more units are promised than there are.";
        Self {
            store,
            ledgers,
            book,
            clock,
            audited: BTreeMap::new(),
            failing: BTreeMap::new(),
            last: None,
            audits: metrics.counter("mall_audits_total", "Audits of sales by the admin service itself."),
            failed: metrics.gauge("mall_audit_failed_sales", failed),
            oversold: metrics.gauge("mall_audit_oversold_sales", oversold),
        }
    }

    /// Audits up to [`ROUND_MAX`] sales, then rests.
    pub(crate) async fn step(&mut self) -> Result<(), AuditError> {
        let (begun_ms, mut result) = (self.clock.now_ms(), Ok(()));
        for (activity, head) in self.due() {
            result = result.and(self.audit(activity, head).await);
        }
        let now_ms = self.clock.now_ms();
        let rest_ms = ROUND_EVERY_MS.max(REST_FACTOR * now_ms.saturating_sub(begun_ms));
        self.clock.sleep_until(now_ms + rest_ms).await;
        result
    }

    /// The sales to audit now, with the last entry of each.
    fn due(&mut self) -> Vec<(ActivityId, u64)> {
        if !self.book.is_read() {
            return Vec::new();
        }
        let is_due = |(activity, head): &(ActivityId, u64)| {
            self.failing.contains_key(activity) || self.audited.get(activity) != Some(head)
        };
        let mut due: Vec<_> = self.book.heads().into_iter().filter(is_due).collect();
        let after_last = due.partition_point(|(activity, _)| self.last.is_some_and(|last| *activity <= last));
        due.rotate_left(after_last);
        due.truncate(ROUND_MAX);
        self.last = due.last().map(|(activity, _)| *activity);
        due
    }

    async fn audit(&mut self, activity: ActivityId, head: u64) -> Result<(), AuditError> {
        let audit = audit(activity, (&self.store, &self.ledgers, &self.book, &self.clock)).await?;
        self.audits.add(1);
        if audit.ok {
            self.audited.insert(activity, head);
            if self.failing.remove(&activity).is_some() {
                tracing::warn!(%activity, "the audit of the sale is right again");
            }
        } else {
            let oversold = audit.checks.iter().any(|check| check.id == "I1" && !check.ok);
            for check in audit.checks.iter().filter(|check| !check.ok) {
                tracing::error!(%activity, check = check.id, detail = check.detail, "the audit of a sale failed");
            }
            self.failing.insert(activity, Failure { oversold });
        }
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.failed.set(gauge(self.failing.len()));
        self.oversold.set(gauge(self.failing.values().filter(|failure| failure.oversold).count()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use contract::{OrderId, UserId, stock::Reservation};
    use domain::{
        conformance::{PAY_WITHIN_MS, activity},
        model::ModelStore,
    };
    use support::{HandClock, MemoryLedgers, MemoryLog};

    use super::*;

    /// Every number that is shown, in the order audits, failed, oversold.
    fn shown(auditor: &Auditor<ModelStore, MemoryLedgers, HandClock>) -> (u64, i64, i64) {
        (auditor.audits.get(), auditor.failed.get(), auditor.oversold.get())
    }

    #[tokio::test]
    async fn a_sale_that_is_wrong_is_shown_until_it_is_right() {
        let clock = HandClock::new();
        let log = MemoryLog::with_topics(PAY_WITHIN_MS).await;
        let ledgers = MemoryLedgers::new(log.clone(), clock.clone());
        let store = ModelStore::new(PAY_WITHIN_MS);
        let (sale, book) = (activity(1, 100).id, Book::default());
        store.put_activity(&activity(1, 100));
        ledgers.open(sale, 5, activity(1, 100).rules).await.unwrap();
        let (order, user) = (OrderId::from_i64(1).unwrap(), UserId::from_i64(1).unwrap());
        ledgers.reserve(sale, Reservation { order, user, request: None, quantity: 1 }).await;
        log.journal().iter().for_each(|entry| book.add(entry));
        let metrics = Registry::default();
        let mut auditor = Auditor::new(store.clone(), ledgers, book, clock.clone(), &metrics);
        let round = async |auditor: &mut Auditor<_, _, _>| {
            let ticks = async {
                loop {
                    tokio::task::yield_now().await;
                    clock.advance(20);
                }
            };
            tokio::select! {
                biased;
                result = auditor.step() => result.unwrap(),
                () = ticks => {}
            }
        };

        // The order is not in the database.
        round(&mut auditor).await;
        assert_eq!(shown(&auditor), (1, 1, 0));
        store.take_in(&domain::Line::in_order(&log.journal()), clock.now_ms()).await.unwrap();
        round(&mut auditor).await;
        assert_eq!(shown(&auditor), (2, 0, 0));
        // Nothing has happened since.
        round(&mut auditor).await;
        assert_eq!(shown(&auditor), (2, 0, 0));
    }
}
