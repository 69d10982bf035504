//! The rules of the repository, as tests: see `tests/tidy`.
#![forbid(unsafe_code)]
