//! Brings what the database says of products into the search index.
//!
//! The log only says which products have changed. Each is read from the database with its version, so records may come
//! twice, late or out of order: the index never replaces a version by an older one. The index keeps the position of the
//! log up to which it is complete. Where that can't be right any more (there is no index, it is damaged, or the log has
//! forgotten records after the position), the index is built from the whole database.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use commit_log::{Consumer, Log, Partition, Record};
use contract::{ProductId, topic};
use foundation::{Clock, Readiness};
use search::{Change, IndexError, Outcome, SearchIndex, State};
use store::{SEARCH_ENTRIES_MAX, Store};
use tokio::sync::{mpsc, oneshot, watch};
use workers::{Worker, WorkerError};

use super::{
    Search,
    build::Building,
    control::{Progress, RebuildOrder, RebuildResult},
    documents::{change, report},
    records::{CatalogueBatch, ProductChange, ends, read, write},
};

/// Records of one step.
const BATCH_MAX: usize = 500;
/// Units that were sold count for so long.
const SALES_MS: u64 = 30 * 24 * 3_600_000;
/// How often they are counted.
const SALES_EVERY_MS: u64 = 60_000;
/// The log may have records that nobody reads any more: where it hands out none for so long, they are gone.
const SILENCE_MS: u64 = 5_000;
/// Products whose sales are written at once.
const SALES_CHUNK: usize = 1_000;

/// Where the index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is not known whether the index can go on from its position.
    Unknown,
    /// It is to be built from the database.
    Rebuild,
    /// The log may have forgotten what comes after the position; its first record tells.
    Proving { until_ms: u64 },
    /// It holds all that was read.
    Following,
}

/// Another index that is built while this one is followed.
#[derive(Debug)]
struct Rebuild {
    /// Where the log ended when it began.
    from: BTreeMap<u32, u64>,
    began_ms: u64,
    building: Building,
    /// Who asked for it.
    done: Option<oneshot::Sender<Result<RebuildResult, WorkerError>>>,
}

/// What a worker that follows the log waits for.
enum Event {
    Built,
    Records(Vec<Record>),
    Order(RebuildOrder),
    Sales,
}

/// Follows the catalogue's topic for the index of this process.
#[derive(Debug)]
pub struct SearchSync<L: Log, C> {
    log: L,
    consumer: L::Consumer,
    store: Store,
    search: Search,
    clock: C,
    readiness: Readiness,
    stage: Stage,
    /// The next offset of each partition.
    next: BTreeMap<u32, u64>,
    sales_at_ms: u64,
    /// What the index says has sold; `None` where that is not known.
    sold: Option<BTreeMap<ProductId, u64>>,
    /// The offset after the last record of each partition that was put aside.
    buried: BTreeMap<u32, u64>,
    rebuild: Option<Rebuild>,
    /// A rebuild that is asked for and has not begun.
    order: Option<RebuildOrder>,
    /// Rebuilds that somebody asks for; `None` where another worker of this index has them.
    orders: Option<mpsc::Receiver<RebuildOrder>>,
}

impl<L: Log, C: Clock> SearchSync<L, C> {
    /// # Errors
    /// Those of the log.
    pub async fn follow(
        log: L,
        store: Store,
        search: Search,
        clock: C,
        readiness: Readiness,
    ) -> Result<Self, WorkerError> {
        let consumer = log.follow(&[topic::CATALOGUE]).await?;
        let next = BTreeMap::new();
        let orders = search.take_orders();
        Ok(Self {
            log,
            consumer,
            store,
            search,
            clock,
            readiness,
            stage: Stage::Unknown,
            next,
            sales_at_ms: 0,
            sold: None,
            buried: BTreeMap::new(),
            rebuild: None,
            order: None,
            orders,
        })
    }

    /// Whether the index can go on from where it is.
    async fn look(&mut self) -> Result<Stage, WorkerError> {
        let looked = self.search.work(|index| match index.state()? {
            State::Ready => Ok(index.position()?.ok_or_else(|| "it has no position in the log".to_owned())),
            State::NeedsRebuild { reason } => Ok(Err(reason)),
        });
        let position = match looked.await.map_err(failed)? {
            Ok(position) => read(&position),
            Err(reason) => {
                tracing::info!(reason, "the search index is built from the database");
                return Ok(Stage::Rebuild);
            }
        };
        let Some(position) = position else { return Ok(Stage::Rebuild) };
        let ends = ends(&self.log).await?;
        self.next = position;
        Ok(if self.next == ends {
            Stage::Following
        } else if ends.iter().any(|(partition, end)| self.next.get(partition).is_none_or(|next| next > end)) {
            tracing::warn!("the log is not the one that the search index has followed; the index is built again");
            Stage::Rebuild
        } else {
            Stage::Proving { until_ms: self.clock.now_ms() + SILENCE_MS }
        })
    }

    /// Begins to build an index from the database. Changes that are made meanwhile are read from the log afterwards.
    async fn begin(&mut self) -> Result<(), WorkerError> {
        let from = ends(&self.log).await?;
        let (verify, progress, done) = match self.order.take() {
            Some(RebuildOrder { verify, progress, done }) => (verify, progress, Some(done)),
            None => (false, watch::channel(Progress::default()).0, None),
        };
        let building = Building::begin(&self.store, &self.search, write(&from), verify, progress);
        self.rebuild = Some(Rebuild { from, began_ms: self.clock.now_ms(), building, done });
        Ok(())
    }

    /// Waits for the build, swaps the new index in, and continues at the log offset at which the build began.
    async fn end(&mut self) -> Result<(), WorkerError> {
        let Some(rebuild) = &mut self.rebuild else { return Ok(()) };
        rebuild.building.ready().await;
        let is_current = ends(&self.log).await? == rebuild.from;
        let built = rebuild.building.swap().await;
        let Some(Rebuild { from, began_ms, done, .. }) = self.rebuild.take() else { return Ok(()) };
        if let Ok(RebuildResult { is_in_place: true, comparison }) = &built {
            for (partition, offset) in &from {
                let partition = Partition { topic: topic::CATALOGUE.into(), index: *partition };
                self.consumer.rewind(&partition, *offset);
            }
            self.next = from;
            self.sales_at_ms = 0;
            self.sold = None;
            self.stage = Stage::Following;
            if is_current {
                self.current();
            } else {
                self.behind(began_ms);
            }
            let ms = self.clock.now_ms() - began_ms;
            tracing::info!(products = comparison.products, ms, "the search index is built");
        }
        match done {
            // The caller gets the result. After a failure the first index is still followed.
            Some(done) => {
                let (Ok(()) | Err(_)) = done.send(built);
                Ok(())
            }
            None => built.map(drop),
        }
    }

    /// Builds another index and puts it in place, for a process that does nothing else. Ends once the new index has come to the
    /// end of the log.
    ///
    /// # Errors
    /// Where database, log or index fail.
    pub async fn rebuild(
        mut self,
        verify: bool,
        progress: watch::Sender<Progress>,
    ) -> Result<RebuildResult, WorkerError> {
        let (done, answer) = oneshot::channel();
        self.order = Some(RebuildOrder { verify, progress: progress.clone(), done });
        self.begin().await?;
        self.end().await?;
        let rebuilt = answer.await.map_err(|error| WorkerError::Search(error.to_string()))??;
        let end = ends(&self.log).await?;
        while rebuilt.is_in_place && end.iter().any(|(partition, end)| self.next.get(partition) < Some(end)) {
            let done = self.next.values().sum();
            progress.send_replace(Progress { stage: super::control::Stage::Follow, done, total: end.values().sum() });
            self.work().await?;
        }
        if rebuilt.is_in_place {
            self.refresh_sales().await?;
        }
        Ok(rebuilt)
    }

    async fn take(&mut self, records: Vec<Record>) -> Result<(), WorkerError> {
        let read_ms = self.clock.now_ms();
        if let (Stage::Proving { .. }, Some(first)) = (self.stage, records.first()) {
            let next = self.next.get(&first.partition.index).copied().unwrap_or(0);
            if first.offset > next {
                tracing::warn!("the log has forgotten changes that the search index does not hold; it is built again");
                self.stage = Stage::Rebuild;
                return Ok(());
            }
            self.stage = Stage::Following;
        }
        let CatalogueBatch { changed, next, dead } = CatalogueBatch::of(&records, &self.next);
        if next == self.next {
            if next == ends(&self.log).await? {
                self.current();
            }
            return Ok(());
        }
        self.behind(read_ms);
        self.bury(dead).await?;
        let changes = self.changes(&changed).await?;
        if let Some(change) = changes.iter().find(|change| change.version() < changed[&change.id()].version) {
            let (product, version) = (change.id(), change.version());
            tracing::warn!(%product, version, "the database is older than the log; the search index is built again");
            self.stage = Stage::Rebuild;
            return Ok(());
        }
        let changed_at_ms: Vec<u64> = changes.iter().map(|change| changed[&change.id()].at_ms).collect();
        let position = write(&next);
        let applied = self.search.work(move |index| index.apply(&changes, position.as_ref())).await;
        if let Err(IndexError::NeedsRebuild(reason)) = &applied {
            tracing::warn!(reason, "the search index is built again");
            self.stage = Stage::Rebuild;
            return Ok(());
        }
        let outcomes = applied.map_err(failed)?;
        report(&outcomes);
        let now_ms = self.clock.now_ms();
        let written = changed_at_ms.into_iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Written);
        written.for_each(|(at_ms, _)| self.search.note_delay(at_ms, now_ms));
        self.next = next;
        // A full batch may be the last one all the same.
        if records.len() < BATCH_MAX || self.next == ends(&self.log).await? {
            self.current();
        }
        Ok(())
    }

    /// What the database says now of these products.
    async fn changes(&mut self, changed: &BTreeMap<ProductId, ProductChange>) -> Result<Vec<Change>, WorkerError> {
        let changed: Vec<ProductId> = changed.keys().copied().collect();
        let mut changes = Vec::with_capacity(changed.len());
        for products in changed.chunks(SEARCH_ENTRIES_MAX) {
            let entries = self.store.search_entries(products).await.map_err(WorkerError::store)?;
            changes.extend(entries.into_iter().map(change));
        }
        for change in &mut changes {
            if let Change::Put(product) = change {
                product.sales = self.sold.as_ref().and_then(|sold| sold.get(&product.id)).copied().unwrap_or_default();
            }
        }
        Ok(changes)
    }

    /// Puts records that can't be decoded aside, once for each: a batch that fails afterwards is read again.
    async fn bury(&mut self, mut dead: Vec<(Record, String)>) -> Result<(), WorkerError> {
        dead.retain(|(record, _)| self.buried.get(&record.partition.index).is_none_or(|next| record.offset >= *next));
        let next: Vec<(u32, u64)> =
            dead.iter().map(|(record, _)| (record.partition.index, record.offset + 1)).collect();
        workers::bury(&self.log, Self::NAME, dead).await?;
        self.buried.extend(next);
        Ok(())
    }

    /// Looks whether the index is still there, and writes what has sold since the last time it was counted. Changes of the
    /// catalogue do not wait for a failure here.
    async fn refresh_sales(&mut self) -> Result<(), WorkerError> {
        self.sales_at_ms = self.clock.now_ms() + SALES_EVERY_MS;
        let state = self.search.work(|index| index.state()).await.map_err(failed)?;
        if let State::NeedsRebuild { reason } = state {
            tracing::warn!(reason, "the search index is built again");
            self.stage = Stage::Rebuild;
            return Ok(());
        }
        let now_ms = self.clock.now_ms();
        let sold = self.store.units_sold(now_ms.saturating_sub(SALES_MS)).await.map_err(WorkerError::store)?;
        let known = match self.sold.take() {
            Some(known) => known,
            // What the index says was written by an earlier run: every product of it is written once.
            None => self.search.work(all_products).await.map_err(failed)?,
        };
        let gone = known.keys().filter(|product| !sold.contains_key(product)).map(|product| (*product, 0));
        let new = sold.iter().map(|(product, units)| (*product, *units));
        let changed: Vec<(ProductId, u64)> =
            new.filter(|(product, units)| known.get(product) != Some(units)).chain(gone).collect();
        for sales in changed.chunks(SALES_CHUNK) {
            let sales = sales.to_vec();
            self.search.work(move |index| index.refresh_sales(&sales)).await.map_err(failed)?;
        }
        self.sold = Some(sold);
        if self.search.lag.since_ms.load(Ordering::Relaxed) == 0 {
            // The index answers again, and no change waits for it.
            self.current();
        }
        Ok(())
    }

    /// A change waits that was read at `at_ms`.
    fn behind(&self, at_ms: u64) {
        // The oldest one counts.
        let (Ok(_) | Err(_)) =
            self.search.lag.since_ms.compare_exchange(0, at_ms.max(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The index holds all that the log has.
    fn current(&self) {
        self.search.lag.since_ms.store(0, Ordering::Relaxed);
        self.readiness.set_warnings("search", Vec::new());
    }

    async fn work(&mut self) -> Result<(), WorkerError> {
        match self.stage {
            Stage::Unknown => {
                self.behind(self.clock.now_ms());
                self.stage = self.look().await?;
                if self.stage == Stage::Following {
                    self.current();
                }
            }
            Stage::Rebuild => {
                if self.rebuild.is_none() {
                    self.behind(self.clock.now_ms());
                    self.begin().await?;
                }
                return self.end().await;
            }
            Stage::Proving { until_ms } => {
                let polled = tokio::select! {
                    biased;
                    polled = self.consumer.poll(BATCH_MAX) => Some(polled?),
                    () = self.clock.sleep_until(until_ms) => None,
                };
                match polled {
                    Some(records) => return self.take_all(records).await,
                    None => self.stage = Stage::Rebuild,
                }
            }
            Stage::Following => {
                if self.clock.now_ms() >= self.sales_at_ms {
                    self.refresh_sales().await?;
                    if self.stage != Stage::Following {
                        return Ok(());
                    }
                }
                if self.order.is_some() && self.rebuild.is_none() {
                    self.begin().await?;
                }
                let event = tokio::select! {
                    // Records may always be there: what is rarer comes first.
                    biased;
                    () = ready(&mut self.rebuild) => Event::Built,
                    Some(order) = next_order(&mut self.orders), if self.order.is_none() => Event::Order(order),
                    polled = self.consumer.poll(BATCH_MAX) => Event::Records(polled?),
                    () = self.clock.sleep_until(self.sales_at_ms) => Event::Sales,
                };
                match event {
                    Event::Built => return self.end().await,
                    Event::Order(order) => self.order = Some(order),
                    Event::Records(records) => return self.take_all(records).await,
                    Event::Sales => {}
                }
            }
        }
        Ok(())
    }

    /// Takes records; where that fails, the next step reads them again.
    async fn take_all(&mut self, records: Vec<Record>) -> Result<(), WorkerError> {
        let first = records.first().map(|record| (record.partition.clone(), record.offset));
        let taken = self.take(records).await;
        if let (Err(_), Some((partition, offset))) = (&taken, first) {
            self.consumer.rewind(&partition, offset);
        }
        taken
    }
}

impl<L: Log, C: Clock> Worker for SearchSync<L, C> {
    const NAME: &'static str = "search_sync";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let worked = self.work().await;
        if let Err(error) = &worked {
            // The mall goes on without search; only search answers 503.
            let warning = format!("search does not show the latest changes of products: {error}");
            self.readiness.set_warnings("search", vec![warning]);
        }
        worked
    }
}

/// Returns once the index that is built can be put in place.
async fn ready(rebuild: &mut Option<Rebuild>) {
    match rebuild {
        Some(rebuild) => rebuild.building.ready().await,
        None => std::future::pending().await,
    }
}

async fn next_order(orders: &mut Option<mpsc::Receiver<RebuildOrder>>) -> Option<RebuildOrder> {
    match orders {
        Some(orders) => orders.recv().await,
        None => None,
    }
}

/// Every product of the index. What it says of their sales is not known, so no count of theirs is right.
fn all_products(index: &dyn SearchIndex) -> Result<BTreeMap<ProductId, u64>, IndexError> {
    let mut all = BTreeMap::new();
    index.versions(&mut |product, _| {
        all.insert(product, u64::MAX);
    })?;
    Ok(all)
}

pub(super) fn failed(error: IndexError) -> WorkerError {
    WorkerError::Search(error.to_string())
}
