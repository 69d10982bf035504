//! The seeded simulation of the whole path of a sale.
#![forbid(unsafe_code)]
