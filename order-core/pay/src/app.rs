//! What an app asks of the platform.

use contract::{Cents, PaymentId, RefundId};
use serde::Deserialize;
use serde_json::json;

use crate::{Form, KeyError, NoAnswer, Signer, Verifier, yuan};

const REFUND: &str = "alipay.trade.refund";
const REFUND_QUERY: &str = "alipay.trade.fastpay.refund.query";

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
    /// The URL the platform notifies of a payment.
    pub notify_url: &'a str,
    /// Where the buyer goes on.
    pub return_url: &'a str,
    /// `yyyy-MM-dd HH:mm:ss` in China.
    pub timestamp: &'a str,
    /// The platform takes no money after this, in the same form.
    pub time_expire: &'a str,
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

#[derive(Deserialize)]
struct Refunded {
    /// `Y` where this request moved money.
    #[serde(default)]
    fund_change: String,
    /// `REFUND_SUCCESS` where the money of a refund has moved. Only answers to queries have it.
    #[serde(default)]
    refund_status: String,
}

impl Refunded {
    fn answer(self) -> RefundAnswer {
        let is_moved = self.fund_change == "Y" || self.refund_status == "REFUND_SUCCESS";
        if is_moved { RefundAnswer::Moved } else { RefundAnswer::NotByThis }
    }
}

/// What the platform says of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundAnswer {
    /// The money has moved.
    Moved,
    /// The request is accepted and has moved no money itself; a query says whether an earlier one did.
    NotByThis,
}

impl App {
    /// Where the buyer's browser is to be sent.
    ///
    /// # Errors
    /// If the request can't be signed.
    pub fn page_url(&self, request: &PageRequest<'_>) -> Result<String, KeyError> {
        let biz = json!({
            "out_trade_no": request.payment,
            "total_amount": yuan(request.amount),
            "subject": request.subject,
            "product_code": "FAST_INSTANT_TRADE_PAY",
            "time_expire": request.time_expire,
        });
        let mut form = self.form("alipay.trade.page.pay", request.timestamp, &biz);
        form.set("notify_url", request.notify_url).set("return_url", request.return_url);
        Ok(format!("{}?{}", self.gateway, self.signed(form)?.encoded()))
    }

    /// The body that asks for money to go back.
    ///
    /// # Errors
    /// If the request can't be signed.
    pub fn refund_body(&self, request: &RefundRequest<'_>) -> Result<String, KeyError> {
        let biz = json!({
            "out_trade_no": request.payment,
            "refund_amount": yuan(request.amount),
            "out_request_no": request.refund,
        });
        Ok(self.signed(self.form(REFUND, request.timestamp, &biz))?.encoded())
    }

    /// The body that asks whether the money of a refund has moved.
    ///
    /// # Errors
    /// If the request can't be signed.
    pub fn refund_query_body(&self, request: &RefundRequest<'_>) -> Result<String, KeyError> {
        let biz = json!({ "out_trade_no": request.payment, "out_request_no": request.refund });
        Ok(self.signed(self.form(REFUND_QUERY, request.timestamp, &biz))?.encoded())
    }

    /// Reads the answer to [`App::refund_body`].
    ///
    /// # Errors
    /// If the answer is not the platform's, or a refusal.
    pub fn refund_answer(&self, body: &str) -> Result<RefundAnswer, NoAnswer> {
        self.done(body, REFUND).map(Refunded::answer)
    }

    /// Reads the answer to [`App::refund_query_body`].
    ///
    /// # Errors
    /// If the answer is not the platform's, or a refusal.
    pub fn refund_query_answer(&self, body: &str) -> Result<RefundAnswer, NoAnswer> {
        self.done(body, REFUND_QUERY).map(Refunded::answer)
    }

    pub(crate) fn form(&self, method: &str, timestamp: &str, biz: &serde_json::Value) -> Form {
        let mut form = Form::default();
        form.set("app_id", &self.app_id).set("method", method).set("format", "JSON").set("charset", "utf-8");
        form.set("sign_type", "RSA2").set("timestamp", timestamp).set("version", "1.0");
        form.set("biz_content", biz.to_string());
        form
    }

    pub(crate) fn signed(&self, mut form: Form) -> Result<Form, KeyError> {
        let sign = self.signer.sign(form.content(&["sign"]))?;
        form.set("sign", sign);
        Ok(form)
    }
}

impl Form {
    /// The body of a request that is signed with the app's key.
    ///
    /// # Errors
    /// Where it can't be signed.
    pub fn request(mut self, app: &Signer) -> Result<String, KeyError> {
        let sign = app.sign(self.content(&["sign"]))?;
        self.set("sign", sign);
        Ok(self.encoded())
    }

    /// Whether a request carries a signature made with the private key of `key`.
    pub fn is_request_of(&self, key: &Verifier) -> bool {
        self.get("sign_type") == "RSA2" && key.accepts(self.content(&["sign"]), self.get("sign"))
    }
}
