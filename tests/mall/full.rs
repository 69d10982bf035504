//! The mall in processes of its own on Redis, Kafka and MariaDB, each of them killed in mid-sale.

mod after_log;
mod failover;
mod rebuilding;
mod restarts;
mod two_cores;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;
use services::{Elasticsearch, Jaeger, Kafka, MariaDb, Redis};
use tempfile::TempDir;

use crate::{
    accounts, assert_sound, money, operations, platform,
    process::{Process, Shop, agent, call, command, get, token, until},
    sale_rules,
    search::{self, Changers},
    steer, traces, walk,
};

/// Units on sale in each test.
const STOCK: u64 = 12_000;
const SHOPPERS: i64 = 8;
/// Orders between two kills.
const ROUND: usize = 150;
const KILLS: usize = 5;
/// A shopper rests so long after an answer, until the last round.
const PAUSE: Duration = Duration::from_millis(40);
/// Users that ask once more at the end.
const SAMPLE: usize = 200;

/// One at a time: each has a Kafka and a MariaDB of its own.
static TURN: Mutex<()> = Mutex::new(());

/// Every part of the mall. Dropping it kills them all.
struct Full {
    gateways: Vec<(Process, String)>,
    order_core: Option<Process>,
    admin: Option<Process>,
    shop: Shop,
    kafka: Kafka,
    redis: Redis,
    database: String,
    data: TempDir,
    search: Elasticsearch,
    mariadb: MariaDb,
    /// Settings of every part besides the servers.
    more: Vec<(&'static str, String)>,
}

impl Full {
    /// Starts it all; `None`, said loudly, where a server is not to be had.
    fn start(gateways: usize) -> Option<Self> {
        Self::start_with(gateways, Vec::new())
    }

    fn start_with(gateways: usize, more: Vec<(&'static str, String)>) -> Option<Self> {
        let (kafka, redis, mariadb) = (Kafka::start()?, Redis::start()?, MariaDb::start()?);
        let search = Elasticsearch::start()?;
        let place = String::new;
        let mut full = Self {
            gateways: Vec::new(),
            order_core: None,
            admin: None,
            shop: Shop { gateway: place(), order_core: place(), admin: place() },
            kafka,
            redis,
            database: mariadb.database(),
            data: tempfile::tempdir().unwrap(),
            search,
            mariadb,
            more,
        };
        full.start_order_core();
        let (admin, [place]) = full.role("admin", &[("MALL_ADMIN__LISTEN", &free_address())]);
        (full.admin, full.shop.admin) = (Some(admin), place);
        for _ in 0..gateways {
            let (gateway, [place]) = full.role("gateway", &[("MALL_GATEWAY__LISTEN", &free_address())]);
            full.gateways.push((gateway, place));
        }
        full.shop.gateway.clone_from(&full.gateways[0].1);
        Some(full)
    }

    fn schema(&self) -> &str {
        self.database.rsplit('/').next().unwrap()
    }

    fn role(&self, role: &str, settings: &[(&str, &str)]) -> (Process, [String; 1]) {
        let mut command = self.command();
        command.arg(role).envs(settings.iter().copied());
        Process::start(command)
    }

    /// The program with the settings of every part.
    fn command(&self) -> Command {
        let (redis, brokers, search) = (self.redis.url(), self.kafka.brokers(), self.search.url());
        let servers = [
            ("MALL_REDIS__URL", redis.as_str()),
            ("MALL_KAFKA__BROKERS", &brokers),
            ("MALL_DATABASE__URL", &self.database),
            ("MALL_SEARCH__URL", &search),
            ("MALL_REDIS__REPLY_TIMEOUT_MS", "300"),
        ];
        let mut command = command(self.data.path(), &servers);
        command.envs(self.more.iter().map(|(name, value)| (name, value)));
        command
    }

    fn start_order_core(&mut self) {
        let (order_core, [place]) = self.role("order-core", &[("MALL_ORDER_CORE__LISTEN", &free_address())]);
        (self.order_core, self.shop.order_core) = (Some(order_core), place);
    }

    /// kill -9 of the first gateway, and another one in its place.
    fn restart_gateway(&mut self) {
        self.restart_gateway_with(&[]);
    }

    fn restart_gateway_with(&mut self, settings: &[(&str, &str)]) {
        let (gateway, place) = self.gateways.remove(0);
        gateway.kill_now();
        let listen = place.trim_start_matches("http://").to_owned();
        let settings = [&[("MALL_GATEWAY__LISTEN", listen.as_str())], settings].concat();
        let (gateway, [place]) = self.role("gateway", &settings);
        self.gateways.insert(0, (gateway, place));
    }
}

/// An address at which a process can be started again: its port is none that the kernel gives to clients meanwhile.
fn free_address() -> String {
    format!("127.0.0.1:{}", services::free_port())
}

/// What the shoppers were told.
#[derive(Default)]
struct Told {
    orders: Mutex<BTreeMap<i64, String>>,
    sold_out: AtomicU64,
    unavailable: AtomicU64,
    /// No answer came.
    broken: AtomicU64,
}

impl Told {
    fn accepted(&self) -> usize {
        self.orders.lock().unwrap().len()
    }
}

/// Shoppers who go on until all is sold; each user asks under one key until it is told yes or no.
struct Crowd {
    told: Arc<Told>,
    hurry: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn start(full: &Full, activity: &str) -> Self {
        let places: Vec<String> = full.gateways.iter().map(|(_, place)| place.clone()).collect();
        Self::start_at(&full.shop, &places, activity)
    }

    /// Shoppers who ask at these addresses in turn.
    fn start_at(shop: &Shop, places: &[String], activity: &str) -> Self {
        let (told, hurry) = (Arc::<Told>::default(), Arc::<AtomicBool>::default());
        let next_user = Arc::new(AtomicI64::new(1));
        let shopper = |at: i64| {
            let mut shop = shop.clone();
            shop.gateway.clone_from(&places[usize::try_from(at).unwrap() % places.len()]);
            let (told, hurry, next_user) = (told.clone(), hurry.clone(), next_user.clone());
            let activity = activity.to_owned();
            std::thread::spawn(move || {
                let agent = agent();
                while told.sold_out.load(Ordering::SeqCst) == 0 {
                    let user = next_user.fetch_add(1, Ordering::SeqCst);
                    while !ask(&shop, &agent, &activity, user, &told) {
                        std::thread::sleep(PAUSE);
                    }
                    if !hurry.load(Ordering::Relaxed) {
                        std::thread::sleep(PAUSE);
                    }
                }
            })
        };
        let threads = (0..SHOPPERS).map(shopper).collect();
        Self { told, hurry, threads }
    }

    fn wait_for(&self, orders: usize) {
        until("the sale goes on", || self.told.accepted() >= orders);
    }

    fn end(self) -> Arc<Told> {
        self.hurry.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.told
    }
}

/// Whether the gateway at `place` has the sale and it is on.
fn sells(place: &str, activity: &str) -> bool {
    get(&format!("{place}/api/v1/seckill/activities/{activity}"), None).1["state"] == "open"
}

/// Whether the answer decides.
fn ask(shop: &Shop, agent: &ureq::Agent, activity: &str, user: i64, told: &Told) -> bool {
    match shop.buy(agent, activity, user, &format!("k{user}")) {
        Some((202, answer)) => {
            let order = answer["order_id"].as_str().unwrap().to_owned();
            let before = told.orders.lock().unwrap().insert(user, order.clone());
            assert!(before.is_none_or(|before| before == order), "user {user} has two orders");
            true
        }
        Some((409, answer)) => {
            assert_eq!(answer["code"], "sold_out", "{answer}");
            told.sold_out.fetch_add(1, Ordering::SeqCst);
            true
        }
        Some((503, _)) => {
            told.unavailable.fetch_add(1, Ordering::SeqCst);
            false
        }
        Some((status, answer)) => panic!("{status} {answer}"),
        None => {
            told.broken.fetch_add(1, Ordering::SeqCst);
            false
        }
    }
}

/// `break_it` so often in mid-sale; then all is sold, and every yes is one order.
fn survives(gateways: usize, mut break_it: impl FnMut(&mut Full, &Told, usize)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut full) = Full::start(gateways) else { return };
    let activity = full.shop.sale(STOCK);
    until("every gateway sells", || full.gateways.iter().all(|(_, place)| sells(place, &activity)));
    let crowd = Crowd::start(&full, &activity);
    for round in 0..KILLS {
        let before = crowd.told.accepted();
        crowd.wait_for(before + ROUND);
        break_it(&mut full, &crowd.told, round);
    }
    let before = crowd.told.accepted();
    crowd.wait_for(before + ROUND);
    assert_eq!(crowd.told.sold_out.load(Ordering::SeqCst), 0, "sold out with units left");
    let told = crowd.end();

    let orders = told.orders.lock().unwrap();
    let distinct: BTreeSet<&String> = orders.values().collect();
    assert_eq!((orders.len() as u64, distinct.len()), (STOCK, orders.len()), "units, and orders of their own");
    let settled = || {
        // The first request after a server came back may still be answered that it is away.
        let (_, audit) = full.shop.try_audit(&activity);
        audit["ok"] == true && audit["database"]["pending_payment"] == STOCK
    };
    until("every order is written", settled);
    let audit = assert_sound(&full.shop, &activity);
    assert_eq!((&audit["held"], &audit["available"]), (&STOCK.into(), &0.into()), "{audit}");
    for (user, order) in orders.iter().step_by(orders.len() / SAMPLE) {
        assert_eq!(full.shop.order(order, *user).0, 200, "order {order} of user {user}");
        let (status, again) = full.shop.buy(&agent(), &activity, *user, &format!("k{user}")).unwrap();
        assert_eq!((status, again["order_id"].as_str()), (202, Some(order.as_str())), "the first answer");
    }
}

#[test]
fn a_shopper_walks_through_the_mall() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(full) = Full::start(1) else { return };
    walk::walk(&full.shop);
    accounts::accounts(&full.shop);
    money::money(&full.shop, |sql| full.mariadb.sql(&format!("USE mall_0; {sql}")));
    platform::platform(&full.shop, full.data.path());
    sale_rules::sale_rules(&full.shop);
    steer::steer(&full.shop);
    steer::end_now(&full.shop);
    for place in [&full.shop.gateway, &full.shop.order_core, &full.shop.admin] {
        operations::assert_clean(place);
    }
}

#[test]
fn an_order_is_one_trace() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(jaeger) = Jaeger::start() else { return };
    let Some(full) = Full::start_with(1, traces::settings(&jaeger).into()) else { return };
    traces::an_order_is_one_trace(&full.shop, &jaeger, &traces::FULL);
}

#[test]
fn a_gateway_is_killed() {
    survives(2, |full, _, _| full.restart_gateway());
}

#[test]
fn order_core_is_killed() {
    survives(1, |full, _, _| {
        full.order_core.take().unwrap().kill_now();
        full.start_order_core();
    });
}

/// The search worker in the middle of many changes, which admin takes meanwhile.
#[test]
fn the_search_worker_is_killed() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut full) = Full::start(1) else { return };
    let products = search::stocked(&full.shop, 200);
    let is_same = |full: &Full| {
        let (code, text) = search::ended(full.command(), &["verify"]);
        assert!(code == 0 && text.contains("the index equals the database: "), "exit {code}: {text}");
    };
    until("the index is built", || search::ended(full.command(), &["verify"]).0 == 0);
    let changers = Changers::start(&full.shop, &products);
    for changes in search::kills() {
        changers.wait_for(changes);
        full.order_core.take().unwrap().kill_now();
        full.start_order_core();
    }
    changers.end();
    is_same(&full);
    // A document that is lost is found, and comes back with a rebuild.
    let lost = &products[7].0;
    full.shop.admin_post(&format!("/products/{lost}/shelve"), Value::Null);
    is_same(&full);
    let document = format!("{}/mall-products/_doc/{lost}?refresh=true", full.search.url());
    assert_eq!(call("DELETE", &document, None, &Value::Null).0, 200);
    let (code, text) = search::ended(full.command(), &["verify"]);
    assert!(code == 1 && text.contains(&format!("{lost}: the index does not have it")), "exit {code}: {text}");
    let (code, text) = search::ended(full.command(), &["rebuild", "--verify"]);
    assert!(code == 0 && text.contains("the new index is in place: "), "exit {code}: {text}");
    is_same(&full);
}

#[test]
fn kafka_is_killed() {
    survives(1, |full, told, round| {
        full.kafka.kill();
        // Once it stays away for long: the sale goes on without it.
        if round == 2 {
            let before = told.accepted();
            std::thread::sleep(Duration::from_secs(20));
            assert!(told.accepted() > before + ROUND, "only {} orders without Kafka", told.accepted() - before);
        }
        full.kafka.resume();
    });
}

/// What only Redis and one gateway know is bounded, however long the log is away.
#[test]
fn selling_stops_while_too_much_is_not_on_the_log() {
    let mut configured = false;
    survives(1, |full, told, _| {
        if !std::mem::replace(&mut configured, true) {
            full.restart_gateway_with(&[("MALL_LEDGER__UNCONFIRMED_MAX", "100")]);
            let before = told.accepted();
            until("it sells", || told.accepted() > before);
        }
        full.kafka.kill();
        let (before, unavailable) = (told.accepted(), told.unavailable.load(Ordering::SeqCst));
        // Each core has its share.
        until("it stops selling", || {
            let accepted = told.accepted();
            std::thread::sleep(Duration::from_secs(1));
            told.accepted() == accepted
        });
        assert!(told.accepted() <= before + 200, "{} orders without a log", told.accepted() - before);
        assert!(told.unavailable.load(Ordering::SeqCst) > unavailable);
        full.kafka.resume();
    });
}

/// Redis comes back with what it had written, and twice without its last entries.
#[test]
fn redis_is_killed_and_comes_back_older() {
    survives(1, |full, told, round| {
        full.redis.kill();
        let before = told.unavailable.load(Ordering::SeqCst);
        until("503 while Redis is away", || told.unavailable.load(Ordering::SeqCst) > before + 5);
        if round % 2 == 1 {
            forget_the_last(&full.redis, 40_000);
        }
        full.redis.resume();
    });
}

/// Settles and releases that Redis carried out and forgot, before anybody else knew of them.
#[test]
fn redis_forgets_what_became_of_orders() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut full) = Full::start(1) else { return };
    let activity = full.shop.sale(10);
    let agent = agent();
    let orders: Vec<String> = (1..=5)
        .map(|user| {
            let (status, answer) = full.shop.buy(&agent, &activity, user, "k").unwrap();
            assert_eq!(status, 202, "{answer}");
            answer["order_id"].as_str().unwrap().to_owned()
        })
        .collect();
    let audited = |full: &Full, holds: &dyn Fn(&Value) -> bool| {
        until("the audit says so", || {
            let (_, audit) = full.shop.try_audit(&activity);
            audit["ok"] == true && holds(&audit)
        });
    };
    audited(&full, &|audit| audit["database"]["pending_payment"] == 5);

    // The relay is the gateway's: without it the log hears of nothing more.
    full.gateways[0].0.kill_now();
    full.redis.kill();
    let (kept, now) = (full.data.path().join("kept"), full.redis.dir().join("appendonlydir"));
    copy_files(&now, &kept);
    full.redis.resume();
    let decide = |order: usize, user: i64, pays: bool| {
        let (order, token) = (&orders[order], token(user));
        if pays {
            return walk::pay(&full.shop, order, &token);
        }
        let path = format!("{}/api/v1/orders/{order}/cancel", full.shop.order_core);
        assert_eq!(call("POST", &path, Some(&token), &Value::Null).0, 200);
    };
    let ledger = |held: u64, sold: u64| {
        until("the ledger has carried it out", || {
            full.redis.ask(&["HMGET", &format!("mall:{{{activity}.0}}:ledger"), "held", "sold"])
                == format!("{held}\n{sold}\n")
        });
    };
    decide(0, 1, true);
    decide(1, 2, false);
    ledger(3, 1);
    // Once a later command is carried out, the keeper has put the first ones behind it.
    decide(2, 3, true);
    ledger(2, 2);
    decide(3, 4, false);
    ledger(1, 2);

    full.redis.kill();
    std::fs::remove_dir_all(&now).unwrap();
    copy_files(&kept, &now);
    full.redis.resume();
    full.restart_gateway();
    audited(&full, &|audit| audit["sold"] == 2 && audit["held"] == 1 && audit["available"] == 7);
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Cuts the end off the append-only file.
fn forget_the_last(redis: &Redis, bytes: u64) {
    let directory = redis.dir().join("appendonlydir");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".incr.aof"));
    files.sort();
    let file = std::fs::OpenOptions::new().write(true).open(files.last().unwrap()).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(bytes)).unwrap();
}
