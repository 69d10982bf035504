//! What the connections have learned about the server behind them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use foundation::health::{Verdict, Writes};
use tokio::time::timeout;

use crate::{
    StoreError,
    connect::Pools,
    db::{Store, big},
    error::Cause,
    tx::{Ending, Repeat, Write},
};

/// How long a write may take that only finds out whether the database can be written.
const PROBE_MAX: Duration = Duration::from_secs(2);
/// While a server stays read-only its connections are replaced this often, not for every write that it refuses.
const REPLACE_EVERY: Duration = Duration::from_secs(1);

/// Shared by all connections to one database.
#[derive(Debug)]
pub(crate) struct Server {
    writes: Writes,
    started: Instant,
    /// Connections that were opened before this time are not used again, in microseconds since `started`.
    replace_before_us: AtomicU64,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self { writes: Writes::default(), started: Instant::now(), replace_before_us: AtomicU64::new(0) }
    }

    /// A write was committed.
    pub(crate) fn note_success(&self) {
        self.writes.succeeded(Instant::now());
    }

    /// Whether connections that are open now are not to be used again. Behind the server's name there may be another
    /// one by now, which takes writes, and whose reads are not stale.
    fn replace_connections(&self, now: Instant) -> bool {
        let now_us = micros(now.saturating_duration_since(self.started));
        let is_due = |before_us: u64| before_us == 0 || now_us.saturating_sub(before_us) >= micros(REPLACE_EVERY);
        self.replace_before_us
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |before_us| is_due(before_us).then_some(now_us))
            .is_ok()
    }

    /// Whether a connection that was opened `age` ago may be used.
    pub(crate) fn may_use(&self, age: Duration) -> bool {
        micros(self.started.elapsed().saturating_sub(age)) >= self.replace_before_us.load(Ordering::Acquire)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Pools {
    /// A statement that writes failed.
    pub(crate) fn note_failure(&self, error: &sqlx::Error) {
        let (cause, now) = (Cause::of(error), Instant::now());
        if cause.stops_writes() {
            self.server.writes.failed(error.to_string(), now);
        }
        if cause == Cause::ReadOnly && self.server.replace_connections(now) {
            tracing::debug!(%error, "the database is read-only; its connections are replaced");
            for pool in [&self.readers, &self.writers] {
                // An idle connection is looked at when it is given back, and closed.
                let idle: Vec<_> = (0..pool.num_idle()).map_while(|_| pool.try_acquire()).collect();
                drop(idle);
            }
        }
    }
}

impl Store {
    /// Whether the database can be written, by the outcome of the latest writes; one row is written if there were
    /// none.
    ///
    /// # Errors
    /// Why it can't.
    pub async fn check_writable(&self, now_ms: u64) -> Result<(), String> {
        let writes = &self.server().writes;
        match writes.verdict(Instant::now()) {
            Verdict::Writable => return Ok(()),
            Verdict::Failing(reason) => return Err(reason),
            Verdict::Unknown => {}
        }
        match timeout(PROBE_MAX, self.write_probe(now_ms)).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => {
                let reason = format!("the database did not answer a write within {PROBE_MAX:?}");
                writes.failed(reason.clone(), Instant::now());
                Err(reason)
            }
        }
    }

    async fn write_probe(&self, now_ms: u64) -> Result<(), StoreError> {
        let now_ms = big(now_ms)?;
        self.write(Write::ProbeWrites, Repeat("it sets a time"), |tx| async {
            let mut tx = tx;
            let probe = sqlx::query("UPDATE write_probe SET at_ms = ? WHERE id = 1").bind(now_ms);
            if probe.execute(&mut *tx).await?.rows_affected() != 1 {
                return Err(StoreError::contradiction("the row that is written to try it is not there"));
            }
            Ok(Ending::Commit(tx, ()))
        })
        .await
    }
}
