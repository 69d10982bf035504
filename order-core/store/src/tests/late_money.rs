//! Money that comes after its order was closed: when it buys again, and when it goes back.

use contract::{Cents, OrderId, ProductId, SkuId};
use domain::{
    SaleStore as _,
    conformance::{Fixture as _, NOW_MS, activity},
    order_state::{Happening, OrderState},
};

use super::{
    Place,
    shop::{Buyer, asks, buyer, place_one, stock},
};
use crate::*;

super::cases! {
    money_comes_too_late_for_what_has_changed => changes,
    money_comes_too_late_for_good => bound,
    late_money_buys_no_units_of_a_sale => of_a_sale,
}

/// What happens between an order and its money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    Cancelled,
    PriceUp,
    PriceDown,
    Unshelved,
    Blocked,
}

async fn closed_unpaid(store: &Store, buyer: Buyer) -> (Order, Payment) {
    let order = place_one(store, &asks(buyer, 2, None)).await;
    let begun = store.money().begin_payment((buyer.0, order.id), "mock", 6).await.unwrap();
    let Begun::Begun(payment) = begun else { panic!("{begun:?}") };
    (order, payment)
}

async fn comes(store: &Store, payment: &Payment, now_ms: u64) -> Arrived {
    let trade_no = format!("t{}", payment.id);
    let notice = Notice { method: "mock", payment: payment.id, trade_no, amount: payment.amount };
    store.money().payment_arrived(&notice, now_ms).await.unwrap()
}

async fn set_price(store: &Store, cents: i64) {
    let sku = SkuId::from_i64(7).unwrap();
    let version = store.catalogue().sku(sku).await.unwrap().unwrap().version;
    let patch = SkuPatch { price_cents: Some(Cents::new(cents)), ..SkuPatch::default() };
    assert!(matches!(store.catalogue().patch_sku(sku, version, patch).await.unwrap(), Changed::Done(_)));
}

async fn closes(store: &Store, order: OrderId, now_ms: u64) {
    assert_eq!(store.close_unpaid(&[order], now_ms).await.unwrap(), 1);
}

async fn changes(place: &Place) {
    let store = place.fresh().await;
    let product = ProductId::from_i64(1).unwrap();
    for (number, between) in [
        Between::Nothing,
        Between::Cancelled,
        Between::PriceUp,
        Between::PriceDown,
        Between::Unshelved,
        Between::Blocked,
    ]
    .into_iter()
    .enumerate()
    {
        let ada = buyer(&store, &format!("ada{number}")).await;
        let (order, payment) = closed_unpaid(&store, ada).await;
        let now_ms = order.expires_at_ms;
        if between == Between::Cancelled {
            store.orders().move_order(order.id, Some(ada.0), Happening::Close, now_ms).await.unwrap();
        } else {
            closes(&store, order.id, now_ms).await;
        }
        match between {
            Between::Nothing | Between::Cancelled => {}
            Between::PriceUp => set_price(&store, 101).await,
            Between::PriceDown => set_price(&store, 99).await,
            Between::Unshelved => drop(store.catalogue().shelve(product, false).await.unwrap()),
            Between::Blocked => drop(store.accounts().block_user(ada.0, true, now_ms).await.unwrap()),
        }
        let before = stock(&store).await;
        let arrived = comes(&store, &payment, now_ms + 1).await;
        if between == Between::Nothing {
            assert!(matches!(arrived, Arrived::HeldAgain(_)), "{arrived:?}");
            assert_eq!(stock(&store).await, before - 2);
        } else {
            assert!(matches!(arrived, Arrived::GoesBack(_)), "{between:?}: {arrived:?}");
            assert_eq!(stock(&store).await, before, "{between:?}");
        }
        assert_eq!(store.orders().order(ada.0, order.id).await.unwrap().unwrap().state, OrderState::Closed);
        set_price(&store, 100).await;
        store.catalogue().shelve(product, true).await.unwrap();
    }
}

/// The bound counts from the moment at which the order was closed.
async fn bound(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    for (late_ms, is_held) in [(600_000, true), (600_001, false)] {
        let (order, payment) = closed_unpaid(&store, ada).await;
        let closed_at_ms = order.expires_at_ms + 5_000;
        closes(&store, order.id, closed_at_ms).await;
        let arrived = comes(&store, &payment, closed_at_ms + late_ms).await;
        assert_eq!(matches!(arrived, Arrived::HeldAgain(_)), is_held, "{late_ms}: {arrived:?}");
    }
}

/// Units of a sale belong to the next buyer. Those in the stock of the SKU are the shop's, at its price.
async fn of_a_sale(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    place.put_activity(&store, &activity(1, 100)).await;
    let (id, rules) = (activity(1, 100).id, activity(1, 100).rules);
    let (mut ledger, opened) = contract::stock::Ledger::open(id, 10, rules, NOW_MS);
    let mut journal = vec![opened];
    let order = OrderId::from_i64(901).unwrap();
    let asked = contract::stock::Reservation { order, user: ada.0, request: None, quantity: 1 };
    ledger.apply(contract::stock::Command::Reserve(asked), NOW_MS, &mut journal);
    store.take_in(&domain::Line::in_order(&journal), NOW_MS).await.unwrap();
    let begun = store.money().begin_payment((ada.0, order), "mock", NOW_MS).await.unwrap();
    let Begun::Begun(payment) = begun else { panic!("{begun:?}") };
    closes(&store, order, payment.expires_at_ms).await;
    let before = stock(&store).await;
    let arrived = comes(&store, &payment, payment.expires_at_ms + 1).await;
    assert!(matches!(arrived, Arrived::GoesBack(_)), "{arrived:?}");
    assert_eq!(stock(&store).await, before);
}
