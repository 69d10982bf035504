//! Money that goes back to buyers.

use std::{error::Error, future::Future};

use contract::{Cents, PaymentId, RefundId};

use crate::SaleError;

/// Money that a payment platform is to send back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRefund {
    /// The platform knows the refund by this id, and sends the money once however often it is asked.
    pub refund: RefundId,
    pub payment: PaymentId,
    /// The platform, by the name of its payment method.
    pub method: String,
    /// The platform's own name for the payment.
    pub trade_no: String,
    pub amount: Cents,
    /// Tries that have failed.
    pub tries: u32,
    /// When it is to be tried, epoch milliseconds.
    pub next_try_at_ms: u64,
}

/// What sending money back needs from the database.
pub trait RefundStore: Clone + Send + Sync + 'static {
    /// Why a call did nothing.
    type Error: Error + Into<SaleError> + Send + Sync;

    /// Approved refunds of payments that were made by one of `methods`, by the time of their next try, at most `limit`.
    fn due_refunds(
        &self,
        methods: &[&str],
        limit: u32,
    ) -> impl Future<Output = Result<Vec<DueRefund>, Self::Error>> + Send;

    /// The platform has sent the money of `due` back. Does nothing where that was noted before.
    fn refund_done(&self, due: &DueRefund, now_ms: u64) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The platform is not known to have sent the money of `due` back. It is tried again at `next_try_at_ms`; without
    /// a time the refund is parked. Does nothing where this try was noted before.
    fn refund_failed(
        &self,
        due: &DueRefund,
        reason: &str,
        next_try_at_ms: Option<u64>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The number of refunds that are parked.
    fn parked_refunds(&self) -> impl Future<Output = Result<u64, Self::Error>> + Send;
}
