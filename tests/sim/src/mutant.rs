//! Bugs that a run has on purpose.

/// What is wrong on purpose, to see that the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Nothing.
    None,
    /// The log says yes before it has synced.
    HastyLog,
    /// The keeper's commands are carried out as their opposite: what was paid for goes back on sale.
    SettleReleases,
    /// Orders that were closed are never given back to the ledger.
    ForgetsReleases,
}
