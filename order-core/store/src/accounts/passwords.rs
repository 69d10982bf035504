//! Passwords and sign-ins: bcrypt, off the runtime's threads and few at a time.

use std::{net::IpAddr, sync::Arc};

use contract::{UserId, client_address::limit_key, device::DeviceKey};
use limits::{Known, WrongTries};
use unicode_normalization::UnicodeNormalization as _;

use crate::{
    StoreError,
    accounts::{
        hash_queue::{HashQueue, Lane, Place},
        users::{Realm, USERNAME_CHARS_MAX},
    },
    areas::Accounts,
};

/// bcrypt reads no more of a password than this.
pub const PASSWORD_BYTES_MAX: usize = 72;
/// A password that is sent to be checked and is longer is wrong.
const SENT_BYTES_MAX: usize = 1024;

/// Hashes and checks passwords. Clones share its queue.
#[derive(Debug, Clone)]
pub struct Passwords {
    cost: u32,
    queue: HashQueue,
    /// The hash that is checked where there is no account, so that it takes as long.
    decoy: Arc<str>,
}

/// A request to sign in.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Who is meant.
    pub username: &'a str,
    /// What proves it.
    pub password: &'a str,
    /// Where it comes from.
    pub client: IpAddr,
    /// What the client has kept of an earlier sign-in, and the key that sealed it.
    pub device: Option<(&'a DeviceKey, &'a str)>,
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
        /// The hash that the password matched. A session is begun only as long as the account still has it.
        proof: String,
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

/// What became of a check of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// It is right, and has this hash.
    Right(String),
    /// It is wrong.
    Wrong,
    /// Too many were wrong; not before this, epoch milliseconds.
    LockedUntil(u64),
    /// Too many passwords wait already.
    Busy,
}

/// The form in which passwords are hashed: keyboards differ in how they compose a character (NFKC, UAX #15).
pub fn normalize_password(password: &str) -> String {
    password.nfkc().collect()
}

impl Passwords {
    /// Passwords with 2^`cost` rounds. It hashes once: call it off the runtime, or at the start.
    ///
    /// # Errors
    /// If `cost` is not 4 to 31, or there is no randomness.
    pub fn new(cost: u32) -> Result<Self, bcrypt::BcryptError> {
        let decoy = bcrypt::hash("nobody's password", cost)?.into();
        Ok(Self { cost, queue: HashQueue::new(), decoy })
    }

    /// The hash of `password` for a command or a start, which no client waits for; see [`Passwords::hash_for`].
    ///
    /// # Errors
    /// If hashing fails.
    ///
    /// # Panics
    /// As [`Passwords::hash_for`].
    pub async fn hash(&self, password: &str) -> Result<Option<String>, StoreError> {
        self.hash_for(0, Lane::SignIn, password).await
    }

    /// Whether `password` has the hash `hash`, for a command or a start; see [`Passwords::hash`].
    ///
    /// # Errors
    /// If hashing fails or too many wait already.
    pub async fn is_hash_of(&self, password: &str, hash: &str) -> Result<bool, StoreError> {
        let place = self.queue.join(0, Lane::SignIn);
        let place = place.ok_or_else(|| StoreError::Unavailable("too many passwords are being hashed".to_owned()))?;
        matches(place, password, hash).await
    }

    /// The hash of `password`, in its normal form at most [`PASSWORD_BYTES_MAX`] bytes, for a client; `None` where too
    /// many wait already.
    ///
    /// # Errors
    /// If hashing fails.
    ///
    /// # Panics
    /// If the password is longer: what bcrypt would not read must not be taken for part of it.
    pub async fn hash_for(&self, client: u128, lane: Lane, password: &str) -> Result<Option<String>, StoreError> {
        let (password, cost) = (normalize_password(password), self.cost);
        assert!(password.len() <= PASSWORD_BYTES_MAX, "a password of {} bytes", password.len());
        let Some(place) = self.queue.join(client, lane) else { return Ok(None) };
        let hashed = run(place, move || bcrypt::hash(password, cost)).await?;
        hashed.map(Some).map_err(|error| StoreError::contradiction(error.to_string()))
    }
}

/// Whether `password` has the hash `hash`. Hashes of earlier versions are of the password as it was sent.
async fn matches(place: Place, password: &str, hash: &str) -> Result<bool, StoreError> {
    let sent = if password.len() <= SENT_BYTES_MAX { password.to_owned() } else { String::new() };
    let (normal, hash) = (normalize_password(&sent), hash.to_owned());
    let verify = move || {
        // bcrypt cuts what is longer, and takes no NUL.
        let is = |password: &str| {
            Ok::<_, bcrypt::BcryptError>(bcrypt::verify(password, &hash)? && password.len() <= PASSWORD_BYTES_MAX)
        };
        Ok::<_, bcrypt::BcryptError>(is(&normal)? || (normal != sent && is(&sent)?))
    };
    run(place, verify).await?.map_err(|error| StoreError::contradiction(error.to_string()))
}

async fn run<T: Send + 'static>(place: Place, hash: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    let permit = place.turn().await?;
    // The permit goes along: a request that is dropped does not stop its hash.
    let hashed = tokio::task::spawn_blocking(move || {
        let hashed = hash();
        drop(permit);
        hashed
    });
    hashed.await.map_err(|error| StoreError::Unavailable(error.to_string()))
}

impl Accounts<'_> {
    /// Signs in. A name without an account takes as long and is answered as a wrong password is.
    ///
    /// # Errors
    /// If the database or the hash fails.
    pub async fn sign_in(
        self,
        realm: Realm,
        claim: Claim<'_>,
        (passwords, tries): (&Passwords, &WrongTries),
        now_ms: u64,
    ) -> Result<SignIn, StoreError> {
        // A name that registration refuses is nobody's, and nothing of it is kept or looked up.
        let is_possible = claim.username.chars().nth(USERNAME_CHARS_MAX).is_none();
        let found = if is_possible { self.credentials(realm, claim.username).await? } else { None };
        let known = match &found {
            Some(found) => self.knows(realm, found.id, &claim, now_ms).await?,
            None => Known::No,
        };
        // A place first: a server that is busy does not count against a password.
        let Some(place) = passwords.queue.join(limit_key(claim.client), Lane::SignIn) else { return Ok(SignIn::Busy) };
        let counted = match tries.count(claim.username, claim.client, known, now_ms).await {
            Ok(counted) => counted,
            Err(wait) => return Ok(SignIn::LockedUntil(now_ms.saturating_add(wait.ms))),
        };
        let hash = found.as_ref().map_or(&*passwords.decoy, |found| &found.password_hash);
        let matches = match matches(place, claim.password, hash).await {
            Ok(matches) => matches,
            Err(error) => {
                tries.give_back(counted, now_ms).await;
                return Err(error);
            }
        };
        let Some(found) = found.filter(|_| matches) else { return Ok(SignIn::Wrong) };
        tries.forgive(counted, now_ms).await;
        if found.blocked {
            return Ok(SignIn::Blocked);
        }
        self.remember_client(realm, found.id, claim.client, now_ms).await?;
        Ok(SignIn::Welcome { account: found.id, role: found.role, proof: found.password_hash })
    }

    /// Whether the password of `user` is that of `claim`. A wrong one counts as at a sign-in, because a copied access
    /// token must not serve to guess passwords; a client that has the token is known.
    ///
    /// # Errors
    /// If the database or the hash fails.
    pub async fn check_password(
        self,
        user: UserId,
        claim: Claim<'_>,
        (passwords, tries): (&Passwords, &WrongTries),
        now_ms: u64,
    ) -> Result<Checked, StoreError> {
        let Some(hash) = self.password_hash(user).await? else { return Ok(Checked::Wrong) };
        let Some(place) = passwords.queue.join(limit_key(claim.client), Lane::SignIn) else { return Ok(Checked::Busy) };
        let counted = match tries.count(claim.username, claim.client, Known::ByAddress, now_ms).await {
            Ok(counted) => counted,
            Err(wait) => return Ok(Checked::LockedUntil(now_ms.saturating_add(wait.ms))),
        };
        match matches(place, claim.password, &hash).await {
            Ok(true) => {
                tries.forgive(counted, now_ms).await;
                Ok(Checked::Right(hash))
            }
            Ok(false) => Ok(Checked::Wrong),
            Err(error) => {
                tries.give_back(counted, now_ms).await;
                Err(error)
            }
        }
    }

    async fn knows(self, realm: Realm, account: UserId, claim: &Claim<'_>, now_ms: u64) -> Result<Known, StoreError> {
        if let Some(number) = claim.device.and_then(|(key, text)| key.open(text, account, now_ms)) {
            return Ok(Known::ByDevice(number));
        }
        let is_known = self.is_known_client(realm, account, claim.client, now_ms).await?;
        Ok(if is_known { Known::ByAddress } else { Known::No })
    }
}
