//! Asks the platforms about payments whose money has not come: notices get lost, and an order must not be closed while
//! its money is at the platform.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use contract::OrderId;
use foundation::Clock;
use futures_util::{StreamExt as _, stream};
use pay::{CloseAnswer, TradeAnswer};
use store::{Arrived, Notice, OpenPayment, Store, StoreError};
use workers::{BeforeClosing, Worker, WorkerError};

use super::{Providers, note_unmatched};

/// Payments of one step.
const BATCH_MAX: u32 = 50;
/// Payments of one batch of orders that are to be closed.
const CLOSING_MAX: u32 = 1_000;
/// Questions that a platform is asked at the same time.
const AT_ONCE_MAX: usize = 16;
/// How long the closing of a batch of orders waits for the platform. The rest is closed without an answer, and money that
/// comes after that is late money.
const CLOSING_WAIT_MAX: Duration = Duration::from_secs(20);
/// After a batch that the platform has not answered in time, orders are closed without asking for this long. A hundred
/// thousand orders would otherwise keep their units for an hour.
const SILENCE_MS: u64 = 60_000;
/// How often it is looked whether a platform is to be asked.
const LOOK_EVERY_MS: u64 = 500;
/// The pause after the first question; it doubles with each further one.
const PAUSE_MS: u64 = 30_000;
/// The longest pause between two questions.
const PAUSE_MAX_MS: u64 = 3_600_000;
/// Questions about a payment, two weeks in all. Alipay keeps a trade open for 15 days at most.
const QUERIES_MAX: u64 = 350;
/// A trade that does not exist this long after the last moment to pay will never exist.
const NEVER_AFTER_MS: u64 = 600_000;

/// The state of a payment after the platform was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// The platform has the money, and it is taken in.
    Paid,
    /// Nobody can pay any more.
    Closed,
    /// The buyer may still pay.
    Open,
}

/// Asks a platform about one payment. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Inquiry {
    store: Store,
    platforms: Providers,
}

impl Inquiry {
    pub(crate) const fn new(store: Store, platforms: Providers) -> Self {
        Self { store, platforms }
    }

    /// Asks the platform about one payment, takes its money in, and closes the trade if the order does not wait for it or
    /// `closes`.
    ///
    /// # Errors
    /// If the database fails. A platform that does not answer is asked again later.
    pub(crate) async fn resolve(
        &self,
        open: &OpenPayment,
        closes: bool,
        now_ms: u64,
    ) -> Result<Resolution, StoreError> {
        match self.ask(open, closes, now_ms).await? {
            Ok(resolution @ (Resolution::Paid | Resolution::Closed)) => return Ok(resolution),
            Ok(Resolution::Open) => {}
            Err(reason) => {
                let OpenPayment { payment, method, queries, .. } = open;
                tracing::warn!(%payment, method, queries, reason, "the platform has not answered about a payment");
            }
        }
        let pause_ms = PAUSE_MS.saturating_mul(1 << open.queries.min(32)).min(PAUSE_MAX_MS);
        let next_ms = (open.queries < QUERIES_MAX).then(|| now_ms.saturating_add(pause_ms));
        self.store.money().query_later(open, next_ms).await?;
        Ok(Resolution::Open)
    }

    /// The inner error is the platform's.
    async fn ask(
        &self,
        open: &OpenPayment,
        closes: bool,
        now_ms: u64,
    ) -> Result<Result<Resolution, String>, StoreError> {
        let answer = match self.platforms.trade(open, now_ms).await {
            Ok(answer) => answer,
            Err(reason) => return Ok(Err(reason)),
        };
        let is_over = closes || !open.is_wanted;
        match answer {
            TradeAnswer::Paid(paid) => self.take_in(open, paid, now_ms).await.map(Ok),
            TradeAnswer::Closed => self.closed(open).await.map(Ok),
            TradeAnswer::NotExist if now_ms > open.expires_at_ms.saturating_add(NEVER_AFTER_MS) => {
                self.closed(open).await.map(Ok)
            }
            TradeAnswer::Waiting if is_over => match self.platforms.close_trade(open, now_ms).await {
                Ok(CloseAnswer::Closed) => self.closed(open).await.map(Ok),
                // The buyer has paid since the question.
                Ok(CloseAnswer::NotNow) => match self.platforms.trade(open, now_ms).await {
                    Ok(TradeAnswer::Paid(paid)) => self.take_in(open, paid, now_ms).await.map(Ok),
                    Ok(TradeAnswer::Closed) => self.closed(open).await.map(Ok),
                    Ok(TradeAnswer::Waiting | TradeAnswer::NotExist) => Ok(Ok(Resolution::Open)),
                    Err(reason) => Ok(Err(reason)),
                },
                Ok(CloseAnswer::NotExist) => Ok(Ok(Resolution::Open)),
                Err(reason) => Ok(Err(reason)),
            },
            TradeAnswer::Waiting | TradeAnswer::NotExist => Ok(Ok(Resolution::Open)),
        }
    }

    async fn closed(&self, open: &OpenPayment) -> Result<Resolution, StoreError> {
        self.store.money().trade_closed(open.payment).await?;
        Ok(Resolution::Closed)
    }

    async fn take_in(&self, open: &OpenPayment, paid: pay::Paid, now_ms: u64) -> Result<Resolution, StoreError> {
        let Some(provider) = self.platforms.get(&open.method) else { return Ok(Resolution::Open) };
        let (payment, trade_no, amount) = (paid.payment, paid.trade_no, paid.amount);
        let notice = Notice { method: provider.method, payment, trade_no, amount };
        Ok(match self.store.money().payment_arrived(&notice, now_ms).await? {
            arrived @ (Arrived::Paid | Arrived::Again | Arrived::HeldAgain(_) | Arrived::GoesBack(_)) => {
                tracing::info!(%payment, ?arrived, "the platform had money of which no notice has come");
                Resolution::Paid
            }
            arrived @ (Arrived::Unknown | Arrived::WrongAmount | Arrived::OtherTrade) => {
                tracing::error!(?notice, ?arrived, "money that fits no payment");
                note_unmatched(&self.store, &notice, arrived, now_ms).await?;
                Resolution::Open
            }
        })
    }
}

/// Asks about payments at intervals, and before orders are closed. Clones are the same.
#[derive(Debug, Clone)]
pub struct PaymentWatch<C> {
    inquiry: Inquiry,
    clock: C,
    /// Until when orders are closed without asking, epoch milliseconds.
    silent_until_ms: Arc<AtomicU64>,
}

impl<C: Clock> PaymentWatch<C> {
    /// Asks `platforms` about the payments in `store`.
    pub fn new(store: Store, platforms: Providers, clock: C) -> Self {
        Self { inquiry: Inquiry::new(store, platforms), clock, silent_until_ms: Arc::default() }
    }

    /// Asks about the payments that are due now; whether there were any.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn look(&self) -> Result<bool, StoreError> {
        let due = self.inquiry.store.money().due_queries(self.clock.now_ms(), BATCH_MAX).await?;
        let is_any = !due.is_empty();
        self.resolve_all(due, false).await?;
        Ok(is_any)
    }

    /// Asks about each of `open`, some at once.
    async fn resolve_all(&self, open: Vec<OpenPayment>, closes: bool) -> Result<(), StoreError> {
        let resolve = |open: OpenPayment| {
            let (inquiry, now_ms) = (self.inquiry.clone(), self.clock.now_ms());
            async move { inquiry.resolve(&open, closes, now_ms).await }
        };
        let mut resolutions = stream::iter(open).map(resolve).buffer_unordered(AT_ONCE_MAX);
        while let Some(resolution) = resolutions.next().await {
            resolution?;
        }
        Ok(())
    }
}

impl<C: Clock> BeforeClosing for PaymentWatch<C> {
    async fn before_closing(&self, orders: &[OrderId]) -> Result<(), WorkerError> {
        if self.clock.now_ms() < self.silent_until_ms.load(Ordering::Relaxed) {
            return Ok(());
        }
        let open = self.inquiry.store.money().open_payments(orders, CLOSING_MAX).await.map_err(WorkerError::store)?;
        if open.is_empty() {
            return Ok(());
        }
        let payments = open.len();
        match tokio::time::timeout(CLOSING_WAIT_MAX, self.resolve_all(open, true)).await {
            Ok(done) => done.map_err(WorkerError::store),
            Err(_) => {
                self.silent_until_ms.store(self.clock.now_ms() + SILENCE_MS, Ordering::Relaxed);
                tracing::warn!(payments, "the platform is slow; orders are closed without its answer");
                Ok(())
            }
        }
    }
}

impl<C: Clock> Worker for PaymentWatch<C> {
    const NAME: &'static str = "payment-watch";

    async fn step(&mut self) -> Result<(), WorkerError> {
        if !self.look().await.map_err(WorkerError::store)? {
            self.clock.sleep_until(self.clock.now_ms() + LOOK_EVERY_MS).await;
        }
        Ok(())
    }
}
