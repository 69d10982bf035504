//! Refunds of parts of an order.

use std::collections::BTreeMap;

use contract::Cents;
use domain::{
    RefundStore as _,
    conformance::Fixture as _,
    order_state::{Fulfilment, OrderState},
};

use super::{
    Place,
    shop::{Buyer, asks, buyer, place_one, stock},
};
use crate::*;

super::cases! {
    parts_of_an_order_go_back_one_after_the_other => several,
    no_more_goes_back_than_there_is => limits,
    an_order_without_units_is_not_shipped => nothing_left,
    what_was_shipped_does_not_return_to_the_stock => shipped,
}

const PAID: OrderState = OrderState::Bought(Fulfilment::Paid);

/// A paid order of `units` at 100 cents.
pub(super) async fn paid(store: &Store, buyer: Buyer, units: u32) -> Order {
    let order = place_one(store, &asks(buyer, units, None)).await;
    let begun = store.money().begin_payment((buyer.0, order.id), "mock", 6).await.unwrap();
    let Begun::Begun(payment) = begun else { panic!("{begun:?}") };
    let trade_no = payment.id.to_string();
    let notice = Notice { method: "mock", payment: payment.id, trade_no, amount: payment.amount };
    assert_eq!(store.money().payment_arrived(&notice, 7).await.unwrap(), Arrived::Paid);
    order
}

pub(super) fn units(quantity: u32) -> RefundOf {
    RefundOf::Lines(BTreeMap::from([(1, quantity)]), None)
}

/// Asks, approves and sends; what the platform was to send.
async fn refunds(store: &Store, (buyer, order): (Buyer, &Order), of: &RefundOf, restock: bool) -> Cents {
    let asked = store.money().ask_refund_of((buyer.0, order.id), of, "", 8).await.unwrap();
    assert!(matches!(asked, AskedRefund::Asked(_)), "{asked:?}");
    let second = store.money().ask_refund_of((buyer.0, order.id), of, "", 8).await.unwrap();
    assert!(matches!(second, AskedRefund::Refused(OrderState::Refunding(_))), "one request at a time: {second:?}");
    store.money().decide_refund_as((order.id, None), Decision::Approve { restock }, 9).await.unwrap();
    let due = store.due_refunds(&["mock"], 10).await.unwrap();
    assert_eq!(due.len(), 1);
    for _ in 0..2 {
        store.refund_done(&due[0], 10).await.unwrap();
    }
    due[0].amount
}

async fn stands(store: &Store, buyer: Buyer, order: &Order) -> (OrderState, i64, u32) {
    let order = store.orders().order(buyer.0, order.id).await.unwrap().unwrap();
    (order.state, order.refunded.get(), order.lines[0].refunded)
}

async fn several(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let order = paid(&store, ada, 10).await;
    assert_eq!(refunds(&store, (ada, &order), &units(3), true).await, Cents::new(300));
    assert_eq!((stands(&store, ada, &order).await, stock(&store).await), ((PAID, 300, 3), 93));
    assert_eq!(refunds(&store, (ada, &order), &units(2), false).await, Cents::new(200));
    assert_eq!((stands(&store, ada, &order).await, stock(&store).await), ((PAID, 500, 5), 93));
    assert_eq!(refunds(&store, (ada, &order), &RefundOf::Amount(Cents::new(50)), true).await, Cents::new(50));
    assert_eq!((stands(&store, ada, &order).await, stock(&store).await), ((PAID, 550, 5), 93));
    assert_eq!(refunds(&store, (ada, &order), &RefundOf::Rest, true).await, Cents::new(450));
    let refunded = (OrderState::Refunded, 1000, 10);
    assert_eq!((stands(&store, ada, &order).await, stock(&store).await), (refunded, 98));
}

async fn nothing_left(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let order = paid(&store, ada, 2).await;
    let all_units_for_less = RefundOf::Lines(BTreeMap::from([(1, 2)]), Some(Cents::new(199)));
    assert_eq!(refunds(&store, (ada, &order), &all_units_for_less, true).await, Cents::new(199));
    assert_eq!(stands(&store, ada, &order).await, (PAID, 199, 2));
    assert_eq!(store.orders().ship(order.id, "{}", 11).await.unwrap(), Moved::Refused(PAID));
}

async fn limits(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let order = paid(&store, ada, 4).await;
    refunds(&store, (ada, &order), &units(1), true).await;
    let ask = async |of: RefundOf| store.money().ask_refund_of((ada.0, order.id), &of, "", 8).await.unwrap();
    let of_line = |line_no, quantity, amount| RefundOf::Lines(BTreeMap::from([(line_no, quantity)]), amount);
    assert_eq!(ask(units(4)).await, AskedRefund::TooManyUnits { line_no: 1, left: 3 });
    assert_eq!(ask(units(0)).await, AskedRefund::TooManyUnits { line_no: 1, left: 3 });
    assert_eq!(ask(of_line(2, 1, None)).await, AskedRefund::TooManyUnits { line_no: 2, left: 0 });
    assert_eq!(ask(of_line(1, 1, Some(Cents::new(101)))).await, AskedRefund::TooMuch(Cents::new(100)));
    for amount in [-1, 0, 301, i64::MAX] {
        assert_eq!(ask(RefundOf::Amount(Cents::new(amount))).await, AskedRefund::TooMuch(Cents::new(300)));
    }
    assert_eq!(stands(&store, ada, &order).await, (PAID, 100, 1));
}

async fn shipped(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let order = paid(&store, ada, 4).await;
    store.orders().ship(order.id, "{}", 8).await.unwrap();
    refunds(&store, (ada, &order), &units(1), true).await;
    let shipped = OrderState::Bought(Fulfilment::Shipped);
    assert_eq!((stands(&store, ada, &order).await, stock(&store).await), ((shipped, 100, 1), 96));
    refunds(&store, (ada, &order), &RefundOf::Rest, true).await;
    assert_eq!((stands(&store, ada, &order).await, stock(&store).await), ((OrderState::Refunded, 400, 4), 96));
}
