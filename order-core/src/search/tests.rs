use contract::{CategoryId, Cents, ProductId, SkuId};
use foundation::{Clock as _, Readiness};
use search::{Advance, Analyzer, Change, Embedded, Outcome, Position, Rebuild, SearchRequest, Size, State, Synonyms};
use store::{Attributes, CategoryPatch, Changed, Ids, NewCategory, NewProduct, NewSku, Settings, SkuPatch, Store};
use support::{HandClock, MemoryLog};
use workers::{Relay, Worker as _};

use super::*;

mod shared;

/// Pauses of 50 ms after which a worker without a lag has nothing to do.
const IDLE_PAUSES: usize = 6;

struct Mall {
    store: Store,
    log: MemoryLog,
    clock: HandClock,
    search: Search,
    sync: SearchSync<MemoryLog, HandClock>,
    readiness: Readiness,
    directory: tempfile::TempDir,
}

fn ids() -> Ids {
    let last = std::sync::atomic::AtomicI64::new(0);
    Ids::new(move || Ok::<_, String>(last.fetch_add(1, Ordering::Relaxed) + 1))
}

fn index(directory: &std::path::Path) -> Search {
    Search::new(Embedded::open(&directory.join("search"), Analyzer::new(Synonyms::default())).unwrap())
}

impl Mall {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("mall.db"), ids(), Settings::new(60_000)).await.unwrap();
        let (log, clock, readiness) = (MemoryLog::with_topics(60_000).await, HandClock::new(), Readiness::default());
        let search = index(directory.path());
        let parts = (log.clone(), store.clone(), search.clone());
        let sync = SearchSync::follow(parts.0, parts.1, parts.2, clock.clone(), readiness.clone()).await.unwrap();
        Self { store, log, clock, search, sync, readiness, directory }
    }

    /// The same mall after a restart, with another log where one is given.
    async fn restarted(self, log: Option<MemoryLog>) -> Self {
        let Self { store, clock, readiness, directory, search, sync, log: old } = self;
        drop((search, sync));
        let (log, search) = (log.unwrap_or(old), index(directory.path()));
        let parts = (log.clone(), store.clone(), search.clone());
        let sync = SearchSync::follow(parts.0, parts.1, parts.2, clock.clone(), readiness.clone()).await.unwrap();
        Self { store, log, clock, search, sync, readiness, directory }
    }

    /// Carries what was written to the log and lets the worker take all of it.
    async fn settle(&mut self) {
        let mut relay = Relay::new(self.log.clone(), self.store.clone(), self.clock.clone());
        while !domain::SaleStore::outbox(&self.store, 1).await.unwrap().is_empty() {
            relay.step().await.unwrap();
        }
        let pause = std::time::Duration::from_millis(50);
        // Only a step that waits for records is dropped: dropping one that works would lose its work.
        let (mut idle, mut steps) = (0, 0);
        while idle < IDLE_PAUSES && steps < 600 {
            steps += 1;
            let mut step = std::pin::pin!(self.sync.step());
            idle = 0;
            while idle < IDLE_PAUSES {
                match tokio::time::timeout(pause, &mut step).await {
                    Ok(Ok(())) => break,
                    Ok(Err(_)) => {
                        tokio::time::sleep(pause).await;
                        break;
                    }
                    Err(_) if self.search.lag_ms(self.clock.now_ms() + 1) == 0 => idle += 1,
                    Err(_) => steps += 1,
                }
                assert!(steps < 600, "the worker does not come to the end of the log");
            }
        }
        assert_eq!(self.search.lag_ms(self.clock.now_ms()), 0);
        assert_eq!(self.readiness.warnings(), []);
    }

    async fn found(&self, q: &str) -> Vec<ProductId> {
        let page = self.search.search(SearchRequest::new(q)).await.unwrap();
        page.hits.into_iter().map(|hit| hit.product.id).collect()
    }

    async fn category(&self, name: &str) -> CategoryId {
        let new = NewCategory { parent: None, name: name.to_owned(), sort_order: 0 };
        self.store.catalogue().add_category(new, 1).await.unwrap().unwrap().category_id
    }

    async fn product(&self, category: CategoryId, title: &str, stock: u64) -> (ProductId, SkuId) {
        let new = NewProduct {
            category,
            title: title.to_owned(),
            subtitle: String::new(),
            description: String::new(),
            image_ids: Vec::new(),
        };
        let product = self.store.catalogue().add_product(new, 1).await.unwrap().unwrap().product_id;
        let attributes = Attributes::from([("颜色".to_owned(), "黑".to_owned())]);
        let new = NewSku { product, attributes, price: Cents::new(999), stock };
        let sku = self.store.catalogue().add_sku(new, 1).await.unwrap().unwrap().sku_id;
        self.store.catalogue().shelve(product, true).await.unwrap();
        (product, sku)
    }
}

#[tokio::test]
async fn the_index_follows_every_change_of_a_document() {
    let mut mall = Mall::new().await;
    let category = mall.category("手机").await;
    let (product, sku) = mall.product(category, "小米旗舰", 1).await;
    mall.settle().await;
    assert_eq!(mall.found("旗舰").await, [product]);
    assert_eq!(mall.found("手机").await, [product], "by its category");
    assert_eq!(mall.found("黑").await, [product], "by an attribute");

    let patch = CategoryPatch { name: Some("平板".to_owned()), ..CategoryPatch::default() };
    assert!(matches!(mall.store.catalogue().patch_category(category, 1, patch).await.unwrap(), Changed::Done(_)));
    mall.settle().await;
    assert_eq!((mall.found("手机").await, mall.found("平板").await), (vec![], vec![product]));

    let patch = SkuPatch { price_cents: Some(Cents::new(500)), ..SkuPatch::default() };
    assert!(matches!(mall.store.catalogue().patch_sku(sku, 1, patch).await.unwrap(), Changed::Done(_)));
    mall.settle().await;
    let cheap = SearchRequest { max_price_cents: Some(Cents::new(500)), ..SearchRequest::new("旗舰") };
    assert_eq!(mall.search.search(cheap).await.unwrap().total, 1);

    mall.store.catalogue().shelve(product, false).await.unwrap();
    mall.settle().await;
    assert_eq!(mall.found("旗舰").await, []);
}

#[tokio::test]
async fn a_product_is_in_stock_until_its_last_unit_is_ordered_and_again_when_one_comes_back() {
    let mut mall = Mall::new().await;
    let category = mall.category("手机").await;
    let (product, sku) = mall.product(category, "旗舰", 2).await;
    mall.settle().await;
    let in_stock = || SearchRequest { in_stock: Some(true), ..SearchRequest::new("旗舰") };
    assert_eq!(mall.search.search(in_stock()).await.unwrap().total, 1);
    let version = async |mall: &Mall| mall.store.catalogue().search_entries(&[product]).await.unwrap()[0].version;
    let before = version(&mall).await;

    let first = support_order(&mall.store, sku).await;
    assert_eq!(version(&mall).await, before, "one of two units is no change of the document");
    let last = support_order(&mall.store, sku).await;
    assert_eq!(version(&mall).await, before + 1);
    mall.settle().await;
    assert_eq!(mall.search.search(in_stock()).await.unwrap().total, 0);

    assert_eq!(domain::SaleStore::close_unpaid(&mall.store, &[first, last], u64::MAX >> 1).await.unwrap(), 2);
    mall.settle().await;
    assert_eq!(mall.search.search(in_stock()).await.unwrap().total, 1);
}

/// An order of one unit.
async fn support_order(store: &Store, sku: SkuId) -> contract::OrderId {
    let name = format!("buyer-{}", store.next_order().unwrap());
    let user = store.accounts().add_user(&name, "hash", None, 1).await.unwrap().unwrap().id;
    let fields = store::AddressFields {
        recipient: "王".to_owned(),
        phone: "1".to_owned(),
        region: "杭州".to_owned(),
        detail: "一号".to_owned(),
        is_default: false,
    };
    let store::AddedAddress::Added(address) = store.accounts().add_address(user, &fields, 1).await.unwrap() else {
        panic!("there is room for an address")
    };
    let goods = store::Goods::Items([(sku, 1)].into());
    let new = store::NewOrder { user, address: address.address_id, goods, request: None, expected_total: None };
    let placed = store.place_order(&new, 1).await.unwrap();
    let store::Placed::Placed(order) = placed else { panic!("{placed:?}") };
    order.id
}

#[tokio::test]
async fn a_restart_goes_on_where_the_index_is_and_another_log_has_it_built_again() {
    let mut mall = Mall::new().await;
    let category = mall.category("手机").await;
    let (first, _) = mall.product(category, "甲 旗舰", 1).await;
    mall.settle().await;
    let mut mall = mall.restarted(None).await;
    let (second, _) = mall.product(category, "乙 旗舰", 1).await;
    mall.settle().await;
    let mut found = mall.found("旗舰").await;
    found.sort();
    assert_eq!(found, [first, second]);

    // A log that was lost knows nothing of what the index has seen; the database does.
    let mut mall = mall.restarted(Some(MemoryLog::with_topics(60_000).await)).await;
    mall.store.catalogue().shelve(first, false).await.unwrap();
    mall.settle().await;
    assert_eq!(mall.found("旗舰").await, [second]);
}

#[tokio::test]
async fn an_index_that_is_lost_is_built_from_the_database() {
    let mut mall = Mall::new().await;
    let category = mall.category("手机").await;
    let (product, _) = mall.product(category, "旗舰", 1).await;
    mall.settle().await;
    let Mall { store, log, clock, search, sync, readiness, directory } = mall;
    drop((search, sync));
    std::fs::remove_dir_all(directory.path().join("search")).unwrap();
    let search = index(directory.path());
    assert!(matches!(search.search(SearchRequest::new("旗舰")).await, Err(SearchFailed::Search(_))));
    let parts = (log.clone(), store.clone(), search.clone());
    let sync = SearchSync::follow(parts.0, parts.1, parts.2, clock.clone(), readiness.clone()).await.unwrap();
    let mut mall = Mall { store, log, clock, search, sync, readiness, directory };
    mall.settle().await;
    assert_eq!(mall.found("旗舰").await, [product]);
}

/// An index that can be made unavailable.
struct Away(Embedded, Arc<std::sync::atomic::AtomicBool>);

impl Away {
    fn here(&self) -> Result<&Embedded, IndexError> {
        if self.1.load(Ordering::Relaxed) { Err(IndexError::Unavailable("away".to_owned())) } else { Ok(&self.0) }
    }
}

impl SearchIndex for Away {
    fn state(&self) -> Result<State, IndexError> {
        self.here()?.state()
    }

    fn position(&self) -> Result<Option<Position>, IndexError> {
        self.here()?.position()
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn apply(&self, changes: &[Change], advance: Option<&Advance>) -> Result<Vec<Outcome>, IndexError> {
        self.here()?.apply(changes, advance)
    }

    fn refresh_sales(&self, sales: &[(ProductId, u64)]) -> Result<(), IndexError> {
        self.here()?.refresh_sales(sales)
    }

    fn search(&self, request: &SearchRequest) -> Result<Page, SearchError> {
        self.here()?.search(request)
    }

    fn suggest(&self, q: &str, limit: usize) -> Result<Vec<Suggestion>, SearchError> {
        self.here()?.suggest(q, limit)
    }

    fn versions(&self, visit: &mut dyn FnMut(ProductId, i64)) -> Result<(), IndexError> {
        self.here()?.versions(visit)
    }

    fn products(&self, after: Option<ProductId>, limit: usize) -> Result<Vec<search::Product>, IndexError> {
        self.here()?.products(after, limit)
    }

    fn rebuild(&self) -> Result<Box<dyn Rebuild + '_>, IndexError> {
        self.here()?.rebuild()
    }

    fn size(&self) -> Result<Size, IndexError> {
        self.here()?.size()
    }
}

/// A mall whose index is away while the switch is on.
async fn mall_with_switch() -> (Mall, Arc<std::sync::atomic::AtomicBool>) {
    let mut mall = Mall::new().await;
    let away = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let path = mall.directory.path().join("away");
    let embedded = Embedded::open(&path, Analyzer::new(Synonyms::default())).unwrap();
    mall.search = Search::new(Away(embedded, Arc::clone(&away)));
    let parts = (mall.log.clone(), mall.store.clone(), mall.search.clone());
    mall.sync =
        SearchSync::follow(parts.0, parts.1, parts.2, mall.clock.clone(), mall.readiness.clone()).await.unwrap();
    mall.settle().await;
    (mall, away)
}

#[tokio::test]
async fn a_warning_ends_with_its_cause_though_nothing_changes() {
    let (mut mall, away) = mall_with_switch().await;
    away.store(true, Ordering::Relaxed);
    mall.clock.advance(120_000);
    assert!(mall.sync.step().await.is_err());
    assert_eq!(mall.readiness.warnings().len(), 1);
    away.store(false, Ordering::Relaxed);
    mall.clock.advance(120_000);
    mall.settle().await;
}

#[tokio::test]
async fn a_full_batch_that_is_the_last_one_leaves_nothing_behind() {
    let mut mall = Mall::new().await;
    mall.settle().await;
    let record = |id: i64| commit_log::NewRecord {
        topic: contract::topic::CATALOGUE.into(),
        key: contract::record::product_key(ProductId::from_i64(id).unwrap()).to_vec(),
        value: contract::record::Record::to_bytes(&contract::record::ProductChanged {
            product: ProductId::from_i64(id).unwrap(),
            version: 1,
            at_ms: 1,
        }),
    };
    commit_log::Log::append(&mall.log, (1..=500).map(record).collect()).await.unwrap();
    mall.settle().await;
    mall.clock.advance(1_000);
    assert_eq!(mall.search.lag_ms(mall.clock.now_ms()), 0);
}

#[tokio::test]
async fn the_lag_grows_while_the_index_is_away_and_the_warning_stays() {
    let (mut mall, away) = mall_with_switch().await;
    let category = mall.category("手机").await;
    away.store(true, Ordering::Relaxed);
    let (product, _) = mall.product(category, "旗舰", 1).await;
    let mut relay = Relay::new(mall.log.clone(), mall.store.clone(), mall.clock.clone());
    relay.step().await.unwrap();
    for seconds in 1..=3 {
        assert!(mall.sync.step().await.is_err());
        mall.clock.advance(1_000);
        assert_eq!(mall.search.lag_ms(mall.clock.now_ms()), 1_000 * seconds);
        assert_eq!(mall.readiness.warnings().len(), 1);
    }
    away.store(false, Ordering::Relaxed);
    mall.settle().await;
    assert_eq!(mall.found("旗舰").await, [product]);
}

#[tokio::test]
async fn sales_of_an_earlier_run_are_counted_again_after_a_restart() {
    let mut mall = Mall::new().await;
    let category = mall.category("手机").await;
    let (product, _) = mall.product(category, "旗舰", 1).await;
    mall.settle().await;
    // An order of an earlier run was paid, and is older than what counts by now.
    mall.search.work(move |index| index.refresh_sales(&[(product, 7)])).await.unwrap();
    let mut mall = mall.restarted(None).await;
    mall.settle().await;
    let page = mall.search.search(SearchRequest::new("旗舰")).await.unwrap();
    assert_eq!(page.hits[0].product.sales, 0);
}

/// Asks `socket` and returns the lines of the answer.
async fn asked(socket: &std::path::Path, line: &str) -> Vec<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    stream.write_all(line.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn one_command_at_a_time_and_only_requests_are_answered() {
    let mall = Mall::new().await;
    let path = mall.directory.path().join("run/socket");
    let owner = Owner::new(mall.log.clone(), mall.store.clone(), mall.search.clone());
    let stop = tokio_util::sync::CancellationToken::new();
    let served = tokio::spawn(owner.serve(bind(&path).unwrap(), stop.clone()));
    for line in ["\n", "verify\n", "{\"command\":\"drop\"}\n", &format!("{}\n", "x".repeat(5_000))] {
        let answer = asked(&path, line).await;
        assert!(answer.len() == 1 && answer[0].starts_with("{\"failed\":\"not a request"), "{answer:?}");
    }
    // Nobody steps the worker, so this one waits.
    let waiting = tokio::spawn({
        let path = path.clone();
        async move { asked(&path, "{\"command\":\"rebuild\",\"verify\":false}\n").await }
    });
    let busy = "another rebuild or comparison of the search index is under way";
    let mut refused = Vec::new();
    for _ in 0..200 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        refused = asked(&path, "{\"command\":\"rebuild\",\"verify\":true}\n{}").await;
        if !refused.is_empty() {
            break;
        }
    }
    assert_eq!(refused, [format!("{{\"failed\":\"{busy}\"}}")]);
    stop.cancel();
    served.await.unwrap();
    assert!(!path.exists());
    waiting.abort();
}

#[tokio::test]
async fn a_rebuild_that_is_asked_for_loses_no_change() {
    let mut mall = Mall::new().await;
    let category = mall.category("手机").await;
    let mut products = Vec::new();
    for at in 0..300 {
        products.push(mall.product(category, &format!("旗舰 {at}"), 1).await.0);
    }
    mall.settle().await;
    let Mall { store, log, clock, search, sync, .. } = mall;
    let stop = tokio_util::sync::CancellationToken::new();
    let relay = Relay::new(log.clone(), store.clone(), clock.clone());
    let mut workers = tokio::task::JoinSet::new();
    workers.spawn(workers::run(relay, clock.clone(), stop.clone()));
    workers.spawn(workers::run(sync, clock.clone(), stop.clone()));
    let progress = || tokio::sync::watch::channel(control::Progress::default()).0;
    for round in 0..6_usize {
        let (done, answer) = tokio::sync::oneshot::channel();
        let order = RebuildOrder { verify: round % 2 == 0, progress: progress(), done };
        search.orders.send(order).await.unwrap();
        // Some of it is in the old index only, and some was read for the new one before it was changed.
        for (at, product) in products.iter().enumerate().take(60) {
            store.catalogue().shelve(*product, (round + at) % 3 != 0).await.unwrap();
        }
        let rebuilt = answer.await.unwrap().unwrap();
        assert!(rebuilt.is_in_place, "{rebuilt:?}");
        let compared = verify(&log, &store, &search, &progress()).await.unwrap();
        assert_eq!((compared.different, compared.products), (0, 280), "round {round}: {compared:?}");
    }
    stop.cancel();
    while workers.join_next().await.is_some() {}
}

#[tokio::test]
async fn a_change_that_no_record_tells_of_is_a_difference() {
    let mut mall = Mall::new().await;
    let category = mall.category("手机").await;
    let (product, _) = mall.product(category, "旗舰", 1).await;
    mall.product(category, "旗舰", 1).await;
    mall.settle().await;
    let change = Change::Remove { id: product, version: 1_000 };
    mall.search.work(move |index| index.apply(&[change], None)).await.unwrap();
    let progress = tokio::sync::watch::channel(control::Progress::default()).0;
    let compared = verify(&mall.log, &mall.store, &mall.search, &progress).await.unwrap();
    assert_eq!((compared.different, compared.products, &*compared.position), (1, 2, "0:4"));
    assert_eq!(compared.first[0].product, product);
    assert!(compared.first[0].what.starts_with("the index does not have it"), "{compared:?}");
}

async fn append(log: &MemoryLog, value: Vec<u8>) {
    let record = commit_log::NewRecord { topic: contract::topic::CATALOGUE.into(), key: vec![1], value };
    commit_log::Log::append(log, vec![record]).await.unwrap();
}

#[tokio::test]
async fn records_that_are_no_changes_are_put_aside_once() {
    let (mut mall, away) = mall_with_switch().await;
    let category = mall.category("手机").await;
    append(&mall.log, vec![1, 255, 0]).await;
    let (product, _) = mall.product(category, "旗舰", 1).await;
    away.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert!(mall.sync.step().await.is_err());
    }
    away.store(false, Ordering::Relaxed);
    mall.settle().await;
    assert_eq!(mall.found("旗舰").await, [product]);
    let mut letters = commit_log::Log::follow(&mall.log, &[contract::topic::DEAD_LETTERS]).await.unwrap();
    let letters = commit_log::Consumer::poll(&mut letters, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    let letter: contract::record::DeadLetter = contract::record::Record::decode(&letters[0].value).unwrap();
    assert_eq!(
        (&*letter.topic, &*letter.group, letter.value),
        (contract::topic::CATALOGUE, "search_sync", vec![1, 255, 0])
    );
}

#[tokio::test]
async fn a_database_that_is_older_than_the_log_has_the_index_built_again() {
    let mut mall = Mall::new().await;
    let category = mall.category("手机").await;
    let (product, _) = mall.product(category, "旗舰", 1).await;
    mall.settle().await;
    // The index followed a database that has been replaced by an older copy.
    let removed = Change::Remove { id: product, version: 1_000 };
    mall.search.work(move |index| index.apply(&[removed], None)).await.unwrap();
    let changed = contract::record::ProductChanged { product, version: 1_000, at_ms: 1 };
    append(&mall.log, contract::record::Record::to_bytes(&changed)).await;
    mall.settle().await;
    assert_eq!(mall.found("旗舰").await, [product]);
}
