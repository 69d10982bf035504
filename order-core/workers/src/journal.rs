//! The ledger's journal into the database.

pub(super) mod parking;
mod rereading;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use commit_log::{Consumer, Log, LogError, Partition, Record, next_offsets};
use contract::{
    ActivityId,
    record::{Entries, Record as _},
    topic,
    trace::TraceContext,
};
use domain::{Line, Outlook, Parked, SaleError, SaleStore, TAKE_IN_MAX};
use foundation::{
    Clock,
    spans::{self, ActiveSpan, SpanKind},
};

use self::rereading::Rereading;
use crate::{Worker, WorkerError, bury, commit, rewind};

const GROUP: &str = "order-core";
/// The service of its spans.
static SERVICE: LazyLock<Arc<str>> = LazyLock::new(|| GROUP.into());
/// Records that are read at a time; one may hold [`contract::record::ENTRIES_MAX`] entries.
const READ_MAX: usize = 256;

/// Receives the list of parked sales.
type Report = Box<dyn Fn(&[Parked]) + Send>;
/// Receives what was taken in.
type Measure = Box<dyn Fn(&TakenIn<'_>) + Send>;

/// Entries that the database has taken in, and when.
#[derive(Debug)]
pub struct TakenIn<'a> {
    /// All of one read of the log.
    pub lines: &'a [Line],
    /// When the transaction began, epoch milliseconds.
    pub begun_ms: u64,
    /// When it was committed.
    pub done_ms: u64,
    /// The offset after the last record of each partition.
    pub next: &'a [(Partition, u64)],
}

/// Takes the ledger's journal into the database, up to [`TAKE_IN_MAX`] entries in one transaction.
///
/// Records that are no entries go to the dead letters. An entry never does: a mirror with a hole could
/// not be compared with its ledger any more. A sale whose next entry the database refuses is parked: that entry and
/// all later ones of the sale are kept in the database in their order, and are tried again now and then, while every
/// other sale goes on. Where entries are missing, the partition is read once more from its oldest record while
/// new records are taken in as before. This heals a database that is older than the group's offsets.
pub struct Journal<L: Log, S, C> {
    log: L,
    consumer: L::Consumer,
    store: S,
    clock: C,
    report: Report,
    measure: Measure,
    /// When the parked sales are looked at next.
    look_at_ms: u64,
    /// Every parked sale was tried since the worker started.
    tried_all: bool,
    /// How often in a row a sale's entries failed with an error whose outlook is unknown.
    unclear: BTreeMap<ActivityId, u32>,
    rereading: Option<Rereading<L::Consumer>>,
    /// Old records are asked for before new ones at every other step, so that neither starves the other.
    old_first: bool,
}

impl<L: Log, S, C> std::fmt::Debug for Journal<L, S, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

/// The work of one step.
enum Next {
    /// Records that the group has not committed.
    New(Vec<Record>),
    /// Records that are read once more.
    Old(Result<Vec<Record>, LogError>),
    /// Parked sales.
    Parked,
}

impl<L: Log, S: SaleStore, C: Clock> Journal<L, S, C> {
    /// Joins the workers of the journal.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn join(log: L, store: S, clock: C) -> Result<Self, WorkerError> {
        let consumer = log.join(GROUP, &[topic::ORDERS]).await?;
        Ok(Self {
            log,
            consumer,
            store,
            clock,
            report: Box::new(|_| ()),
            measure: Box::new(|_| ()),
            look_at_ms: 0,
            tried_all: false,
            unclear: BTreeMap::new(),
            rereading: None,
            old_first: false,
        })
    }

    /// Calls `report` with the parked sales, at least whenever the list changes.
    #[must_use]
    pub fn reporting(mut self, report: impl Fn(&[Parked]) + Send + 'static) -> Self {
        self.report = Box::new(report);
        self
    }

    /// Calls `measure` after each read of the log that was taken in.
    #[must_use]
    pub fn measuring(mut self, measure: impl Fn(&TakenIn<'_>) + Send + 'static) -> Self {
        self.measure = Box::new(measure);
        self
    }

    async fn next(&mut self) -> Result<Next, WorkerError> {
        if self.clock.now_ms() >= self.look_at_ms {
            return Ok(Next::Parked);
        }
        self.old_first = !self.old_first;
        let Self { consumer, rereading, clock, look_at_ms, old_first, .. } = self;
        let old = async {
            match rereading {
                Some(rereading) => rereading.poll().await,
                None => std::future::pending().await,
            }
        };
        let new = consumer.poll(READ_MAX);
        let look = clock.sleep_until(*look_at_ms);
        if *old_first {
            tokio::select! {
                biased;
                records = old => Ok(Next::Old(records)),
                records = new => Ok(Next::New(records?)),
                () = look => Ok(Next::Parked),
            }
        } else {
            tokio::select! {
                biased;
                records = new => Ok(Next::New(records?)),
                records = old => Ok(Next::Old(records)),
                () = look => Ok(Next::Parked),
            }
        }
    }

    async fn take_new(&mut self, records: &[Record]) -> Result<(), WorkerError> {
        let (lines, dead, traces) = read(records);
        let begun_ms = self.clock.now_ms();
        let spans = begin_spans(&traces);
        match spans.first() {
            Some(first) => spans::within(first, self.take(&lines)).await?,
            None => self.take(&lines).await?,
        };
        drop(spans);
        let (done_ms, next) = (self.clock.now_ms(), next_offsets(records));
        (self.measure)(&TakenIn { lines: &lines, begun_ms, done_ms, next: &next });
        bury(&self.log, GROUP, dead).await?;
        Ok(())
    }

    /// Takes in `lines`, or parks their sales; how many were kept for parked sales. What one transaction takes in
    /// before another fails is read again, and changes nothing then.
    async fn take(&mut self, lines: &[Line]) -> Result<usize, WorkerError> {
        let mut set_aside = 0;
        for lines in lines.chunks(TAKE_IN_MAX) {
            set_aside += match self.take_in(lines).await {
                Ok(kept) => {
                    if !self.unclear.is_empty() {
                        self.unclear.retain(|activity, _| lines.iter().all(|line| line.entry.activity != *activity));
                    }
                    kept
                }
                Err(error) if error.outlook() == Outlook::WillPass => return Err(error.into()),
                Err(_) => self.take_apart(lines).await?,
            };
        }
        Ok(set_aside)
    }

    async fn take_in(&mut self, lines: &[Line]) -> Result<usize, SaleError> {
        let taken = self.store.take_in(lines, self.clock.now_ms()).await.map_err(Into::into)?;
        if taken.failed > 0 {
            tracing::error!(orders = taken.failed, "orders could not be written; their units are released");
        }
        Ok(taken.set_aside)
    }

    /// Takes each sale by itself, and parks those that are refused.
    async fn take_apart(&mut self, lines: &[Line]) -> Result<usize, WorkerError> {
        let mut sales: BTreeMap<ActivityId, Vec<Line>> = BTreeMap::new();
        for line in lines {
            sales.entry(line.entry.activity).or_default().push(*line);
        }
        let (mut set_aside, mut unclear) = (0, None);
        for (activity, lines) in sales {
            match self.take_until_refused(&lines).await? {
                Taken::All(kept) => {
                    self.unclear.remove(&activity);
                    set_aside += kept;
                }
                Taken::Until(at, error) if self.is_final(activity, &error) => {
                    self.park(activity, &error, &lines[at..]).await?;
                }
                Taken::Until(_, error) => unclear = Some(error),
            }
        }
        unclear.map_or(Ok(set_aside), |error| Err(error.into()))
    }

    /// Takes in as many of one sale's entries as the database accepts. Where it refuses several at once, the first of
    /// them that is refused is found by halves.
    async fn take_until_refused(&mut self, lines: &[Line]) -> Result<Taken, WorkerError> {
        let (mut at, mut size, mut set_aside) = (0, lines.len(), 0);
        while at < lines.len() {
            size = size.min(lines.len() - at);
            match self.take_in(&lines[at..at + size]).await {
                Ok(kept) => {
                    at += size;
                    set_aside += kept;
                }
                Err(error) if error.outlook() == Outlook::WillPass => return Err(error.into()),
                Err(_) if size > 1 => size /= 2,
                Err(error) => return Ok(Taken::Until(at, error)),
            }
        }
        Ok(Taken::All(set_aside))
    }
}

/// How far a sale's entries were taken in.
enum Taken {
    /// To the end; this number of entries was kept for a parked sale.
    All(usize),
    /// Up to the one at this index, which was refused.
    Until(usize, SaleError),
}

/// A span for each of `traces`, the contexts of records that are read together. The transaction belongs to the first of
/// them, and the others have a link to it.
fn begin_spans(traces: &[TraceContext]) -> Vec<ActiveSpan> {
    let mut first = None;
    let begin = |trace: &TraceContext| {
        let mut span = spans::continuing(&SERVICE, Some(*trace), "journal", SpanKind::Consumer);
        match first {
            Some(first) => span.link(first),
            None => first = span.context(),
        }
        span
    };
    traces.iter().map(begin).collect()
}

/// The entries in `records`, the records that hold none, and the spans that the records come from.
fn read(records: &[Record]) -> (Vec<Line>, Vec<(Record, String)>, Vec<TraceContext>) {
    let (mut lines, mut dead, mut traces) = (Vec::with_capacity(records.len()), Vec::new(), Vec::new());
    for record in records {
        let offset = record.offset;
        match Entries::decode(&record.value) {
            Ok(read) => {
                traces.extend(read.trace());
                lines.extend(read.into_vec().into_iter().map(|entry| Line { offset, entry }));
            }
            Err(error) => dead.push((record.clone(), error.to_string())),
        }
    }
    (lines, dead, traces)
}

impl<L: Log, S: SaleStore, C: Clock> Worker for Journal<L, S, C> {
    const NAME: &'static str = "journal";

    async fn step(&mut self) -> Result<(), WorkerError> {
        match self.next().await? {
            Next::New(records) => {
                let result = match self.take_new(&records).await {
                    Ok(()) => commit(&mut self.consumer, next_offsets(&records)).await,
                    Err(error) => Err(error),
                };
                if result.is_err() {
                    rewind(&mut self.consumer, &records);
                }
                result
            }
            Next::Old(records) => self.take_old(records).await,
            Next::Parked => self.look().await,
        }
    }
}
