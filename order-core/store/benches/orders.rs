//! What writing the orders of a flash sale takes, and what reading their addresses has of it:
//! `cargo bench -p store --bench orders`. A figure is for 500 orders, on SQLite, and on MariaDB where it is installed.

#![allow(missing_docs, reason = "criterion's macro makes a function")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench stops at what it does not expect")]
#![allow(clippy::disallowed_methods, reason = "a bench looks at the clock")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use contract::{
    Cents, OrderId, SkuId, UserId,
    activity::{Admission, Rules},
    stock::{Command, Ledger, Reservation},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use domain::{Line, SaleStore as _};
use store::{
    AddedAddress, AddedSale, AddressFields, Attributes, Ids, NewCategory, NewProduct, NewSale, NewSku, Settings, Store,
    parts::read_default_addresses,
};
use tokio::runtime::Runtime;

/// As many as the journal worker takes in at once.
const ORDERS: usize = 500;
/// Shoppers, each with a default address.
const USERS: usize = 5_000;
const NOW_MS: u64 = 1_800_000_000_000;
const STOCK: u64 = 100_000_000;

/// A sale whose orders are written.
struct Sale {
    store: Store,
    users: Vec<UserId>,
    ledger: Ledger,
    offset: u64,
    orders: i64,
}

impl Sale {
    async fn open(store: Store) -> Self {
        let sku = sku(&store).await;
        let mut users = Vec::new();
        for number in 0..USERS {
            let user =
                store.accounts().add_user(&format!("u{number}"), "hash", None, NOW_MS).await.unwrap().unwrap().id;
            let fields = AddressFields {
                recipient: "王小明".to_owned(),
                phone: "13800000000".to_owned(),
                region: "浙江省 杭州市 西湖区".to_owned(),
                detail: format!("文三路 {number} 号"),
                is_default: true,
            };
            let added = store.accounts().add_address(user, &fields, NOW_MS).await.unwrap();
            assert!(matches!(added, AddedAddress::Added(_)));
            users.push(user);
        }
        let rules = Rules { per_user_limit: 1_000_000, starts_at_ms: NOW_MS - 1, ends_at_ms: NOW_MS + 1_000_000_000 };
        let (title, price, admission) = ("秒杀".to_owned(), Cents::new(100), Admission::default());
        let new = NewSale { title, sku, price, stock: STOCK, rules, admission, pay_within_ms: None, is_draft: false };
        let AddedSale::Added(sale) = store.sales().add_sale(new, NOW_MS).await.unwrap() else { panic!("no sale") };
        let (ledger, opened) = Ledger::open(sale.activity.id, STOCK, rules, NOW_MS);
        store.take_in(&[Line { offset: 0, entry: opened }], NOW_MS).await.unwrap();
        Self { store, users, ledger, offset: 1, orders: 1_000_000_000 }
    }

    /// The next entries of the journal, each of another user.
    fn next(&mut self) -> Vec<Line> {
        let mut entries = Vec::new();
        for _ in 0..ORDERS {
            self.orders += 1;
            let user = self.users[usize::try_from(self.orders).unwrap() % self.users.len()];
            let order = OrderId::from_i64(self.orders).unwrap();
            let reservation = Reservation { order, user, request: None, quantity: 1 };
            self.ledger.apply(Command::Reserve(reservation), NOW_MS, &mut entries);
        }
        assert_eq!(entries.len(), ORDERS);
        let lines = (self.offset..).zip(entries).map(|(offset, entry)| Line { offset, entry }).collect();
        self.offset += ORDERS as u64;
        lines
    }

    async fn write(&mut self, rounds: u64) -> Duration {
        let mut taken = Duration::ZERO;
        for _ in 0..rounds {
            let lines = self.next();
            let begun = Instant::now();
            self.store.take_in(&lines, NOW_MS).await.unwrap();
            taken += begun.elapsed();
        }
        taken
    }

    async fn read_addresses(&mut self, rounds: u64) -> Duration {
        let mut taken = Duration::ZERO;
        for round in 0..rounds {
            let first = usize::try_from(round).unwrap() * ORDERS % self.users.len();
            let users = &self.users[first..first + ORDERS];
            let begun = Instant::now();
            assert_eq!(read_default_addresses(&self.store, users).await.unwrap(), ORDERS);
            taken += begun.elapsed();
        }
        taken
    }
}

async fn sku(store: &Store) -> SkuId {
    let new = NewCategory { parent: None, name: "手机".to_owned(), sort_order: 0 };
    let category = store.catalogue().add_category(new, NOW_MS).await.unwrap().unwrap().category_id;
    let (title, subtitle, description) = ("旗舰".to_owned(), String::new(), String::new());
    let new = NewProduct { category, title, subtitle, description, image_ids: Vec::new() };
    let product = store.catalogue().add_product(new, NOW_MS).await.unwrap().unwrap().product_id;
    let new = NewSku { product, attributes: Attributes::default(), price: Cents::new(100), stock: STOCK };
    store.catalogue().add_sku(new, NOW_MS).await.unwrap().unwrap().sku_id
}

fn ids() -> Ids {
    let next = Arc::new(AtomicI64::new(1_000));
    Ids::new(move || Ok::<_, String>(next.fetch_add(1, Ordering::Relaxed)))
}

fn orders(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let settings = || Settings::new(60_000);
    let sqlite = runtime.block_on(Store::open(&directory.path().join("mall.db"), ids(), settings())).unwrap();
    let server = services::MariaDb::start();
    let mariadb = server.as_ref().map(|server| {
        let url = server.database();
        ("mariadb", runtime.block_on(Store::connect(&url, ids(), settings())).unwrap())
    });
    for (name, store) in [("sqlite", sqlite)].into_iter().chain(mariadb) {
        let mut sale = runtime.block_on(Sale::open(store));
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(ORDERS as u64));
        group.bench_function("write orders", |bencher| {
            bencher.iter_custom(|rounds| runtime.block_on(sale.write(rounds)));
        });
        group.bench_function("read their addresses", |bencher| {
            bencher.iter_custom(|rounds| runtime.block_on(sale.read_addresses(rounds)));
        });
        group.finish();
    }
}

criterion_group!(benches, orders);
criterion_main!(benches);
