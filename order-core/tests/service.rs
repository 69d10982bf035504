//! The service on the real embedded log, ledger and database: a sale from the hold to the end of every
//! order, through restarts.
#![expect(clippy::unwrap_used, reason = "a test may end so, its helpers too")]

use std::{path::Path, time::Duration};

use commit_log::{LocalLog, Log};
use contract::{
    ActivityId, Cents, OrderId, UserId,
    activity::{Admission, Rules},
    stock::{Counters, Outcome, Reservation, Window},
    topic,
};
use domain::{DatabaseCounts, PaidOutcome, SaleStore};
use foundation::{Clock, IdMaker, Readiness, SystemClock, config, metrics::Registry};
use ledger::{LedgerClient, local::LocalLedger};
use order_core::{Browsers, OrderCore, ShopPages, Snapshots};
use store::{AddedSale, Attributes, Ids, NewCategory, NewProduct, NewSale, NewSku, Passwords, Settings, Store};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const PAY_WITHIN_MS: u64 = 700;
const STOCK: u64 = 400;

struct Mall {
    store: Store,
    log: LocalLog,
    ledger: LocalLedger,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    service: JoinHandle<anyhow::Result<()>>,
}

fn settings() -> config::Config {
    config::load(None, std::iter::empty()).unwrap()
}

impl Mall {
    async fn start(directory: &Path, worker: u16) -> Self {
        let ids = IdMaker::unleased(worker, SystemClock);
        let ids = Ids::new(move || ids.next());
        let store = Store::open(&directory.join("mall.db"), ids, Settings::new(PAY_WITHIN_MS)).await.unwrap();
        let log = LocalLog::open(&directory.join("log.db")).unwrap();
        log.create_topics(topic::fixed().to_vec()).await.unwrap();
        let snapshots = Snapshots::new(store.clone());
        let (ledger, _thread) =
            ledger::local::start(log.clone(), snapshots, Window::default(), SystemClock).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let parts = OrderCore {
            shop: ShopPages::default(),
            browsers: Browsers::default(),
            store: store.clone(),
            log: log.clone(),
            ledgers: ledger.clone(),
            providers: order_core::Providers::new(&payments(), "http://127.0.0.1:1", None).unwrap(),
            mock: None,
            search: {
                let analyzer = search::Analyzer::new(search::Synonyms::default());
                order_core::Search::new(search::Embedded::open(&directory.join("search"), analyzer).unwrap())
            },
            carts: order_core::Carts::Database(store.clone()),
            clock: SystemClock,
            passwords: Passwords::new(4).unwrap(),
            shopper_secret: b"a secret of the test".to_vec(),
            images: images::Images::open(&settings().images, &directory.join("images"), "http://127.0.0.1:1").unwrap(),
            windows: limits::Windows::Local(limits::LocalWindows::default()),
            limits: settings().limits,
            server: settings().order_core,
            pay_within_ms: PAY_WITHIN_MS,
            readiness: Readiness::default(),
            metrics: Registry::default(),
        };
        let service = tokio::spawn(order_core::run(parts, listener, stop.clone()));
        Self { store, log, ledger, address, stop, service }
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn end(self) {
        self.stop.cancel();
        self.service.await.unwrap().unwrap();
        self.store.close().await;
        self.log.close();
    }

    async fn sale(&self) -> ActivityId {
        let new = NewCategory { parent: None, name: "数码".into(), sort_order: 0 };
        let category = self.store.catalogue().add_category(new, 0).await.unwrap().unwrap().category_id;
        let (subtitle, description) = (String::new(), String::new());
        let new = NewProduct { category, title: "手机".into(), subtitle, description, image_ids: vec![] };
        let product = self.store.catalogue().add_product(new, 0).await.unwrap().unwrap().product_id;
        let new = NewSku { product, attributes: Attributes::new(), price: Cents::new(500), stock: STOCK };
        let sku = self.store.catalogue().add_sku(new, 0).await.unwrap().unwrap().sku_id;
        let now_ms = SystemClock.now_ms();
        let rules = Rules { per_user_limit: 2, starts_at_ms: now_ms - 1, ends_at_ms: now_ms + 60_000 };
        let new = NewSale {
            title: "秒杀".into(),
            sku,
            price: Cents::new(1),
            stock: STOCK,
            rules,
            admission: Admission::default(),
            pay_within_ms: None,
            is_draft: false,
        };
        let AddedSale::Added(sale) = self.store.sales().add_sale(new, now_ms).await.unwrap() else { panic!("no sale") };
        self.ledger.open(sale.activity.id, STOCK, rules).await.unwrap();
        sale.activity.id
    }

    async fn buy(&self, activity: ActivityId, orders: std::ops::Range<i64>) -> u64 {
        let asked = |id: i64| Reservation {
            order: OrderId::from_i64(id).unwrap(),
            user: UserId::from_i64(id).unwrap(),
            request: None,
            quantity: 1,
        };
        let (sender, answer) = tokio::sync::oneshot::channel();
        let reply = Box::new(move |reply| drop(sender.send(reply)));
        self.ledger.reserve((activity, None), orders.map(asked).collect(), false, reply);
        let held = |outcome: &&Outcome| matches!(outcome, Outcome::Held { repeated: false, .. });
        answer.await.unwrap().unwrap().outcomes.iter().filter(held).count() as u64
    }

    async fn counts(&self, activity: ActivityId) -> DatabaseCounts {
        self.store.audit_counts(activity).await.unwrap().unwrap_or_default()
    }

    async fn counters(&self, activity: ActivityId) -> Counters {
        self.ledger.counters(activity).await.unwrap().unwrap()
    }

    async fn until(&self, activity: ActivityId, what: &str, done: impl Fn(&DatabaseCounts, &Counters) -> bool) {
        for _ in 0..1000 {
            let (counts, counters) = (self.counts(activity).await, self.counters(activity).await);
            if done(&counts, &counters) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not {what}: {:?} {:?}", self.counts(activity).await, self.counters(activity).await);
    }
}

fn payments() -> foundation::config::PaymentsConfig {
    foundation::config::load(None, std::iter::empty()).unwrap().payments
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_on_the_real_parts_survives_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let mall = Mall::start(directory.path(), 1).await;
    let activity = mall.sale().await;
    assert_eq!(mall.buy(activity, 1000..1300).await, 300);
    mall.until(activity, "written", |counts, _| counts.orders == 300).await;
    for id in 1000..1100 {
        let order = OrderId::from_i64(id).unwrap();
        assert_eq!(mall.store.mark_paid(order, SystemClock.now_ms()).await.unwrap(), PaidOutcome::Paid);
    }
    // Killed with settles, deadlines and the next holds on their way.
    assert_eq!(mall.buy(activity, 1300..1450).await, 100, "the stock is the limit");
    mall.end().await;

    let mall = Mall::start(directory.path(), 2).await;
    mall.until(activity, "at rest", |counts, counters| {
        (counters.sold, counters.held) == (100, 0) && counts.seq == counters.seq
    })
    .await;
    let (counts, counters) = (mall.counts(activity).await, mall.counters(activity).await);
    assert_eq!((counters.total, counters.available), (STOCK, STOCK - 100));
    assert_eq!((counts.by_status.paid, counts.by_status.closed, counts.orders), (100, 300, 400));
    assert_eq!((counts.stock_left, counts.by_hold.sold, counts.by_hold.released), (STOCK - 100, 100, 300));
    assert_eq!(mall.buy(activity, 2000..2001).await, 1, "what came back is sold again");

    let answer = mall.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("warnings"), "{answer}");
    mall.end().await;
}

/// One sale that the database refuses is reported, and neither the service nor another sale stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_sale_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let mall = Mall::start(directory.path(), 1).await;
    let activity = mall.sale().await;
    let lost = ActivityId::from_i64(77).unwrap();
    let event = contract::stock::Event::Released { order: OrderId::from_i64(1).unwrap(), quantity: 1 };
    let entry = contract::stock::Entry {
        activity: lost,
        term: contract::stock::Term::FIRST,
        epoch: 1,
        seq: 9,
        at_ms: 1,
        event,
    };
    mall.log.append(ledger::journal::records(&[entry])).await.unwrap();
    assert_eq!(mall.buy(activity, 1..4).await, 3);
    mall.until(activity, "orders", |counts, _| counts.orders == 3).await;
    let began = std::time::Instant::now();
    loop {
        let answer = mall.get("/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        if answer.contains("sale 77 is parked since 20") && answer.contains("entry 9 of the journal follows 0") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let metrics = mall.get("/metrics").await;
    assert!(metrics.contains("\nmall_parked_sales 1\n") && metrics.contains("\nmall_parked_entries 1\n"), "{metrics}");
    assert!(mall.store.sales().drop_parked(lost, "its ledger was never opened").await.unwrap().is_some());
    while mall.get("/readyz").await.contains("parked") {
        assert!(began.elapsed() < Duration::from_secs(20), "it was dropped");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    mall.end().await;
}

/// The ledger thread has no runtime when it rebuilds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_read_from_a_thread_without_a_runtime() {
    use ledger::restore::SnapshotSource;
    let directory = tempfile::tempdir().unwrap();
    let ids = Ids::new(|| Ok::<_, String>(1));
    let store = Store::open(&directory.path().join("mall.db"), ids, Settings::new(1)).await.unwrap();
    let snapshots = Snapshots::new(store);
    let thread = std::thread::spawn(move || {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
        let mut future = std::pin::pin!(snapshots.snapshots());
        loop {
            match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
                std::task::Poll::Ready(found) => return found,
                std::task::Poll::Pending => std::thread::park(),
            }
        }
    });
    let found = tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
    assert_eq!(found, Ok(Vec::new()));
}
