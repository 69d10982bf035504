//! Alipay's protocol (open platform, RSA2) without IO: signed requests out, signed notices and answers in.
//! The real platform and the mock that plays it differ in keys and names only.
#![forbid(unsafe_code)]

mod amount;
mod app;
mod bill;
mod form;
mod keys;
mod notice;
mod signed;
#[cfg(test)]
mod tests;
mod trade;

pub use amount::{cents, yuan};
pub use app::{App, PageRequest, RefundAnswer, RefundRequest};
pub use bill::{BILL_ROWS_MAX, BillRow, BilledRefund, NoBill, read_bill, write_bill};
pub use form::{Form, Twice};
pub use keys::{KeyError, Signer, Verifier};
pub use notice::{NotTrusted, Paid, Told};
pub use trade::{CloseAnswer, NoAnswer, TradeAnswer, platform_answer};
