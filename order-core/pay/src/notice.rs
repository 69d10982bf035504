//! Payment notices of the platform.

use contract::{Cents, PaymentId};

use crate::{App, Form, KeyError, Signer, Twice, cents, signed::Signed};

/// Parameters of a notice that are not signed.
const NOT_SIGNED: [&str; 2] = ["sign", "sign_type"];

/// Money has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// For which payment.
    pub payment: PaymentId,
    /// The platform's own name for it.
    pub trade_no: String,
    /// How much.
    pub amount: Cents,
}

/// What a notice says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Money has come.
    Paid(Paid),
    /// Nothing that changes anything: the buyer has yet to pay, gave up, or has the money back.
    Nothing,
}

/// A notice that counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTrusted {
    /// See [`Twice`].
    #[error(transparent)]
    Twice(#[from] Twice),
    /// The signature is missing, of another kind, or wrong.
    #[error("the signature is wrong")]
    Signature,
    /// It is about another app or another seller.
    #[error("it is not for this shop")]
    AnotherShop,
    /// It is the platform's, and yet makes no sense.
    #[error("{0} can't be read")]
    Unreadable(&'static str),
}

impl App {
    /// Reads the body of a notice.
    ///
    /// # Errors
    /// See [`NotTrusted`].
    pub fn read_notice(&self, body: &[u8]) -> Result<Told, NotTrusted> {
        let form = Signed::parse(body)?;
        let signed = form.get("sign_type") == "RSA2" && !form.get("sign").is_empty();
        if !signed || !self.platform.accepts(form.content(&NOT_SIGNED), form.get("sign")) {
            return Err(NotTrusted::Signature);
        }
        if form.get("app_id") != self.app_id || form.get("seller_id") != self.seller_id {
            return Err(NotTrusted::AnotherShop);
        }
        let has_paid = matches!(form.get("trade_status"), "TRADE_SUCCESS" | "TRADE_FINISHED");
        // After a refund of a part the platform repeats the trade's state. The notice of the payment may have been lost,
        // so the repetition pays the order too.
        if !has_paid {
            return Ok(Told::Nothing);
        }
        let payment = form.get("out_trade_no").parse().map_err(|_| NotTrusted::Unreadable("out_trade_no"))?;
        let amount = cents(form.get("total_amount")).ok_or(NotTrusted::Unreadable("total_amount"))?;
        let trade_no = form.get("trade_no").to_owned();
        if trade_no.is_empty() || trade_no.len() > 64 {
            return Err(NotTrusted::Unreadable("trade_no"));
        }
        Ok(Told::Paid(Paid { payment, trade_no, amount }))
    }
}

impl Form {
    /// The body of a notice, as a platform sends it.
    ///
    /// # Errors
    /// If it can't be signed.
    pub fn notice(mut self, platform: &Signer) -> Result<String, KeyError> {
        let sign = platform.sign(self.content(&NOT_SIGNED))?;
        self.set("sign", sign).set("sign_type", "RSA2");
        Ok(self.encoded())
    }

    /// The body of a notice in GBK, with a `subject` in that charset.
    ///
    /// # Errors
    /// Where it can't be signed.
    pub fn notice_in_gbk(mut self, platform: &Signer, subject: &[u8]) -> Result<String, KeyError> {
        self.set("charset", "GBK").set("subject", "");
        let pairs = self.values(subject);
        let signed: Vec<Vec<u8>> = pairs.iter().map(|(name, value)| [name.as_bytes(), b"=", value].concat()).collect();
        let sign = platform.sign(signed.join(&b'&'))?;
        self.set("sign", sign).set("sign_type", "RSA2");
        let encoded = |bytes: &[u8]| form_urlencoded::byte_serialize(bytes).collect::<String>();
        let pairs = self.values(subject);
        let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        Ok(pairs.join("&"))
    }

    /// Every parameter that has a value, by name, with these bytes as `subject`.
    fn values<'a>(&'a self, subject: &'a [u8]) -> Vec<(&'a str, &'a [u8])> {
        let value = |(name, value): (&'a String, &'a String)| {
            (name.as_str(), if name == "subject" { subject } else { value.as_bytes() })
        };
        self.0.iter().map(value).filter(|(_, value)| !value.is_empty()).collect()
    }
}
