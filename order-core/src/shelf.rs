//! What shoppers see of products, kept for a moment: a crowd that looks at one product costs one read.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bloomfilter::Bloom;
use commit_log::{Consumer, Log};
use contract::{
    ProductId, SkuId,
    record::{ProductChanged, Record as _},
    topic,
};
use moka::future::Cache;
use store::{Detail, Store, StoreError};

use workers::{Worker, WorkerError};

/// Products that are kept.
const KEPT_MAX: u64 = 10_000;
/// For how long: so old may a stock be that is shown. An order looks for itself.
const KEPT_FOR: Duration = Duration::from_secs(2);
/// Ids that were never given out and pass the filter anyway.
const FALSE_POSITIVES: f64 = 0.001;
/// The filter has room for at least this many ids, and for twice as many as there are.
const IDS_MIN: usize = 1_000;
/// Ids of one read.
const IDS_READ_MAX: u32 = 5_000;
/// Records of one step.
const BATCH_MAX: usize = 500;

/// Products by id, behind a filter of those that exist. Clones are the same shelf.
#[derive(Clone)]
pub struct Shelf {
    store: Store,
    details: Cache<ProductId, Option<Arc<Detail>>>,
    products: Cache<SkuId, Option<ProductId>>,
    exist: Arc<RwLock<Exist>>,
    reads: Arc<AtomicU64>,
}

/// Ids that may exist.
struct Exist {
    filter: Bloom<i64>,
    room: usize,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf").finish_non_exhaustive()
    }
}

impl Shelf {
    /// The shelf of `store`, with every product there is in the filter.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn new(store: Store) -> Result<Self, StoreError> {
        let details = Cache::builder().max_capacity(KEPT_MAX).time_to_live(KEPT_FOR).build();
        let products = Cache::builder().max_capacity(KEPT_MAX).time_to_live(KEPT_FOR).build();
        let exist = Arc::new(RwLock::new(load(&store).await?));
        Ok(Self { store, details, products, exist, reads: Arc::default() })
    }

    /// A product with its SKUs; `None` where shoppers do not see it. However many ask at once, one asks the
    /// database, and nobody does for an id that was never given out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn detail(&self, product: ProductId) -> Result<Option<Arc<Detail>>, Arc<StoreError>> {
        if !self.may_exist(product) {
            return Ok(None);
        }
        let load = async {
            self.reads.fetch_add(1, Ordering::Relaxed);
            Ok(self.store.catalogue().detail(product).await?.map(Arc::new))
        };
        self.details.try_get_with(product, load).await
    }

    /// The product that a SKU belongs to; `None` where there is no such SKU. A crowd costs one read, as of [`Self::detail`].
    ///
    /// # Errors
    /// If the database fails.
    pub async fn product_of(&self, sku: SkuId) -> Result<Option<ProductId>, Arc<StoreError>> {
        let load = async { Ok(self.store.catalogue().sku(sku).await?.map(|sku| sku.product_id)) };
        self.products.try_get_with(sku, load).await
    }

    /// Whether the id may have been given out.
    pub(crate) fn may_exist(&self, product: ProductId) -> bool {
        self.exist.read().unwrap_or_else(PoisonError::into_inner).filter.check(&product.as_i64())
    }

    /// How often the database was asked for a product.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// A product has changed, or is new. A read that is under way may still bring back what was before, for
    /// [`KEPT_FOR`].
    ///
    /// # Errors
    /// If the filter is full and the database does not say what exists.
    pub(crate) async fn changed(&self, product: ProductId) -> Result<(), StoreError> {
        let is_full = {
            let mut exist = self.exist.write().unwrap_or_else(PoisonError::into_inner);
            if !exist.filter.check_and_set(&product.as_i64()) {
                exist.room = exist.room.saturating_sub(1);
            }
            exist.room == 0
        };
        if is_full {
            let loaded = load(&self.store).await?;
            *self.exist.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        }
        self.details.invalidate(&product).await;
        Ok(())
    }
}

/// Nobody can work out which ids pass the filter.
fn seed() -> [u8; 32] {
    let random = RandomState::new();
    let mut seed = [0; 32];
    for (at, bytes) in (0_u8..).zip(seed.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&random.hash_one(at).to_be_bytes());
    }
    seed
}

async fn load(store: &Store) -> Result<Exist, StoreError> {
    let mut ids: Vec<ProductId> = Vec::new();
    loop {
        let more = store.catalogue().product_ids(ids.last().copied(), IDS_READ_MAX).await?;
        if more.is_empty() {
            break;
        }
        ids.extend(more);
    }
    let room = (2 * ids.len()).max(IDS_MIN);
    let mut filter = match Bloom::new_for_fp_rate_with_seed(room, FALSE_POSITIVES, &seed()) {
        Ok(filter) => filter,
        Err(reason) => unreachable!("a filter of {room} ids: {reason}"),
    };
    for id in &ids {
        filter.set(&id.as_i64());
    }
    Ok(Exist { filter, room: room - ids.len() })
}

/// Tells the shelf what has changed.
#[derive(Debug)]
pub struct Changes<L: Log> {
    consumer: L::Consumer,
    shelf: Shelf,
}

impl<L: Log> Changes<L> {
    /// Follows what the admins change; begins before `shelf` is made, so that nothing falls between.
    ///
    /// # Errors
    /// Those of the log and the database.
    pub async fn follow(log: &L, store: Store) -> Result<(Self, Shelf), WorkerError> {
        let consumer = log.follow(&[topic::CATALOGUE]).await?;
        let shelf = Shelf::new(store).await.map_err(WorkerError::store)?;
        Ok((Self { consumer, shelf: shelf.clone() }, shelf))
    }
}

impl<L: Log> Worker for Changes<L> {
    const NAME: &'static str = "shelf";

    async fn step(&mut self) -> Result<(), WorkerError> {
        for record in self.consumer.poll(BATCH_MAX).await? {
            match ProductChanged::decode(&record.value) {
                Ok(ProductChanged { product, .. }) => self.shelf.changed(product).await.map_err(WorkerError::store)?,
                Err(error) => tracing::warn!(%error, offset = record.offset, "not a change of a product"),
            }
        }
        Ok(())
    }
}
