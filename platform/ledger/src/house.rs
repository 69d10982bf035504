//! The ledgers that live in this process: the pure state machines of `contract`, made durable by the
//! log before anybody hears yes.
//!
//! The house has no thread and no clock; [`crate::local`] gives it both, the simulation others.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use commit_log::Log;
use contract::{
    ActivityId,
    activity::Rules,
    record::LedgerCommand,
    stock::{BatchReply, Command, Counters, Entry, Event, Ledger, Outcome, Reservation, Window},
    trace::TraceContext,
};
use foundation::spans::SpanKind;

use crate::{
    LedgerUnavailable,
    journal::{self, TracedEntries},
    restore::{RebuildError, SnapshotSource, restore},
};

/// Entries in one append at most.
const APPEND_ENTRIES_MAX: usize = 4096;

/// Between two tries to rebuild; requests that come in between are refused at once.
const REBUILD_EVERY_MS: u64 = 200;

/// Takes the answer to one request.
pub type Reply<T> = Box<dyn FnOnce(Result<T, LedgerUnavailable>) + Send>;

/// What the ledgers are asked.
pub enum Request {
    /// A gateway's batch for one activity.
    Reserve {
        /// Whose ledger.
        activity: ActivityId,
        /// The span of the batch.
        trace: Option<TraceContext>,
        /// Answered in this order.
        reservations: Vec<Reservation>,
        /// Nothing new is held: see [`Command::Repeat`].
        repeats_only: bool,
        /// Unavailable where the ledger is not open.
        reply: Reply<BatchReply>,
    },
    /// See [`crate::LedgerClient::open`].
    Open {
        /// Whose ledger.
        activity: ActivityId,
        /// Units.
        stock: u64,
        /// The rules.
        rules: Rules,
        /// The counters, whether it was open before or not.
        reply: Reply<Counters>,
    },
    /// See [`crate::LedgerClient::act`].
    Act {
        /// Carried out in this order.
        commands: Vec<LedgerCommand>,
        /// One answer for each.
        reply: Reply<Vec<Outcome>>,
    },
    /// See [`crate::LedgerClient::counters`].
    Counters {
        /// Whose ledger.
        activity: ActivityId,
        /// `None` where it is not open.
        reply: Reply<Option<Counters>>,
    },
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Stats {
    commits: AtomicU64,
    reservations: AtomicU64,
}

impl Stats {
    /// Appends that carried at least one hold: each is one sync of the log.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Holds that were made durable.
    pub fn reservations(&self) -> u64 {
        self.reservations.load(Ordering::Relaxed)
    }
}

/// The ledgers of this process.
pub struct LedgerHouse<L, S> {
    log: L,
    snapshots: S,
    /// `None` while memory and log may differ: nothing is answered until they are one again.
    ledgers: Option<HashMap<ActivityId, Ledger>>,
    window: Window,
    rebuild_at_ms: u64,
    stats: Arc<Stats>,
}

/// An answer that waits for the log.
type Answer = Box<dyn FnOnce(Result<(), LedgerUnavailable>) + Send>;

fn answer<T: Send + 'static>(reply: Reply<T>, value: T) -> Answer {
    Box::new(move |durable| reply(durable.map(|()| value)))
}

impl<L: Log, S: SnapshotSource> LedgerHouse<L, S> {
    /// A house that rebuilds its ledgers before it answers.
    pub fn new(log: L, snapshots: S) -> Self {
        Self { log, snapshots, ledgers: None, window: Window::default(), rebuild_at_ms: 0, stats: Arc::default() }
    }

    /// Limits how often a user may try, in every ledger that is opened or rebuilt from now on.
    pub fn set_window(&mut self, window: Window) {
        self.window = window;
    }

    /// Shared with the code that shows the figures.
    pub fn stats(&self) -> Arc<Stats> {
        self.stats.clone()
    }

    /// The ledgers as database and journal have them: snapshots, and the entries after them.
    ///
    /// # Errors
    /// See [`RebuildError`]; nothing is answered until a rebuild succeeds.
    pub async fn rebuild(&mut self) -> Result<(), RebuildError> {
        self.ledgers = None;
        let mut ledgers = HashMap::new();
        for (activity, replayed) in restore(&self.log, &self.snapshots).await? {
            if let (Some(mut ledger), _) = replayed?.into_parts() {
                ledger.set_window(self.window);
                ledgers.insert(activity, ledger);
            }
        }
        tracing::info!(ledgers = ledgers.len(), "ledgers rebuilt from the database and the journal");
        self.ledgers = Some(ledgers);
        Ok(())
    }

    /// Answers `requests` in order. What they change is on the log, in one append, before any of
    /// them is answered; if the log fails, all are answered unavailable and the ledgers are rebuilt
    /// before the next.
    pub async fn serve(&mut self, requests: Vec<Request>, now_ms: u64) {
        if self.ledgers.is_none()
            && now_ms >= self.rebuild_at_ms
            && let Err(error) = self.rebuild().await
        {
            tracing::error!(%error, "the ledgers can't be rebuilt");
            self.rebuild_at_ms = now_ms.saturating_add(REBUILD_EVERY_MS);
        }
        let mut journal = Journal::default();
        let answers: Vec<Answer> = match &mut self.ledgers {
            Some(ledgers) => {
                requests.into_iter().map(|request| apply(ledgers, self.window, request, now_ms, &mut journal)).collect()
            }
            None => requests.into_iter().map(|request| refuse(request, "the ledgers are being rebuilt")).collect(),
        };
        let durable = self.persist(journal).await;
        if durable.is_err() {
            self.ledgers = None;
        }
        for answer in answers {
            answer(durable.clone());
        }
    }

    async fn persist(&self, journal: Journal) -> Result<(), LedgerUnavailable> {
        let Journal { entries, mut traced } = journal;
        let mut at = 0;
        while at < entries.len() {
            let end = entries.len().min(at + APPEND_ENTRIES_MAX);
            let mut here = take_up_to(&mut traced, at..end);
            let entries = &entries[at..end];
            at = end;
            let spans = journal::begin_spans(&mut here, "log append", SpanKind::Producer);
            let appended = self.log.append(journal::traced_records(entries, &here)).await;
            drop(spans);
            appended.map_err(|error| LedgerUnavailable(error.to_string()))?;
            let holds = entries.iter().filter(|entry| matches!(entry.event, Event::Held(_))).count() as u64;
            self.stats.reservations.fetch_add(holds, Ordering::Relaxed);
            self.stats.commits.fetch_add(u64::from(holds > 0), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// What the ledgers have decided.
#[derive(Default)]
struct Journal {
    entries: Vec<Entry>,
    traced: Vec<TracedEntries>,
}

/// Removes what begins in `part` from `traced`, as it is numbered there. What a part's end cuts has its rest in the next.
fn take_up_to(traced: &mut Vec<TracedEntries>, part: Range<usize>) -> Vec<TracedEntries> {
    let mut taken = Vec::new();
    traced.retain_mut(|TracedEntries { range, context }| {
        if range.start >= part.end {
            return true;
        }
        let end = range.end.min(part.end);
        taken.push(TracedEntries { range: range.start - part.start..end - part.start, context: *context });
        range.start = end;
        range.start < range.end
    });
    taken
}

fn apply(
    ledgers: &mut HashMap<ActivityId, Ledger>,
    window: Window,
    request: Request,
    now_ms: u64,
    Journal { entries: journal, traced }: &mut Journal,
) -> Answer {
    match request {
        Request::Reserve { activity, trace, reservations, repeats_only, reply } => match ledgers.get_mut(&activity) {
            None => refuse(
                Request::Reserve { activity, trace, reservations, repeats_only, reply },
                "the activity's ledger is not open",
            ),
            Some(ledger) => {
                let command = if repeats_only { Command::Repeat } else { Command::Reserve };
                let first = journal.len();
                let reserve = |asked| ledger.apply(command(asked), now_ms, journal);
                let outcomes = reservations.into_iter().map(reserve).collect();
                if let Some(context) = trace.filter(|_| journal.len() > first) {
                    traced.push(TracedEntries { range: first..journal.len(), context });
                }
                answer(reply, BatchReply { outcomes, counters: ledger.counters() })
            }
        },
        Request::Open { activity, stock, rules, reply } => {
            let ledger = ledgers.entry(activity).or_insert_with(|| {
                let (mut ledger, opened) = Ledger::open(activity, stock, rules, now_ms);
                ledger.set_window(window);
                journal.push(opened);
                ledger
            });
            answer(reply, ledger.counters())
        }
        Request::Act { commands, reply } => {
            let act = |LedgerCommand { activity, action }| match ledgers.get_mut(&activity) {
                None => Outcome::UnknownOrder,
                Some(ledger) => ledger.apply(action.into(), now_ms, journal),
            };
            let outcomes = commands.into_iter().map(act).collect();
            answer(reply, outcomes)
        }
        Request::Counters { activity, reply } => answer(reply, ledgers.get(&activity).map(Ledger::counters)),
    }
}

fn refuse(request: Request, reason: &'static str) -> Answer {
    let unavailable = LedgerUnavailable(reason.to_owned());
    match request {
        Request::Reserve { reply, .. } => Box::new(move |_| reply(Err(unavailable))),
        Request::Open { reply, .. } => Box::new(move |_| reply(Err(unavailable))),
        Request::Act { reply, .. } => Box::new(move |_| reply(Err(unavailable))),
        Request::Counters { reply, .. } => Box::new(move |_| reply(Err(unavailable))),
    }
}
