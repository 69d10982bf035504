//! The thread-per-core shell around gateway-core.
