//! Payments, notices of the platform, and refunds.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse},
};
use contract::{Cents, OrderId, PaymentId, RefundId};
use domain::order_state::Happening;
use pay::{PageRequest, Told};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Arrived, AskedRefund, Begun, Notice, ORDER_LINES_MAX, RefundOf};
use utoipa::ToSchema;
use web::{Json, Path, Problem, Raw};
use workers::PayBack as _;

use super::{Api, Shopper, checkout::invalid_transition, failed, no_store, orders::OrderBody};
use crate::payments::{ALIPAY, Inquiry, MOCK, note_unmatched, timestamp};

/// Characters of a reason at most.
const REASON_CHARS_MAX: usize = 200;
/// Characters of what a buyer reads on the platform's page.
const SUBJECT_CHARS_MAX: usize = 100;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPayment)]
pub(super) struct Asked {
    /// The mall's configuration decides which of them are offered.
    #[schema(pattern = "^(mock|alipay)$")]
    method: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Payment)]
struct PaymentBody {
    payment_id: PaymentId,
    /// The URL to send the buyer's browser to.
    #[schema(format = "uri")]
    pay_url: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRefund, example = json!({ "lines": [{ "line_no": 1, "quantity": 1 }], "reason": "the wrong colour was delivered" }))]
pub(super) struct RefundAsked {
    #[serde(default)]
    #[schema(max_length = 200, pattern = "^[^\\u0000]*$")]
    reason: String,
    /// Units by line. Without units and an amount, the refund is for everything that is left of the order.
    #[schema(min_items = 1, max_items = 100)]
    lines: Option<Vec<RefundLine>>,
    /// The amount, if it is not the price of the lines.
    #[schema(value_type = Option<i64>, minimum = 1)]
    amount_cents: Option<Cents>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundLine {
    /// The `line_no` of the order's `items`.
    #[schema(minimum = 1)]
    line_no: u32,
    #[schema(minimum = 1)]
    quantity: u32,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Refund)]
struct RefundBody {
    refund_id: RefundId,
    #[schema(pattern = "^requested$")]
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PaymentMethods)]
pub(super) struct Offered {
    /// The names that `POST /api/v1/orders/{order_id}/payments` accepts.
    methods: Vec<&'static str>,
}

/// The payment methods that this mall offers.
#[utoipa::path(
    get, path = "/api/v1/payments/methods", tag = "payments", operation_id = "list_payment_methods",
    responses((status = 200, description = "Their names; empty if no method is configured.", body = Offered)),
)]
pub(super) async fn methods(State(api): State<Api>) -> Json<Offered> {
    Json(Offered { methods: api.providers.methods() })
}

/// Begin to pay for an order. While it waits for payment, the same method gives the same payment.
#[utoipa::path(
    post, path = "/api/v1/orders/{order_id}/payments", tag = "payments", operation_id = "begin_payment",
    params(("order_id" = OrderId, Path)),
    request_body = Asked,
    responses(
        (status = 201, description = "Where to pay.", body = PaymentBody),
        (status = 409, description = "`invalid_transition`, with the `order_status`."),
        (status = 422, description = "`invalid_body`; or `method_not_offered` with the available `methods`."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn begin(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(order): Path<OrderId>,
    Json(asked): Json<Asked>,
) -> Result<impl IntoResponse, Problem> {
    let provider = api.providers.get(&asked.method).ok_or_else(|| not_offered(&api, &asked.method))?;
    let now_ms = api.now_ms();
    let payment = match api.store.begin_payment((user, order), provider.method, now_ms).await.map_err(failed)? {
        Begun::Begun(payment) => payment,
        Begun::Unknown => return Err(Problem::not_found("you have no such order")),
        Begun::Refused(state) => return Err(invalid_transition(state, Happening::Pay)),
    };
    let found = api.store.order(user, order).await.map_err(failed)?;
    let title = found.and_then(|order| order.lines.into_iter().next()).map_or_else(String::new, |line| line.title);
    let subject: String = title.chars().take(SUBJECT_CHARS_MAX).collect();
    let request = PageRequest {
        payment: payment.id,
        amount: payment.amount,
        subject: &subject,
        notify_url: &provider.notify_url,
        return_url: &provider.return_url,
        timestamp: &timestamp(now_ms),
        time_expire: &timestamp(payment.expires_at_ms),
    };
    let pay_url = provider.app.page_url(&request).map_err(|error| Problem::internal(&error))?;
    Ok((StatusCode::CREATED, no_store(), Json(PaymentBody { payment_id: payment.id, pay_url })))
}

/// The refusal of a payment method that is unknown or off.
fn not_offered(api: &Api, method: &str) -> Problem {
    let methods = api.providers.methods();
    if ![MOCK, ALIPAY].contains(&method) {
        return Problem::invalid_body(format!("method is one of {MOCK} and {ALIPAY}"));
    }
    let detail = if methods.is_empty() {
        "no payment method is available".to_owned()
    } else {
        format!("{method} is not available; available: {}", methods.join(", "))
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "method_not_offered", detail).with("methods", json!(methods))
}

/// Payments of one order that are asked about.
const ASKED_ABOUT_MAX: u32 = 10;

/// Ask the platform whether the order is paid, as when the buyer comes back from its page.
///
/// Returns the order after that. If the platform does not answer, or was asked a moment ago, nothing changes.
#[utoipa::path(
    post, path = "/api/v1/orders/{order_id}/payments/check", tag = "payments", operation_id = "check_payments",
    params(("order_id" = OrderId, Path)),
    responses((status = 200, description = "The order.", body = OrderBody)),
    security(("shopper" = [])),
)]
pub(super) async fn check(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(order): Path<OrderId>,
) -> Result<impl IntoResponse, Problem> {
    let unknown = || Problem::not_found("you have no such order");
    api.store.order(user, order).await.map_err(failed)?.ok_or_else(unknown)?;
    let now_ms = api.now_ms();
    if api.payment_checks.take(&order.to_string(), now_ms).await.is_ok() {
        let inquiry = Inquiry::new(api.store.clone(), api.providers.clone());
        for open in api.store.open_payments(&[order], ASKED_ABOUT_MAX).await.map_err(failed)? {
            inquiry.resolve(&open, false, now_ms).await.map_err(failed)?;
        }
    }
    let order = api.store.order(user, order).await.map_err(failed)?;
    Ok((no_store(), Json(OrderBody::from(order.ok_or_else(unknown)?))))
}

/// Anybody can send a notice that nobody signed; they must not fill the log.
static FALSE_NOTICES: foundation::logs::Quiet = foundation::logs::Quiet::new();
/// Notices of the platforms have less than 2 KiB.
const NOTICE_BYTES_MAX: usize = 16 * 1024;

/// A notice of a payment platform.
///
/// The answer is exactly `success` once no further notice is needed, and `failure` if the platform must repeat it,
/// if the sender is not the platform, or if the notice is not valid.
#[utoipa::path(
    post, path = "/api/v1/payments/{method}/notify", tag = "payments", operation_id = "receive_payment_notice",
    params(("method" = String, Path, pattern = "^(mock|alipay)$", description = "The platform.")),
    request_body(content = String, content_type = "application/x-www-form-urlencoded",
        description = "Alipay's parameters, signed with RSA2."),
    responses((status = 200, description = "Whether the notice was accepted.", body = String, content_type = "text/plain; charset=utf-8",
        example = "success")),
)]
pub(super) async fn notify(
    State(api): State<Api>,
    Path(method): Path<String>,
    Raw(body): Raw,
) -> Result<impl IntoResponse, Problem> {
    let provider = api.providers.get(&method).ok_or_else(|| Problem::not_found("there is no such payment method"))?;
    if body.len() > NOTICE_BYTES_MAX {
        let detail = "a notice has at most 16 KiB";
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail));
    }
    let heard = match provider.app.read_notice(&body) {
        Ok(Told::Nothing) => true,
        Ok(Told::Paid(paid)) => {
            let (payment, trade_no, amount) = (paid.payment, paid.trade_no, paid.amount);
            let notice = Notice { method: provider.method, payment, trade_no, amount };
            arrived(&api, &notice).await
        }
        Err(error) => {
            if let Some(unlogged) = FALSE_NOTICES.pass(api.now_ms()) {
                tracing::warn!(method, %error, unlogged, "a notice that counts for nothing");
            }
            false
        }
    };
    let answer = if heard { "success" } else { "failure" };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], answer))
}

const RETURNED: &str = r#"<!doctype html>
<html lang="zh">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>支付 · Payment</title>
<style>
:root { color-scheme: light dark; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; font: 16px/1.5 system-ui, sans-serif; }
main { width: min(26rem, 100vw - 2rem); }
h1 { font-size: 1.2rem; }
</style>
<main>
<h1>谢谢 · Thank you</h1>
<p>到账后订单会立即显示为已支付，此页面可以关闭。</p>
<p>Your order shows that it is paid as soon as the money has come. You can close this page.</p>
</main>
</html>
"#;

/// The page that a platform sends the buyer's browser to.
///
/// It proves nothing: only a notice confirms a payment.
#[utoipa::path(
    get, path = "/payments/return", tag = "payments", operation_id = "show_payment_return",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html; charset=utf-8")),
)]
pub(super) async fn returned() -> impl IntoResponse {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(RETURNED))
}

/// Whether the platform need not tell again.
async fn arrived(api: &Api, notice: &Notice) -> bool {
    match api.store.payment_arrived(notice, api.now_ms()).await {
        Ok(Arrived::Paid | Arrived::Again) => true,
        Ok(arrived @ (Arrived::HeldAgain(_) | Arrived::GoesBack(_))) => {
            tracing::warn!(payment = %notice.payment, ?arrived, "money came too late, or for an order that is paid");
            true
        }
        Ok(arrived @ (Arrived::Unknown | Arrived::WrongAmount | Arrived::OtherTrade)) => {
            tracing::error!(?notice, ?arrived, "money that fits no payment");
            if let Err(error) = note_unmatched(&api.store, notice, arrived, api.now_ms()).await {
                tracing::warn!(payment = %notice.payment, %error, "money that fits no payment is not noted yet");
            }
            false
        }
        Err(error) => {
            tracing::warn!(payment = %notice.payment, %error, "money is not taken in yet");
            false
        }
    }
}

/// The part of an order that a request names.
fn refund_of(asked: &RefundAsked) -> Result<RefundOf, Problem> {
    let Some(lines) = &asked.lines else { return Ok(asked.amount_cents.map_or(RefundOf::Rest, RefundOf::Amount)) };
    let units: BTreeMap<u32, u32> = lines.iter().map(|line| (line.line_no, line.quantity)).collect();
    if units.len() != lines.len() || !(1..=ORDER_LINES_MAX).contains(&lines.len()) {
        return Err(Problem::invalid_body(format!("lines is 1 to {ORDER_LINES_MAX} different line_nos")));
    }
    Ok(RefundOf::Lines(units, asked.amount_cents))
}

/// Request a refund of the whole order, of units of its lines, or of an amount.
#[utoipa::path(
    post, path = "/api/v1/orders/{order_id}/refunds", tag = "payments", operation_id = "request_refund",
    params(("order_id" = OrderId, Path)),
    request_body = RefundAsked,
    responses(
        (status = 201, description = "The refund is requested; the shop decides.", body = RefundBody),
        (status = 409, description = "`invalid_transition`, with the `order_status`."),
        (status = 422, description = "`invalid_body`; or `refund_too_large`, with `left_cents`, or with the `line_no` and \
            its `left_quantity`."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn refund(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(order): Path<OrderId>,
    Json(asked): Json<RefundAsked>,
) -> Result<impl IntoResponse, Problem> {
    if asked.reason.chars().count() > REASON_CHARS_MAX || asked.reason.contains('\0') {
        return Err(Problem::invalid_body(format!("reason is at most {REASON_CHARS_MAX} characters")));
    }
    let of = refund_of(&asked)?;
    let too_large = |detail: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refund_too_large", detail);
    match api.store.ask_refund_of((user, order), &of, &asked.reason, api.now_ms()).await.map_err(failed)? {
        AskedRefund::Asked(refund) => {
            let body = RefundBody { refund_id: refund, status: "requested" };
            Ok((StatusCode::CREATED, no_store(), Json(body)))
        }
        AskedRefund::Unknown => Err(Problem::not_found("you have no such order")),
        AskedRefund::Refused(state) => Err(invalid_transition(state, Happening::AskRefund)),
        AskedRefund::TooMuch(left) => {
            Err(too_large("the amount is not between 1 and what is left").with("left_cents", json!(left)))
        }
        AskedRefund::TooManyUnits { line_no, left } => {
            let problem = too_large("a line has not that many units left").with("line_no", json!(line_no));
            Err(problem.with("left_quantity", json!(left)))
        }
    }
}
