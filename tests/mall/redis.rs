//! The mall on Redis in one process: what Redis loses while it runs, and servers that can't be written.

use std::{
    collections::BTreeMap,
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use services::{Forwarder, Redis};

use crate::{
    process::{Mall, agent, call, command, get, token, until},
    walk::pay,
};

/// A sale goes on within this time.
const RECOVERY_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// One sale, and the orders that were confirmed.
struct Buyers<'a> {
    mall: &'a Mall,
    activity: String,
    orders: BTreeMap<i64, String>,
}

impl Buyers<'_> {
    fn buy(&self, user: i64) -> Option<String> {
        let (status, answer) = self.mall.buy(&agent(), &self.activity, user, &format!("k{user}"))?;
        assert!(status == 202 || status == 503, "{status} {answer}");
        answer["order_id"].as_str().map(str::to_owned)
    }

    /// The next user buys, as soon as the sale goes on; its number.
    fn next(&mut self) -> i64 {
        let (user, begun) = (1 + i64::try_from(self.orders.len()).unwrap(), Instant::now());
        loop {
            if let Some(order) = self.buy(user) {
                self.orders.insert(user, order);
                return user;
            }
            assert!(begun.elapsed() < RECOVERY_MAX, "the sale does not go on");
            std::thread::sleep(PAUSE);
        }
    }

    fn all_have_their_orders(&self) {
        for (user, order) in &self.orders {
            assert_eq!(self.buy(*user).as_ref(), Some(order), "the first answer to user {user}");
        }
    }

    /// Waits for an audit that is sound and counts this number of units as sold.
    fn audited(&self, sold: u64) {
        until("the audit is sound", || {
            let (_, audit) = self.mall.try_audit(&self.activity);
            let units = |name: &str| audit[name].as_u64().unwrap_or(u64::MAX);
            audit["ok"] == true && units("sold") == sold && units("held") + sold == self.orders.len() as u64
        });
    }
}

#[test]
fn what_redis_loses_while_it_runs_is_rebuilt() {
    let Some(redis) = Redis::start() else { return };
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[("MALL_REDIS__URL", &redis.url())]);
    let mut buyers = Buyers { mall: &mall, activity: mall.sale(40), orders: BTreeMap::new() };
    let (activity, ended) = (buyers.activity.clone(), Arc::new(AtomicBool::new(false)));
    let auditor = {
        let (shop, activity, ended) = ((*mall).clone(), activity.clone(), ended.clone());
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let (_, audit) = shop.try_audit(&activity);
                assert!(audit["ok"] != true || audit["total"] == 40, "{audit}");
                std::thread::sleep(PAUSE);
            }
        })
    };
    let mut paid = 0;
    for lost in ["ledger", "orders", "requests", "users", "restocks", "outbox", "everything"] {
        buyers.next();
        let pays = buyers.next();
        buyers.audited(paid);
        if lost != "outbox" {
            // Perhaps only Redis and the gateway know of this one yet.
            buyers.next();
        }
        match lost {
            "everything" => redis.ask(&["FLUSHALL"]),
            part => redis.ask(&["DEL", &format!("mall:{{{activity}.0}}:{part}")]),
        };
        // It may answer, or not; it must not give out all units once more.
        let warm = format!("{}/admin/api/v1/activities/{activity}/warm", mall.admin);
        let (status, answer) = call("POST", &warm, Some(&mall.admin_token()), &Value::Null);
        assert!(status == 503 || (status == 200 && answer["available"] != 40), "{lost}: {status} {answer}");
        pay(&mall, &buyers.orders[&pays], &token(pays));
        paid += 1;
        buyers.next();
        buyers.all_have_their_orders();
        buyers.audited(paid);
    }
    ended.store(true, Ordering::Relaxed);
    auditor.join().unwrap();
}

/// The start ends with the reason, and names the setting that allows it.
#[test]
fn a_redis_that_can_lose_orders_is_refused() {
    let Some(redis) = Redis::start() else { return };
    let data = tempfile::tempdir().unwrap();
    let settings = redis.url();
    let ended = || {
        let output = command(data.path(), &[("MALL_REDIS__URL", &settings)]).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    redis.ask(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    let reason = ended();
    assert!(reason.contains("volatile-ttl") && reason.contains("redis.allow_eviction"), "{reason}");
    redis.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    redis.ask(&["CONFIG", "SET", "appendonly", "no"]);
    let reason = ended();
    assert!(reason.contains("append-only") && reason.contains("redis.allow_no_aof"), "{reason}");
}

/// Each service answers 503 with the reason for as long as a write fails.
#[test]
fn readiness_names_why_redis_can_not_be_written() {
    let (Some(redis), Some(other)) = (Redis::start(), Redis::start_with("no")) else { return };
    redis.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("stderr");
    let settings = [("MALL_REDIS__URL", redis.url()), ("MALL_REDIS__ALLOW_EVICTION", "true".to_owned())];
    let mut command = command(data.path(), &settings.each_ref().map(|(name, value)| (*name, value.as_str())));
    command.stderr(File::create(&log).unwrap());
    let mall = Mall::run(command);
    let told = || std::fs::read_to_string(&log).unwrap();
    // Once by order-core and once by the gateway.
    until("the policy is warned of", || {
        let lines = told().lines().filter(|line| line.contains("WARN") && line.contains("allkeys-lru")).count();
        lines == 2
    });
    assert!(told().contains("ledgers of running sales"), "{}", told());
    redis.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);

    let all = |status: u16, word: &str| {
        for place in [&mall.gateway, &mall.order_core, &mall.admin] {
            until(&format!("{place} answers {status} {word}"), || {
                let (is, body) = get(&format!("{place}/readyz"), None);
                is == status && body.to_string().contains(word)
            });
        }
    };
    all(200, "true");
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    all(503, "out of memory");
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    all(200, "true");
    redis.follow(&other);
    all(503, "replica");
    redis.ask(&["REPLICAOF", "NO", "ONE"]);
    all(200, "true");
}

/// The address leads to the new master; connections to the demoted server stay open and answer.
#[test]
fn a_failover_of_redis_is_followed() {
    let (Some(old), Some(new)) = (Redis::start(), Redis::start()) else { return };
    new.follow(&old);
    let address = Forwarder::start(old.port());
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[("MALL_REDIS__URL", &address.redis_url())]);
    let mut buyers = Buyers { mall: &mall, activity: mall.sale(10), orders: BTreeMap::new() };
    for _ in 0..3 {
        buyers.next();
    }
    buyers.audited(0);
    new.fail_over_from(&old);
    address.point_to(new.port());
    buyers.next();
    buyers.all_have_their_orders();
    pay(&mall, &buyers.orders[&1], &token(1));
    buyers.audited(1);
    let ledger = format!("mall:{{{}.0}}:ledger", buyers.activity);
    assert_eq!(new.ask(&["HMGET", &ledger, "held", "sold"]), "3\n1\n", "on the new master");
}
