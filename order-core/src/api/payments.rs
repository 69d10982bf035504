//! Paying, being told of it, and getting the money back.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse},
};
use contract::{OrderId, PaymentId, RefundId};
use domain::order_state::Happening;
use foundation::web::{Json, Path, Problem, Raw};
use pay::{PageRequest, Told};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Arrived, AskedRefund, Begun, Notice};
use utoipa::ToSchema;
use workers::PayBack as _;

use super::{Api, Shopper, checkout::invalid_transition, failed, no_store};
use crate::payments::{ALIPAY, MOCK, timestamp};

/// Characters of a reason at most.
const REASON_CHARS_MAX: usize = 200;
/// Characters of what a buyer reads on the platform's page.
const SUBJECT_CHARS_MAX: usize = 100;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPayment)]
pub(super) struct Asked {
    /// Which of them are offered is a matter of the mall's configuration.
    #[schema(pattern = "^(mock|alipay)$")]
    method: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Payment)]
struct PaymentBody {
    payment_id: PaymentId,
    /// Where the buyer's browser goes.
    #[schema(format = "uri")]
    pay_url: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRefund)]
pub(super) struct RefundAsked {
    #[serde(default)]
    #[schema(max_length = 200, pattern = "^[^\\u0000]*$")]
    reason: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Refund)]
struct RefundBody {
    refund_id: RefundId,
    #[schema(pattern = "^requested$")]
    status: &'static str,
}

/// Begin to pay an order. As long as it waits for payment, the same method is the same payment.
#[utoipa::path(
    post, path = "/api/v1/orders/{order_id}/payments", tag = "payments",
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

/// What a payment platform tells.
///
/// It hears exactly `success` once there is nothing more to be told, and `failure` where it is to tell again, or where
/// it is not the platform or tells nothing that is true.
#[utoipa::path(
    post, path = "/api/v1/payments/{method}/notify", tag = "payments",
    params(("method" = String, Path, pattern = "^(mock|alipay)$", description = "The platform.")),
    request_body(content = String, content_type = "application/x-www-form-urlencoded",
        description = "Alipay's parameters, signed with RSA2."),
    responses((status = 200, description = "Whether it was heard.", body = String, content_type = "text/plain; charset=utf-8",
        example = "success")),
)]
pub(super) async fn notify(
    State(api): State<Api>,
    Path(method): Path<String>,
    Raw(body): Raw,
) -> Result<impl IntoResponse, Problem> {
    let provider = api.providers.get(&method).ok_or_else(|| Problem::not_found("there is no such payment method"))?;
    let heard = match provider.app.read_notice(&body) {
        Ok(Told::Nothing) => true,
        Ok(Told::Paid(paid)) => {
            let (payment, trade_no, amount) = (paid.payment, paid.trade_no, paid.amount);
            let notice = Notice { method: provider.method, payment, trade_no, amount };
            arrived(&api, &notice).await
        }
        Err(error) => {
            tracing::warn!(method, %error, "a notice that counts for nothing");
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
/// It proves nothing: money is what a notice tells of.
#[utoipa::path(
    get, path = "/payments/return", tag = "payments",
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
            false
        }
        Err(error) => {
            tracing::warn!(payment = %notice.payment, %error, "money is not taken in yet");
            false
        }
    }
}

/// Ask for the money back.
#[utoipa::path(
    post, path = "/api/v1/orders/{order_id}/refunds", tag = "payments",
    params(("order_id" = OrderId, Path)),
    request_body = RefundAsked,
    responses(
        (status = 201, description = "The refund is requested; the shop decides.", body = RefundBody),
        (status = 409, description = "`invalid_transition`, with the `order_status`."),
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
    match api.store.ask_refund((user, order), &asked.reason, api.now_ms()).await.map_err(failed)? {
        AskedRefund::Asked(refund) => {
            let body = RefundBody { refund_id: refund, status: "requested" };
            Ok((StatusCode::CREATED, no_store(), Json(body)))
        }
        AskedRefund::Unknown => Err(Problem::not_found("you have no such order")),
        AskedRefund::Refused(state) => Err(invalid_transition(state, Happening::AskRefund)),
    }
}
