//! What two processes of the mall must agree on, and nothing else.
//!
//! Ids, money, tokens, the records on the log and the rules of the stock ledger.
//! Nothing here reads a clock, a socket or a file: time, randomness and storage are arguments.
#![forbid(unsafe_code)]

pub mod activity;
pub mod client_address;
pub mod codec;
pub mod device;
pub mod ids;
pub mod money;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod record;
pub mod refresh;
pub mod snowflake;
pub mod stock;
pub mod ticket;
pub mod token;
pub mod topic;
pub mod trace;

pub use activity::Activity;
pub use ids::{
    ActivityId, AddressId, CategoryId, OperationId, OrderId, PaymentId, ProductId, RefundId, SessionId, SkuId, UserId,
};
pub use money::Cents;
