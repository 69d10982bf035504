//! The history of an order.

use contract::{Cents, OrderId};
use domain::conformance::Fixture as _;

use super::{
    Place,
    shop::{asks, buyer, place_one},
};
use crate::*;

super::cases! {
    an_order_has_its_history => history,
}

async fn history(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let order = place_one(&store, &asks(ada, 3, None)).await;
    let begun = store.money().begin_payment((ada.0, order.id), "mock", 6).await.unwrap();
    let Begun::Begun(payment) = begun else { panic!("{begun:?}") };
    let trade_no = payment.id.to_string();
    let notice = Notice { method: "mock", payment: payment.id, trade_no, amount: payment.amount };
    assert_eq!(store.money().payment_arrived(&notice, 7).await.unwrap(), Arrived::Paid);
    store.money().ask_refund_of((ada.0, order.id), &RefundOf::Amount(Cents::new(50)), "", 8).await.unwrap();
    let seen = store.orders().order_history(order.id).await.unwrap();
    let whole = Cents::new(300);
    let expect = [
        (order.created_at_ms, OrderHappening::Ordered),
        (6, OrderHappening::PaymentBegun(whole)),
        (7, OrderHappening::Paid(whole)),
        (8, OrderHappening::Refund(Cents::new(50), "requested".to_owned())),
    ];
    assert_eq!(seen, expect.map(|(at_ms, what)| OrderEvent { at_ms, what }));
    assert_eq!(store.orders().order_history(OrderId::from_i64(999_999).unwrap()).await.unwrap(), []);
}
