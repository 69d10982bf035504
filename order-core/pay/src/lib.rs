//! Alipay's protocol (open platform, RSA2) without IO: signed requests out, signed notices and answers in.
//! The real platform and the mock that plays it differ in keys and names only.
#![forbid(unsafe_code)]

mod amount;
mod app;
mod form;
mod keys;
mod notice;
#[cfg(test)]
mod tests;

pub use amount::{cents, yuan};
pub use app::{App, PageRequest, RefundFailed, RefundRequest};
pub use form::{Form, Twice};
pub use keys::{KeyError, Signer, Verifier};
pub use notice::{NotTrusted, Paid, Told};
