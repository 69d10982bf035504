//! The mall: accounts, orders, and the workers that turn the log into orders.
#![forbid(unsafe_code)]
