//! Two order-cores with one Elasticsearch: what rebuilds the index is killed, and the one that follows the log.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use serde_json::{Value, json};

use super::{Full, TURN, free_address};
use crate::{
    process::{Process, Shop, agent, call, until},
    search,
};

/// More than are changed while an index is built, so that a change that is lost is not repeated by a later one.
const PRODUCTS: usize = 400;
/// Changes before and after each kill.
const CHANGES: usize = 40;
const ALIAS: &str = "mall-products";

/// A thread that raises the price of one SKU after another until it is stopped.
struct Changer {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Changer {
    fn start(shop: &Shop, products: &[(String, String)]) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), count.clone());
        let (admin, bearer) = (shop.admin.clone(), format!("Bearer {}", shop.admin_token()));
        let skus: Vec<String> = products.iter().map(|(_, sku)| sku.clone()).collect();
        let thread = std::thread::spawn(move || {
            let agent = agent();
            for sku in skus.iter().cycle() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let url = format!("{admin}/admin/api/v1/skus/{sku}");
                let found = agent.get(&url).header("Authorization", &bearer).call().unwrap();
                let version = found.headers()["etag"].to_str().unwrap().to_owned();
                let price = 1_000 + counted.load(Ordering::SeqCst);
                let request = agent.patch(&url).header("Authorization", &bearer).header("If-Match", version);
                assert_eq!(request.send_json(json!({ "price_cents": price })).unwrap().status(), 200);
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { stop, count, thread }
    }

    fn wait_for_more(&self) {
        let enough = self.count.load(Ordering::SeqCst) + CHANGES;
        until("products change", || self.count.load(Ordering::SeqCst) >= enough);
    }

    fn end(self) {
        self.wait_for_more();
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

/// Names of the indices there are, and which of them is searched.
fn indices(full: &Full) -> (Vec<String>, Option<String>) {
    let url = format!("{}/{ALIAS}-*/_alias", full.search.url());
    let (_, answer) = call("GET", &url, None, &Value::Null);
    let Some(indices) = answer.as_object() else { return (Vec::new(), None) };
    let is_searched = |index: &&String| indices[*index]["aliases"].get(ALIAS).is_some();
    (indices.keys().cloned().collect(), indices.keys().find(is_searched).cloned())
}

fn is_same(full: &Full) {
    let (code, text) = search::ended(full.command(), &["verify"]);
    assert!(code == 0 && text.contains("the index equals the database: "), "exit {code}: {text}");
}

fn order_core(full: &Full) -> Process {
    full.role("order-core", &[("MALL_ORDER_CORE__LISTEN", &free_address())]).0
}

fn rebuild(mut command: Command) -> std::process::Child {
    command.args(["search", "rebuild"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_process_that_rebuilds_the_index_may_die() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut full) = Full::start(1) else { return };
    let other = order_core(&full);
    let products = search::stocked(&full.shop, PRODUCTS);
    until("the index is built", || search::ended(full.command(), &["verify"]).0 == 0);

    // The command dies as soon as its index is searched; while it is built, the order-cores write to the old one.
    for _ in 0..2 {
        let (_, before) = indices(&full);
        let changer = Changer::start(&full.shop, &products);
        changer.wait_for_more();
        let mut command = rebuild(full.command());
        until("the new index is searched", || indices(&full).1.is_some_and(|index| Some(&index) != before.as_ref()));
        command.kill().unwrap();
        command.wait().unwrap();
        changer.end();
        is_same(&full);
    }

    // The command dies before.
    let (old, _) = indices(&full);
    let mut command = rebuild(full.command());
    until("another index is built", || indices(&full).0.len() > old.len());
    command.kill().unwrap();
    command.wait().unwrap();
    is_same(&full);

    // Both order-cores build an index for one that is gone, and one of them dies.
    let changer = Changer::start(&full.shop, &products);
    changer.wait_for_more();
    let (gone, searched) = indices(&full);
    let url = format!("{}/{}", full.search.url(), searched.unwrap());
    assert_eq!(call("DELETE", &url, None, &Value::Null).0, 200);
    until("another index is built", || indices(&full).0.iter().any(|index| !gone.contains(index)));
    full.order_core.take().unwrap().kill_now();
    changer.wait_for_more();
    until("an index is searched", || indices(&full).1.is_some());
    changer.end();
    is_same(&full);

    // The one that is left dies too, and a new one takes over.
    let changer = Changer::start(&full.shop, &products);
    changer.wait_for_more();
    let third = order_core(&full);
    changer.wait_for_more();
    other.kill_now();
    changer.wait_for_more();
    changer.end();
    is_same(&full);
    drop(third);
}
