//! What staff can do, for the JSON API and for the pages: typed input, a typed outcome or refusal, and no HTTP.

mod accounts;
pub(crate) mod boards;
pub(crate) mod catalogue;
pub(crate) mod fields;
pub(crate) mod letters;
pub(crate) mod money;
pub(crate) mod orders;
mod refusal;
pub(crate) mod sales;
pub(crate) mod staff;
pub(crate) mod table;
pub(crate) mod traffic;

use std::sync::Arc;

use contract::{
    UserId,
    activity::AnswerAfter,
    token::{Audience, TokenKey},
};
use foundation::{Clock, config::ShownSetting, metrics::Registry};
use images::Images;
use limits::WrongTries;
use store::{Actor, Passwords, RequestClaim, Store};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(crate) use accounts::Accounts;
pub(crate) use refusal::Refusal;

use crate::{audit::Book, letters::Letters, processes::Processes};

/// What all handlers share.
#[derive(Debug, Clone)]
pub struct Api<K, C> {
    pub(crate) store: Store,
    pub(crate) ledgers: K,
    pub(crate) book: Book,
    pub(crate) images: Images,
    pub(crate) passwords: Passwords,
    pub(crate) tries: WrongTries,
    pub(crate) tokens: TokenKey,
    pub(crate) accounts: Accounts,
    pub(crate) letters: Letters,
    pub(crate) processes: Processes,
    pub(crate) boards: boards::Boards,
    /// The metrics of this process, for the boards.
    pub(crate) metrics: Option<Registry>,
    pub(crate) settings: Arc<[ShownSetting]>,
    /// When buyers of a new sale get their answer, unless the sale says otherwise.
    pub(crate) answer_after: AnswerAfter,
    /// Held while a file is carried out.
    pub(crate) imports: Arc<Semaphore>,
    /// Cancelled when the process stops: streams, which would last for minutes, end then.
    pub(crate) stop: CancellationToken,
    pub(crate) clock: C,
}

impl<K, C: Clock> Api<K, C> {
    /// The API over a database, its ledgers, the journal's totals and pictures; tokens are signed with `admin_secret`,
    /// and `tries` counts wrong sign-ins by address.
    pub fn new(
        (store, ledgers, book, images): (Store, K, Book, Images),
        (passwords, tries): (Passwords, WrongTries),
        admin_secret: &[u8],
        clock: C,
    ) -> Self {
        let tokens = TokenKey::new(admin_secret, Audience::Admin);
        let (accounts, letters, boards) = (Accounts::default(), Letters::default(), boards::Boards::default());
        let processes = Processes::default();
        let (imports, stop) = (Arc::new(Semaphore::new(1)), CancellationToken::new());
        Self {
            store,
            ledgers,
            book,
            images,
            passwords,
            tries,
            tokens,
            accounts,
            letters,
            processes,
            boards,
            metrics: None,
            settings: Arc::default(),
            answer_after: AnswerAfter::default(),
            imports,
            stop,
            clock,
        }
    }

    /// This API, whose boards show what `metrics` count, and whose pages show `settings`.
    #[must_use]
    pub fn showing(self, metrics: Registry, settings: Vec<ShownSetting>) -> Self {
        Self { metrics: Some(metrics), settings: settings.into(), ..self }
    }

    /// This API, whose streams end when `stop` is cancelled.
    #[must_use]
    pub fn ending_with(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// This API, whose new sales answer after `answer_after` unless they say otherwise.
    #[must_use]
    pub fn answering_after(self, answer_after: AnswerAfter) -> Self {
        Self { answer_after, ..self }
    }

    /// This API with dead letters, which a [`TopicReader`](crate::reader::TopicReader) reads from the log.
    #[must_use]
    pub fn with_letters(self, letters: Letters) -> Self {
        Self { letters, ..self }
    }

    /// This API with the reports of processes, which a [`TopicReader`](crate::reader::TopicReader) reads from the log.
    #[must_use]
    pub fn with_processes(self, processes: Processes) -> Self {
        Self { processes, ..self }
    }

    /// What the gateways answer now.
    pub(crate) fn traffic(&self) -> traffic::Traffic {
        traffic::Traffic::read(&self.processes, self.metrics.as_ref(), self.clock.now_ms())
    }

    /// The store, which adds each change by `staff` to the audit log.
    pub(crate) fn store_of(&self, staff: &Staff) -> Store {
        let Staff { id, username, address, role: _, claim } = staff;
        let (username, address, at_ms) = (username.clone(), address.clone(), self.clock.now_ms());
        let store = self.store.acting(Actor { admin: *id, username, address, at_ms });
        claim.clone().map_or_else(|| store.clone(), |claim| store.making(claim))
    }
}

/// What an account may do. Each role may do what the roles after it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads, with personal data masked.
    Viewer,
    /// Runs catalogue, sales and shipments.
    Operator,
    /// Everything: also accounts, refunds and blocked users.
    Admin,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Admin, Self::Operator, Self::Viewer];

    /// The word in tokens and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// The person who asks.
#[derive(Debug, Clone)]
pub(crate) struct Staff {
    pub(crate) id: UserId,
    pub(crate) username: String,
    pub(crate) role: Role,
    /// Where the request comes from.
    pub(crate) address: String,
    /// That of the request's Idempotency-Key, where it makes something.
    pub(crate) claim: Option<RequestClaim>,
}
