//! The whole mall in one process, with nothing else installed.
#![forbid(unsafe_code)]

fn main() {}
