//! The platform that the mall plays itself, for trying things out: a page on which anybody pays with nothing.
//! It speaks Alipay's protocol with keys of its own, and tells the shop again and again until it has heard.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use contract::{Cents, PaymentId, RefundId};
use foundation::{
    Clock,
    web::{Problem, Raw},
};
use pay::{App, Form, KeyError, Signer, Verifier, cents, yuan};
use serde::Deserialize;
use serde_json::json;
use store::{MockTrade, Store};
use ureq::Agent;

use super::{agent, post_form, timestamp};
use workers::{Worker, WorkerError};

const APP_ID: &str = "mock-app";
const SELLER_ID: &str = "mock-seller";
/// Gaps between notices in minutes, as Alipay's: 25 hours together.
const GAPS_MINUTES: [u64; 7] = [4, 10, 10, 60, 120, 360, 900];
/// Notices of one step.
const BATCH_MAX: u32 = 50;
/// How often it is looked whether there is somebody to be told.
const LOOK_EVERY_MS: u64 = 100;

/// The platform's keys and pace. Clones are the same platform.
#[derive(Debug, Clone)]
pub struct MockPlatform(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The shop's key, as text: the shop reads it once more.
    app_key: String,
    app: Verifier,
    platform: Signer,
    first_gap: Duration,
}

impl MockPlatform {
    /// A platform with the private keys of the shop's app and its own, which tells for the second time after
    /// `first_gap`.
    ///
    /// # Errors
    /// Where they are no keys.
    pub fn new(app_key: &str, platform_key: &str, first_gap: Duration) -> Result<Self, KeyError> {
        let app = Signer::read(app_key)?.verifier()?;
        let platform = Signer::read(platform_key)?;
        Ok(Self(Arc::new(Inner { app_key: app_key.to_owned(), app, platform, first_gap })))
    }

    /// The shop's app at this platform, which order-core serves at `public_url`.
    pub(super) fn app(&self, public_url: &str) -> Result<App, KeyError> {
        Ok(App {
            app_id: APP_ID.to_owned(),
            seller_id: SELLER_ID.to_owned(),
            gateway: format!("{public_url}/mock-pay"),
            signer: Signer::read(&self.0.app_key)?,
            platform: self.0.platform.verifier()?,
        })
    }

    /// The gap after notice number `tries`, in milliseconds; `None` after the last.
    fn gap_ms(&self, tries: u32) -> Option<u64> {
        let gap = GAPS_MINUTES.get(usize::try_from(tries).ok()?)?;
        let first = u64::try_from(self.0.first_gap.as_millis()).unwrap_or(u64::MAX);
        Some(first.saturating_mul(*gap) / GAPS_MINUTES[0])
    }
}

#[derive(Clone)]
struct Shop {
    platform: MockPlatform,
    store: Store,
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// The platform's pages, at `/mock-pay`.
pub fn router(platform: MockPlatform, store: Store, clock: impl Clock) -> Router {
    let shop = Shop { platform, store, now_ms: Arc::new(move || clock.now_ms()) };
    Router::new().route("/mock-pay", get(page).post(refund)).route("/mock-pay/pay", post(buyer_pays)).with_state(shop)
}

/// What a shop asks a buyer to pay.
struct Asked {
    payment: PaymentId,
    amount: Cents,
    subject: String,
    notify_url: String,
    return_url: String,
}

#[derive(Deserialize)]
struct Biz {
    out_trade_no: PaymentId,
    total_amount: String,
    subject: String,
}

fn asked(shop: &Shop, request: &[u8]) -> Result<Asked, Problem> {
    let refused = |detail: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail);
    let form = Form::parse(request).map_err(|twice| refused(&twice.to_string()))?;
    if !form.is_request_of(&shop.platform.0.app) || form.get("method") != "alipay.trade.page.pay" {
        return Err(refused("this is not a payment that the shop has asked for"));
    }
    let biz: Biz = serde_json::from_str(form.get("biz_content")).map_err(|error| refused(&error.to_string()))?;
    Ok(Asked {
        payment: biz.out_trade_no,
        amount: cents(&biz.total_amount).ok_or_else(|| refused("total_amount"))?,
        subject: biz.subject,
        notify_url: form.get("notify_url").to_owned(),
        return_url: form.get("return_url").to_owned(),
    })
}

async fn page(State(shop): State<Shop>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let asked = asked(&shop, query.as_bytes())?;
    let text = PAGE
        .replace("@SUBJECT@", &escaped(&asked.subject))
        .replace("@AMOUNT@", &yuan(asked.amount))
        .replace("@RETURN@", &escaped(&asked.return_url))
        .replace("@REQUEST@", &escaped(&query));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";
    Ok(([(header::CACHE_CONTROL, "no-store"), (header::CONTENT_SECURITY_POLICY, policy)], Html(text)).into_response())
}

async fn buyer_pays(State(shop): State<Shop>, Raw(body): Raw) -> Result<Response, Problem> {
    let form = Form::parse(&body).map_err(|twice| Problem::invalid_body(twice.to_string()))?;
    let asked = asked(&shop, form.get("request").as_bytes())?;
    let now_ms = (shop.now_ms)();
    let trade_no = format!("{}{}", timestamp(now_ms).replace(['-', ' ', ':'], ""), asked.payment);
    let Asked { payment, amount, notify_url, .. } = asked;
    let trade = MockTrade { payment, trade_no, amount, notify_url, tries: 0 };
    shop.store.add_mock_trade(&trade, now_ms).await.map_err(|error| Problem::unavailable(&error, 1))?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, asked.return_url)]).into_response())
}

#[derive(Deserialize)]
struct RefundBiz {
    out_trade_no: PaymentId,
    out_request_no: RefundId,
    refund_amount: String,
}

async fn refund(State(shop): State<Shop>, Raw(body): Raw) -> Result<Response, Problem> {
    let form = Form::parse(&body).map_err(|twice| Problem::invalid_body(twice.to_string()))?;
    if !form.is_request_of(&shop.platform.0.app) || form.get("method") != "alipay.trade.refund" {
        return Err(Problem::invalid_body("this is nothing that the shop has asked for"));
    }
    let biz: RefundBiz =
        serde_json::from_str(form.get("biz_content")).map_err(|error| Problem::invalid_body(error.to_string()))?;
    let amount = cents(&biz.refund_amount).ok_or_else(|| Problem::invalid_body("refund_amount"))?;
    let refunded = shop.store.refund_mock_trade((biz.out_trade_no, biz.out_request_no), amount).await;
    let response = if refunded.map_err(|error| Problem::unavailable(&error, 1))? {
        json!({ "code": "10000", "msg": "Success", "refund_fee": yuan(amount) })
    } else {
        json!({ "code": "40004", "msg": "Business Failed", "sub_msg": "there is no such trade of this amount, or it was refunded" })
    };
    let response = response.to_string();
    let sign = shop.platform.0.platform.sign(&response).map_err(|error| Problem::internal(&error))?;
    let answer = format!(r#"{{"alipay_trade_refund_response":{response},"sign":"{sign}"}}"#);
    Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response())
}

fn escaped(text: &str) -> String {
    let escape = |char| match char {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        char => char.to_string(),
    };
    text.chars().map(escape).collect()
}

const PAGE: &str = r#"<!doctype html>
<html lang="zh">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>模拟支付 · Mock payment</title>
<style>
:root { color-scheme: light dark; --ink: #1c1c1e; --paper: #f2f3f5; --card: #fff; --line: #d9dbe0; --go: #1559c7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f0f0f2; --paper: #121316; --card: #1d1f24; --line: #33363d; --go: #2a6be0; }
}
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
main { box-sizing: border-box; width: min(26rem, 100vw - 2rem); padding: 1.5rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px; }
h1 { margin: 0; font-size: 1.1rem; } small { opacity: .75; }
.amount { margin: 1rem 0; font-size: 2.2rem; font-weight: 600; overflow-wrap: anywhere; }
.subject { overflow-wrap: anywhere; }
button { width: 100%; padding: .8rem; border: 0; border-radius: 8px; background: var(--go); color: #fff; font: inherit;
  font-weight: 600; cursor: pointer; }
a { display: block; margin-top: 1rem; text-align: center; color: inherit; }
</style>
<main>
<h1>模拟支付 · Mock payment</h1>
<small>仅供测试，不动用真实资金。For trying things out: no money moves.</small>
<p class="amount">¥ @AMOUNT@</p>
<p class="subject">@SUBJECT@</p>
<form method="post" action="/mock-pay/pay"><input type="hidden" name="request" value="@REQUEST@">
<button>确认支付 · Pay</button></form>
<a href="@RETURN@">返回商城 · Back to the mall</a>
</main>
</html>
"#;

/// Tells the shop of money until it has heard.
#[derive(Debug)]
pub struct MockNotices<C> {
    platform: MockPlatform,
    store: Store,
    agent: Agent,
    clock: C,
}

impl<C: Clock> MockNotices<C> {
    /// Tells of the trades in `store`.
    pub fn new(platform: MockPlatform, store: Store, clock: C) -> Self {
        Self { platform, store, agent: agent(), clock }
    }

    async fn tell(&self, trade: &MockTrade) -> Result<(), WorkerError> {
        let now_ms = self.clock.now_ms();
        let time = timestamp(now_ms);
        let mut form = Form::default();
        form.set("app_id", APP_ID).set("seller_id", SELLER_ID).set("charset", "utf-8").set("version", "1.0");
        form.set("notify_type", "trade_status_sync").set("notify_time", &time).set("gmt_payment", &time);
        form.set("notify_id", format!("{}-{}", trade.payment, trade.tries)).set("trade_no", &trade.trade_no);
        form.set("out_trade_no", trade.payment.to_string()).set("total_amount", yuan(trade.amount));
        form.set("trade_status", "TRADE_SUCCESS");
        let body = form.notice(&self.platform.0.platform);
        let body = body.map_err(|error| WorkerError::Platform(error.to_string()))?;
        let answer = post_form(&self.agent, &trade.notify_url, body).await;
        let heard = answer.as_deref() == Ok("success");
        let next_ms = if heard { None } else { self.platform.gap_ms(trade.tries).map(|gap| now_ms + gap) };
        if !heard {
            let (payment, tries) = (trade.payment, trade.tries);
            tracing::warn!(%payment, tries, ?answer, ?next_ms, "the shop has not heard of a mock payment");
        }
        self.store.mock_trade_told(trade.payment, next_ms).await.map_err(WorkerError::store)
    }
}

impl<C: Clock> Worker for MockNotices<C> {
    const NAME: &'static str = "mock-notices";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let due = self.store.due_mock_trades(self.clock.now_ms(), BATCH_MAX).await.map_err(WorkerError::store)?;
        for trade in &due {
            self.tell(trade).await?;
        }
        if due.is_empty() {
            self.clock.sleep_until(self.clock.now_ms() + LOOK_EVERY_MS).await;
        }
        Ok(())
    }
}
