//! Stock that changes by hand, categories that move, and many orders that are closed at once.

use contract::{CategoryId, OperationId, OrderId, SkuId};
use domain::{SaleStore as _, conformance::Fixture as _, order_state::OrderState};

use super::{
    Place,
    shop::{asks, buyer, place_one, stock},
};
use crate::*;

super::cases! {
    stock_changes_by_a_delta_once => deltas,
    categories_move_and_make_no_circle => moves,
    many_unpaid_orders_are_closed_at_once => closes,
}

/// Orders in the suite. `STORE_TEST_UNPAID=100000` measures the goal, and `--nocapture` shows it.
const ORDERS: i64 = 5_000;
const ORDERS_VARIABLE: &str = "STORE_TEST_UNPAID";
/// How many are closed in the shortest time that is accepted on a busy machine: a tenth of what it does alone.
const ORDERS_PER_SECOND_MIN: i64 = 250;

async fn deltas(place: &Place) {
    let store = place.fresh().await;
    let sku = SkuId::from_i64(7).unwrap();
    let change = async |operation, delta| {
        let operation = OperationId::from_i64(operation).unwrap();
        store.catalogue().change_stock(sku, operation, (delta, "counted"), 5).await.unwrap()
    };
    let left = |changed: &StockChanged| if let StockChanged::Done(sku) = changed { Some(sku.stock) } else { None };
    assert_eq!(left(&change(1, -30).await), Some(70));
    assert_eq!(left(&change(1, -30).await), Some(70), "the same operation");
    assert_eq!(change(2, -71).await, StockChanged::OutOfBounds(70));
    assert_eq!(change(3, i64::MAX).await, StockChanged::OutOfBounds(70));
    assert_eq!(left(&change(4, 5).await), Some(75));
    let unknown = store
        .catalogue()
        .change_stock(SkuId::from_i64(8).unwrap(), OperationId::from_i64(5).unwrap(), (1, "r"), 5)
        .await;
    assert_eq!(unknown.unwrap(), StockChanged::Unknown);
}

async fn moves(place: &Place) {
    let store = place.fresh().await;
    let make = async |name: &str, parent: Option<CategoryId>| {
        let new = NewCategory { parent, name: name.to_owned(), sort_order: 0 };
        store.catalogue().add_category(new, 1).await.unwrap().unwrap().category_id
    };
    let root = make("root", None).await;
    let child = make("child", Some(root)).await;
    let grandchild = make("grandchild", Some(child)).await;
    let to = async |category, version, parent| {
        store.catalogue().move_category(category, version, (CategoryPatch::default(), Some(parent))).await.unwrap()
    };
    for below in [root, child, grandchild, CategoryId::from_i64(99).unwrap()] {
        assert_eq!(to(root, 1, Some(below)).await, Changed::Invalid("parent_id"), "{below}");
    }
    let Changed::Done(moved) = to(grandchild, 1, None).await else { panic!("not moved") };
    assert_eq!((moved.parent_id, moved.version), (None, 2));
    assert!(matches!(to(root, 1, Some(grandchild)).await, Changed::Done(_)), "it is not below any more");
    // Two that go below each other at once: one of them is too late.
    let (a, b) = (make("a", None).await, make("b", None).await);
    let (one, two) = tokio::join!(to(a, 1, Some(b)), to(b, 1, Some(a)));
    assert_eq!([one, two].iter().filter(|moved| matches!(moved, Changed::Done(_))).count(), 1);
}

/// Unpaid orders of one unit; their ids.
async fn unpaid(store: &Store, orders: i64) -> Vec<OrderId> {
    let mut tx = store.begin_test().await.unwrap();
    let first = 1_000_000_i64;
    for chunk in (first..first + orders).collect::<Vec<_>>().chunks(500) {
        let mut insert = sqlx::QueryBuilder::new(
            "INSERT INTO orders (id, user_id, status, total_cents, created_at_ms, expires_at_ms, updated_at_ms) ",
        );
        insert.push_values(chunk, |mut row, id| {
            row.push_bind(*id).push_bind(5_i64).push_bind("pending_payment").push_bind(100_i64);
            row.push_bind(1_i64).push_bind(2_i64).push_bind(1_i64);
        });
        insert.build().execute(&mut *tx).await.unwrap();
        let mut insert = sqlx::QueryBuilder::new(
            "INSERT INTO order_lines (order_id, line_no, sku_id, title, price_cents, quantity) ",
        );
        insert.push_values(chunk, |mut row, id| {
            row.push_bind(*id).push_bind(1_i64).push_bind(7_i64).push_bind("t").push_bind(100_i64).push_bind(1_i64);
        });
        insert.build().execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    (first..first + orders).map(|id| OrderId::from_i64(id).unwrap()).collect()
}

async fn closes(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let paid = place_one(&store, &asks(ada, 1, None)).await;
    let count = std::env::var(ORDERS_VARIABLE).map_or(ORDERS, |count| count.parse().unwrap());
    let orders = unpaid(&store, count).await;
    let began = std::time::Instant::now();
    let all: Vec<OrderId> = orders.iter().copied().chain([paid.id]).collect();
    assert_eq!(store.close_unpaid(&all, 10).await.unwrap(), orders.len(), "one of them has time to pay");
    let took = began.elapsed();
    eprintln!("{count} unpaid orders are closed in {took:?}");
    assert!(i64::try_from(took.as_secs()).unwrap() <= count / ORDERS_PER_SECOND_MIN, "{count} orders took {took:?}");
    assert_eq!(stock(&store).await, 99 + u64::try_from(count).unwrap());
    assert_eq!(store.close_unpaid(&all, 10).await.unwrap(), 0);
    assert_eq!(store.order(ada.0, paid.id).await.unwrap().unwrap().state, OrderState::PendingPayment);
}
