//! Several workers with one index, and what no index can hold.

use super::*;

/// An index on a server: several workers may have it, and each keeps a position of its own in mind.
#[derive(Clone)]
struct Server(Arc<Embedded>);

impl SearchIndex for Server {
    fn is_shared(&self) -> bool {
        true
    }

    fn state(&self) -> Result<State, IndexError> {
        self.0.state()
    }

    fn position(&self) -> Result<Option<Position>, IndexError> {
        self.0.position()
    }

    fn apply(&self, changes: &[Change], advance: Option<&Advance>) -> Result<Vec<Outcome>, IndexError> {
        self.0.apply(changes, advance)
    }

    fn refresh_sales(&self, sales: &[(ProductId, u64)]) -> Result<(), IndexError> {
        self.0.refresh_sales(sales)
    }

    fn search(&self, request: &SearchRequest) -> Result<Page, SearchError> {
        self.0.search(request)
    }

    fn suggest(&self, q: &str, limit: usize) -> Result<Vec<Suggestion>, SearchError> {
        self.0.suggest(q, limit)
    }

    fn versions(&self, visit: &mut dyn FnMut(ProductId, i64)) -> Result<(), IndexError> {
        self.0.versions(visit)
    }

    fn products(&self, after: Option<ProductId>, limit: usize) -> Result<Vec<search::Product>, IndexError> {
        self.0.products(after, limit)
    }

    fn rebuild(&self) -> Result<Box<dyn Rebuild + '_>, IndexError> {
        self.0.rebuild()
    }

    fn size(&self) -> Result<Size, IndexError> {
        self.0.size()
    }
}

/// Two malls on one log, one database and one index; the index is that of the first.
async fn two() -> (Mall, Mall) {
    let mut first = Mall::new().await;
    let path = first.directory.path().join("shared");
    let server = Server(Arc::new(Embedded::open(&path, Analyzer::new(Synonyms::default())).unwrap()));
    let with = async |search: Search, readiness: Readiness, first: &Mall| {
        let parts = (first.log.clone(), first.store.clone(), search);
        SearchSync::follow(parts.0, parts.1, parts.2, first.clock.clone(), readiness).await.unwrap()
    };
    first.search = Search::new(server.clone());
    first.sync = with(first.search.clone(), first.readiness.clone(), &first).await;
    first.settle().await;
    let (search, readiness) = (Search::new(server), Readiness::default());
    let sync = with(search.clone(), readiness.clone(), &first).await;
    let mut second = Mall {
        store: first.store.clone(),
        log: first.log.clone(),
        clock: first.clock.clone(),
        search,
        sync,
        readiness,
        directory: tempfile::tempdir().unwrap(),
    };
    second.settle().await;
    (first, second)
}

fn progress() -> tokio::sync::watch::Sender<control::Progress> {
    tokio::sync::watch::channel(control::Progress::default()).0
}

async fn is_same(mall: &Mall, products: u64) {
    let compared = verify(&mall.log, &mall.store, &mall.search, &progress()).await.unwrap();
    assert_eq!((compared.different, compared.products), (0, products), "{compared:?}");
}

/// The one that takes over knows nothing of what the other one did.
#[tokio::test]
async fn workers_of_one_index_take_turns() {
    let (mut first, mut second) = two().await;
    let category = first.category("手机").await;
    for turn in 1..=6_u64 {
        first.product(category, &format!("旗舰 {turn}"), 1).await;
        let mall = if turn % 2 == 0 { &mut second } else { &mut first };
        mall.settle().await;
        is_same(mall, turn).await;
    }
    assert_eq!(first.log.lag("order-core.search_sync", contract::topic::CATALOGUE), 0, "the group has done with it");
}

/// A rebuild that ends with its process: nothing after its position is ever passed over.
#[tokio::test]
async fn a_rebuild_by_another_process_loses_no_change() {
    let (mut first, second) = two().await;
    let category = first.category("手机").await;
    let mut products = Vec::new();
    for at in 0..30 {
        products.push(first.product(category, &format!("旗舰 {at}"), 1).await.0);
    }
    first.settle().await;
    for round in 0..4_usize {
        // The second process builds from what the database says before these changes, which the first one writes to the
        // old index.
        let building =
            rebuild((&second.log, &second.store, &second.search), second.clock.now_ms(), round % 2 == 0, progress());
        let changing = async {
            for (at, product) in products.iter().enumerate() {
                first.store.catalogue().shelve(*product, (round + at) % 3 != 0).await.unwrap();
                first.settle().await;
            }
        };
        let (rebuilt, ()) = tokio::join!(building, changing);
        let rebuilt = rebuilt.unwrap();
        assert!(rebuilt.is_in_place, "{rebuilt:?}");
        first.settle().await;
        is_same(&first, 20).await;
    }
}

/// The index says where it is; a worker that remembers a later position goes back.
#[tokio::test]
async fn an_index_that_is_put_back_is_followed_from_its_own_position() {
    let (mut first, _second) = two().await;
    let category = first.category("手机").await;
    let position = first.search.work(|index| index.position()).await.unwrap();
    let mut products = Vec::new();
    for at in 0..5 {
        products.push(first.product(category, &format!("旗舰 {at}"), 1).await.0);
    }
    first.settle().await;
    let emptied = first.search.work(move |index| index.rebuild()?.finish(position.as_ref())).await;
    emptied.unwrap();
    assert_eq!(first.found("旗舰").await, []);
    // Without a new record.
    first.clock.advance(1_000);
    first.settle().await;
    is_same(&first, 5).await;
}

/// An index that is compared while the product leaves the shelf.
struct Leaving<'a> {
    mall: &'a mut Mall,
    product: ProductId,
}

impl verify::Compared for Leaving<'_> {
    async fn read<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut compare::ReadIndex<'_>) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, workers::WorkerError> {
        let read = self.mall.search.work(move |index| work(&mut |after, limit| index.products(after, limit)));
        read.await.map_err(super::super::failed)
    }

    async fn catch_up(&mut self) -> Result<(), workers::WorkerError> {
        self.mall.store.catalogue().shelve(self.product, false).await.unwrap();
        self.mall.settle().await;
        Ok(())
    }
}

#[tokio::test]
async fn the_products_that_were_compared_are_those_of_the_last_look() {
    let mut mall = Mall::new().await;
    let category = mall.category("手机").await;
    mall.product(category, "旗舰", 1).await;
    let (product, sku) = mall.product(category, "旗舰", 1).await;
    mall.settle().await;
    let patch = SkuPatch { price_cents: Some(Cents::new(500)), ..SkuPatch::default() };
    assert!(matches!(mall.store.catalogue().patch_sku(sku, 1, patch).await.unwrap(), Changed::Done(_)));
    let store = mall.store.clone();
    let mut leaving = Leaving { mall: &mut mall, product };
    let compared = verify::compare_all(&mut leaving, &store, &progress()).await.unwrap();
    assert_eq!((compared.different, compared.products), (0, 1), "{compared:?}");
}

/// Searches may be asked for before the worker has looked at the index.
#[tokio::test]
async fn a_warning_says_that_the_index_is_being_built() {
    let mut mall = Mall::new().await;
    let warnings = mall.readiness.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].0 == "search" && warnings[0].1.contains("is being built"), "{warnings:?}");
    mall.settle().await;
    let mut mall = mall.restarted(None).await;
    assert_eq!(mall.readiness.warnings(), []);
    mall.settle().await;
}

fn letters(log: &MemoryLog) -> Vec<contract::record::DeadLetter> {
    let records = log.records(contract::topic::DEAD_LETTERS);
    let letter = |record: &commit_log::Record| contract::record::Record::decode(&record.value).unwrap();
    records.iter().map(letter).collect()
}

/// Rows that somebody has damaged, and a product that is too large.
#[tokio::test]
async fn a_product_that_no_index_can_hold_is_put_aside() {
    let mut mall = Mall::new().await;
    let category = mall.category("手机").await;
    let (damaged, sku) = mall.product(category, "坏 旗舰", 1).await;
    let (long, _) = mall.product(category, "长 旗舰", 1).await;
    mall.settle().await;
    let url = format!("sqlite://{}", mall.directory.path().join("mall.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let damage = sqlx::query("UPDATE skus SET attributes = '{' WHERE id = ?").bind(sku.as_i64());
    damage.execute(&pool).await.unwrap();
    let lengthen = sqlx::query("UPDATE products SET title = ? WHERE id = ?").bind("长".repeat(1_001));
    lengthen.bind(long.as_i64()).execute(&pool).await.unwrap();
    for product in [damaged, long] {
        mall.store.catalogue().shelve(product, false).await.unwrap();
        mall.store.catalogue().shelve(product, true).await.unwrap();
    }
    let (sound, _) = mall.product(category, "好 旗舰", 1).await;
    mall.settle().await;
    assert!(mall.found("旗舰").await.contains(&sound));
    let letters = letters(&mall.log);
    assert_eq!(letters.len(), 2, "{letters:?}");
    for (letter, product) in letters.iter().zip([damaged, long]) {
        let changed: contract::record::ProductChanged = contract::record::Record::decode(&letter.value).unwrap();
        assert_eq!((changed.product, &*letter.group, &*letter.topic), (product, "search_sync", "mall.catalogue"));
    }
    // A rebuild leaves them out as well.
    let parts = (&mall.log, &mall.store, &mall.search);
    let rebuilt = rebuild(parts, mall.clock.now_ms(), true, progress()).await.unwrap();
    assert!(rebuilt.is_in_place, "{rebuilt:?}");
    mall.settle().await;
    assert_eq!(mall.found("旗舰").await, [sound]);
}
