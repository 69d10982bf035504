//! What an order and a sale may be: prices, totals and addresses.

use contract::{Cents, SkuId, activity::Rules};
use domain::{
    SaleStore as _,
    conformance::{Fixture as _, NOW_MS, activity},
    order_state::{Fulfilment, OrderState},
};

use super::{
    Place,
    shop::{asks, buyer, fields, place_one},
};
use crate::*;

super::cases! {
    unpaid_orders_are_bounded => unpaid_bounds,
    an_order_of_zero_is_paid_at_once => free_orders,
    a_sale_is_never_dearer_than_the_shop => sale_prices,
    an_order_of_a_sale_goes_to_the_default_address => sale_addresses,
    an_order_goes_where_its_buyer_says_until_it_is_sent => order_addresses,
    a_sale_may_have_a_time_to_pay_of_its_own => own_time_to_pay,
}

async fn unpaid_bounds(place: &Place) {
    let mut store = place.fresh().await;
    (store.settings.unpaid_max, store.settings.unpaid_units_max) = (2, 10);
    let (ada, bob) = (buyer(&store, "ada").await, buyer(&store, "bob").await);
    let order = |who, units| {
        let (store, asked) = (store.clone(), asks(who, units, None));
        async move { store.orders().place_order(&asked, 5).await.unwrap() }
    };
    assert_eq!(order(ada, 11).await, Placed::TooManyUnpaidUnits(10));
    let Placed::Placed(first) = order(ada, 6).await else { panic!("the first order is refused") };
    assert_eq!(order(ada, 5).await, Placed::TooManyUnpaidUnits(10));
    // Of orders that are placed at once, those beyond the limit are refused.
    let outcomes = futures_util::future::join_all((0..8).map(|_| order(ada, 1))).await;
    assert_eq!(outcomes.iter().filter(|placed| matches!(placed, Placed::Placed(_))).count(), 1, "{outcomes:?}");
    assert_eq!(order(ada, 1).await, Placed::TooManyUnpaid(2));
    assert!(matches!(order(bob, 10).await, Placed::Placed(_)), "another buyer has limits of their own");
    store.orders().move_order(first.id, Some(ada.0), domain::order_state::Happening::Close, 5).await.unwrap();
    assert!(matches!(order(ada, 6).await, Placed::Placed(_)), "a cancelled order makes room");
}

async fn free_orders(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    sqlx::query("UPDATE skus SET price_cents = 0 WHERE id = 7").execute(store.writers()).await.unwrap();
    let order = place_one(&store, &asks(ada, 2, None)).await;
    let paid = OrderState::Bought(Fulfilment::Paid);
    assert_eq!((order.total, order.state), (Cents::new(0), paid));
    assert_eq!(store.orders().order(ada.0, order.id).await.unwrap().unwrap().state, paid);
    assert_eq!(store.close_unpaid(&[order.id], order.expires_at_ms).await.unwrap(), 0);
}

async fn sale_prices(place: &Place) {
    let store = place.fresh().await;
    let rules = Rules { per_user_limit: 1, starts_at_ms: 1_000, ends_at_ms: 2_000 };
    let new = |cents| NewSale {
        title: "s".to_owned(),
        sku: SkuId::from_i64(7).unwrap(),
        price: Cents::new(cents),
        stock: 10,
        rules,
        admission: contract::activity::Admission::default(),
        pay_within_ms: None,
        is_draft: false,
    };
    let refused = store.sales().add_sale(new(101), 1).await.unwrap();
    assert!(!matches!(refused, AddedSale::Added(_)), "{refused:?}");
    let added = store.sales().add_sale(new(100), 1).await.unwrap();
    let AddedSale::Added(sale) = added else { panic!("{added:?}") };
    let patch = SalePatch { price: Some(Cents::new(101)), ..SalePatch::default() };
    let changed = store.sales().patch_sale(sale.activity.id, 1, patch, 1).await.unwrap();
    assert!(!matches!(changed, Changed::Done(_)), "{changed:?}");
}

async fn sale_addresses(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    place.put_activity(&store, &activity(1, 100)).await;
    let activity = activity(1, 100);
    let (mut ledger, opened) = contract::stock::Ledger::open(activity.id, 10, activity.rules, 5);
    let mut journal = vec![opened];
    let stranger = contract::UserId::from_i64(77).unwrap();
    let orders = [(901, ada.0), (902, stranger)].map(|(id, user)| (contract::OrderId::from_i64(id).unwrap(), user));
    for (order, user) in orders {
        let asked = contract::stock::Reservation { order, user, request: None, quantity: 1 };
        ledger.apply(contract::stock::Command::Reserve(asked), activity.rules.starts_at_ms + 1, &mut journal);
    }
    store.take_in(&domain::Line::in_order(&journal), 5).await.unwrap();
    let [with, without] = orders;
    let address = store.orders().order(with.1, with.0).await.unwrap().unwrap().address;
    assert_eq!(address.map(|address| address["detail"].clone()), Some("一号".into()));
    assert_eq!(store.orders().order(without.1, without.0).await.unwrap().unwrap().address, None, "no address is known");
    for ((order, _), expect) in
        [(with, Moved::To(OrderState::Bought(Fulfilment::Shipped))), (without, Moved::NoAddress)]
    {
        let paid = store.orders().move_order(order, None, domain::order_state::Happening::Pay, 6).await.unwrap();
        assert_eq!(paid, Moved::To(OrderState::Bought(Fulfilment::Paid)));
        assert_eq!(store.orders().ship(order, "{}", 7).await.unwrap(), expect, "nothing ships without an address");
    }
}

async fn order_addresses(place: &Place) {
    let store = place.fresh().await;
    let (ada, bob) = (buyer(&store, "ada").await, buyer(&store, "bob").await);
    let added = store.accounts().add_address(ada.0, &fields("二号", false), 1).await.unwrap();
    let AddedAddress::Added(second) = added else { panic!("{added:?}") };
    let order = place_one(&store, &asks(ada, 1, None)).await;
    let goes_to =
        async || store.orders().order(ada.0, order.id).await.unwrap().unwrap().address.unwrap()["detail"].clone();
    let set = async |user, address| store.orders().set_order_address((user, order.id), address).await.unwrap();
    assert_eq!(set(bob.0, bob.1).await, AddressSet::Unknown, "it is another buyer's order");
    assert_eq!(set(ada.0, bob.1).await, AddressSet::UnknownAddress, "it is another buyer's address");
    assert_eq!(goes_to().await, "一号");
    assert_eq!(set(ada.0, second.address_id).await, AddressSet::Done);
    assert_eq!(goes_to().await, "二号");
    store.orders().move_order(order.id, None, domain::order_state::Happening::Pay, 6).await.unwrap();
    assert_eq!(set(ada.0, ada.1).await, AddressSet::Done, "it is paid and not sent");
    let shipped = OrderState::Bought(Fulfilment::Shipped);
    assert_eq!(store.orders().ship(order.id, "{}", 7).await.unwrap(), Moved::To(shipped));
    assert_eq!(set(ada.0, second.address_id).await, AddressSet::Refused(shipped));
    assert_eq!(goes_to().await, "一号");
}

/// One order of each of two sales, which are alike but for their time to pay.
async fn own_time_to_pay(place: &Place) {
    let store = place.fresh().await;
    let mut orders = Vec::new();
    for (order, pay_within_ms) in [(901, Some(5_000)), (902, None)] {
        let like = activity(1, 100);
        let (sku, price, rules, admission) = (like.sku, like.price, like.rules, like.admission);
        let new =
            NewSale { title: "s".to_owned(), sku, price, stock: 10, rules, admission, pay_within_ms, is_draft: false };
        let AddedSale::Added(sale) = store.sales().add_sale(new, 1).await.unwrap() else {
            panic!("the sale is refused")
        };
        let id = sale.activity.id;
        assert_eq!(store.sales().sale(id).await.unwrap().unwrap().pay_within_ms, pay_within_ms);
        let (mut ledger, opened) = contract::stock::Ledger::open(id, 10, rules, NOW_MS);
        let mut journal = vec![opened];
        let order = contract::OrderId::from_i64(order).unwrap();
        let user = contract::UserId::from_i64(77).unwrap();
        let asked = contract::stock::Reservation { order, user, request: None, quantity: 1 };
        ledger.apply(contract::stock::Command::Reserve(asked), NOW_MS, &mut journal);
        store.take_in(&domain::Line::in_order(&journal), NOW_MS).await.unwrap();
        let expires_at_ms = store.orders().order(user, order).await.unwrap().unwrap().expires_at_ms;
        assert_eq!(expires_at_ms, NOW_MS + pay_within_ms.unwrap_or(super::PAY_WITHIN_MS));
        orders.push((order, expires_at_ms));
    }
    let [(own, own_due_ms), (usual, usual_due_ms)] = orders[..] else { unreachable!("two orders") };
    let outbox = store.outbox(100).await.unwrap();
    let timeouts = contract::topic::timeouts(super::PAY_WITHIN_MS).name;
    assert_eq!(outbox.iter().filter(|row| row.topic == timeouts).count(), 1, "the usual deadline is on the log");
    let overdue = async |now_ms, lost_ms| store.orders().overdue_orders(now_ms, lost_ms, 10).await.unwrap();
    assert_eq!(overdue(own_due_ms - 1, 0).await, []);
    assert_eq!(overdue(own_due_ms, 0).await, [own]);
    let late_ms = own_due_ms.max(usual_due_ms);
    assert_eq!(overdue(late_ms, 0).await, [own], "the other is closed by its record");
    let both = overdue(late_ms, late_ms).await;
    assert!(both.len() == 2 && both.contains(&own) && both.contains(&usual), "a record was lost: {both:?}");
    assert_eq!(store.close_unpaid(&both, late_ms).await.unwrap(), 2);
    assert_eq!(overdue(late_ms, late_ms).await, []);
    let patch = SalePatch { pay_within_ms: Some(None), ..SalePatch::default() };
    let like = activity(1, 100);
    let (sku, price, rules, admission) = (like.sku, like.price, like.rules, like.admission);
    let new = NewSale {
        title: "s".to_owned(),
        sku,
        price,
        stock: 1,
        rules,
        admission,
        pay_within_ms: Some(5_000),
        is_draft: false,
    };
    let AddedSale::Added(sale) = store.sales().add_sale(new, 1).await.unwrap() else { panic!("the sale is refused") };
    let Changed::Done(sale) = store.sales().patch_sale(sale.activity.id, 1, patch, 0).await.unwrap() else {
        panic!("refused")
    };
    assert_eq!((sale.pay_within_ms, sale.activity.version), (None, 2));
}
