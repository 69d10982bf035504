//! What an app asks of the platform.

use contract::{Cents, PaymentId, RefundId};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{Form, KeyError, Signer, Verifier, yuan};

/// A shop's app at the platform.
#[derive(Debug)]
pub struct App {
    /// The app's number.
    pub app_id: String,
    /// Who gets the money.
    pub seller_id: String,
    /// Where the platform takes requests.
    pub gateway: String,
    /// The app's own key.
    pub signer: Signer,
    /// The platform's key.
    pub platform: Verifier,
}

/// A buyer is to pay.
#[derive(Debug, Clone)]
pub struct PageRequest<'a> {
    /// The money is known by it.
    pub payment: PaymentId,
    /// How much.
    pub amount: Cents,
    /// What the buyer reads.
    pub subject: &'a str,
    /// Where the platform tells that the money has come.
    pub notify_url: &'a str,
    /// Where the buyer goes on.
    pub return_url: &'a str,
    /// `yyyy-MM-dd HH:mm:ss` in China.
    pub timestamp: &'a str,
}

/// Money is to go back.
#[derive(Debug, Clone, Copy)]
pub struct RefundRequest<'a> {
    /// Sent once, however often it is asked for under it.
    pub refund: RefundId,
    /// Of which payment.
    pub payment: PaymentId,
    /// How much.
    pub amount: Cents,
    /// `yyyy-MM-dd HH:mm:ss` in China.
    pub timestamp: &'a str,
}

/// The money is not known to have gone back. It may be asked for again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefundFailed {
    /// The answer is none, or not the platform's.
    #[error("not an answer of the platform: {0}")]
    NotTrusted(String),
    /// The platform says no.
    #[error("the platform refuses: {0}")]
    Refused(String),
}

/// The platform's word for done.
const SUCCESS: &str = "10000";

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "alipay_trade_refund_response")]
    response: &'a RawValue,
    #[serde(default)]
    sign: String,
}

#[derive(Deserialize)]
struct Refunded {
    code: String,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    sub_msg: String,
}

impl App {
    /// Where the buyer's browser is to be sent.
    ///
    /// # Errors
    /// Where the request can't be signed.
    pub fn page_url(&self, request: &PageRequest<'_>) -> Result<String, KeyError> {
        let biz = json!({
            "out_trade_no": request.payment,
            "total_amount": yuan(request.amount),
            "subject": request.subject,
            "product_code": "FAST_INSTANT_TRADE_PAY",
        });
        let mut form = self.form("alipay.trade.page.pay", request.timestamp, &biz);
        form.set("notify_url", request.notify_url).set("return_url", request.return_url);
        Ok(format!("{}?{}", self.gateway, self.signed(form)?.encoded()))
    }

    /// The body that asks for money to go back.
    ///
    /// # Errors
    /// Where the request can't be signed.
    pub fn refund_body(&self, request: &RefundRequest<'_>) -> Result<String, KeyError> {
        let biz = json!({
            "out_trade_no": request.payment,
            "refund_amount": yuan(request.amount),
            "out_request_no": request.refund,
        });
        Ok(self.signed(self.form("alipay.trade.refund", request.timestamp, &biz))?.encoded())
    }

    /// Reads the answer to [`App::refund_body`].
    ///
    /// # Errors
    /// Where the money is not known to have gone back.
    pub fn refund_answer(&self, body: &str) -> Result<(), RefundFailed> {
        let cut = |text: &str| text.chars().take(200).collect::<String>();
        let answer: Answer<'_> =
            serde_json::from_str(body).map_err(|error| RefundFailed::NotTrusted(format!("{error}: {}", cut(body))))?;
        if !self.platform.accepts(answer.response.get(), &answer.sign) {
            return Err(RefundFailed::NotTrusted(format!("its signature is wrong: {}", cut(body))));
        }
        let refunded: Refunded = serde_json::from_str(answer.response.get())
            .map_err(|error| RefundFailed::NotTrusted(format!("{error}: {}", cut(body))))?;
        if refunded.code == SUCCESS {
            return Ok(());
        }
        Err(RefundFailed::Refused(format!("{} {} {}", refunded.code, refunded.msg, refunded.sub_msg)))
    }

    fn form(&self, method: &str, timestamp: &str, biz: &serde_json::Value) -> Form {
        let mut form = Form::default();
        form.set("app_id", &self.app_id).set("method", method).set("format", "JSON").set("charset", "utf-8");
        form.set("sign_type", "RSA2").set("timestamp", timestamp).set("version", "1.0");
        form.set("biz_content", biz.to_string());
        form
    }

    fn signed(&self, mut form: Form) -> Result<Form, KeyError> {
        let sign = self.signer.sign(&form.content(&["sign"]))?;
        form.set("sign", sign);
        Ok(form)
    }
}

impl Form {
    /// Whether a request carries a signature made with the private key of `key`.
    pub fn is_request_of(&self, key: &Verifier) -> bool {
        self.get("sign_type") == "RSA2" && key.accepts(&self.content(&["sign"]), self.get("sign"))
    }
}
