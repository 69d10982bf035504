//! The shop on a real database: addresses, carts, orders.

use domain::*;
use std::collections::BTreeMap;

use contract::{AddressId, Cents, OrderId, SkuId, UserId};
use tokio::task::JoinSet;

use super::Place;
use crate::*;
use domain::{conformance::Fixture, order_state::*};

/// The SKU that [`Place`] has: 100 units at 100 cents.
const SKU: i64 = 7;

fn sku(id: i64) -> SkuId {
    SkuId::from_i64(id).unwrap()
}

fn line(id: i64, quantity: u32) -> CartLine {
    CartLine { sku: sku(id), quantity, price: Cents::new(100) }
}

pub(super) fn fields(detail: &str, is_default: bool) -> AddressFields {
    let text = |text: &str| text.to_owned();
    AddressFields {
        recipient: text("王小明"),
        phone: text("13800138000"),
        region: text("浙江省 杭州市"),
        detail: text(detail),
        is_default,
    }
}

/// Somebody registered, with an address.
pub(super) type Buyer = (UserId, AddressId);

pub(super) async fn buyer(store: &Store, name: &str) -> Buyer {
    let user = store.accounts().add_user(name, "hash", None, 1).await.unwrap().unwrap().id;
    let AddedAddress::Added(address) = store.accounts().add_address(user, &fields("一号", true), 1).await.unwrap()
    else {
        panic!("no address");
    };
    (user, address.address_id)
}

pub(super) fn asks((user, address): Buyer, units: u32, key: Option<&str>) -> NewOrder {
    let request = key.map(|key| (key.to_owned(), [u8::try_from(units).unwrap(); 32]));
    NewOrder { user, address, goods: Goods::Items(BTreeMap::from([(sku(SKU), units)])), request, expected_total: None }
}

/// A request to order the buyer's cart.
fn of_cart(buyer: Buyer, key: Option<&str>) -> NewOrder {
    NewOrder { goods: Goods::Cart, ..asks(buyer, 1, key) }
}

pub(super) async fn place_one(store: &Store, new: &NewOrder) -> Order {
    let placed = store.orders().place_order(new, 5).await.unwrap();
    let Placed::Placed(order) = placed else { panic!("{placed:?}") };
    order
}

pub(super) async fn stock(store: &Store) -> u64 {
    store.catalogue().sku(sku(SKU)).await.unwrap().unwrap().stock
}

super::cases! {
    two_hundred_buyers_of_a_hundred_units => fight,
    a_request_is_one_order => once_each,
    what_cannot_be_ordered_changes_nothing => refusals,
    units_come_back => returns,
    an_order_follows_its_states => walks,
    a_cart_has_its_limits => carts,
    a_cart_that_changes_is_ordered_once => changing_carts,
    concurrent_additions_keep_the_line_limit => crowded_carts,
    one_address_is_the_default => defaults,
}

async fn fight(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let mut running = JoinSet::new();
    for _ in 0..200 {
        let store = store.clone();
        running.spawn(async move { store.orders().place_order(&asks(ada, 1, None), 5).await.unwrap() });
    }
    let placed = running.join_all().await;
    assert_eq!(placed.iter().filter(|placed| matches!(placed, Placed::Placed(_))).count(), 100);
    let sold_out = Placed::InsufficientStock(vec![(sku(SKU), 0)]);
    assert_eq!(placed.iter().filter(|placed| **placed == sold_out).count(), 100);
    assert_eq!(stock(&store).await, 0);
    let page =
        store.orders().of_user(ada.0, Some("pending_payment"), Page { before: i64::MAX, limit: 100 }).await.unwrap();
    assert_eq!((page.items.len(), page.next), (100, None));
    // The deadline and the creation of each order go to the log, and that the product is out of stock.
    assert_eq!(store.outbox(1000).await.unwrap().len(), 201);
}

async fn once_each(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let mut running = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        running.spawn(async move { store.orders().place_order(&asks(ada, 3, Some("k")), 5).await.unwrap() });
    }
    let placed = running.join_all().await;
    let first: Vec<&Order> = placed
        .iter()
        .filter_map(|placed| if let Placed::Placed(order) = placed { Some(order) } else { None })
        .collect();
    let [first] = first[..] else { panic!("{} orders", first.len()) };
    assert_eq!(placed.iter().filter(|placed| **placed == Placed::Again(first.clone())).count(), 19);
    assert_eq!((first.total, first.lines[0].title.as_str()), (Cents::new(300), "p"));
    assert_eq!(store.orders().place_order(&asks(ada, 2, Some("k")), 5).await.unwrap(), Placed::KeyReused);
    assert_eq!(stock(&store).await, 97);
    let other = buyer(&store, "bob").await;
    place_under(&store, other, "k").await;
}

/// Keys are each user's own.
async fn place_under(store: &Store, buyer: Buyer, key: &str) {
    let order = place_one(store, &asks(buyer, 1, Some(key))).await;
    assert!(store.orders().order(buyer.0, order.id).await.unwrap().is_some());
}

async fn refusals(place: &Place) {
    let store = place.fresh().await;
    let (ada, bob) = (buyer(&store, "ada").await, buyer(&store, "bob").await);
    let theirs = asks((ada.0, bob.1), 1, None);
    assert_eq!(store.orders().place_order(&theirs, 5).await.unwrap(), Placed::UnknownAddress);
    let goods = Goods::Items(BTreeMap::from([(sku(SKU), 1), (sku(99), 1)]));
    let unknown = NewOrder { goods, ..asks(ada, 1, None) };
    assert_eq!(store.orders().place_order(&unknown, 5).await.unwrap(), Placed::UnknownSkus(vec![sku(99)]));
    let too_many = asks(ada, 101, None);
    assert_eq!(
        store.orders().place_order(&too_many, 5).await.unwrap(),
        Placed::InsufficientStock(vec![(sku(SKU), 100)])
    );
    store
        .catalogue()
        .patch_sku(sku(SKU), 1, SkuPatch { attributes: None, price_cents: Some(Cents::new(i64::MAX)) })
        .await
        .unwrap();
    assert_eq!(store.orders().place_order(&asks(ada, 2, None), 5).await.unwrap(), Placed::TooDear);
    store.catalogue().shelve(contract::ProductId::from_i64(1).unwrap(), false).await.unwrap();
    assert_eq!(store.orders().place_order(&asks(ada, 1, None), 5).await.unwrap(), Placed::UnknownSkus(vec![sku(SKU)]));
    assert_eq!(stock(&store).await, 100);
    let rows = store.outbox(10).await.unwrap();
    assert!(rows.iter().all(|row| row.topic == contract::topic::CATALOGUE), "{rows:?}");
    assert_eq!(
        store.orders().move_order(OrderId::from_i64(1).unwrap(), None, Happening::Pay, 5).await.unwrap(),
        Moved::Unknown
    );
}

async fn returns(place: &Place) {
    let store = place.fresh().await;
    let (ada, bob) = (buyer(&store, "ada").await, buyer(&store, "bob").await);
    let cancelled = place_one(&store, &asks(ada, 5, None)).await;
    let overdue = place_one(&store, &asks(ada, 7, None)).await;
    let paid = place_one(&store, &asks(ada, 11, None)).await;
    assert_eq!(stock(&store).await, 77);
    let close =
        async |user, order: &Order| store.orders().move_order(order.id, Some(user), Happening::Close, 6).await.unwrap();
    assert_eq!(close(bob.0, &cancelled).await, Moved::Unknown, "a stranger's");
    assert_eq!(close(ada.0, &cancelled).await, Moved::To(OrderState::Closed));
    assert_eq!(close(ada.0, &cancelled).await, Moved::Refused(OrderState::Closed));
    assert_eq!(stock(&store).await, 82);
    let moved = store.orders().move_order(paid.id, None, Happening::Pay, 6).await.unwrap();
    assert_eq!(moved, Moved::To(OrderState::Bought(Fulfilment::Paid)));
    let all = [cancelled.id, overdue.id, paid.id];
    assert_eq!(store.close_unpaid(&all, overdue.expires_at_ms - 1).await.unwrap(), 0);
    assert_eq!(store.close_unpaid(&all, overdue.expires_at_ms).await.unwrap(), 1);
    assert_eq!(store.close_unpaid(&all, overdue.expires_at_ms).await.unwrap(), 0);
    assert_eq!(stock(&store).await, 89);
}

async fn walks(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let order = place_one(&store, &asks(ada, 1, None)).await.id;
    let walk = [
        (Happening::Pay, OrderState::Bought(Fulfilment::Paid)),
        (Happening::Ship, OrderState::Bought(Fulfilment::Shipped)),
        (Happening::AskRefund, OrderState::Refunding(Fulfilment::Shipped)),
        (Happening::RefuseRefund, OrderState::Bought(Fulfilment::Shipped)),
        (Happening::Receive, OrderState::Bought(Fulfilment::Completed)),
        (Happening::AskRefund, OrderState::Refunding(Fulfilment::Completed)),
        (Happening::Refund, OrderState::Refunded),
    ];
    for (what, to) in walk {
        assert_eq!(store.orders().move_order(order, None, what, 6).await.unwrap(), Moved::To(to), "{what:?}");
        assert_eq!(store.orders().order(ada.0, order).await.unwrap().unwrap().state, to);
    }
    let refused = store.orders().move_order(order, None, Happening::Pay, 6).await.unwrap();
    assert_eq!(refused, Moved::Refused(OrderState::Refunded));
    assert_eq!(stock(&store).await, 99, "it was sent, and does not come back by itself");
}

async fn carts(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let mut running = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        running.spawn(async move { store.orders().add_to_cart(ada.0, line(SKU, 2), 5).await.unwrap() });
    }
    assert!(running.join_all().await.iter().all(|change| *change == CartChange::Done));
    assert_eq!(store.orders().cart(ada.0).await.unwrap(), [line(SKU, 40)]);
    let add = async |units| store.orders().add_to_cart(ada.0, line(SKU, units), 5).await.unwrap();
    assert_eq!(add(CART_UNITS_MAX - 39).await, CartChange::TooManyUnits);
    assert_eq!(add(CART_UNITS_MAX - 40).await, CartChange::Done);
    assert_eq!(add(1).await, CartChange::TooManyUnits);
    assert_eq!(add(u32::MAX).await, CartChange::TooManyUnits);
    assert_eq!(store.orders().set_in_cart(ada.0, line(SKU, 3), 5).await.unwrap(), CartChange::Done);
    assert_eq!(store.orders().set_in_cart(ada.0, line(8, 3), 5).await.unwrap(), CartChange::NoLine);
    assert_eq!(store.orders().cart(ada.0).await.unwrap(), [line(SKU, 3)]);
    let ordered = place_one(&store, &of_cart(ada, None)).await;
    assert_eq!((ordered.lines.len(), ordered.lines[0].quantity), (1, 3));
    assert_eq!(store.orders().cart(ada.0).await.unwrap(), []);
    assert_eq!(store.orders().place_order(&of_cart(ada, None), 5).await.unwrap(), Placed::CartEmpty);

    let product = contract::ProductId::from_i64(1).unwrap();
    for _ in 0..=CART_LINES_MAX {
        let new = NewSku { product, attributes: Attributes::new(), price: Cents::new(1), stock: 1 };
        let new = store.catalogue().add_sku(new, 5).await.unwrap().unwrap().sku_id;
        let change = store.orders().add_to_cart(ada.0, CartLine { sku: new, ..line(SKU, 1) }, 5).await.unwrap();
        let is_full = store.orders().cart(ada.0).await.unwrap().len() == CART_LINES_MAX;
        assert!(change == CartChange::Done || is_full && change == CartChange::TooManyLines, "{change:?}");
    }
    assert_eq!(store.orders().cart(ada.0).await.unwrap().len(), CART_LINES_MAX);
    store.orders().take_from_cart(ada.0, Some(&[])).await.unwrap();
    assert_eq!(store.orders().cart(ada.0).await.unwrap().len(), CART_LINES_MAX);
    store.orders().take_from_cart(ada.0, None).await.unwrap();
    assert_eq!(store.orders().cart(ada.0).await.unwrap(), []);
}

/// Eight requests order a cart while another line is added to it. Every unit is in one order or in the cart.
async fn changing_carts(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let other = NewSku {
        product: contract::ProductId::from_i64(1).unwrap(),
        attributes: Attributes::new(),
        price: Cents::new(1),
        stock: 100,
    };
    let other = store.catalogue().add_sku(other, 5).await.unwrap().unwrap().sku_id;
    for round in 0..5 {
        store.orders().add_to_cart(ada.0, line(SKU, 3), 5).await.unwrap();
        let mut running = JoinSet::new();
        for _ in 0..8 {
            let store = store.clone();
            running.spawn(async move { Some(store.orders().place_order(&of_cart(ada, None), 5).await.unwrap()) });
        }
        for _ in 0..4 {
            let store = store.clone();
            running.spawn(async move {
                let added =
                    store.orders().add_to_cart(ada.0, CartLine { sku: other, ..line(SKU, 1) }, 5).await.unwrap();
                assert_eq!(added, CartChange::Done);
                None
            });
        }
        let placed: Vec<Placed> = running.join_all().await.into_iter().flatten().collect();
        let orders: Vec<&Order> = placed
            .iter()
            .filter_map(|placed| if let Placed::Placed(order) = placed { Some(order) } else { None })
            .collect();
        let empty = placed.iter().filter(|placed| **placed == Placed::CartEmpty).count();
        assert_eq!(orders.len() + empty, placed.len(), "round {round}: {placed:?}");
        let ordered = |sku| -> u32 {
            let lines = orders.iter().flat_map(|order| &order.lines).filter(|line| line.sku == sku);
            lines.map(|line| line.quantity).sum()
        };
        assert_eq!(ordered(sku(SKU)), 3, "round {round}");
        assert_eq!(stock(&store).await, 100 - 3 * (round + 1));
        let left: u32 = store.orders().cart(ada.0).await.unwrap().iter().map(|line| line.quantity).sum();
        assert_eq!(ordered(other) + left, 4, "round {round}");
        store.orders().take_from_cart(ada.0, None).await.unwrap();
    }
}

/// A cart with one free line takes one of many concurrent additions.
async fn crowded_carts(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let product = contract::ProductId::from_i64(1).unwrap();
    let mut adds = Vec::new();
    for _ in 0..CART_LINES_MAX + 20 {
        let new = NewSku { product, attributes: Attributes::new(), price: Cents::new(1), stock: 1 };
        let sku = store.catalogue().add_sku(new, 5).await.unwrap().unwrap().sku_id;
        adds.push(CartLine { sku, ..line(SKU, 1) });
    }
    let at_once = adds.split_off(CART_LINES_MAX - 1);
    for add in adds {
        assert_eq!(store.orders().add_to_cart(ada.0, add, 5).await.unwrap(), CartChange::Done);
    }
    let mut running = JoinSet::new();
    for add in at_once {
        let store = store.clone();
        running.spawn(async move { store.orders().add_to_cart(ada.0, add, 5).await.unwrap() });
    }
    let added = running.join_all().await;
    assert_eq!(added.iter().filter(|change| **change == CartChange::Done).count(), 1);
    assert_eq!(store.orders().cart(ada.0).await.unwrap().len(), CART_LINES_MAX);
    let order = place_one(&store, &of_cart(ada, None)).await;
    assert_eq!((order.lines.len(), store.orders().cart(ada.0).await.unwrap()), (CART_LINES_MAX, Vec::new()));
}

async fn defaults(place: &Place) {
    let store = place.fresh().await;
    let (ada, bob) = (buyer(&store, "ada").await, buyer(&store, "bob").await);
    for at in 1..ADDRESSES_MAX {
        let added = store.accounts().add_address(ada.0, &fields(&format!("{at} 号 🏠"), at % 2 == 0), 5).await.unwrap();
        assert!(matches!(added, AddedAddress::Added(_)), "{added:?}");
    }
    assert_eq!(store.accounts().add_address(ada.0, &fields("more", true), 5).await.unwrap(), AddedAddress::TooMany);
    let nobody = UserId::from_i64(99_999).unwrap();
    assert_eq!(store.accounts().add_address(nobody, &fields("x", true), 5).await.unwrap(), AddedAddress::UnknownUser);
    let all = store.accounts().addresses(ada.0).await.unwrap();
    assert_eq!((all.len(), all.iter().filter(|address| address.fields.is_default).count()), (ADDRESSES_MAX, 1));
    assert!(all[0].fields.is_default);
    let last = all.last().unwrap().address_id;
    let put = store.accounts().put_address(ada.0, last, &fields("moved", true)).await.unwrap().unwrap();
    assert_eq!(store.accounts().addresses(ada.0).await.unwrap()[0], put);
    assert_eq!(store.accounts().put_address(bob.0, last, &fields("stolen", true)).await.unwrap(), None);
    assert!(store.accounts().addresses(bob.0).await.unwrap()[0].fields.is_default, "what is refused changes nothing");
    assert!(!store.accounts().delete_address(bob.0, last).await.unwrap());
    assert!(store.accounts().delete_address(ada.0, last).await.unwrap());
    assert_eq!(store.accounts().address(ada.0, last).await.unwrap(), None);
}
