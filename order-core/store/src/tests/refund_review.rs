//! Refunds as staff see and decide them, and orders that cost nothing.

use std::collections::BTreeMap;

use contract::Cents;
use domain::{
    RefundStore as _,
    conformance::Fixture as _,
    order_state::{Fulfilment, OrderState},
};

use super::{
    Place,
    parts::{paid, units},
    shop::{asks, buyer, place_one, stock},
};
use crate::*;

super::cases! {
    a_decision_names_its_request => bound_decisions,
    a_parked_refund_is_tried_again_when_an_admin_says_so => retries,
    an_order_that_cost_nothing_is_refunded => free_refunds,
    orders_that_cost_nothing_are_bounded => free_bounds,
}

const FIRST: Page = Page { before: i64::MAX, limit: 100 };
const APPROVE: Decision = Decision::Approve { restock: true };

async fn bound_decisions(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let order = paid(&store, ada, 5).await;
    let ask = async |of: &RefundOf, reason: &str| {
        let asked = store.money().ask_refund_of((ada.0, order.id), of, reason, 8).await.unwrap();
        let AskedRefund::Asked(refund) = asked else { panic!("{asked:?}") };
        refund
    };
    let first = ask(&units(1), "one is broken").await;
    let shown = store.orders().staff_order(order.id).await.unwrap().unwrap().request.unwrap();
    assert_eq!((shown.id, shown.amount, shown.reason.as_str()), (first, Cents::new(100), "one is broken"));
    assert_eq!(shown.lines, BTreeMap::from([(1, 1)]));
    assert_eq!((shown.status.as_str(), shown.created_at_ms, shown.method.as_str()), ("requested", 8, "mock"));
    store.money().decide_refund_as((order.id, Some(first)), Decision::Refuse, 9).await.unwrap();
    assert_eq!(store.orders().staff_order(order.id).await.unwrap().unwrap().request, None);

    // A member of staff who still has the first request on the screen approves nothing.
    let second = ask(&RefundOf::Rest, "all of it").await;
    let stale = store.money().decide_refund_as((order.id, Some(first)), APPROVE, 10).await.unwrap();
    assert_eq!(stale, Moved::OtherRefund(second));
    assert_eq!(store.due_refunds(&["mock"], 10).await.unwrap(), []);
    let refunding = Moved::To(OrderState::Refunding(Fulfilment::Paid));
    assert_eq!(store.money().decide_refund_as((order.id, Some(second)), APPROVE, 10).await.unwrap(), refunding);
    let listed = store.money().refunds(None, FIRST).await.unwrap().items;
    let listed: Vec<_> = listed.iter().map(|refund| (refund.id, refund.status.as_str())).collect();
    assert_eq!(listed, [(second, "approved"), (first, "refused")]);
}

async fn retries(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let order = paid(&store, ada, 2).await;
    store.money().ask_refund((ada.0, order.id), "", 8).await.unwrap();
    assert_eq!(store.money().retry_refund(contract::RefundId::from_i64(1).unwrap(), 9).await.unwrap(), None);
    store.money().decide_refund(order.id, true, 9).await.unwrap();
    let due = store.due_refunds(&["mock"], 10).await.unwrap().remove(0);
    assert_eq!(store.parked_refunds().await.unwrap(), 0);
    store.refund_failed(&due, "no right to refund", None).await.unwrap();
    assert_eq!((store.parked_refunds().await.unwrap(), store.due_refunds(&["mock"], 10).await.unwrap().len()), (1, 0));
    let parked = store.money().refunds(Some("parked"), FIRST).await.unwrap().items;
    assert_eq!((parked.len(), parked[0].tries, parked[0].last_error.as_deref()), (1, 1, Some("no right to refund")));

    let retried = store.money().retry_refund(due.refund, 50).await.unwrap().unwrap();
    assert_eq!((retried.status.as_str(), retried.tries, retried.next_try_at_ms), ("approved", 0, 50));
    let again = store.due_refunds(&["mock"], 10).await.unwrap().remove(0);
    assert_eq!((again.refund, again.tries, again.next_try_at_ms), (due.refund, 0, 50));
    store.refund_done(&again, 51).await.unwrap();
    assert_eq!(store.orders().order(ada.0, order.id).await.unwrap().unwrap().state, OrderState::Refunded);
    assert_eq!(store.money().retry_refund(due.refund, 52).await.unwrap().unwrap().status, "done", "it stays done");
    assert_eq!(store.due_refunds(&["mock"], 10).await.unwrap(), []);
}

async fn free_refunds(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    sqlx::query("UPDATE skus SET price_cents = 0 WHERE id = 7").execute(store.writers()).await.unwrap();
    let order = place_one(&store, &asks(ada, 3, None)).await;
    assert_eq!(stock(&store).await, 97);
    let ask = async |of: &RefundOf| store.money().ask_refund_of((ada.0, order.id), of, "", 8).await.unwrap();
    assert_eq!(ask(&units(1)).await, AskedRefund::TooMuch(Cents::new(0)), "only the whole order goes back");
    assert!(matches!(ask(&RefundOf::Rest).await, AskedRefund::Asked(_)));
    let paid = OrderState::Bought(Fulfilment::Paid);
    assert_eq!(store.money().decide_refund(order.id, false, 9).await.unwrap(), Moved::To(paid));
    assert!(matches!(ask(&RefundOf::Rest).await, AskedRefund::Asked(_)));
    assert_eq!(store.money().decide_refund(order.id, true, 9).await.unwrap(), Moved::To(OrderState::Refunded));
    assert_eq!(store.orders().order(ada.0, order.id).await.unwrap().unwrap().state, OrderState::Refunded);
    assert_eq!((stock(&store).await, store.money().refunds_not_by(&[]).await.unwrap()), (100, 0));
}

async fn free_bounds(place: &Place) {
    let mut store = place.fresh().await;
    (store.settings.unpaid_max, store.settings.unpaid_units_max) = (2, 10);
    let ada = buyer(&store, "ada").await;
    let price = async |cents: i64| {
        let query = sqlx::query("UPDATE skus SET price_cents = ? WHERE id = 7").bind(cents);
        query.execute(store.writers()).await.unwrap();
    };
    let order = async |units| store.orders().place_order(&asks(ada, units, None), 5).await.unwrap();
    price(0).await;
    let Placed::Placed(first) = order(6).await else { panic!("the first order is refused") };
    assert_eq!(order(5).await, Placed::TooManyUnpaidUnits(10));
    assert!(matches!(order(1).await, Placed::Placed(_)));
    assert_eq!(order(1).await, Placed::TooManyUnpaid(2));
    price(100).await;
    assert!(matches!(order(1).await, Placed::Placed(_)), "what is paid for is not bounded by what was free");
    price(0).await;
    store.orders().ship(first.id, "{}", 6).await.unwrap();
    assert!(matches!(order(1).await, Placed::Placed(_)), "an order that was sent makes room");
}
