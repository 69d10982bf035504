//! A connection to Redis after a failover, and what is reported while Redis can't be written.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::time::{Duration, Instant};

use foundation::redis::{Connection, Unwritable};
use redis::{RedisResult, Script, cmd, pipe};
use services::{Forwarder, Redis};

/// A client finds the new master within this time.
const RECOVERY_MAX: Duration = Duration::from_secs(5);

async fn set(connection: &Connection) -> RedisResult<()> {
    cmd("SET").arg("key").arg("value").query_async(&mut connection.clone()).await
}

/// Two servers that are in sync, and an address that leads to the first.
fn pair() -> Option<(Redis, Redis, Forwarder)> {
    let (old, new) = (Redis::start_with("no")?, Redis::start_with("no")?);
    new.follow(&old);
    let address = Forwarder::start(old.port());
    Some((old, new, address))
}

/// Repeats `write` until it succeeds; whether it did in time.
async fn succeeds(mut write: impl AsyncFnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < RECOVERY_MAX {
        if write().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_moves_a_client_that_writes() {
    let Some((old, new, address)) = pair() else { return };
    let command = Connection::new(address.redis_url()).unwrap();
    let (pipeline, transaction, script) = (
        Connection::new(address.redis_url()).unwrap(),
        Connection::new(address.redis_url()).unwrap(),
        Connection::new(address.redis_url()).unwrap(),
    );
    set(&command).await.unwrap();
    for connection in [&pipeline, &transaction, &script] {
        set(connection).await.unwrap();
    }
    new.fail_over_from(&old);
    address.point_to(new.port());
    assert!(succeeds(async || set(&command).await.is_ok()).await, "one command");
    let piped = async || {
        let written: RedisResult<()> = pipe()
            .cmd("GET")
            .arg("key")
            .ignore()
            .cmd("SET")
            .arg("key")
            .arg(1)
            .ignore()
            .query_async(&mut pipeline.clone())
            .await;
        written.is_ok()
    };
    assert!(succeeds(piped).await, "a pipeline");
    let in_transaction = async || {
        let written: RedisResult<()> =
            pipe().atomic().cmd("SET").arg("key").arg(1).ignore().query_async(&mut transaction.clone()).await;
        written.is_ok()
    };
    assert!(succeeds(in_transaction).await, "a transaction");
    let writes = Script::new("return redis.call('SET', 'key', 1)");
    let scripted = async || {
        let written: RedisResult<()> = writes.prepare_invoke().invoke_async(&mut script.clone()).await;
        written.is_ok()
    };
    assert!(succeeds(scripted).await, "a script");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_moves_a_client_that_only_reads() {
    let Some((old, new, address)) = pair() else { return };
    let connection = Connection::new(address.redis_url()).unwrap();
    connection.check().await.unwrap();
    new.fail_over_from(&old);
    address.point_to(new.port());
    new.ask(&["SET", "who", "new"]);
    assert!(matches!(connection.check().await, Err(Unwritable::Replica(_))), "the old one is still asked");
    let reads = async || {
        drop(connection.check().await);
        let run: RedisResult<String> = cmd("INFO").arg("replication").query_async(&mut connection.clone()).await;
        run.is_ok_and(|info| info.contains("role:master"))
    };
    assert!(succeeds(reads).await);
    connection.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_still_leads_to_the_replica_is_not_stormed() {
    let Some((old, new, address)) = pair() else { return };
    let connection = Connection::new(address.redis_url()).unwrap();
    set(&connection).await.unwrap();
    new.fail_over_from(&old);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        assert!(set(&connection).await.is_err());
    }
    assert!(address.accepted() <= 12, "{} connections in a second", address.accepted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_redis_from_being_written_is_named() {
    let Some(redis) = Redis::start_with("no") else { return };
    let connection = Connection::new(redis.url()).unwrap();
    connection.check().await.unwrap();
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(matches!(connection.check().await, Err(Unwritable::OutOfMemory(_))));
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    connection.check().await.unwrap();
    let expires_ms: i64 = redis.ask(&["PTTL", "mall:probe"]).trim().parse().unwrap();
    assert!((1..=10_000).contains(&expires_ms), "{expires_ms}");
    let Some(master) = Redis::start_with("no") else { return };
    redis.follow(&master);
    assert!(matches!(connection.check().await, Err(Unwritable::Replica(_))));
    // A writable replica must not be written to either: its writes are lost.
    redis.ask(&["CONFIG", "SET", "replica-read-only", "no"]);
    assert!(matches!(connection.check().await, Err(Unwritable::Replica(_))));
    drop(redis);
    assert!(matches!(connection.check().await, Err(Unwritable::Other(_))));
}

#[cfg(feature = "tls")]
mod over_tls {
    use foundation::redis::Server;
    use services::Authority;

    use super::*;

    fn server(redis: &Redis, trusted: &Authority) -> Server {
        Server::new(&redis.tls_url(), Some(&std::fs::read(trusted.ca_file()).unwrap())).unwrap()
    }

    #[tokio::test]
    async fn a_verified_server_is_used() {
        let Some(authority) = Authority::new() else { return };
        let Some(redis) = Redis::start_tls(authority.issue("IP:127.0.0.1")) else { return };
        let connection = server(&redis, &authority).connect().unwrap();
        set(&connection).await.unwrap();
        connection.check().await.unwrap();
        assert_eq!(redis.ask(&["GET", "key"]).trim(), "value");
    }

    #[tokio::test]
    async fn another_authority_or_another_name_is_refused() {
        let (Some(authority), Some(stranger)) = (Authority::new(), Authority::new()) else { return };
        let Some(of_stranger) = Redis::start_tls(stranger.issue("IP:127.0.0.1")) else { return };
        let Some(of_other_name) = Redis::start_tls(authority.issue("DNS:redis.test")) else { return };
        for (redis, why) in [(&of_stranger, "invalid peer certificate"), (&of_other_name, "not valid for name")] {
            let error = set(&server(redis, &authority).connect().unwrap()).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        // Without certificates of our own, browsers' authorities count.
        let browsers = Server::new(&of_other_name.tls_url(), None).unwrap();
        assert!(set(&browsers.connect().unwrap()).await.is_err());
    }

    #[test]
    fn what_would_not_be_verified_is_no_address() {
        for (url, ca, why) in [
            ("rediss://127.0.0.1/#insecure", None, "without verification"),
            ("redis://127.0.0.1", Some(&b""[..]), "rediss://"),
            ("rediss://127.0.0.1", Some(b"no certificate"), "found none"),
            ("unix:///run/redis", None, "redis:// or rediss://"),
        ] {
            let error = Server::new(url, ca).unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }
}
