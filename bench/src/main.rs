//! Proves speed and correctness of a sale from outside.
#![forbid(unsafe_code)]

fn main() {}
