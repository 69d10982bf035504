//! Runs the shop and the sales: catalogue, flash sales, and the audit that anybody may ask for.
#![forbid(unsafe_code)]

pub mod api;
pub mod audit;
mod auditor;
mod open_once;
pub mod opening;
mod service;
pub mod warmer;

pub use open_once::OpenOnce;
pub use service::{Admin, ensure_first_admin, run};
