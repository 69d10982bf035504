//! Runs the shop and the sales.
#![forbid(unsafe_code)]
