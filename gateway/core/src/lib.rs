//! Everything the gateway decides, without IO, clock or runtime.
#![forbid(unsafe_code)]
