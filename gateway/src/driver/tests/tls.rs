//! The link to a Redis over TLS, on every driver.

use contract::stock::{Term, Window};
use foundation::{Clock, SystemClock, redis::Server as RedisServer};
use ledger::{conformance::open_in_redis, redis::RedisLedger};
use services::{Authority, Forwarder, Redis};
use tokio::runtime::Runtime as Tokio;

use super::{
    ANSWER_MAX, Driver, STOCK, Server, on_every_driver, rules,
    sale::{activity, order, sells_out},
    until,
};
use crate::{link::Ledgers, redis::Settings};

/// Connections that are refused before the test believes that all of them are.
const REFUSED: usize = 4;

/// A server whose ledgers are in the Redis at `url`, which it trusts if `authority` vouches for it.
fn start(driver: Driver, url: &str, authority: &Authority) -> Server {
    let ca = std::fs::read(authority.ca_file()).unwrap();
    let server = RedisServer::new(url, Some(&ca)).unwrap();
    let mut parts = driver.parts();
    parts.activity = activity(driver.runtime as usize);
    parts.ledgers = Ledgers::Redis(Settings::new(&server, Window { max: 0, within_ms: 1 }, ANSWER_MAX).unwrap());
    parts.start()
}

#[test]
fn units_are_sold_over_tls() {
    let Some(authority) = Authority::new() else { return };
    let Some(redis) = Redis::start_tls(authority.issue("IP:127.0.0.1")) else { return };
    let tokio = Tokio::new().unwrap();
    on_every_driver(|driver| {
        let activity = activity(driver.runtime as usize);
        tokio.block_on(async {
            let sale = (activity, STOCK, rules(SystemClock.now_ms()));
            open_in_redis(&RedisLedger::new(&redis.url()).unwrap(), Term::FIRST, sale).await.unwrap();
        });
        let server = start(driver, &redis.tls_url(), &authority);
        until("it is connected", || !server.ask(&order(activity, 1)).starts_with("HTTP/1.1 503 "));
        sells_out(&server, activity);
    });
}

#[test]
fn a_redis_that_can_not_be_verified_is_told_nothing() {
    let (Some(authority), Some(stranger)) = (Authority::new(), Authority::new()) else { return };
    let Some(of_stranger) = Redis::start_tls(stranger.issue("IP:127.0.0.1")) else { return };
    let Some(of_other_name) = Redis::start_tls(authority.issue("DNS:redis.test")) else { return };
    on_every_driver(|driver| {
        for redis in [&of_stranger, &of_other_name] {
            let port = redis.tls_url().rsplit_once(':').unwrap().1.parse().unwrap();
            let address = Forwarder::start(port);
            let server = start(driver, &format!("rediss://:a-password@127.0.0.1:{}", address.port()), &authority);
            until("it has tried", || address.accepted() >= REFUSED);
            let answer = server.ask(&order(activity(driver.runtime as usize), 1));
            assert!(answer.starts_with("HTTP/1.1 503 "), "{}: {answer}", driver.name());
            let commands = redis.ask(&["INFO", "commandstats"]);
            assert!(!commands.contains("cmdstat_auth"), "{commands}");
        }
    });
}
