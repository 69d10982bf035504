/// Cases that have a database: a test of each on SQLite, and `all` for another one.
macro_rules! cases {
    ($($name:ident => $case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $case(&Place::files()).await;
            }
        )*

        /// Every case.
        pub(super) async fn all(place: &Place) {
            $($case(place).await;)*
        }
    };
}
use cases;

mod catalogue;
mod faults;
mod history;
mod late_money;
mod leases;
mod money;
mod order_query;
mod order_rules;
mod parts;
mod refund_review;
mod search;
mod shop;
mod staff;
mod steer;

use std::sync::atomic::{AtomicI64, Ordering};

use contract::Activity;
use domain::{
    conformance::{self, Fixture, PAY_WITHIN_MS, activity, histories, suite},
    *,
};
use proptest::prelude::*;

use super::*;

/// Above those that the fixtures write.
fn counting_ids() -> Ids {
    let last = AtomicI64::new(1000);
    Ids::new(move || Ok::<_, String>(last.fetch_add(1, Ordering::Relaxed) + 1))
}

/// Where a test's databases are.
enum Place {
    Files(tempfile::TempDir),
    MariaDb(services::MariaDb),
}

impl Place {
    fn files() -> Self {
        Self::Files(tempfile::tempdir().unwrap())
    }

    /// The address of a new database.
    fn database(&self) -> String {
        static NEXT: AtomicI64 = AtomicI64::new(0);
        match self {
            Self::Files(directory) => {
                let name = format!("{} %?#.db", NEXT.fetch_add(1, Ordering::Relaxed));
                connect::sqlite_url(&directory.path().join(name))
            }
            Self::MariaDb(server) => server.database(),
        }
    }

    async fn open(&self) -> Store {
        Store::connect(&self.database(), counting_ids(), Settings::new(PAY_WITHIN_MS)).await.unwrap()
    }
}

impl Fixture for Place {
    type Store = Store;

    async fn fresh(&self) -> Store {
        let store = self.open().await;
        let mut tx = store.begin_test().await.unwrap();
        for sql in [
            "INSERT INTO categories VALUES (1, NULL, 'c', 0, 1, 0)",
            "INSERT INTO products (id, category_id, title, subtitle, description, image_ids, on_shelf, version, created_at_ms) VALUES (1, 1, 'p', '', '', '[]', 1, 1, 0)",
            "INSERT INTO skus VALUES (7, 1, '{}', 100, 100, 1, 0)",
        ] {
            sqlx::query(sql).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        store
    }

    async fn put_activity(&self, store: &Store, activity: &Activity) {
        let mut tx = store.begin_test().await.unwrap();
        let insert = "INSERT INTO activities (id, version, title, sku_id, price_cents, original_price_cents, stock, \
                      per_user_limit, starts_at_ms, ends_at_ms, created_at_ms, paused, invited_only, door, opening) \
                      VALUES (?, 1, ?, 7, ?, ?, 100, 3, 0, 9000, 0, 0, 0, 'open', 0)";
        sqlx::query(insert)
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
    type Store = domain::model::ModelStore;

    async fn fresh(&self) -> Self::Store {
        domain::model::ModelStore::new(PAY_WITHIN_MS)
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
    suite(&Place::files()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_is_the_ledger_after_any_history() {
    random_histories(&Place::files()).await;
}

async fn random_histories(place: &Place) {
    for seed in 0..12 {
        histories(place, seed, 60).await;
    }
}

/// Every test of this file that has a database, on a real server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_conforms() {
    let Some(server) = services::MariaDb::start() else { return };
    let mut place = Place::MariaDb(server);
    suite(&place).await;
    random_histories(&place).await;
    restarts(&mut place).await;
    carries_out_once(&place).await;
    carves(&place).await;
    changes_once(&place).await;
    registers_once(&place).await;
    shop::all(&place).await;
    money::all(&place).await;
    late_money::all(&place).await;
    order_rules::all(&place).await;
    order_query::all(&place).await;
    parts::all(&place).await;
    refund_review::all(&place).await;
    catalogue::all(&place).await;
    search::all(&place).await;
    staff::all(&place).await;
    history::all(&place).await;
    leases::all(&place).await;
    steer::all(&place).await;
    faults::all(&place).await;
}

proptest! {
    #[test]
    fn the_model_is_the_ledger_after_any_history(seed in any::<u64>()) {
        now(histories(&Model, seed, 80));
    }
}

/// Any entry at all. The journal may hold entries that the ledger would never write.
fn any_entry() -> impl Strategy<Value = contract::stock::Entry> {
    use contract::stock::{Entry, Event, RequestKey, Reservation};
    let number = || prop_oneof![4 => 0..6_u64, 1 => Just(u64::MAX)];
    let quantity = || prop_oneof![4 => 0..4_u32, 1 => Just(u32::MAX)];
    let id = || 1..4_i64;
    let delta = prop_oneof![4 => -4..4_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let event = prop_oneof![
        (number(), quantity(), number(), number()).prop_map(|(stock, per_user_limit, starts_at_ms, ends_at_ms)| {
            Event::Opened { stock, rules: contract::activity::Rules { per_user_limit, starts_at_ms, ends_at_ms } }
        }),
        (id(), id(), any::<Option<[u8; 16]>>(), quantity()).prop_map(|(order, user, key, quantity)| {
            let (order, user) = (contract::OrderId::from_i64(order), contract::UserId::from_i64(user));
            let request = key.map(RequestKey);
            Event::Held(Reservation { order: order.unwrap(), user: user.unwrap(), request, quantity })
        }),
        (id(), quantity(), any::<bool>()).prop_map(|(order, quantity, settles)| {
            let order = contract::OrderId::from_i64(order).unwrap();
            if settles { Event::Settled { order, quantity } } else { Event::Released { order, quantity } }
        }),
        (id(), delta).prop_map(|(operation, delta)| {
            Event::Restocked { operation: contract::OperationId::from_i64(operation).unwrap(), delta }
        }),
    ];
    (id(), number(), number(), number(), event).prop_map(|(activity, epoch, seq, at_ms, event)| {
        let activity = contract::ActivityId::from_i64(activity).unwrap();
        Entry { activity, term: contract::stock::Term::FIRST, epoch, seq, at_ms, event }
    })
}

proptest! {
    /// A panic would end the worker, and the next one at the same entry.
    #[test]
    fn no_journal_makes_a_store_panic(entries in proptest::collection::vec(any_entry(), 1..40)) {
        let store = now(Model.fresh());
        store.put_activity(&activity(1, 100));
        store.put_activity(&activity(2, i64::MAX));
        for entry in entries {
            if let Err(error) = now(store.take_in(&domain::Line::in_order(&[entry]), 1)) {
                now(store.park(entry.activity, &error.to_string(), &domain::Line::in_order(&[entry]), (1, 1))).unwrap();
            }
            drop(now(store.retry_parked(entry.activity, 1, 1)));
        }
    }
}

/// A database that is closed and opened again has every order that was answered for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_is_there_after_a_restart() {
    restarts(&mut Place::files()).await;
}

async fn restarts(place: &mut Place) {
    use contract::stock::{Command, Ledger, Reservation};
    let (url, settings) = (place.database(), Settings::new(PAY_WITHIN_MS));
    let store = Store::connect(&url, counting_ids(), settings).await.unwrap();
    let activity = activity(1, 5);
    let (mut ledger, opened) = Ledger::open(activity.id, 500, activity.rules, conformance::NOW_MS);
    let mut journal = vec![opened];
    for id in 1..500 {
        let (order, user) = (contract::OrderId::from_i64(id).unwrap(), contract::UserId::from_i64(id).unwrap());
        let asked = Reservation { order, user, request: None, quantity: 1 };
        ledger.apply(Command::Reserve(asked), conformance::NOW_MS, &mut journal);
    }
    let taken = store.take_in(&domain::Line::in_order(&journal), conformance::NOW_MS).await.unwrap();
    assert_eq!(taken, TakenIn { applied: 500, skipped: 0, failed: 499, set_aside: 0 });
    store.close().await;
    if let Place::MariaDb(server) = place {
        server.kill();
        server.resume();
    }

    let store = Store::connect(&url, counting_ids(), settings).await.unwrap();
    assert_eq!(store.snapshots().await.unwrap(), [ledger.snapshot()]);
    assert_eq!(store.outbox(2000).await.unwrap().len(), 998);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_carried_out_once_however_many_come_at_once() {
    carries_out_once(&Place::files()).await;
}

async fn carries_out_once(place: &Place) {
    let store = place.open().await;
    let carried_out = std::sync::Arc::new(AtomicI64::new(0));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, carried_out) = (store.clone(), carried_out.clone());
        running.spawn(async move {
            let work = async |_| {
                carried_out.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                Ok::<_, StoreError>((201, "made".to_owned()))
            };
            store.once(("scope", "key"), b"body", conformance::NOW_MS, work, nothing_made).await.unwrap()
        });
    }
    let answers = running.join_all().await;
    assert_eq!(carried_out.load(Ordering::SeqCst), 1);
    let first = Once::Answer { status: 201, body: "made".to_owned(), again: false };
    assert_eq!(answers.iter().filter(|answer| **answer == first).count(), 1);
    let fails = async |_| Err::<(u16, String), _>(StoreError::Unavailable("down".to_owned()));
    assert!(store.once(("scope", "other"), b"", conformance::NOW_MS, fails, nothing_made).await.is_err());
    let works = async |_| Ok::<_, StoreError>((200, String::new()));
    let retried = store.once(("scope", "other"), b"", conformance::NOW_MS, works, nothing_made).await.unwrap();
    assert!(matches!(retried, Once::Answer { again: false, .. }));
    makes_once(&store).await;
}

async fn nothing_made(made: i64) -> Result<(u16, String), StoreError> {
    panic!("{made} was made under a key that makes nothing")
}

/// A process that ends between its write and its answer, and one that is slower than a minute, make nothing twice.
async fn makes_once(store: &Store) {
    let category = |name: &str| NewCategory { parent: None, name: name.to_owned(), sort_order: 0 };
    let add = async |claim, name| {
        let added = store.making(claim).catalogue().add_category(category(name), 1).await?;
        Ok::<_, StoreError>(added.unwrap().category_id)
    };
    let answer = |id: contract::CategoryId| (201, id.to_string());
    let read = async |made: i64| Ok((201, format!("read {made}")));
    let name = ("scope", "ended");

    let (sender, made) = tokio::sync::oneshot::channel();
    let ends = async |claim| {
        sender.send(add(claim, "ended").await.unwrap()).unwrap();
        std::future::pending::<Result<(u16, String), StoreError>>().await
    };
    let unanswered = store.once(name, b"", conformance::NOW_MS, ends, read);
    let made = tokio::select! {
        _ = unanswered => unreachable!("the request is not answered"),
        made = made => made.unwrap(),
    };
    for now_ms in [conformance::NOW_MS, conformance::NOW_MS + 3_600_000] {
        let makes = async |claim| Ok(answer(add(claim, "twice").await?));
        let next = store.once(name, b"", now_ms, makes, read).await.unwrap();
        assert_eq!(next, Once::Answer { status: 201, body: format!("read {made}"), again: true });
    }

    let slow = async |claim| {
        let makes = async |claim| Ok(answer(add(claim, "quick").await?));
        let later = conformance::NOW_MS + 60_001;
        let quick = store.once(("scope", "slow"), b"", later, makes, read).await.unwrap();
        assert!(matches!(quick, Once::Answer { again: false, .. }), "{quick:?}");
        Ok(answer(add(claim, "slow").await?))
    };
    let slow = store.once(("scope", "slow"), b"", conformance::NOW_MS, slow, read).await;
    assert!(matches!(slow, Err(StoreError::Unavailable(_))), "{slow:?}");
    let made = store.catalogue().categories(Page { before: i64::MAX, limit: 10 }).await.unwrap().items;
    let names: Vec<&str> = made.iter().map(|category| &*category.name).collect();
    assert_eq!(names, ["quick", "ended"]);
}

/// Stock is carved out by guarded steps: of many at once, as many win as there is stock for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_stock_is_carved_out_than_there_is() {
    carves(&Place::files()).await;
}

async fn carves(place: &Place) {
    let store = place.fresh().await;
    let mut running = tokio::task::JoinSet::new();
    for at in 0..30 {
        let store = store.clone();
        let activity = activity(1, at);
        let contract::Activity { title, sku, price, rules, admission, .. } = activity;
        let new = NewSale { title, sku, price, stock: 7, rules, admission, pay_within_ms: None, is_draft: false };
        running.spawn(async move { store.sales().add_sale(new, 0).await.unwrap() });
    }
    let added = running.join_all().await;
    assert_eq!(added.iter().filter(|added| matches!(added, AddedSale::Added(_))).count(), 14);
    assert_eq!(store.catalogue().sku(activity(1, 0).sku).await.unwrap().unwrap().stock, 2);
}

/// Of many changes of one version, one is made; the others hear of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_change_of_a_version_is_made() {
    changes_once(&Place::files()).await;
}

async fn changes_once(place: &Place) {
    let store = place.fresh().await;
    let sku = activity(1, 0).sku;
    let mut running = tokio::task::JoinSet::new();
    for price in 1..=20 {
        let store = store.clone();
        let patch = SkuPatch { price_cents: Some(contract::Cents::new(price)), attributes: None };
        running.spawn(async move { store.catalogue().patch_sku(sku, 1, patch).await.unwrap() });
    }
    let changed = running.join_all().await;
    let done: Vec<&Sku> =
        changed.iter().filter_map(|it| if let Changed::Done(sku) = it { Some(sku) } else { None }).collect();
    assert_eq!(done, [&store.catalogue().sku(sku).await.unwrap().unwrap()]);
    assert_eq!(changed.iter().filter(|it| **it == Changed::VersionIs(2)).count(), 19);
}

/// One of two who ask for a name at once has it, whatever its case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_given_away_once() {
    registers_once(&Place::files()).await;
}

async fn registers_once(place: &Place) {
    let store = place.open().await;
    let mut running = tokio::task::JoinSet::new();
    for name in ["Ada", "ada", "ADA", "adA"] {
        let store = store.clone();
        running.spawn(async move { store.accounts().add_user(name, "hash", None, 5).await.unwrap() });
    }
    assert_eq!(running.join_all().await.iter().flatten().count(), 1);
    assert!(store.accounts().credentials(Realm::Shoppers, "aDa").await.unwrap().is_some());
    assert!(store.accounts().credentials(Realm::Shoppers, "ada ").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_address_that_names_no_database_is_told() {
    let open = async |url: &str| Store::connect(url, counting_ids(), Settings::new(1)).await;
    for url in ["", "mall.db", "postgres://localhost/mall"] {
        assert!(matches!(open(url).await, Err(StoreError::Unsuitable(_))), "{url}");
    }
    let Some(server) = services::MariaDb::start() else { return };
    let url = server.database();
    server.sql("ALTER DATABASE mall_0 COLLATE utf8mb4_bin; CREATE TABLE mall_0.other (id BIGINT)");
    let refused = open(&url).await.unwrap_err().to_string();
    assert!(refused.contains("utf8mb4_bin and not utf8mb4_nopad_bin"), "{refused}");
    let refused = open(&url.replace("mall_0:mall_0", "mall_0:wrong")).await.unwrap_err().to_string();
    assert!(refused.contains("Access denied"), "{refused}");
}
