//! What is wrong on purpose, to see that the checks notice.

/// A known bug.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Planted {
    /// None.
    #[default]
    None,
    /// The log says yes before it has synced.
    HastyLog,
    /// A gateway remembers nothing of what it was told.
    ForgetfulGateway,
    /// A sale that answers after the log answers after the script.
    AnswersTooSoon,
    /// Terms are not drawn but counted on from what the fence has seen.
    RepeatedTerms,
    /// A recovery does not ask what the database has decided.
    NoDecisions,
    /// A recovery does not ask what the database has set aside.
    NoPromises,
    /// Orders that were closed are never given back to the ledger.
    ForgetsReleases,
    /// What was paid for goes back on sale.
    SettleReleases,
    /// An outbox is trimmed whatever the state of its ledger.
    TrimsAnyTerm,
    /// A batch is carried out in any term.
    SellsInAnyTerm,
    /// A ledger sells on any run of the server.
    SellsOnAnyRun,
    /// A ledger is closed for any term, also a lower one.
    ClosesForAnyTerm,
    /// A rebuild goes on whatever term the ledger is closed for.
    RebuildsAnyTerm,
    /// Lost parts of a ledger are not noticed.
    IgnoresLostParts,
    /// The outbox does not get what was held for the last of a batch.
    LosesOutbox,
    /// A rebuild deletes the outbox before its entries are on the log.
    DropsOutbox,
    /// A restock is not recorded as applied.
    RestocksAgain,
    /// Units of a closed order are given back without a new entry of the journal.
    SilentRelease,
}
