//! Passwords and sign-ins: bcrypt, off the runtime's threads and few at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use contract::UserId;
use tokio::sync::Semaphore;

use crate::{
    StoreError,
    accounts::users::{LOCKED_MS, Realm, WRONG_TRIES_MAX},
    db::Store,
};

/// bcrypt reads no more of a password than this.
pub const PASSWORD_BYTES_MAX: usize = 72;
/// Hashes at once: each keeps a core busy for a quarter of a second.
const HASHES_MAX: usize = 2;
/// Requests that wait for a hash; one more is refused.
const QUEUE_MAX: usize = 64;
/// Names without an account whose tries are counted.
const STRANGERS_MAX: usize = 10_000;

/// Hashes and checks passwords. Clones share its limits.
#[derive(Debug, Clone)]
pub struct Passwords {
    cost: u32,
    running: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// The hash that is checked where there is no account, so that it takes as long.
    decoy: Arc<str>,
    /// Tries on names without an account and until when they are locked, as accounts are.
    strangers: Arc<Mutex<HashMap<String, (u32, u64)>>>,
}

/// What became of a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignIn {
    /// It is this account.
    Welcome {
        /// Whose it is.
        account: UserId,
        /// An admin's role.
        role: Option<String>,
    },
    /// Name or password is wrong.
    Wrong,
    /// Too many wrong tries; not before this, epoch milliseconds.
    LockedUntil(u64),
    /// The shop does not let this one in.
    Blocked,
    /// Too many sign-ins wait already.
    Busy,
}

impl Passwords {
    /// Passwords with 2^`cost` rounds. It hashes once: call it off the runtime, or at the start.
    ///
    /// # Errors
    /// Where `cost` is not 4 to 31, or there is no randomness.
    pub fn new(cost: u32) -> Result<Self, bcrypt::BcryptError> {
        let decoy = bcrypt::hash("nobody's password", cost)?.into();
        let (running, queue) = (Arc::new(Semaphore::new(HASHES_MAX)), Arc::new(Semaphore::new(QUEUE_MAX)));
        Ok(Self { cost, running, queue, decoy, strangers: Arc::default() })
    }

    /// The hash of `password`, at most [`PASSWORD_BYTES_MAX`] bytes; `None` where too many wait already.
    ///
    /// # Errors
    /// Where hashing fails.
    ///
    /// # Panics
    /// Where the password is longer: what bcrypt would not read must not be taken for part of it.
    pub async fn hash(&self, password: &str) -> Result<Option<String>, StoreError> {
        assert!(password.len() <= PASSWORD_BYTES_MAX, "a password of {} bytes", password.len());
        let (password, cost) = (password.to_owned(), self.cost);
        let hashed = self.run(move || bcrypt::hash(password, cost)).await?;
        hashed.transpose().map_err(|error| StoreError::contradiction(error.to_string()))
    }

    async fn matches(&self, password: &str, hash: &str) -> Result<Option<bool>, StoreError> {
        let readable = password.len() <= PASSWORD_BYTES_MAX;
        let (password, hash) = (password.to_owned(), hash.to_owned());
        let matches = self.run(move || bcrypt::verify(password, &hash)).await?;
        let matches = matches.transpose().map_err(|error| StoreError::contradiction(error.to_string()))?;
        Ok(matches.map(|matches| matches && readable))
    }

    async fn run<T: Send + 'static>(&self, hash: impl FnOnce() -> T + Send + 'static) -> Result<Option<T>, StoreError> {
        let Ok(_queued) = self.queue.try_acquire() else { return Ok(None) };
        let stopping = |_| StoreError::Unavailable("the process is stopping".to_owned());
        // The permit goes along: a request that is dropped does not stop its hash.
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(stopping)?;
        let hashed = tokio::task::spawn_blocking(move || {
            let hashed = hash();
            drop(permit);
            hashed
        });
        hashed.await.map(Some).map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// As [`Store::count_try`] does it; the instant where the name is locked.
    fn count_stranger(&self, username: &str, now_ms: u64) -> Option<u64> {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.len() >= STRANGERS_MAX {
            strangers.retain(|_, (_, locked_until_ms)| *locked_until_ms > now_ms);
        }
        if strangers.len() >= STRANGERS_MAX {
            strangers.clear();
        }
        let (tries, locked_until_ms) = strangers.entry(username.to_lowercase()).or_default();
        if *locked_until_ms > now_ms {
            return Some(*locked_until_ms);
        }
        *tries += 1;
        if *tries >= WRONG_TRIES_MAX {
            (*tries, *locked_until_ms) = (0, now_ms + LOCKED_MS);
        }
        None
    }
}

impl Store {
    /// Signs in. A name without an account takes as long and is answered as a wrong password is.
    ///
    /// # Errors
    /// Where the database or the hash fails.
    pub async fn sign_in(
        &self,
        realm: Realm,
        (username, password): (&str, &str),
        passwords: &Passwords,
        now_ms: u64,
    ) -> Result<SignIn, StoreError> {
        let Some(found) = self.credentials(realm, username).await? else {
            if let Some(until_ms) = passwords.count_stranger(username, now_ms) {
                return Ok(SignIn::LockedUntil(until_ms));
            }
            let matches = passwords.matches(password, &passwords.decoy).await?;
            return Ok(if matches.is_some() { SignIn::Wrong } else { SignIn::Busy });
        };
        if found.locked_until_ms > now_ms {
            return Ok(SignIn::LockedUntil(found.locked_until_ms));
        }
        if !self.count_try(realm, found.id, now_ms).await? {
            return Ok(SignIn::LockedUntil(now_ms + LOCKED_MS));
        }
        Ok(match passwords.matches(password, &found.password_hash).await? {
            None => SignIn::Busy,
            Some(false) => SignIn::Wrong,
            Some(true) => {
                self.forget_tries(realm, found.id).await?;
                if found.blocked { SignIn::Blocked } else { SignIn::Welcome { account: found.id, role: found.role } }
            }
        })
    }
}
