//! Entries that the database refuses, on real databases: their sale waits, all others go on.

use std::{
    sync::{Arc, Mutex, atomic::AtomicI64},
    time::Duration,
};

use contract::{
    ActivityId, OperationId,
    stock::{Command, Entry, Ledger},
};
use domain::Parked;
use sqlx::{AnyConnection, Connection as _};
use store::{Ids, Settings, Store};

use super::*;
use crate::journal::parking::RETRY_MIN_MS;
use support::START_MS;

/// Where a test's database is.
enum Place {
    File(tempfile::TempDir),
    Server { url: String, _server: services::MariaDb },
}

impl Place {
    fn all() -> Vec<Self> {
        let server = services::MariaDb::start().map(|server| {
            let url = server.database();
            Self::Server { url, _server: server }
        });
        [Some(Self::File(tempfile::tempdir().unwrap())), server].into_iter().flatten().collect()
    }

    fn url(&self) -> String {
        match self {
            Self::File(directory) => format!("sqlite://{}?mode=rwc", directory.path().join("mall.db").display()),
            Self::Server { url, .. } => url.clone(),
        }
    }

    /// Runs a statement on a connection of its own, as an operator would.
    async fn sql(&self, statement: &str) {
        let mut connection = AnyConnection::connect(&self.url()).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// A database with one SKU, and a journal worker over a log in memory.
struct Sales {
    place: Place,
    log: MemoryLog,
    clock: HandClock,
    store: Store,
    journal: Journal<MemoryLog, Store, HandClock>,
    reported: Arc<Mutex<Vec<Parked>>>,
}

impl Sales {
    async fn new(place: Place) -> Self {
        let last = AtomicI64::new(1_000_000);
        let ids = Ids::new(move || Ok::<_, String>(last.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
        let store = Store::connect(&place.url(), ids, Settings::new(PAY_WITHIN_MS)).await.unwrap();
        for sql in [
            "INSERT INTO categories VALUES (1, NULL, 'c', 0, 1, 0)",
            "INSERT INTO products (id, category_id, title, subtitle, description, image_ids, on_shelf, version, created_at_ms) VALUES (1, 1, 'p', '', '', '[]', 1, 1, 0)",
            "INSERT INTO skus VALUES (7, 1, '{}', 100, 100, 1, 0)",
        ] {
            place.sql(sql).await;
        }
        let (log, clock) = (MemoryLog::with_topics(PAY_WITHIN_MS).await, HandClock::new());
        let journal = Journal::join(log.clone(), store.clone(), clock.clone()).await.unwrap();
        let mut sales = Self { place, log, clock, store, journal, reported: Arc::default() };
        sales.restart().await;
        sales
    }

    /// Replaces the worker, as a restart does.
    async fn restart(&mut self) {
        let journal = Journal::join(self.log.clone(), self.store.clone(), self.clock.clone()).await.unwrap();
        let reported = self.reported.clone();
        self.journal = journal.reporting(move |parked| *reported.lock().unwrap() = parked.to_vec());
    }

    /// What the worker reported last.
    fn parked(&self) -> Vec<Parked> {
        self.reported.lock().unwrap().clone()
    }

    /// The group commits all that is on the log without the database having it.
    async fn skip_to_end(&mut self) {
        let mut consumer = self.log.join("order-core", &[topic::ORDERS]).await.unwrap();
        consumer.commit(self.log.ends(topic::ORDERS).await.unwrap()).await.unwrap();
        self.restart().await;
    }

    /// A sale whose ledger has `stock` units, and whose row has `written`.
    async fn sale(&self, id: i64, stock: u64, written: u64) -> Sale {
        let sql = format!(
            "INSERT INTO activities (id, version, title, sku_id, price_cents, original_price_cents, stock, \
             per_user_limit, starts_at_ms, ends_at_ms, created_at_ms) VALUES ({id}, 1, 's', 7, 100, 100, {written}, 9, 0, 9000, 0)"
        );
        self.place.sql(&sql).await;
        let rules = contract::activity::Rules { per_user_limit: 9, starts_at_ms: 0, ends_at_ms: u64::MAX >> 1 };
        let (ledger, opened) = Ledger::open(ActivityId::from_i64(id).unwrap(), stock, rules, START_MS);
        Sale { ledger, journal: vec![opened] }
    }

    async fn append(&self, entries: &[Entry]) {
        self.log.append(ledger::journal::records(entries)).await.unwrap();
    }

    /// Steps the worker until it waits.
    async fn settle(&mut self) {
        for _ in 0..100 {
            match tokio::time::timeout(Duration::from_millis(500), self.journal.step()).await {
                Ok(step) => step.unwrap(),
                Err(_) => return,
            }
        }
        panic!("the worker never waits");
    }

    async fn has(&self, user: i64, id: i64) -> bool {
        self.store.order(UserId::from_i64(user).unwrap(), order(id)).await.unwrap().is_some()
    }

    async fn seq(&self, sale: &Sale) -> u64 {
        self.store.audit_counts(sale.ledger.activity()).await.unwrap().map_or(0, |counts| counts.seq)
    }
}

struct Sale {
    ledger: Ledger,
    journal: Vec<Entry>,
}

impl Sale {
    fn id(&self) -> ActivityId {
        self.ledger.activity()
    }

    fn hold(&mut self, id: i64, user: i64) -> &mut Self {
        let user = UserId::from_i64(user).unwrap();
        self.apply(Command::Reserve(Reservation { order: order(id), user, request: None, quantity: 1 }))
    }

    fn apply(&mut self, command: Command) -> &mut Self {
        self.ledger.apply(command, START_MS, &mut self.journal);
        self
    }
}

/// Three sales whose entries are in one partition.
fn neighbours() -> [i64; 3] {
    let partition =
        |id: i64| topic::partition_of(&contract::record::activity_key(ActivityId::from_i64(id).unwrap()), 4);
    let mut ids = (1..).filter(|id| partition(*id) == partition(1));
    [(); 3].map(|()| ids.next().unwrap())
}

/// The second sale waits from its bad entry on; when the row that was in its way is gone, it goes on from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_id_that_two_sales_hold_stops_the_second_sale_only() {
    let places = |at_once| Place::all().into_iter().map(move |place| (place, at_once));
    for (place, at_once) in places(true).chain(places(false)) {
        let mut sales = Sales::new(place).await;
        let [one, two, three] = neighbours();
        let (mut first, mut second, mut third) =
            (sales.sale(one, 9, 9).await, sales.sale(two, 9, 9).await, sales.sale(three, 9, 9).await);
        first.hold(101, 1);
        second.hold(201, 2).hold(101, 3).hold(202, 4);
        third.hold(301, 5);
        sales.append(&first.journal).await;
        if !at_once {
            // The row is written, so the database refuses the other one by its key.
            sales.settle().await;
        }
        sales.append(&second.journal).await;
        sales.append(&third.journal).await;
        sales.settle().await;
        assert!(sales.has(1, 101).await && sales.has(2, 201).await && sales.has(5, 301).await);
        assert!(!sales.has(4, 202).await);
        assert_eq!((sales.log.lag("order-core", topic::ORDERS), sales.seq(&second).await), (0, 2));
        let parked = sales.parked();
        assert_eq!(parked.iter().map(|it| (it.activity, it.entries)).collect::<Vec<_>>(), [(second.id(), 2)]);

        second.hold(203, 6);
        third.hold(302, 7);
        sales.append(&second.journal[4..]).await;
        sales.append(&third.journal[2..]).await;
        sales.settle().await;
        assert!(sales.has(7, 302).await && !sales.has(6, 203).await);

        for sql in [
            "DELETE FROM order_lines WHERE order_id = 101",
            "DELETE FROM orders WHERE id = 101",
            "DELETE FROM reservations WHERE order_id = 101",
        ] {
            sales.place.sql(sql).await;
        }
        // It is tried when its time has come.
        sales.clock.advance(RETRY_MIN_MS - 1);
        sales.settle().await;
        assert_eq!(sales.parked()[0].tries, 0);
        sales.clock.advance(1_000);
        sales.settle().await;
        assert!(sales.has(3, 101).await && sales.has(4, 202).await && sales.has(6, 203).await);
        assert_eq!(sales.parked(), []);
        assert_eq!(sales.store.snapshots().await.unwrap()[1], second.ledger.snapshot());
    }
}

/// A CHECK refuses the entry. The sale is tried again when the worker starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_that_a_sale_does_not_have_stop_that_sale_only() {
    for place in Place::all() {
        let mut sales = Sales::new(place).await;
        let [one, two, _] = neighbours();
        let (mut bad, mut good) = (sales.sale(one, 40, 10).await, sales.sale(two, 9, 9).await);
        bad.apply(Command::Restock { operation: OperationId::from_i64(5).unwrap(), delta: -40 });
        good.hold(201, 2);
        for entries in [&bad.journal, &good.journal] {
            sales.append(entries).await;
        }
        sales.settle().await;
        assert!(sales.has(2, 201).await);
        assert_eq!((sales.log.lag("order-core", topic::ORDERS), sales.seq(&bad).await), (0, 1));
        let [parked] = &sales.parked()[..] else { panic!("{:?}", sales.parked()) };
        assert!(parked.activity == bad.id() && parked.reason.to_lowercase().contains("constraint"), "{parked:?}");

        sales.restart().await;
        sales.settle().await;
        assert_eq!(sales.parked()[0].tries, 1, "it was tried at once");
        sales.place.sql(&format!("UPDATE activities SET stock = 40 WHERE id = {one}")).await;
        sales.restart().await;
        sales.settle().await;
        assert_eq!((sales.parked(), sales.seq(&bad).await), (vec![], 2));
        let sku = sales.store.catalogue().sku(contract::SkuId::from_i64(7).unwrap()).await.unwrap().unwrap();
        assert_eq!(sku.stock, 140);
    }
}

/// A database that is older than the group's offsets, as after a restore from a backup: it is healed from the log, the
/// sales of which nothing new comes too, and nothing waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_database_is_healed_while_sales_go_on() {
    for place in Place::all() {
        let mut sales = Sales::new(place).await;
        let [one, two, three] = neighbours();
        let (mut busy, mut quiet, mut lost) =
            (sales.sale(one, 900, 900).await, sales.sale(two, 9, 9).await, sales.sale(three, 9, 9).await);
        busy.hold(101, 1);
        sales.append(&busy.journal).await;
        sales.settle().await;
        quiet.hold(201, 2);
        for id in 102..=160 {
            busy.hold(id, 1000 + id);
        }
        // One record for each, so that reading them again takes several steps.
        for entry in quiet.journal.iter().chain(&busy.journal[2..]) {
            sales.append(std::slice::from_ref(entry)).await;
        }
        // The offsets of the group are past entries that the database never had.
        sales.skip_to_end().await;
        lost.hold(301, 3);
        sales.append(&lost.journal[1..]).await;
        busy.hold(161, 4);
        sales.append(&busy.journal[busy.journal.len() - 1..]).await;
        sales.settle().await;
        assert_eq!((sales.seq(&busy).await, sales.seq(&quiet).await), (62, 2));
        assert!(sales.has(4, 161).await && sales.has(2, 201).await);
        // The beginning of this one is nowhere; it waits alone.
        assert_eq!(sales.parked().iter().map(|it| it.activity).collect::<Vec<_>>(), [lost.id()]);
        assert_eq!(sales.log.lag("order-core", topic::ORDERS), 0);
        busy.hold(162, 5);
        sales.append(&busy.journal[busy.journal.len() - 1..]).await;
        sales.settle().await;
        assert!(sales.has(5, 162).await);

        // Later it turns up, and the next try finds it.
        sales.append(&lost.journal[..1]).await;
        sales.settle().await;
        sales.clock.advance(RETRY_MIN_MS);
        sales.settle().await;
        assert!(sales.parked().is_empty() && sales.has(3, 301).await);
    }
}

/// One that was dropped is left alone until somebody has it tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_sale_is_left_alone() {
    let mut sales = Sales::new(Place::File(tempfile::tempdir().unwrap())).await;
    let [one, ..] = neighbours();
    let mut sale = sales.sale(one, 9, 9).await;
    sale.hold(101, 1).hold(102, 2);
    sales.append(&sale.journal[..1]).await;
    sales.append(&sale.journal[2..]).await;
    sales.settle().await;
    assert!(sales.store.sales().drop_parked(sale.id(), "a test").await.unwrap().is_some());
    let before = sales.parked();
    sales.clock.advance(100 * RETRY_MIN_MS);
    sales.append(&sale.journal[1..2]).await;
    sales.settle().await;
    let [after] = &sales.store.parked().await.unwrap()[..] else { panic!("it stays parked") };
    assert_eq!((after.tries, after.entries, after.dropped.as_deref()), (before[0].tries, 2, Some("a test")));
    assert!(sales.store.sales().retry_soon(sale.id(), sales.clock.now_ms()).await.unwrap().is_some());
    sales.clock.advance(1_000);
    sales.settle().await;
    assert!(sales.parked().is_empty() && sales.has(2, 102).await);
    assert_eq!(sales.store.sales().retry_soon(sale.id(), 1).await.unwrap(), None);
    assert_eq!(sales.store.sales().drop_parked(sale.id(), "").await.unwrap(), None);
}

/// What the error does not explain is tried a few times before it parks the sale.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unclear_error_is_tried_a_few_times() {
    let mut sales = Sales::new(Place::File(tempfile::tempdir().unwrap())).await;
    let [one, two, _] = neighbours();
    let (mut first, mut second) = (sales.sale(one, 9, 9).await, sales.sale(two, 9, 9).await);
    first.hold(101, 1);
    second.apply(Command::Restock { operation: OperationId::from_i64(5).unwrap(), delta: 1 });
    sales.place.sql("ALTER TABLE inbox RENAME TO elsewhere").await;
    sales.append(&second.journal).await;
    sales.append(&first.journal).await;
    let mut failed = 0;
    while let Ok(step) = tokio::time::timeout(Duration::from_millis(500), sales.journal.step()).await {
        failed += usize::from(step.is_err());
        assert!(failed < 10, "{step:?}");
    }
    assert!(sales.has(1, 101).await);
    assert_eq!((failed, sales.parked()[0].activity), (4, second.id()));
}
