//! Runs the shop and the sales: catalogue, flash sales, and the audit that anybody may ask for.
#![forbid(unsafe_code)]

mod actions;
pub mod api;
pub mod audit;
mod auditor;
mod csv;
pub mod letters;
mod mask;
mod open_once;
pub mod opening;
mod pages;
pub mod processes;
pub mod reader;
mod service;
pub mod warmer;

pub use open_once::OpenOnce;
pub use service::{Admin, ensure_first_admin, run, warn_of_other_password};
