//! Two order-cores at once, of which one is paused in mid-sale for longer than its leases last.

use std::{
    collections::BTreeSet,
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use serde_json::Value;

use super::{Crowd, Full, ROUND, TURN, free_address, sells};
use crate::{
    assert_sound,
    process::{Process, agent, get, until},
};

const STOCK: u64 = 6_000;
/// Longer than a lease lasts without its holder, by far.
const PAUSED: Duration = Duration::from_secs(15);
/// A late append has landed by then, and the newest rows were sent once more.
const REPAIRED: Duration = Duration::from_secs(60);

/// The first process on the database has all leases. It is paused, Redis restarts, the sale changes its title twice, and it
/// continues.
#[test]
fn one_of_two_order_cores_is_paused() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut full) = Full::start(2) else { return };
    let (second, [place]) = full.role("order-core", &[("MALL_ORDER_CORE__LISTEN", &free_address())]);
    let activity = full.shop.sale(STOCK);
    until("every gateway sells", || full.gateways.iter().all(|(_, place)| sells(place, &activity)));
    let crowd = Crowd::start(&full, &activity);
    crowd.wait_for(ROUND);
    let before = (full.holder("outbox-relay"), full.holder("ledger-fence"));
    assert_eq!((&*before.0.1, &*before.1.1), ("1", "1"), "one process has had the leases since its start");

    let first = full.order_core.take().unwrap();
    first.signal("STOP");
    full.redis.kill();
    full.redis.resume();
    std::thread::sleep(PAUSED);
    // Only the second process can have recovered the ledger and can tell the gateways.
    let accepted = crowd.told.accepted();
    crowd.wait_for(accepted + ROUND);
    full.shop.admin_post(&format!("/activities/{activity}/pause"), Value::Null);
    until("every gateway has paused", || full.gateways.iter().all(|(_, place)| !sells(place, &activity)));
    first.signal("CONT");
    full.shop.admin_post(&format!("/activities/{activity}/resume"), Value::Null);
    until("every gateway sells again", || full.gateways.iter().all(|(_, place)| sells(place, &activity)));
    let after = (full.holder("outbox-relay"), full.holder("ledger-fence"));
    assert_eq!((&*after.0.1, &*after.1.1), ("2", "2"), "the leases have passed on once, and stay where they are");
    assert!(after.0.0 != before.0.0 && after.1.0 != before.1.0);

    let accepted = crowd.told.accepted();
    crowd.wait_for(accepted + ROUND);
    let told = crowd.end();
    let orders = told.orders.lock().unwrap();
    let distinct: BTreeSet<&String> = orders.values().collect();
    assert_eq!((orders.len() as u64, distinct.len()), (STOCK, orders.len()), "units, and orders of their own");
    until("every order is written", || {
        let (_, audit) = full.shop.try_audit(&activity);
        audit["ok"] == true && audit["database"]["pending_payment"] == STOCK
    });
    let audit = assert_sound(&full.shop, &activity);
    assert_eq!((&audit["held"], &audit["available"]), (&STOCK.into(), &0.into()), "{audit}");
    for (user, order) in orders.iter().step_by(orders.len() / 50) {
        let (status, again) = full.shop.buy(&agent(), &activity, *user, &format!("k{user}")).unwrap();
        assert_eq!((status, again["order_id"].as_str()), (202, Some(order.as_str())), "the first answer");
    }
    for place in [&full.shop.order_core, &place] {
        until("it is ready", || get(&format!("{place}/readyz"), None).0 == 200);
    }
    full.order_core = Some(first);
    ends_in_order(second);
    // A gateway that starts now sees the last record of the topic alone.
    std::thread::sleep(REPAIRED);
    full.restart_gateway();
    let (_, shown) = get(&format!("{}/api/v1/seckill/activities/{activity}", full.gateways[0].1), None);
    assert_ne!(shown["state"], "paused", "{shown}");
    assert!(told.unavailable.load(Ordering::SeqCst) > 0, "nothing was sold while no ledger was open");
}

impl Full {
    /// Who holds a lease, and its fencing number.
    fn holder(&self, name: &str) -> (String, String) {
        let query = format!("SELECT holder, fencing_number FROM {}.leases WHERE name = '{name}'", self.schema());
        let row = self.mariadb.ask(&query);
        let (holder, number) = row.trim().split_once('\t').unwrap();
        (holder.to_owned(), number.to_owned())
    }
}

fn ends_in_order(process: Process) {
    assert!(process.stop().success());
}
