//! A simulated Redis: the commands that the mall sends, in RESP2, on servers that restart, forget, fail over and fill up.
//!
//! Scripts are run by the rules of `contract::stock`. Not simulated: memory and its policy (keys are evicted by name),
//! transactions of several clients, sliding windows of the request limit, expiry of anything but the relay's lease.

mod data;
mod nodes;
mod planted;
mod scripts;
mod server;

pub use nodes::{Loss, Session, SimRedis};
pub use planted::Planted;
pub use server::Server;
