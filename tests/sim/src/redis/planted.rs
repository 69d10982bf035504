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
    /// A term that was drawn before is drawn again, as from a database that was restored.
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
    /// A batch is carried out in any term, and the reply names that of the batch.
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
    /// Closing a ledger empties its outbox, before its entries are on the log.
    DropsOutbox,
    /// A restock is not recorded as applied.
    RestocksAgain,
    /// Units of a closed order are given back without a new entry of the journal.
    SilentRelease,
}

impl Planted {
    /// Every bug.
    pub const ALL: [Self; 18] = [
        Self::HastyLog,
        Self::ForgetfulGateway,
        Self::AnswersTooSoon,
        Self::RepeatedTerms,
        Self::NoDecisions,
        Self::NoPromises,
        Self::ForgetsReleases,
        Self::SettleReleases,
        Self::TrimsAnyTerm,
        Self::SellsInAnyTerm,
        Self::SellsOnAnyRun,
        Self::ClosesForAnyTerm,
        Self::RebuildsAnyTerm,
        Self::IgnoresLostParts,
        Self::LosesOutbox,
        Self::DropsOutbox,
        Self::RestocksAgain,
        Self::SilentRelease,
    ];

    /// The bug of this name, as it is written here.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|planted| format!("{planted:?}") == name)
    }
}
