//! Notices of the mock platform: it tells the shop of money until it has heard.

use foundation::Clock;
use pay::{Form, yuan};
use store::{MockTrade, Store};
use ureq::Agent;
use workers::{Worker, WorkerError};

use super::{APP_ID, Inner, MockPlatform, SELLER_ID};
use crate::payments::{agent, post_form, timestamp};

/// Notices of one step.
const BATCH_MAX: u32 = 50;
/// How often due notices are looked for.
const LOOK_EVERY_MS: u64 = 100;
/// How long a notice that another one is to overtake waits for it.
const OVERTAKEN_AFTER_MS: u64 = 1_000;
/// The subject of a notice in GBK: 茶.
const GBK_SUBJECT: &[u8] = b"\xb2\xe8";

/// Tells the shop of money until it has heard.
#[derive(Debug)]
pub struct MockNotices<C> {
    platform: MockPlatform,
    store: Store,
    agent: Agent,
    clock: C,
    /// A notice that another one is to overtake, and when it is sent without one.
    overtaken: Option<(MockTrade, u64)>,
}

impl<C: Clock> MockNotices<C> {
    /// Tells of the trades in `store`.
    pub fn new(platform: MockPlatform, store: Store, clock: C) -> Self {
        Self { platform, store, agent: agent(), clock, overtaken: None }
    }

    /// Sends a notice, or makes a mistake with it.
    async fn handle(&mut self, trade: MockTrade) -> Result<(), WorkerError> {
        let (now_ms, faults) = (self.clock.now_ms(), &self.platform.0.faults);
        if faults.take(|faults| &mut faults.lose_notices) {
            tracing::info!(payment = %trade.payment, "a notice is lost on request");
            return self.store.money().mock_trade_told(trade.payment, None).await.map_err(WorkerError::store);
        }
        if faults.take(|faults| &mut faults.delay_notices) {
            let next_ms = now_ms.saturating_add(faults.now().delay_ms);
            return self.store.money().mock_trade_told(trade.payment, Some(next_ms)).await.map_err(WorkerError::store);
        }
        if self.overtaken.is_none() && faults.take(|faults| &mut faults.reorder_notices) {
            self.overtaken = Some((trade, now_ms + OVERTAKEN_AFTER_MS));
            return Ok(());
        }
        if faults.take(|faults| &mut faults.double_notices) {
            // What counts is the answer to the second one.
            drop(self.send(&trade).await?);
        }
        self.tell(&trade).await?;
        self.send_overtaken(true).await
    }

    /// Sends the notice that another one was to overtake, once one has or it is time.
    async fn send_overtaken(&mut self, is_overtaken: bool) -> Result<(), WorkerError> {
        let now_ms = self.clock.now_ms();
        match self.overtaken.take_if(|(_, by_ms)| is_overtaken || *by_ms <= now_ms) {
            Some((trade, _)) => self.tell(&trade).await,
            None => Ok(()),
        }
    }

    /// Sends a notice, and again after a while if the shop has not heard it.
    async fn tell(&self, trade: &MockTrade) -> Result<(), WorkerError> {
        let answer = self.send(trade).await?;
        let now_ms = self.clock.now_ms();
        let heard = answer.as_deref() == Ok("success");
        let next_ms = if heard { None } else { self.platform.gap_ms(trade.tries).map(|gap| now_ms + gap) };
        if !heard {
            let (payment, tries) = (trade.payment, trade.tries);
            tracing::warn!(%payment, tries, ?answer, ?next_ms, "the shop has not heard of a mock payment");
        }
        self.store.money().mock_trade_told(trade.payment, next_ms).await.map_err(WorkerError::store)
    }

    /// The shop's answer to a notice.
    async fn send(&self, trade: &MockTrade) -> Result<Result<String, String>, WorkerError> {
        let now_ms = self.clock.now_ms();
        let time = timestamp(now_ms);
        let mut form = Form::default();
        form.set("app_id", APP_ID).set("seller_id", SELLER_ID).set("charset", "utf-8").set("version", "1.0");
        form.set("notify_type", "trade_status_sync").set("notify_time", &time).set("gmt_payment", &time);
        form.set("notify_id", format!("{}-{}", trade.payment, trade.tries)).set("trade_no", &trade.trade_no);
        form.set("out_trade_no", trade.payment.to_string()).set("total_amount", yuan(trade.amount));
        form.set("trade_status", "TRADE_SUCCESS");
        let Inner { platform, faults, .. } = &*self.platform.0;
        let in_gbk = faults.take(|faults| &mut faults.gbk_notices);
        let body = if in_gbk { form.notice_in_gbk(platform, GBK_SUBJECT) } else { form.notice(platform) };
        let body = body.map_err(|error| WorkerError::Platform(error.to_string()))?;
        Ok(post_form(&self.agent, &trade.notify_url, body).await)
    }
}

impl<C: Clock> Worker for MockNotices<C> {
    const NAME: &'static str = "mock-notices";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let due =
            self.store.money().due_mock_trades(self.clock.now_ms(), BATCH_MAX).await.map_err(WorkerError::store)?;
        let waits = |trade: &MockTrade, overtaken: &Option<(MockTrade, u64)>| {
            overtaken.as_ref().is_some_and(|(waiting, _)| waiting.payment == trade.payment)
        };
        let mut is_idle = true;
        for trade in due {
            if !waits(&trade, &self.overtaken) {
                is_idle = false;
                self.handle(trade).await?;
            }
        }
        self.send_overtaken(false).await?;
        if is_idle {
            self.clock.sleep_until(self.clock.now_ms() + LOOK_EVERY_MS).await;
        }
        Ok(())
    }
}
