//! One of two gateways dies behind nginx in mid-sale.

use std::sync::PoisonError;

use super::{Crowd, Full, SHOPPERS, TURN, sells};
use crate::{assert_sound, process::until};

const STOCK: u64 = 600;
/// Orders before the gateway dies.
const BEFORE: usize = 150;

#[test]
fn nobody_notices_that_a_gateway_dies() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(full) = Full::start(2) else { return };
    let Some(front) = full.front() else { return };
    let activity = full.shop.sale(STOCK);
    until("every gateway sells", || full.gateways.iter().all(|(_, place)| sells(place, &activity)));
    // Each shopper asks once, with a key. Whatever is not a decision of the mall would be a panic or a second try.
    let crowd = Crowd::start_at(&full.shop, &[format!("http://{}", front.address())], &activity);
    crowd.wait_for(BEFORE);
    full.gateways[0].0.kill_now();
    crowd.wait_for(2 * BEFORE);
    let told = crowd.end();

    let (broken, unavailable) = (&told.broken, &told.unavailable);
    assert_eq!(
        broken.load(std::sync::atomic::Ordering::SeqCst),
        0,
        "no answer, {unavailable:?} unavailable: {}",
        front.errors()
    );
    let orders = told.orders.lock().unwrap();
    let distinct: std::collections::BTreeSet<&String> = orders.values().collect();
    assert_eq!((orders.len() as u64, distinct.len()), (STOCK, orders.len()), "units, and orders of their own");
    assert!(i64::try_from(orders.len()).unwrap() > SHOPPERS);
    until("every order is written", || full.shop.try_audit(&activity).1["database"]["pending_payment"] == STOCK);
    let audit = assert_sound(&full.shop, &activity);
    assert_eq!((&audit["held"], &audit["available"]), (&STOCK.into(), &0.into()), "{audit}");
}
