//! Keeps `/readyz` at what can be written. A process that can only read is no use to anybody who wants to buy, and
//! `SELECT 1` does not notice a full disk or a server that turned read-only. Real writes answer where there are any;
//! on a quiet system one row is written a second.

use std::{future::Future, time::Duration};

use anyhow::Result;
use commit_log::AnyLog;
use foundation::{Clock, Readiness, SystemClock, health::Part, metrics::Gauge};
#[cfg(feature = "kafka")]
use ledger::AnyLedger;
use store::Store;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ground::Ground;
#[cfg(feature = "kafka")]
use crate::ground::Ledger;

/// Between two checks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is watched, and where its state is shown.
struct Place {
    name: &'static str,
    part: Part,
    gauge: Gauge,
}

/// Watches the database until `stop`.
pub(crate) fn watch_database(
    services: &mut JoinSet<Result<()>>,
    ground: &Ground,
    store: &Store,
    readiness: &Readiness,
    stop: &CancellationToken,
) {
    let place = Place {
        name: "the database",
        part: readiness.part("database", "it was not written yet"),
        gauge: ground.metrics.gauge("mall_database_writable", "1 while the database can be written, else 0."),
    };
    let (store, stop) = (store.clone(), stop.clone());
    services.spawn(async move {
        watch(place, || store.check_writable(SystemClock.now_ms()), &stop).await;
        Ok(())
    });
}

/// Watches the log of this process until `stop`.
pub(crate) fn watch_log(
    services: &mut JoinSet<Result<()>>,
    ground: &Ground,
    log: &AnyLog,
    readiness: &Readiness,
    stop: &CancellationToken,
) {
    let place = Place {
        name: "the log",
        part: readiness.part("log", "it was not written yet"),
        gauge: ground.metrics.gauge("mall_log_writable", "1 while the log of this process can be written, else 0."),
    };
    let (log, stop) = (log.clone(), stop.clone());
    services.spawn(async move {
        watch(place, || log.check_writable(), &stop).await;
        Ok(())
    });
}

/// Watches the Redis of the ledgers until `stop`; ledgers of this process need none.
#[cfg(feature = "kafka")]
pub(crate) fn watch_redis(
    services: &mut JoinSet<Result<()>>,
    ground: &Ground,
    ledger: &Ledger,
    readiness: &Readiness,
    stop: &CancellationToken,
) {
    let AnyLedger::Redis(redis) = &ledger.client else { return };
    let place = Place {
        name: "Redis",
        part: readiness.part("redis", "it was not written yet"),
        gauge: ground.metrics.gauge("mall_redis_writable", "1 while Redis can be written, else 0."),
    };
    let (connection, stop) = (redis.connection(), stop.clone());
    services.spawn(async move {
        let check = || {
            let connection = connection.clone();
            async move { connection.check().await.map_err(|why| why.to_string()) }
        };
        watch(place, check, &stop).await;
        Ok(())
    });
}

async fn watch<F>(place: Place, check: impl Fn() -> F, stop: &CancellationToken)
where
    F: Future<Output = Result<(), String>>,
{
    let Place { name, part, gauge } = place;
    let mut was_writable = true;
    loop {
        let checked = tokio::select! {
            () = stop.cancelled() => return,
            checked = check() => checked,
        };
        match &checked {
            Ok(()) => part.ready(),
            Err(reason) => part.not_ready(reason),
        }
        gauge.set(i64::from(checked.is_ok()));
        match (was_writable, &checked) {
            (true, Err(reason)) => tracing::error!(reason, "{name} can't be written; /readyz answers 503"),
            (false, Ok(())) => tracing::warn!("{name} can be written again"),
            (true, Ok(())) | (false, Err(_)) => {}
        }
        was_writable = checked.is_ok();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
