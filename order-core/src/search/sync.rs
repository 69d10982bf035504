//! Brings what the database says of products into the search index.
//!
//! The log only says which products have changed. Each is read from the database with its version, so records may come
//! twice, late or out of order: the index never replaces a version by an older one. The index keeps the position of the
//! log up to which it is complete, and that position decides what is read next. Where it can't be right any more (there is no
//! index, it is damaged, or the log has forgotten records after the position), the index is built from the whole database.
//!
//! An index of this process is followed by its worker alone. The workers of several processes with one index on a server are
//! a consumer group: one of them reads, the others wait to take over. The group's offset follows the position and decides
//! nothing: a worker that finds another position in the index, because another worker wrote to it or replaced it, continues from that one.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use commit_log::{Consumer, Log, LogError, Record, next_offsets};
use contract::{ProductId, topic};
use foundation::{Clock, Readiness};
use search::{Advance, IndexError, NO_INDEX_YET, Outcome, Position, State};
use store::Store;
use tokio::sync::{mpsc, oneshot, watch};
use workers::{Worker, WorkerError};

use super::{
    Search,
    build::Building,
    control::{Progress, RebuildOrder, RebuildResult},
    documents::{Documents, Sold, all_products, documents, report, sold},
    failed,
    records::{
        BATCH_MAX, CatalogueBatch, Offsets, ProductChange, ends, go_to, has_all, has_gap, has_reached, read, write,
    },
};

/// The consumer group of the workers with one index on a server.
const GROUP: &str = "order-core.search_sync";
/// How often sales are counted.
const SALES_EVERY_MS: u64 = 60_000;
/// How often a worker that reads nothing looks where the shared index is.
const LOOK_EVERY_MS: u64 = 1_000;
/// Products whose sales are written at once.
const SALES_CHUNK: usize = 1_000;
/// How often in a row records may be missing where the index has been left, although the log has them.
const GAPS_MAX: u32 = 3;

/// Where the index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is not known whether the index can go on from its position.
    Unknown,
    /// It is to be built from the database.
    Rebuild,
    /// It holds all that was read.
    Following,
}

/// Another index that is built while this one is followed.
#[derive(Debug)]
struct Rebuild {
    began_ms: u64,
    building: Building,
    /// Who asked for it.
    done: Option<oneshot::Sender<Result<RebuildResult, WorkerError>>>,
}

/// What a worker that follows the log waits for.
enum Event {
    Built(Result<RebuildResult, WorkerError>),
    Records(Vec<Record>),
    Order(RebuildOrder),
    Look,
    Sales,
}

/// Follows the catalogue's topic for the index of this process, or with others for one on a server.
#[derive(Debug)]
pub struct SearchSync<L: Log, C> {
    log: L,
    consumer: L::Consumer,
    store: Store,
    search: Search,
    clock: C,
    readiness: Readiness,
    is_shared: bool,
    stage: Stage,
    /// The next offset of each partition.
    next: Offsets,
    /// Whether anything was read yet: a reader that has just begun reads from the first record that it needs, or before it.
    has_read: bool,
    /// How often in a row records were missing.
    gaps: u32,
    look_at_ms: u64,
    /// Where the log ended at the last look.
    known: Offsets,
    sales_at_ms: u64,
    /// Whether another worker has written to the index since sales were counted: then it counts them.
    others_write: bool,
    /// What the index says has sold; `None` where that is not known.
    sold: Option<Sold>,
    /// The offset after the last record of each partition that was put aside.
    buried: Offsets,
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
        let is_shared = search.index.is_shared();
        let consumer = if is_shared {
            log.join(GROUP, &[topic::CATALOGUE]).await?
        } else {
            log.follow(&[topic::CATALOGUE]).await?
        };
        let orders = search.take_orders();
        let sync = Self {
            log,
            consumer,
            store,
            search,
            clock,
            readiness,
            is_shared,
            stage: Stage::Unknown,
            next: BTreeMap::new(),
            has_read: false,
            gaps: 0,
            look_at_ms: 0,
            known: BTreeMap::new(),
            sales_at_ms: 0,
            others_write: false,
            sold: None,
            buried: BTreeMap::new(),
            rebuild: None,
            order: None,
            orders,
        };
        // Requests may come before the first step.
        match sync.search.work(|index| index.state()).await {
            Ok(State::Ready) => {}
            Ok(State::NeedsRebuild { reason }) => sync.warn_of_rebuild(&reason),
            Err(error) => sync.warn(&error),
        }
        Ok(sync)
    }

    /// Finds out where the index is, and whether it can go on from there.
    async fn look(&mut self) -> Result<Stage, WorkerError> {
        let looked = self.search.work(|index| match index.state()? {
            State::Ready => Ok(index.position()?.ok_or_else(|| "it has no position in the log".to_owned())),
            State::NeedsRebuild { reason } => Ok(Err(reason)),
        });
        let position = match looked.await.map_err(failed)? {
            Ok(position) => read(&position),
            Err(reason) => return Ok(self.give_up(&reason)),
        };
        let Some(position) = position else { return Ok(self.give_up("its position can't be read")) };
        let ends = ends(&self.log).await?;
        self.next = position;
        if self.has_read {
            go_to(&mut self.consumer, &self.next);
        }
        Ok(if self.next == ends {
            self.current();
            Stage::Following
        } else if ends.iter().any(|(partition, end)| self.next.get(partition).is_none_or(|next| next > end)) {
            self.give_up("the log is not the one that it has followed")
        } else if has_all(&self.log, &self.next).await? {
            self.behind(self.clock.now_ms());
            Stage::Following
        } else {
            self.give_up("the log has forgotten changes that it does not hold")
        })
    }

    /// The index can't go on.
    fn give_up(&self, reason: &str) -> Stage {
        if reason == NO_INDEX_YET {
            tracing::info!(reason, "the search index is built from the database");
        } else {
            tracing::warn!(reason, "the search index is built from the database");
        }
        self.warn_of_rebuild(reason);
        self.behind(self.clock.now_ms());
        Stage::Rebuild
    }

    /// Begins to build an index from the database.
    fn begin(&mut self) {
        let (verify, progress, done) = match self.order.take() {
            Some(RebuildOrder { verify, progress, done }) => (verify, progress, Some(done)),
            None => (false, watch::channel(Progress::default()).0, None),
        };
        let began_ms = self.clock.now_ms();
        let building = Building::begin((&self.log, &self.store, &self.search), began_ms, verify, progress);
        self.rebuild = Some(Rebuild { began_ms, building, done });
    }

    /// Goes on with the index that was built. After a failure the first index is still followed, where there is one.
    fn end(&mut self, built: Result<RebuildResult, WorkerError>) -> Result<(), WorkerError> {
        let Some(Rebuild { began_ms, done, .. }) = self.rebuild.take() else { return Ok(()) };
        if let Ok(RebuildResult { is_in_place: true, comparison }) = &built {
            let ms = self.clock.now_ms() - began_ms;
            tracing::info!(products = comparison.products, ms, "the search index is built");
            (self.sales_at_ms, self.sold) = (0, None);
            self.stage = Stage::Unknown;
        }
        if self.stage == Stage::Rebuild {
            self.stage = Stage::Unknown;
        }
        match done {
            // The caller gets the result.
            Some(done) => {
                let (Ok(()) | Err(_)) = done.send(built);
                Ok(())
            }
            None => built.map(drop),
        }
    }

    async fn take(&mut self, records: &[Record]) -> Result<(), WorkerError> {
        let read_ms = self.clock.now_ms();
        self.has_read = true;
        self.look_at_ms = read_ms + LOOK_EVERY_MS;
        if has_gap(records, &self.next) {
            self.gaps += 1;
            self.stage = if self.gaps > GAPS_MAX {
                self.give_up("the log has forgotten changes that it does not hold")
            } else {
                // Another worker may have read them.
                Stage::Unknown
            };
            return Ok(());
        }
        self.gaps = 0;
        let CatalogueBatch { changed, next, dead } = CatalogueBatch::of(records, &self.next);
        if next != self.next {
            self.behind(read_ms);
            self.bury(dead).await?;
            self.write(&changed, next).await?;
            if self.stage != Stage::Following {
                return Ok(());
            }
        }
        self.commit(records).await?;
        // A full batch may be the last one all the same.
        if records.len() < BATCH_MAX || self.next == ends(&self.log).await? {
            self.current();
        }
        Ok(())
    }

    /// Writes what the database says of the products that have changed, and the position after them.
    async fn write(&mut self, changed: &BTreeMap<ProductId, ProductChange>, next: Offsets) -> Result<(), WorkerError> {
        let ids: Vec<ProductId> = changed.keys().copied().collect();
        let Documents { changes, unreadable } = documents(&self.store, &ids, self.sold.as_ref()).await?;
        if let Some(change) = changes.iter().find(|change| change.version() < changed[&change.id()].version) {
            let (product, version) = (change.id(), change.version());
            self.stage =
                self.give_up(&format!("the database has version {version} of product {product}, the log a newer one"));
            return Ok(());
        }
        let Some(to) = write(&next) else { return Err(WorkerError::Search("the position is too long".to_owned())) };
        let step = Advance { from: write(&self.next), to };
        let written: Vec<(ProductId, u64)> =
            changes.iter().map(|change| (change.id(), changed[&change.id()].at_ms)).collect();
        let outcomes = match self.search.work(move |index| index.apply(&changes, Some(&step))).await {
            Ok(outcomes) => outcomes,
            Err(IndexError::NeedsRebuild(reason)) => {
                self.stage = self.give_up(&reason);
                return Ok(());
            }
            Err(IndexError::Moved) => {
                (self.stage, self.sold) = (Stage::Unknown, None);
                return Ok(());
            }
            Err(error @ (IndexError::Busy(_) | IndexError::Unavailable(_) | IndexError::TooMuch(_))) => {
                return Err(failed(error));
            }
        };
        self.next = next;
        report(&outcomes);
        let (now_ms, mut unusable) = (self.clock.now_ms(), unreadable);
        for ((product, at_ms), outcome) in written.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Written => self.search.note_delay(at_ms, now_ms),
                Outcome::Older => {}
                Outcome::Rejected(reason) => unusable.push((product, reason)),
            }
        }
        let letter = |(product, reason)| (changed[&product].record.clone(), reason);
        Ok(workers::bury(&self.log, Self::NAME, unusable.into_iter().map(letter).collect()).await?)
    }

    /// The group has done with `records`. Where another member has the partition by now, its offset counts.
    async fn commit(&mut self, records: &[Record]) -> Result<(), WorkerError> {
        match self.consumer.commit(next_offsets(records)).await {
            Ok(()) | Err(LogError::Rebalanced) => Ok(()),
            Err(error) => Err(error.into()),
        }
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

    /// Looks where the shared index is while nothing is read: another worker moves it, or nobody does.
    async fn look_at_shared(&mut self) -> Result<(), WorkerError> {
        self.look_at_ms = self.clock.now_ms() + LOOK_EVERY_MS;
        let looked = self.search.work(|index| index.position()).await;
        let position: Option<Position> = match looked {
            Ok(position) => position,
            Err(IndexError::NeedsRebuild(_)) => None,
            Err(error) => return Err(failed(error)),
        };
        let Some(position) = position.as_ref().and_then(read) else {
            self.stage = Stage::Unknown;
            return Ok(());
        };
        let is_elsewhere = position != self.next;
        if is_elsewhere {
            (self.next, self.sold, self.others_write) = (position, None, true);
        }
        // What has come since the last look may be on its way.
        let known = std::mem::replace(&mut self.known, ends(&self.log).await?);
        let is_behind = !has_reached(&self.next, &known);
        if is_elsewhere || is_behind {
            // For the member that has the partition; the others have none to go back in.
            go_to(&mut self.consumer, &self.next);
        }
        if is_behind {
            self.behind(self.clock.now_ms());
        } else {
            self.current();
        }
        Ok(())
    }

    /// Looks whether the index is still there, and writes what has sold since the last time it was counted. Changes of the
    /// catalogue do not wait for a failure here.
    async fn refresh_sales(&mut self) -> Result<(), WorkerError> {
        self.sales_at_ms = self.clock.now_ms() + SALES_EVERY_MS;
        let state = self.search.work(|index| index.state()).await.map_err(failed)?;
        if let State::NeedsRebuild { reason } = state {
            self.stage = self.give_up(&reason);
            return Ok(());
        }
        if std::mem::take(&mut self.others_write) {
            return Ok(());
        }
        let sold = sold(&self.store, self.clock.now_ms()).await?;
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
            match self.search.work(move |index| index.refresh_sales(&sales)).await {
                Ok(()) => {}
                Err(IndexError::Moved) => {
                    self.stage = Stage::Unknown;
                    return Ok(());
                }
                Err(error) => return Err(failed(error)),
            }
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

    fn warn_of_rebuild(&self, reason: &str) {
        self.warn(&format!("the index is being built from the database: {reason}"));
    }

    /// The mall goes on without search; only search answers 503.
    fn warn(&self, reason: &impl std::fmt::Display) {
        let warning = format!("search does not show the latest changes of products: {reason}");
        self.readiness.set_warnings("search", vec![warning]);
    }

    async fn work(&mut self) -> Result<(), WorkerError> {
        match self.stage {
            Stage::Unknown => self.stage = self.look().await?,
            Stage::Rebuild => {
                if self.rebuild.is_none() {
                    self.begin();
                }
                let built = built(&mut self.rebuild).await;
                return self.end(built);
            }
            Stage::Following => {
                if self.clock.now_ms() >= self.sales_at_ms {
                    self.refresh_sales().await?;
                    if self.stage != Stage::Following {
                        return Ok(());
                    }
                }
                if self.order.is_some() && self.rebuild.is_none() {
                    self.begin();
                }
                let event = tokio::select! {
                    // Records may always be there: what is rarer comes first.
                    biased;
                    built = built(&mut self.rebuild) => Event::Built(built),
                    Some(order) = next_order(&mut self.orders), if self.order.is_none() => Event::Order(order),
                    polled = self.consumer.poll(BATCH_MAX) => Event::Records(polled?),
                    () = self.clock.sleep_until(self.sales_at_ms) => Event::Sales,
                    () = self.clock.sleep_until(self.look_at_ms), if self.is_shared => Event::Look,
                };
                match event {
                    Event::Built(built) => return self.end(built),
                    Event::Order(order) => self.order = Some(order),
                    Event::Records(records) => return self.take_all(records).await,
                    Event::Look => return self.look_at_shared().await,
                    Event::Sales => {}
                }
            }
        }
        Ok(())
    }

    /// Takes records; where that fails, the next step reads them again.
    async fn take_all(&mut self, records: Vec<Record>) -> Result<(), WorkerError> {
        let taken = self.take(&records).await;
        if taken.is_err() {
            go_to(&mut self.consumer, &self.next);
        }
        taken
    }
}

impl<L: Log, C: Clock> Worker for SearchSync<L, C> {
    const NAME: &'static str = "search_sync";

    async fn step(&mut self) -> Result<(), WorkerError> {
        let worked = self.work().await;
        if let Err(error) = &worked {
            self.warn(error);
        }
        worked
    }
}

/// Returns once the index that is built is in place or given up.
async fn built(rebuild: &mut Option<Rebuild>) -> Result<RebuildResult, WorkerError> {
    match rebuild {
        Some(rebuild) => rebuild.building.done().await,
        None => std::future::pending().await,
    }
}

async fn next_order(orders: &mut Option<mpsc::Receiver<RebuildOrder>>) -> Option<RebuildOrder> {
    match orders {
        Some(orders) => orders.recv().await,
        None => None,
    }
}
