//! Units are sold, whatever carries the requests and wherever the ledger is.

use std::{io::Write, path::Path, sync::Arc};

use commit_log::{LocalLog, Log};
use contract::{
    ActivityId, UserId,
    stock::{Snapshot, Term, Window},
    topic,
};
use foundation::{Clock, SystemClock, redis::Server as RedisServer};
use ledger::{
    LedgerClient, conformance::open_in_redis, local::LocalLedger, redis::RedisLedger, restore::SnapshotSource,
};
use services::{Forwarder, Redis};
use tokio::runtime::Runtime as Tokio;

use super::{ANSWER_MAX, STOCK, Server, answer, key, on_every_driver, rules, until};
use crate::{link::Ledgers, redis::Settings};

fn redis_at(url: &str) -> RedisServer {
    RedisServer::new(url, None).unwrap()
}

/// Ledgers begin with the log.
struct NoSnapshots;

impl SnapshotSource for NoSnapshots {
    async fn snapshots(&self) -> Result<Vec<Snapshot>, String> {
        Ok(Vec::new())
    }
}

pub(super) fn activity(serial: usize) -> ActivityId {
    ActivityId::from_i64(1 + i64::try_from(serial).unwrap()).unwrap()
}

pub(super) fn order(activity: ActivityId, user: i64) -> Vec<u8> {
    let token = key().sign(UserId::from_i64(user).unwrap(), None, SystemClock.now_ms() / 1000, 3600);
    let body = format!(r#"{{"activity_id":"{activity}","quantity":1}}"#);
    format!(
        "POST /api/v1/seckill/orders HTTP/1.1\r\nHost: mall\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nIdempotency-Key: k{user}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(super) fn order_id(answer: &str) -> String {
    let (_, rest) = answer.split_once(r#""order_id":""#).unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

/// Twice as many users as units, in one go; then the first of them once more, and what became of the order.
pub(super) fn sells_out(server: &Server, activity: ActivityId) {
    let mut socket = server.connect();
    let users = 1..=2 * i64::try_from(STOCK).unwrap();
    let all: Vec<u8> = users.clone().flat_map(|user| order(activity, user)).collect();
    socket.write_all(&all).unwrap();
    let told: Vec<String> = users.map(|_| answer(&mut socket)).collect();
    let (held, refused) = told.split_at(usize::try_from(STOCK).unwrap());
    for (user, answer) in (1..).zip(held) {
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
        let order_id = order_id(answer);
        assert!(answer.contains(&format!("\r\nlocation: /api/v1/seckill/orders/{order_id}\r\n")), "{answer}");
        let again = server.ask(&order(activity, user));
        assert_eq!(self::order_id(&again), order_id, "{again}");
    }
    for answer in refused {
        assert!(answer.starts_with("HTTP/1.1 409 ") && answer.contains("sold_out"), "{answer}");
    }
}

pub(super) async fn local_ledger(directory: &Path) -> (LocalLog, LocalLedger) {
    let log = LocalLog::open(&directory.join("log.db")).unwrap();
    log.create_topics(topic::fixed().to_vec()).await.unwrap();
    let window = Window { max: 0, within_ms: 1 };
    let (ledger, _) = ledger::local::start(log.clone(), NoSnapshots, window, SystemClock).await.unwrap();
    (log, ledger)
}

#[test]
fn on_the_ledger_of_this_process() {
    let directory = tempfile::tempdir().unwrap();
    let tokio = Tokio::new().unwrap();
    let (log, ledger) = tokio.block_on(local_ledger(directory.path()));
    on_every_driver(|driver| {
        let mut parts = driver.parts();
        parts.activity = activity(driver.runtime as usize);
        parts.ledgers = Ledgers::Shared(Arc::new(ledger.clone()));
        tokio.block_on(ledger.open(parts.activity, STOCK, rules(SystemClock.now_ms()))).unwrap();
        let activity = parts.activity;
        sells_out(&parts.start(), activity);
    });
    log.close();
}

#[test]
fn on_redis_which_goes_away_and_comes_back() {
    let Some(redis) = Redis::start_with("no") else { return };
    let redis = std::cell::RefCell::new(redis);
    let tokio = Tokio::new().unwrap();
    on_every_driver(|driver| {
        let url = redis.borrow().url();
        let mut parts = driver.parts();
        parts.activity = activity(driver.runtime as usize);
        parts.ledgers =
            Ledgers::Redis(Settings::new(&redis_at(&url), Window { max: 0, within_ms: 1 }, ANSWER_MAX).unwrap());
        tokio.block_on(async {
            let ledgers = RedisLedger::new(&url).unwrap();
            let sale = (parts.activity, STOCK, rules(SystemClock.now_ms()));
            open_in_redis(&ledgers, Term::FIRST, sale).await.unwrap();
        });
        let activity = parts.activity;
        let server = parts.start();
        // Until the thread has its connection.
        until("it is connected", || !server.ask(&order(activity, 1)).starts_with("HTTP/1.1 503 "));
        sells_out(&server, activity);
        redis.borrow_mut().kill();
        let code = |code: &str| server.ask(&order(activity, 1)).contains(&format!(r#""code":"{code}""#));
        until("503 while it is away", || code("unavailable"));
        redis.borrow_mut().resume();
        // It is another run, which nobody has compared with the log.
        until("it is asked again", || code("frozen"));
    });
}

/// Connections to the demoted server stay open; it answers FROZEN, for which it need not write.
#[test]
fn on_redis_after_a_failover() {
    let tokio = Tokio::new().unwrap();
    on_every_driver(|driver| {
        let (Some(old), Some(new)) = (Redis::start_with("no"), Redis::start_with("no")) else { return };
        new.follow(&old);
        let address = Forwarder::start(old.port());
        let (window, mut parts) = (Window { max: 0, within_ms: 1 }, driver.parts());
        parts.activity = activity(driver.runtime as usize);
        parts.ledgers = Ledgers::Redis(Settings::new(&redis_at(&address.redis_url()), window, ANSWER_MAX).unwrap());
        tokio.block_on(async {
            let ledgers = RedisLedger::new(&old.url()).unwrap();
            let sale = (parts.activity, STOCK, rules(SystemClock.now_ms()));
            open_in_redis(&ledgers, Term::FIRST, sale).await.unwrap();
        });
        let activity = parts.activity;
        let server = parts.start();
        until("it is connected", || server.ask(&order(activity, 1)).starts_with("HTTP/1.1 202 "));
        let first = order_id(&server.ask(&order(activity, 1)));
        new.fail_over_from(&old);
        address.point_to(new.port());
        // As if the new master had opened it, in the same term.
        let run = tokio.block_on(async { RedisLedger::new(&new.url()).unwrap().run_id().await.unwrap() });
        new.ask(&["HSET", &format!("mall:{{{activity}.0}}:ledger"), "run", &run]);
        until("it sells on the new master", || server.ask(&order(activity, 2)).starts_with("HTTP/1.1 202 "));
        assert_eq!(order_id(&server.ask(&order(activity, 1))), first);
    });
}
