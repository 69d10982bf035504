//! What the mall tells the gateways about a flash sale.

use crate::{ActivityId, Cents, SkuId, UserId};

/// A flash sale as its admin wrote it. `version` grows with every change; readers keep the highest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// The sale's id.
    pub id: ActivityId,
    /// Grows by one with every change of this row.
    pub version: u64,
    /// Shown to shoppers.
    pub title: String,
    /// What is sold.
    pub sku: SkuId,
    /// Price of one unit in this sale.
    pub price: Cents,
    /// Price of one unit outside it.
    pub original_price: Cents,
    /// When and how much one user may buy.
    pub rules: Rules,
    /// Who may ask, and with what.
    pub admission: Admission,
}

/// Who may ask for units of a sale, with what beside a token, and when a yes is answered. The gateways hold it; the
/// ledger knows nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Admission {
    /// Nobody may, until the admin resumes the sale.
    pub paused: bool,
    /// Only users whose [`EntryRule`] says [`Entry::Allowed`].
    pub invited_only: bool,
    /// What is to be shown.
    pub door: Door,
    /// When a yes is answered.
    pub answer_after: AnswerAfter,
    /// Only users who registered before this instant, in epoch milliseconds, and those whose [`EntryRule`] says
    /// [`Entry::Allowed`]. A user's id has the time of the registration.
    pub registered_before_ms: Option<u64>,
}

/// When a client is answered that units are held for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnswerAfter {
    /// Once the ledger has decided. With ledgers in Redis the order survives any one failure.
    #[default]
    Script,
    /// Once the gateway has read it on the journal as counting. It survives everything short of losing the log.
    Log,
}

impl AnswerAfter {
    /// The word in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Log => "log",
        }
    }

    /// The value whose word is `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Script, Self::Log].into_iter().find(|known| known.as_str() == word)
    }
}

/// What a shopper must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Door {
    /// Nothing.
    #[default]
    Open,
    /// An entry ticket, given to everybody who asks after the start.
    Ticket,
    /// An entry ticket, given for a solved challenge.
    Captcha,
}

/// What an admin said of one user and one sale. `version` grows with every word; readers keep the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRule {
    /// Which sale.
    pub activity: ActivityId,
    /// Which user.
    pub user: UserId,
    /// Grows by one with every change of this rule.
    pub version: u64,
    /// What was said.
    pub entry: Entry,
}

/// Whether a user may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// As everybody.
    Unlisted,
    /// Also where a sale is [`Admission::invited_only`].
    Allowed,
    /// Never.
    Blocked,
}

/// The rules that the ledger holds every reservation against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Units one user may hold and own together; at least 1.
    pub per_user_limit: u32,
    /// First instant of the sale, epoch milliseconds.
    pub starts_at_ms: u64,
    /// First instant after the sale, epoch milliseconds.
    pub ends_at_ms: u64,
}

impl Rules {
    /// These rules for a sale that is ended at `at_ms`, which may be before its start.
    #[must_use]
    pub fn ended_at(self, at_ms: u64) -> Self {
        let ends_at_ms = self.ends_at_ms.min(at_ms);
        Self { ends_at_ms, starts_at_ms: self.starts_at_ms.min(ends_at_ms.saturating_sub(1)), ..self }
    }
}
