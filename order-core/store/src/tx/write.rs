//! The only way to write.
//!
//! A write is tried again where its transaction was given up by the server, or where its connection was lost before
//! COMMIT was sent: nothing of it was written then. Where the answer to COMMIT is lost, [`AfterLostCommit`] says
//! whether the transaction is committed.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::{Duration, Instant},
};

use domain::Outgoing;
use foundation::spans::{self, SpanKind};
use sqlx::QueryBuilder;
use tokio::time::{sleep, timeout};

use super::{Tx, names::Write};
use crate::{
    StoreError,
    accounts::audit_log::{Change, write_entry},
    connect::Backend,
    db::{Db, INSERT_ROWS_MAX, Store, lock_row},
};

/// How often a write, or the look-up after a lost COMMIT, is tried.
const TRIES_MAX: u32 = 6;
/// The longest pause before the second try; doubled before each further one. Each pause is between half of it and all
/// of it, so that transactions that met once do not meet again.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest that the statements of one try, its COMMIT, or a look-up may take; a database that went silent is
/// unavailable. No try begins later than this after the first one.
const TRY_MAX: Duration = Duration::from_secs(60);

/// How the statements of a write have ended.
#[derive(Debug)]
pub(crate) enum Ending<T> {
    /// The transaction is to be committed, and the write returns this value.
    Commit(Tx, T),
    /// Nothing is written, and the write returns this value.
    RollBack(T),
}

/// Whether a transaction whose COMMIT was not answered is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is.
    Committed,
    /// It is not and never will be.
    Nothing,
    /// Later writes have hidden it.
    Unclear,
    /// It does not matter, because a repetition changes nothing.
    Repeatable,
}

/// What happens where the answer to COMMIT is lost.
pub(crate) trait AfterLostCommit<T> {
    /// Whether the transaction that wrote `value` is committed. It may still be under way, so an implementation must
    /// lock the row that it looks at: a statement that locks waits for the transaction's end.
    fn find(&self, store: &Store, write: Write, value: &T) -> impl Future<Output = Result<Found, StoreError>> + Send;
}

/// The write is repeated: a second time it changes nothing and returns the same, for the reason given.
pub(crate) struct Repeat(pub(crate) &'static str);

/// The write is committed where the row that it inserts exists. `lock` updates the row with the id to what it is.
pub(crate) struct NewRow {
    pub(crate) lock: &'static str,
    pub(crate) id: i64,
}

/// The write is committed where the function finds what it wrote; see [`look_up`].
pub(crate) struct LookUp<F>(F);

/// Looks with `find` for what the write's value says was written. `find` must lock the row before it reads it.
pub(crate) const fn look_up<T, F, R>(find: F) -> LookUp<F>
where
    F: Fn(Tx, T) -> R + Sync,
    R: Future<Output = Result<Found, StoreError>> + Send,
{
    LookUp(find)
}

impl From<bool> for Found {
    fn from(is_there: bool) -> Self {
        if is_there { Self::Committed } else { Self::Nothing }
    }
}

impl<T: Sync> AfterLostCommit<T> for Repeat {
    async fn find(&self, _: &Store, write: Write, _: &T) -> Result<Found, StoreError> {
        tracing::debug!(write = write.name(), reason = self.0, "a write is repeated, COMMIT was not answered");
        Ok(Found::Repeatable)
    }
}

impl<T: Sync> AfterLostCommit<T> for NewRow {
    async fn find(&self, store: &Store, write: Write, _: &T) -> Result<Found, StoreError> {
        let mut tx = begin_write(store, write).await?;
        lock_row(&mut tx, self.lock, self.id).await.map(Found::from)
    }
}

impl<T, F, R> AfterLostCommit<T> for LookUp<F>
where
    T: Clone + Sync + Send,
    F: Fn(Tx, T) -> R + Sync,
    R: Future<Output = Result<Found, StoreError>> + Send,
{
    async fn find(&self, store: &Store, write: Write, value: &T) -> Result<Found, StoreError> {
        (self.0)(begin_write(store, write).await?, value.clone()).await
    }
}

/// Why a try has not returned a value.
struct Failure {
    error: StoreError,
    /// Another try does no harm and may succeed.
    again: bool,
    /// The try may have been committed all the same.
    is_unclear: bool,
}

impl From<StoreError> for Failure {
    /// Of an error before COMMIT was sent.
    fn from(error: StoreError) -> Self {
        Self { again: error.is_transient() || error.is_lost_connection(), is_unclear: false, error }
    }
}

impl Store {
    /// Runs `statements` in a transaction, sends the records that they leave with [`Tx::send`], and commits.
    ///
    /// `statements` may run several times. A key that `after_lost_commit` looks for is chosen before the call, or is
    /// part of the value.
    ///
    /// They get the transaction by value and give it back in [`Ending::Commit`]. With a reference to it, the compiler
    /// could not prove that the future of a write is [`Send`], which a handler's must be
    /// (<https://github.com/rust-lang/rust/issues/134997>).
    pub(crate) async fn write<T, R>(
        &self,
        write: Write,
        after_lost_commit: impl AfterLostCommit<T>,
        statements: impl Fn(Tx) -> R,
    ) -> Result<T, StoreError>
    where
        R: Future<Output = Result<Ending<T>, StoreError>>,
    {
        let mut span = spans::child(write.name(), SpanKind::Client);
        let (began, mut tries, mut is_unclear) = (Instant::now(), 1, false);
        // Chosen once, so that a repetition adds no second entry to the audit log.
        let entry = self.actor.is_some().then(|| self.next_id()).transpose()?;
        loop {
            let failure = match self.try_to_write((write, entry), &after_lost_commit, &statements).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            is_unclear |= failure.is_unclear;
            if !failure.again || tries == TRIES_MAX || began.elapsed() >= TRY_MAX {
                span.fail();
                return Err(match failure.error {
                    error if is_unclear => StoreError::OutcomeUnknown(error.to_string()),
                    error => error,
                });
            }
            tracing::debug!(write = write.name(), error = %failure.error, tries, "a write is tried again");
            pause(tries).await;
            tries += 1;
        }
    }

    async fn try_to_write<T, R>(
        &self,
        (write, entry): (Write, Option<i64>),
        after_lost_commit: &impl AfterLostCommit<T>,
        statements: &impl Fn(Tx) -> R,
    ) -> Result<T, Failure>
    where
        R: Future<Output = Result<Ending<T>, StoreError>>,
    {
        let run = async {
            let mut ending = statements(begin_write(self, write).await?).await?;
            let sends = match &mut ending {
                Ending::Commit(tx, _) => {
                    let change = tx.change.take();
                    if let (Some(claim), Some(made)) = (&self.claim, change.as_ref().and_then(Change::made)) {
                        claim.note_made(tx, made).await?;
                    }
                    if let (Some(actor), Some(entry)) = (&self.actor, entry) {
                        write_entry(tx, entry, actor, (write, change)).await?;
                    }
                    self.write_outgoing(tx).await?
                }
                Ending::RollBack(_) => false,
            };
            Ok::<_, StoreError>((ending, sends))
        };
        let (tx, value, sends) = match timeout(TRY_MAX, run).await.map_err(|_| silent())?? {
            (Ending::Commit(tx, value), sends) => (tx, value, sends),
            (Ending::RollBack(value), _) => return Ok(value),
        };
        let committed = match timeout(TRY_MAX, tx.commit()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => self.after_failed_commit(write, after_lost_commit, &value, error).await,
            Err(_) => self.after_failed_commit(write, after_lost_commit, &value, silent()).await,
        };
        if sends && committed.is_ok() {
            self.bell.notify_one();
        }
        committed.map(|()| value)
    }

    /// Finds out whether the transaction is committed although COMMIT was not answered with success.
    async fn after_failed_commit<T>(
        &self,
        write: Write,
        after_lost_commit: &impl AfterLostCommit<T>,
        value: &T,
        error: StoreError,
    ) -> Result<(), Failure> {
        if error.is_refused_commit() {
            return Err(error.into());
        }
        tracing::debug!(write = write.name(), %error, "COMMIT was not answered with success");
        let mut tries = 1;
        let found = loop {
            let found = timeout(TRY_MAX, after_lost_commit.find(self, write, value)).await;
            match found.map_err(|_| silent()).flatten().map_err(Failure::from) {
                Ok(found) => break Ok(found),
                Err(failure) if !failure.again || tries == TRIES_MAX => break Err(failure.error),
                Err(_) => pause(tries).await,
            }
            tries += 1;
        };
        match found {
            Ok(Found::Committed) => Ok(()),
            Ok(Found::Nothing) => Err(Failure { error, again: true, is_unclear: false }),
            Ok(Found::Repeatable) => Err(Failure { error, again: true, is_unclear: true }),
            Ok(Found::Unclear) => {
                tracing::warn!(write = write.name(), %error, "COMMIT was not answered, and later writes hide its outcome");
                Err(Failure { error, again: false, is_unclear: true })
            }
            Err(look_up) => {
                tracing::warn!(write = write.name(), %error, %look_up, "COMMIT was not answered, and can't be looked up");
                Err(Failure { error, again: false, is_unclear: true })
            }
        }
    }

    /// Puts the records that `tx` sends into the outbox; whether there are any.
    async fn write_outgoing(&self, tx: &mut Tx) -> Result<bool, StoreError> {
        let outgoing = std::mem::take(&mut tx.outgoing);
        for records in outgoing.chunks(INSERT_ROWS_MAX) {
            let ids: Vec<i64> = records.iter().map(|_| self.next_id()).collect::<Result<_, _>>()?;
            let mut insert = QueryBuilder::<Db>::new("INSERT INTO outbox (id, topic, record_key, record) ");
            insert.push_values(ids.into_iter().zip(records), |mut row, (id, Outgoing { topic, key, value })| {
                row.push_bind(id).push_bind(topic).push_bind(&key[..]).push_bind(value);
            });
            insert.build().execute(&mut tx.session).await?;
        }
        Ok(!outgoing.is_empty())
    }

    /// A transaction of a test, outside of the write path.
    #[cfg(test)]
    pub(crate) async fn begin_test(&self) -> Result<Tx, StoreError> {
        begin_write(self, Write::ProbeWrites).await
    }
}

/// Begins a transaction that reads and writes.
async fn begin_write(store: &Store, write: Write) -> Result<Tx, StoreError> {
    let pools = store.pools();
    let connection = pools.writers.acquire().await.inspect_err(|error| pools.note_failure(error))?;
    let sql = match pools.backend {
        Backend::Sqlite => write.begin_sqlite(),
        Backend::MySql => write.begin_mysql(),
    };
    Tx::begin(connection, pools, sql, true).await
}

async fn pause(tries: u32) {
    let most = PAUSE * 2_u32.pow(tries - 1);
    let random = RandomState::new().build_hasher().finish() % 1024;
    sleep(most / 2 + most / 2 * u32::try_from(random).unwrap_or(0) / 1024).await;
}

fn silent() -> StoreError {
    StoreError::Unavailable(format!("no answer within {TRY_MAX:?}"))
}
