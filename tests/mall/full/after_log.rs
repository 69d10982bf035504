//! `answer_after = log`: gateways and Redis are lost together, with all that the log did not have.

use std::{
    fs::OpenOptions,
    path::PathBuf,
    process::Command,
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use serde_json::json;

use super::{Crowd, Full, ROUND, TURN, sells};
use crate::{
    assert_sound,
    process::{agent, until},
};

const STOCK: u64 = 2_000;
/// The log takes nothing for this long before the loss.
const STALLED: Duration = Duration::from_secs(1);

/// The broker is paused, so what Redis decides from there on is on no log. Then both gateways and Redis die by kill -9, and
/// the append-only file loses what was written to it since.
#[test]
fn gateways_and_redis_are_lost_together() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut full) = Full::start(2) else { return };
    // What a test that can fail fails with: `script` loses orders here.
    let answer_after = std::env::var("MALL_TEST_ANSWER_AFTER").unwrap_or_else(|_| "log".to_owned());
    let activity = full.shop.sale_with(STOCK, &json!({ "answer_after": answer_after }));
    until("every gateway sells", || full.gateways.iter().all(|(_, place)| sells(place, &activity)));
    let crowd = Crowd::start(&full, &activity);
    crowd.wait_for(ROUND);

    let broker = full.kafka.id().unwrap();
    let signal = |name: &str| {
        let sent = Command::new("kill").args([format!("-{name}"), broker.to_string()]).status().unwrap();
        assert!(sent.success());
    };
    let file = append_only_file(&full);
    let kept = file.metadata().unwrap().len();
    signal("STOP");
    std::thread::sleep(STALLED);
    for (gateway, _) in &full.gateways {
        gateway.kill_now();
    }
    full.redis.kill();
    let cut = file.metadata().unwrap().len() - kept;
    assert!(cut > 0, "Redis decided nothing while the log was away");
    OpenOptions::new().write(true).open(&file).unwrap().set_len(kept).unwrap();
    signal("CONT");
    full.redis.resume();
    for _ in 0..2 {
        full.restart_gateway();
        full.gateways.rotate_left(1);
    }

    let accepted = crowd.told.accepted();
    crowd.wait_for(accepted + ROUND);
    let told = crowd.end();
    let orders = told.orders.lock().unwrap();
    until("every order is written", || {
        let (_, audit) = full.shop.try_audit(&activity);
        audit["ok"] == true && audit["database"]["pending_payment"] == STOCK
    });
    let lost = orders.iter().filter(|(user, order)| full.shop.order(order, **user).1["status"] != "pending_payment");
    assert_eq!(lost.count(), 0, "orders that were promised and do not exist, of {}", orders.len());
    assert_eq!(orders.len() as u64, STOCK);
    assert_sound(&full.shop, &activity);
    for (user, order) in orders.iter().step_by(orders.len() / 50) {
        let (status, again) = full.shop.buy(&agent(), &activity, *user, &format!("k{user}")).unwrap();
        assert_eq!((status, again["order_id"].as_str()), (202, Some(order.as_str())), "the first answer");
    }
    assert!(told.broken.load(Ordering::SeqCst) > 0, "nobody was cut off");
}

/// The file to which Redis appends.
fn append_only_file(full: &Full) -> PathBuf {
    let files = std::fs::read_dir(full.redis.dir().join("appendonlydir")).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    files.find(|file| file.to_string_lossy().ends_with(".incr.aof")).unwrap()
}
