//! What the platform says of a trade, and how a trade is closed.

use contract::PaymentId;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{App, KeyError, Paid, Signer, cents};

/// The platform's word for done.
const SUCCESS: &str = "10000";
/// The buyer has not opened the page yet, or logged in on it: the platform makes a trade only then.
const NOT_EXIST: &str = "ACQ.TRADE_NOT_EXIST";
/// The trade is not what the request needs; a query says what it is.
const STATUS_ERROR: [&str; 2] = ["ACQ.TRADE_STATUS_ERROR", "ACQ.REASON_TRADE_STATUS_INVALID"];
/// Characters of an answer that an error repeats.
const SHOWN_MAX: usize = 200;

pub(crate) const QUERY: &str = "alipay.trade.query";
pub(crate) const CLOSE: &str = "alipay.trade.close";

/// What a trade is at the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TradeAnswer {
    /// Money has come.
    Paid(Paid),
    /// The buyer may still pay.
    Waiting,
    /// Nobody can pay it any more: it was closed, or all its money has gone back.
    Closed,
    /// The platform has no such trade yet.
    NotExist,
}

/// What became of the wish to close a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseAnswer {
    /// Nobody can pay it any more.
    Closed,
    /// The platform has no such trade yet.
    NotExist,
    /// It is not one that waits for its buyer; a query says what it is.
    NotNow,
}

/// The platform has not said what was asked. It may be asked again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The answer is malformed, or not signed by the platform.
    #[error("not an answer of the platform: {0}")]
    NotTrusted(String),
    /// The platform says no.
    #[error("the platform refuses: {0}")]
    Refused(String),
}

/// The members that all answers have.
#[derive(Deserialize)]
struct Outcome {
    code: String,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    sub_code: String,
    #[serde(default)]
    sub_msg: String,
}

impl Outcome {
    fn refusal(&self) -> NoAnswer {
        NoAnswer::Refused(format!("{} {} {} {}", self.code, self.msg, self.sub_code, self.sub_msg))
    }
}

#[derive(Deserialize)]
struct Trade {
    out_trade_no: PaymentId,
    #[serde(default)]
    trade_no: String,
    trade_status: String,
    #[serde(default)]
    total_amount: String,
}

impl App {
    /// The body that asks what a trade is.
    ///
    /// # Errors
    /// If the request can't be signed.
    pub fn trade_query_body(&self, payment: PaymentId, timestamp: &str) -> Result<String, KeyError> {
        self.body(QUERY, timestamp, &json!({ "out_trade_no": payment }))
    }

    /// The body that has a trade closed that waits for its buyer.
    ///
    /// # Errors
    /// If the request can't be signed.
    pub fn trade_close_body(&self, payment: PaymentId, timestamp: &str) -> Result<String, KeyError> {
        self.body(CLOSE, timestamp, &json!({ "out_trade_no": payment }))
    }

    /// Reads the answer to [`App::trade_query_body`].
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub fn trade_answer(&self, payment: PaymentId, body: &str) -> Result<TradeAnswer, NoAnswer> {
        let response = self.response(body, QUERY)?;
        let outcome: Outcome = read(response)?;
        if outcome.sub_code == NOT_EXIST {
            return Ok(TradeAnswer::NotExist);
        }
        if outcome.code != SUCCESS {
            return Err(outcome.refusal());
        }
        let trade: Trade = read(response)?;
        if trade.out_trade_no != payment {
            return Err(NoAnswer::NotTrusted(format!("it is about payment {}", trade.out_trade_no)));
        }
        match trade.trade_status.as_str() {
            "WAIT_BUYER_PAY" => Ok(TradeAnswer::Waiting),
            "TRADE_CLOSED" => Ok(TradeAnswer::Closed),
            "TRADE_SUCCESS" | "TRADE_FINISHED" => {
                let amount = cents(&trade.total_amount).filter(|_| (1..=64).contains(&trade.trade_no.len()));
                let amount = amount.ok_or_else(|| NoAnswer::NotTrusted(shown(response.get())))?;
                Ok(TradeAnswer::Paid(Paid { payment, trade_no: trade.trade_no, amount }))
            }
            _ => Err(NoAnswer::NotTrusted(shown(response.get()))),
        }
    }

    /// Reads the answer to [`App::trade_close_body`].
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub fn close_answer(&self, body: &str) -> Result<CloseAnswer, NoAnswer> {
        let outcome: Outcome = read(self.response(body, CLOSE)?)?;
        match outcome.sub_code.as_str() {
            _ if outcome.code == SUCCESS => Ok(CloseAnswer::Closed),
            NOT_EXIST => Ok(CloseAnswer::NotExist),
            code if STATUS_ERROR.contains(&code) => Ok(CloseAnswer::NotNow),
            _ => Err(outcome.refusal()),
        }
    }

    /// The part of an answer to `method` that is signed, once the signature is checked.
    pub(crate) fn response<'a>(&self, body: &'a str, method: &str) -> Result<&'a RawValue, NoAnswer> {
        let not_trusted = |error: &str| NoAnswer::NotTrusted(format!("{error}: {}", shown(body)));
        let members: std::collections::BTreeMap<String, &RawValue> =
            serde_json::from_str(body).map_err(|error| not_trusted(&error.to_string()))?;
        let response = members.get(&member(method)).ok_or_else(|| not_trusted("it answers another request"))?;
        let sign: String =
            members.get("sign").and_then(|sign| serde_json::from_str(sign.get()).ok()).unwrap_or_default();
        if self.platform.accepts(response.get(), &sign) {
            Ok(response)
        } else {
            Err(not_trusted("its signature is wrong"))
        }
    }

    /// The members of an answer to `method` that says that it was done.
    pub(crate) fn done<T: serde::de::DeserializeOwned>(&self, body: &str, method: &str) -> Result<T, NoAnswer> {
        let response = self.response(body, method)?;
        let outcome: Outcome = read(response)?;
        if outcome.code == SUCCESS { read(response) } else { Err(outcome.refusal()) }
    }

    fn body(&self, method: &str, timestamp: &str, biz: &serde_json::Value) -> Result<String, KeyError> {
        Ok(self.signed(self.form(method, timestamp, biz))?.encoded())
    }
}

/// The body with which a platform answers a request of `method`.
///
/// # Errors
/// If it can't be signed.
pub fn platform_answer(platform: &Signer, method: &str, response: &serde_json::Value) -> Result<String, KeyError> {
    let response = response.to_string();
    let sign = platform.sign(&response)?;
    Ok(format!(r#"{{"{}":{response},"sign":"{sign}"}}"#, member(method)))
}

/// The member of an answer that has what was asked.
fn member(method: &str) -> String {
    format!("{}_response", method.replace('.', "_"))
}

fn read<'a, T: Deserialize<'a>>(response: &'a RawValue) -> Result<T, NoAnswer> {
    serde_json::from_str(response.get())
        .map_err(|error| NoAnswer::NotTrusted(format!("{error}: {}", shown(response.get()))))
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}
