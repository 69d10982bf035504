//! The platform that the mall plays itself, for trying things out: a page on which anybody pays with nothing.
//! It speaks Alipay's protocol with keys of its own, and repeats a notice until the shop acknowledges it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use contract::{Cents, PaymentId, RefundId};
use foundation::Clock;
use pay::{App, Form, KeyError, Signer, Verifier, cents, platform_answer, yuan};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{MockTrade, Store, StoreError};
use web::{Json, Problem, Raw};

use super::{
    faults::{DELAY_MS_MAX, FaultSwitches, Faults},
    timestamp,
};
use bill::{BILL_URL, bill, bill_url};
pub use notices::MockNotices;

mod bill;
mod notices;

const APP_ID: &str = "mock-app";
const SELLER_ID: &str = "mock-seller";
/// Gaps between notices in minutes, as Alipay's: 25 hours together.
const GAPS_MINUTES: [u64; 7] = [4, 10, 10, 60, 120, 360, 900];
/// How long a request gets no answer that is to time out: longer than the shop waits.
const SILENT_FOR: Duration = Duration::from_secs(11);

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
    faults: FaultSwitches,
}

impl MockPlatform {
    /// A platform with the private keys of the shop's app and its own, which sends the second notice after
    /// `first_gap`.
    ///
    /// # Errors
    /// If they are no keys.
    pub fn new(app_key: &str, platform_key: &str, first_gap: Duration) -> Result<Self, KeyError> {
        let app = Signer::read(app_key)?.verifier()?;
        let platform = Signer::read(platform_key)?;
        let (app_key, faults) = (app_key.to_owned(), FaultSwitches::default());
        Ok(Self(Arc::new(Inner { app_key, app, platform, first_gap, faults })))
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
    let paths = Router::new().route("/mock-pay", get(page).post(api)).route("/mock-pay/pay", post(buyer_pays));
    let paths = paths.route("/mock-pay/faults", get(faults).put(set_faults)).route("/mock-pay/bill", get(bill));
    paths.with_state(shop)
}

/// What a shop asks a buyer to pay.
struct Asked {
    payment: PaymentId,
    amount: Cents,
    subject: String,
    notify_url: String,
    return_url: String,
    /// The platform takes no money after this, in China's time.
    time_expire: String,
}

impl Asked {
    /// The trade, paid or to be paid now.
    fn trade(&self, now_ms: u64) -> MockTrade {
        let trade_no = format!("{}{}", timestamp(now_ms).replace(['-', ' ', ':'], ""), self.payment);
        MockTrade {
            payment: self.payment,
            trade_no,
            amount: self.amount,
            notify_url: self.notify_url.clone(),
            tries: 0,
        }
    }

    /// Whether it is too late to pay. Both times have the same form, so they compare as texts.
    fn is_over(&self, now_ms: u64) -> bool {
        !self.time_expire.is_empty() && timestamp(now_ms) >= self.time_expire
    }
}

#[derive(Deserialize)]
struct Biz {
    out_trade_no: PaymentId,
    total_amount: String,
    subject: String,
    #[serde(default)]
    time_expire: String,
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
        time_expire: biz.time_expire,
    })
}

async fn page(State(shop): State<Shop>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let asked = asked(&shop, query.as_bytes())?;
    let now_ms = (shop.now_ms)();
    if !asked.is_over(now_ms) {
        shop.store.open_mock_trade(&asked.trade(now_ms)).await.map_err(|error| Problem::unavailable(&error, 1))?;
    }
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
    let closed = || {
        let detail = "the trade is closed: its order is cancelled, or the time to pay is over";
        Problem::new(StatusCode::CONFLICT, "trade_closed", detail)
    };
    if asked.is_over(now_ms) {
        return Err(closed());
    }
    let paid = shop.store.add_mock_trade(&asked.trade(now_ms), now_ms).await;
    if !paid.map_err(|error| Problem::unavailable(&error, 1))? {
        let trade = shop.store.mock_trade(asked.payment).await.map_err(|error| Problem::unavailable(&error, 1))?;
        if trade.is_some_and(|trade| trade.status == "closed") {
            return Err(closed());
        }
    }
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, asked.return_url)]).into_response())
}

#[derive(Deserialize)]
struct ApiBiz {
    out_trade_no: PaymentId,
    out_request_no: Option<RefundId>,
    #[serde(default)]
    refund_amount: String,
}

/// What the shop asks of the platform.
async fn api(State(shop): State<Shop>, headers: HeaderMap, Raw(body): Raw) -> Result<Response, Problem> {
    let form = Form::parse(&body).map_err(|twice| Problem::invalid_body(twice.to_string()))?;
    if !form.is_request_of(&shop.platform.0.app) {
        return Err(Problem::invalid_body("the shop has not asked for this"));
    }
    let (method, content) = (form.get("method"), form.get("biz_content"));
    let response = if method == BILL_URL {
        Ok(bill_url(&shop, &headers, content)?)
    } else {
        trade_api(&shop, method, content).await?
    };
    let response = response.map_err(|error| Problem::unavailable(&error, 1))?;
    let answer = platform_answer(&shop.platform.0.platform, method, &response);
    let answer = answer.map_err(|error| Problem::internal(&error))?;
    if shop.platform.0.faults.take(|faults| &mut faults.silent_after) {
        tokio::time::sleep(SILENT_FOR).await;
        return Ok(StatusCode::GATEWAY_TIMEOUT.into_response());
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response())
}

/// What is asked about a trade. The outer error is a request that makes no sense.
async fn trade_api(shop: &Shop, method: &str, content: &str) -> Result<Result<Value, StoreError>, Problem> {
    let biz: ApiBiz = serde_json::from_str(content).map_err(|error| Problem::invalid_body(error.to_string()))?;
    Ok(match method {
        "alipay.trade.query" => query(shop, &biz).await,
        "alipay.trade.close" => close(shop, &biz).await,
        "alipay.trade.refund" => refund(shop, &biz).await?,
        "alipay.trade.fastpay.refund.query" => refund_query(shop, &biz).await,
        _ => return Err(Problem::invalid_body("there is no such method")),
    })
}

/// The mistakes that are still to be made.
async fn faults(State(shop): State<Shop>) -> Json<Faults> {
    Json(shop.platform.0.faults.now())
}

async fn set_faults(State(shop): State<Shop>, Json(asked): Json<Faults>) -> Result<Json<Faults>, Problem> {
    if asked.delay_ms > DELAY_MS_MAX {
        return Err(Problem::invalid_body(format!("delay_ms is at most {DELAY_MS_MAX}")));
    }
    shop.platform.0.faults.set(asked);
    Ok(Json(asked))
}

fn failed(sub_code: &str) -> Value {
    json!({ "code": "40004", "msg": "Business Failed", "sub_code": sub_code })
}

async fn query(shop: &Shop, biz: &ApiBiz) -> Result<Value, StoreError> {
    let Some(trade) = shop.store.mock_trade(biz.out_trade_no).await? else {
        return Ok(failed("ACQ.TRADE_NOT_EXIST"));
    };
    let status = match trade.status.as_str() {
        _ if shop.platform.0.faults.take(|faults| &mut faults.closed_queries) => "TRADE_CLOSED",
        "waiting" => "WAIT_BUYER_PAY",
        "paid" => "TRADE_SUCCESS",
        _ => "TRADE_CLOSED",
    };
    Ok(json!({ "code": "10000", "msg": "Success", "out_trade_no": biz.out_trade_no, "trade_no": trade.trade_no,
        "trade_status": status, "total_amount": yuan(trade.amount) }))
}

async fn close(shop: &Shop, biz: &ApiBiz) -> Result<Value, StoreError> {
    if shop.store.close_mock_trade(biz.out_trade_no).await? {
        return Ok(json!({ "code": "10000", "msg": "Success", "out_trade_no": biz.out_trade_no }));
    }
    let is_known = shop.store.mock_trade(biz.out_trade_no).await?.is_some();
    Ok(failed(if is_known { "ACQ.TRADE_STATUS_ERROR" } else { "ACQ.TRADE_NOT_EXIST" }))
}

/// The outer error is a request that makes no sense.
async fn refund(shop: &Shop, biz: &ApiBiz) -> Result<Result<Value, StoreError>, Problem> {
    let refund = biz.out_request_no.ok_or_else(|| Problem::invalid_body("out_request_no"))?;
    let amount = cents(&biz.refund_amount).ok_or_else(|| Problem::invalid_body("refund_amount"))?;
    let refunded = shop.store.refund_mock_trade((biz.out_trade_no, refund), amount).await;
    let answer = |refunded| {
        if refunded {
            let is_unmoved = shop.platform.0.faults.take(|faults| &mut faults.unmoved_refunds);
            let fund_change = if is_unmoved { "N" } else { "Y" };
            json!({ "code": "10000", "msg": "Success", "fund_change": fund_change, "refund_fee": yuan(amount) })
        } else {
            failed("ACQ.TRADE_NOT_EXIST")
        }
    };
    Ok(refunded.map(answer))
}

async fn refund_query(shop: &Shop, biz: &ApiBiz) -> Result<Value, StoreError> {
    let sent = match biz.out_request_no {
        Some(refund) => shop.store.mock_refund(refund).await?,
        None => None,
    };
    Ok(match sent {
        Some(amount) => json!({ "code": "10000", "msg": "Success", "refund_status": "REFUND_SUCCESS",
            "refund_amount": yuan(amount) }),
        None => json!({ "code": "10000", "msg": "Success" }),
    })
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
