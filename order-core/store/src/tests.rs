use std::sync::atomic::{AtomicI64, Ordering};

use contract::Activity;
use proptest::prelude::*;

use super::*;
use crate::conformance::{Fixture, PAY_WITHIN_MS, activity, histories, suite};

fn counting_ids() -> Ids {
    let last = AtomicI64::new(0);
    Ids::new(move || Ok::<_, String>(last.fetch_add(1, Ordering::Relaxed) + 1))
}

async fn open(directory: &tempfile::TempDir) -> Store {
    let path = directory.path().join(format!("{}.db", next_name()));
    Store::open(&path, counting_ids(), Settings::new(PAY_WITHIN_MS)).await.unwrap()
}

fn next_name() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

struct Sql(tempfile::TempDir);

impl Fixture for Sql {
    type Store = Store;

    async fn fresh(&self) -> Store {
        let store = open(&self.0).await;
        let mut tx = store.begin_write().await.unwrap();
        for sql in [
            "INSERT INTO categories VALUES (1, NULL, 'c', 0, 1, 0)",
            "INSERT INTO products VALUES (1, 1, 'p', '', '', '[]', 1, 1, 0)",
            "INSERT INTO skus VALUES (7, 1, '{}', 100, 100, 1, 0)",
        ] {
            sqlx::query(sql).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        store
    }

    async fn put_activity(&self, store: &Store, activity: &Activity) {
        let mut tx = store.begin_write().await.unwrap();
        sqlx::query("INSERT INTO activities VALUES (?, 1, ?, 7, ?, ?, 100, 3, 0, 9000, 0)")
            .bind(activity.id.as_i64())
            .bind(&activity.title)
            .bind(activity.price.get())
            .bind(activity.original_price.get())
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
}

struct Model;

impl Fixture for Model {
    type Store = model::ModelStore;

    async fn fresh(&self) -> Self::Store {
        model::ModelStore::new(PAY_WITHIN_MS)
    }

    async fn put_activity(&self, store: &Self::Store, activity: &Activity) {
        store.put_activity(activity);
    }
}

/// Polls a future that is ready at once; no runtime.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the model waits for something"),
    }
}

#[test]
fn the_model_conforms() {
    now(suite(&Model));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_conforms() {
    suite(&Sql(tempfile::tempdir().unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_is_the_ledger_after_any_history() {
    let fixture = Sql(tempfile::tempdir().unwrap());
    for seed in 0..12 {
        histories(&fixture, seed, 60).await;
    }
}

proptest! {
    #[test]
    fn the_model_is_the_ledger_after_any_history(seed in any::<u64>()) {
        now(histories(&Model, seed, 80));
    }
}

/// A database that is closed and opened again has every order that was answered for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_is_there_after_a_restart() {
    use contract::ledger::{Command, Ledger, Reservation};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mall.db");
    let settings = Settings::new(PAY_WITHIN_MS);
    let store = Store::open(&path, counting_ids(), settings).await.unwrap();
    let activity = activity(1, 5);
    let (mut ledger, opened) = Ledger::open(activity.id, 500, activity.terms, conformance::NOW_MS);
    let mut journal = vec![opened];
    for id in 1..500 {
        let (order, user) = (contract::OrderId::from_i64(id).unwrap(), contract::UserId::from_i64(id).unwrap());
        let asked = Reservation { order, user, request: None, quantity: 1 };
        ledger.apply(Command::Reserve(asked), conformance::NOW_MS, &mut journal);
    }
    let taken = store.take_in(&journal, conformance::NOW_MS).await.unwrap();
    assert_eq!(taken, TakenIn { applied: 500, skipped: 0, failed: 499 });
    store.close().await;

    let store = Store::open(&path, counting_ids(), settings).await.unwrap();
    assert_eq!(store.snapshots().await.unwrap(), [ledger.snapshot()]);
    assert_eq!(store.outbox(2000).await.unwrap().len(), 998);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_mall_is_seeded_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let now_ms = conformance::NOW_MS;
    let demo = store.seed(now_ms).await.unwrap().unwrap();
    assert_eq!(store.seed(now_ms).await.unwrap(), None);
    let page = Page { before: i64::MAX, limit: PAGE_MAX };
    let products = store.products(page).await.unwrap().items;
    assert!(products.len() >= 5 && products.iter().all(|product| product.on_shelf));
    let due = store.sales_to_open(now_ms, 0).await.unwrap();
    assert_eq!(due.iter().map(|sale| sale.activity.id).collect::<Vec<_>>(), [demo]);
    assert_eq!(store.sales(page).await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_carried_out_once_however_many_come_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let carried_out = std::sync::Arc::new(AtomicI64::new(0));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, carried_out) = (store.clone(), carried_out.clone());
        running.spawn(async move {
            let work = async {
                carried_out.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                Ok::<_, StoreError>((201, "made".to_owned()))
            };
            store.once(("scope", "key"), b"body", conformance::NOW_MS, work).await.unwrap()
        });
    }
    let answers = running.join_all().await;
    assert_eq!(carried_out.load(Ordering::SeqCst), 1);
    let first = Once::Answer { status: 201, body: "made".to_owned(), again: false };
    assert_eq!(answers.iter().filter(|answer| **answer == first).count(), 1);
    let fails = async { Err::<(u16, String), _>(StoreError::Unavailable("down".to_owned())) };
    assert!(store.once(("scope", "other"), b"", conformance::NOW_MS, fails).await.is_err());
    let retried = store.once(
        ("scope", "other"),
        b"",
        conformance::NOW_MS,
        std::future::ready(Ok::<_, StoreError>((200, String::new()))),
    );
    assert!(matches!(retried.await.unwrap(), Once::Answer { again: false, .. }));
}

/// Stock is carved out by guarded steps: of many at once, as many win as there is stock for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_stock_is_carved_out_than_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = Sql(directory).fresh().await;
    let mut running = tokio::task::JoinSet::new();
    for at in 0..30 {
        let store = store.clone();
        let activity = activity(1, at);
        let new =
            NewSale { title: String::new(), sku: activity.sku, price: activity.price, stock: 7, terms: activity.terms };
        running.spawn(async move { store.add_sale(new, 0).await.unwrap() });
    }
    let added = running.join_all().await;
    assert_eq!(added.iter().filter(|added| matches!(added, AddedSale::Added(_))).count(), 14);
    assert_eq!(store.sku(activity(1, 0).sku).await.unwrap().unwrap().stock, 2);
}
