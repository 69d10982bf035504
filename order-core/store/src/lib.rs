//! The mall's database: domain types, state machines, SQL and migrations.
#![forbid(unsafe_code)]
