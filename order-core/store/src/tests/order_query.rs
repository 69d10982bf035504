//! The filters of the list of orders for staff.

use contract::{
    ActivityId, OrderId, UserId,
    activity::Rules,
    snowflake::first_at_ms,
    stock::{Command, Ledger, Reservation},
};
use domain::{
    Line, SaleStore as _,
    conformance::{Fixture as _, NOW_MS, activity},
};

use super::{Place, shop::buyer};
use crate::*;

super::cases! {
    orders_are_found_by_sale_telephone_and_time => filters,
}

const HOUR_MS: u64 = 3_600_000;

/// Takes an order of a sale in that was asked for at `asked_ms` and held at `held_ms`.
async fn held(
    store: &Store,
    ledger: &mut Ledger,
    user: UserId,
    (asked_ms, held_ms): (u64, u64),
    offset: u64,
) -> OrderId {
    let order = OrderId::from_i64(first_at_ms(asked_ms) + i64::try_from(offset).unwrap()).unwrap();
    let mut entries = Vec::new();
    ledger.apply(Command::Reserve(Reservation { order, user, request: None, quantity: 1 }), held_ms, &mut entries);
    store.take_in(&[Line { offset, entry: entries[0] }], held_ms).await.unwrap();
    order
}

async fn filters(place: &Place) {
    let store = place.fresh().await;
    let (ada, bob) = (buyer(&store, "ada").await.0, buyer(&store, "bob").await.0);
    for id in [1001, 1002] {
        place.put_activity(&store, &activity(id, 100)).await;
    }
    store.accounts().set_phone(ada, Some("13800138000")).await.unwrap();
    let rules = Rules { per_user_limit: 9, starts_at_ms: NOW_MS, ends_at_ms: NOW_MS + 100 * HOUR_MS };
    let [(first_id, mut first), (second_id, mut second)] = [1001, 1002].map(|id| {
        let id = ActivityId::from_i64(id).unwrap();
        (id, Ledger::open(id, 10, rules, NOW_MS))
    });
    for (offset, (_, opened)) in (0..).zip([&first, &second]) {
        store.take_in(&[Line { offset, entry: *opened }], NOW_MS).await.unwrap();
    }
    let later_ms = NOW_MS + 2 * HOUR_MS;
    let a = held(&store, &mut first.0, ada, (NOW_MS, NOW_MS), 10).await;
    let b = held(&store, &mut first.0, bob, (NOW_MS + HOUR_MS, NOW_MS + HOUR_MS), 11).await;
    let c = held(&store, &mut second.0, ada, (later_ms, later_ms), 12).await;
    // A recovery made it an order hours after a gateway had promised it.
    let promised = held(&store, &mut first.0, bob, (NOW_MS, later_ms), 13).await;

    let all = OrderQuery::default();
    let phone = Some("13800138000".to_owned());
    let (of_first, of_second) = (Some(first_id), Some(second_id));
    for (which, expect) in [
        (all.clone(), vec![c, b, promised, a]),
        (OrderQuery { phone: phone.clone(), ..all.clone() }, vec![c, a]),
        (OrderQuery { phone: Some("1380013800".to_owned()), ..all.clone() }, vec![]),
        (OrderQuery { activity: of_first, ..all.clone() }, vec![b, promised, a]),
        (OrderQuery { activity: of_second, ..all.clone() }, vec![c]),
        (OrderQuery { activity: ActivityId::from_i64(1003), ..all.clone() }, vec![]),
        (OrderQuery { since_ms: Some(NOW_MS + 1), ..all.clone() }, vec![c, b, promised]),
        (OrderQuery { until_ms: Some(later_ms), ..all.clone() }, vec![b, a]),
        (OrderQuery { since_ms: Some(NOW_MS + HOUR_MS), until_ms: Some(later_ms), ..all.clone() }, vec![b]),
        (OrderQuery { activity: of_first, since_ms: Some(later_ms), ..all.clone() }, vec![promised]),
        (OrderQuery { activity: of_first, phone, status: Some("pending_payment".to_owned()), ..all.clone() }, vec![a]),
        (OrderQuery { activity: of_first, user: Some(ada), ..all.clone() }, vec![a]),
        (OrderQuery { activity: of_first, status: Some("paid".to_owned()), ..all.clone() }, vec![]),
        (OrderQuery { since_ms: Some(u64::MAX >> 1), until_ms: Some(0), ..all }, vec![]),
    ] {
        // A page of one order at a time finds the same ones.
        let (mut found, mut before) = (Vec::new(), i64::MAX);
        loop {
            let listed = store.orders().staff_orders(&which, Page { before, limit: 1 }).await.unwrap();
            found.extend(listed.items.iter().map(|order| order.order.id));
            let Some(next) = listed.next else { break };
            before = next;
        }
        assert_eq!(found, expect, "{which:?}");
    }
}
