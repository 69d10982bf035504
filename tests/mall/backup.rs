//! A copy that is made during a sale, and the mall that is started on it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::{
    assert_sound,
    process::{Mall, agent, command, until},
    shop, walk,
};

/// Copies what is in `data` to `to`; the exit code and what it says.
fn back_up(data: &Path, to: &Path) -> (i32, String) {
    let output = command(data, &[]).arg("backup").arg(to).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// Makes copying `file` take so long that a sale moves on meanwhile.
fn pad(file: &Path) {
    let db = rusqlite::Connection::open(file).unwrap();
    db.execute_batch("CREATE TABLE filler (bytes BLOB); INSERT INTO filler VALUES (zeroblob(200000000))").unwrap();
}

#[test]
fn a_mall_that_is_restored_has_every_order_and_sells_on() {
    let (data, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = copies.path().join("copy");
    let (code, said) = back_up(data.path(), &copy);
    assert!(code == 1 && said.contains("there is no log"), "{code}: {said}");
    for file in ["mall.db", "log.db"] {
        pad(&data.path().join(file));
    }
    // Orders of before the copy are closed while it is made.
    let unpaid = [("MALL_ORDERS__PAY_WITHIN_MS", "1500")];
    let mall = Arc::new(Mall::start(data.path(), &unpaid));
    let activity = mall.sale(100_000);
    let (next_user, paying) = (Arc::new(AtomicI64::new(2)), 1);
    let (status, paid) = mall.buy(&agent(), &activity, paying, "k1").unwrap();
    assert_eq!(status, 202, "{paid}");
    let paid = paid["order_id"].as_str().unwrap().to_owned();
    until("the order is written", || mall.order(&paid, paying).0 == 200);
    walk::pay(&mall, &paid, &crate::process::token(paying));
    until("the order is paid", || mall.order(&paid, paying).1["status"] == "paid");

    // Orders of before the copy, and a sale that goes on while it is made.
    let shopping = |enough: &Arc<AtomicBool>| {
        let (mall, activity, next_user, enough) = (mall.clone(), activity.clone(), next_user.clone(), enough.clone());
        std::thread::spawn(move || shop(&mall, &activity, &next_user, &enough))
    };
    let enough = Arc::new(AtomicBool::new(false));
    let before = shopping(&enough);
    std::thread::sleep(Duration::from_millis(500));
    enough.store(true, Ordering::Relaxed);
    let before = before.join().unwrap();
    let enough = Arc::new(AtomicBool::new(false));
    let during = shopping(&enough);
    std::thread::sleep(Duration::from_millis(200));
    let (code, said) = back_up(data.path(), &copy);
    assert!(code == 0 && said.contains("is copied to"), "{code}: {said}");
    enough.store(true, Ordering::Relaxed);
    assert!(!during.join().unwrap().is_empty(), "nobody bought while the copy was made");
    let (code, said) = back_up(data.path(), &copy);
    assert!(code == 1 && said.contains("a backup needs a new directory"), "{code}: {said}");
    mall.kill_now();

    let restored = Mall::start(&copy, &unpaid);
    for (user, order) in &before {
        until("an order of before the copy is there", || restored.order(order, *user).0 == 200);
    }
    assert_eq!(restored.order(&paid, paying).1["status"], "paid");
    // Also those whose time was over when the database was copied already and the log was not.
    until("every unpaid order is closed", || {
        let (_, audit) = restored.try_audit(&activity);
        audit["ok"] == true && audit["database"]["pending_payment"] == 0
    });
    let audit = assert_sound(&restored, &activity);
    assert!(audit["database"]["closed"].as_u64().unwrap() >= before.len() as u64, "{audit}");
    let (status, next) = restored.buy(&agent(), &activity, 1_000_000, "new").unwrap();
    assert_eq!(status, 202, "{next}");
    let next = next["order_id"].as_str().unwrap();
    until("a new order is written", || restored.order(next, 1_000_000).0 == 200);
    assert_sound(&restored, &activity);
}
