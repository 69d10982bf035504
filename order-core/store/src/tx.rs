//! Transactions, and what becomes of their connections.
//!
//! sqlx gives a connection back to the pool whatever became of its ROLLBACK. SQLite ends a transaction by
//! itself where the disk is full, so that the ROLLBACK fails; the driver goes on counting the transaction as
//! open, and every later one on that connection fails. So BEGIN, COMMIT and ROLLBACK are sent here, and a
//! connection is given back only after the last of them was answered with success.

mod names;
mod write;

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use domain::Outgoing;
use futures_util::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _, future, stream};
use sqlx::{
    Either, Execute, Executor, SqlStr,
    any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo},
    pool::PoolConnection,
};

pub use self::names::Write;
pub(crate) use self::write::{Ending, Found, NewRow, Repeat, look_up};
use crate::{StoreError, accounts::audit_log::Change, connect::Pools, db::Db};

/// How long a server may take to answer ROLLBACK before its connection is closed.
const ROLLBACK_MAX: Duration = Duration::from_secs(5);

type BoxFuture<'a, T> = future::BoxFuture<'a, Result<T, sqlx::Error>>;
type BoxStream<'a, T> = stream::BoxStream<'a, Result<T, sqlx::Error>>;

/// A transaction. Dropping it rolls it back.
#[derive(Debug)]
pub(crate) struct Tx {
    session: Session,
    /// Records for the log. They become rows of the outbox right before COMMIT.
    outgoing: Vec<Outgoing>,
    /// For the audit log, where the store acts for somebody of the staff.
    change: Option<Change>,
}

/// The connection of a [`Tx`], which executes statements.
#[derive(Debug)]
pub(crate) struct Session {
    /// `None` once the transaction has ended.
    connection: Option<PoolConnection<Db>>,
    pools: Pools,
    /// Only these show whether the database can be written.
    writes: bool,
}

impl Tx {
    /// Begins a transaction whose reads all see one instant.
    pub(crate) async fn begin_read(pools: &Pools) -> Result<Self, StoreError> {
        Self::begin(pools.readers.acquire().await?, pools, pools.backend.begin_read(), false).await
    }

    async fn begin(
        connection: PoolConnection<Db>,
        pools: &Pools,
        sql: &'static str,
        writes: bool,
    ) -> Result<Self, StoreError> {
        let session = Session { connection: Some(connection), pools: pools.clone(), writes };
        let mut tx = Self { session, outgoing: Vec::new(), change: None };
        tx.run(sql).await?;
        Ok(tx)
    }

    /// Has `records` sent to the log with the commit of this write.
    pub(crate) fn send(&mut self, records: impl IntoIterator<Item = Outgoing>) {
        assert!(self.session.writes, "a transaction that only reads sends nothing");
        self.outgoing.extend(records);
    }

    /// Has the audit log show what this write changes.
    pub(crate) fn note(&mut self, change: Change) {
        self.change = Some(change);
    }

    /// Commits. After an error it is not known whether the commit counts, and the connection is closed.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        let committed = self.run("COMMIT").await;
        if let Some(mut connection) = self.session.connection.take()
            && committed.is_err()
        {
            connection.close_on_drop();
        }
        if committed.is_ok() && self.session.writes {
            self.session.pools.server.note_success();
        }
        Ok(committed?)
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(sql).execute(&mut self.session).await.map(drop)
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if let Some(connection) = self.session.connection.take() {
            tokio::spawn(roll_back(connection));
        }
    }
}

/// Gives the connection back where the server has rolled back, and closes it in every other case.
async fn roll_back(mut connection: PoolConnection<Db>) {
    let rolled_back = tokio::time::timeout(ROLLBACK_MAX, sqlx::raw_sql("ROLLBACK").execute(&mut *connection)).await;
    if !matches!(rolled_back, Ok(Ok(_))) {
        connection.close_on_drop();
    }
}

impl Deref for Tx {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl<'c> Executor<'c> for &'c mut Session {
    type Database = Db;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Either<AnyQueryResult, AnyRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Db>,
    {
        let Session { connection, pools, writes } = self;
        let note = |error: &sqlx::Error| {
            if *writes {
                pools.note_failure(error);
            }
        };
        match connection {
            Some(connection) => connection.fetch_many(query).inspect_err(note).boxed(),
            None => stream::once(future::ready(Err(sqlx::Error::PoolClosed))).boxed(),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Option<AnyRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Db>,
    {
        let Session { connection, pools, writes } = self;
        let note = |error: &sqlx::Error| {
            if *writes {
                pools.note_failure(error);
            }
        };
        match connection {
            Some(connection) => connection.fetch_optional(query).inspect_err(note).boxed(),
            None => future::ready(Err(sqlx::Error::PoolClosed)).boxed(),
        }
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [AnyTypeInfo]) -> BoxFuture<'e, AnyStatement>
    where
        'c: 'e,
    {
        match &mut self.connection {
            Some(connection) => connection.prepare_with(sql, parameters),
            None => future::ready(Err(sqlx::Error::PoolClosed)).boxed(),
        }
    }
}
