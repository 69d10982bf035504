//! The feed that every core follows: activities, the journal, order events.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use commit_log::{Consumer, Log, LogError, Partition, Record as LogRecord};
use contract::{
    Activity, ActivityId,
    activity::EntryRule,
    record::{Entries, OrderEvent, OrderEvents, Record, TokenCut},
    stock::Entry,
    topic,
};
use foundation::{Clock, Readiness, SystemClock, ids::Lease};
use gateway_core::{Control, PartReason};
use ledger::confirmed::{CountedOrders, RecentHolds};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        watch,
    },
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Records read at a time; one may hold [`contract::record::ENTRIES_MAX`] entries.
const READ_MAX: usize = 1024;
/// Between two attempts to read a log that failed.
const RETRY: Duration = Duration::from_millis(200);
/// How often the cores' leases are extended; their bound is stored half a minute ahead.
const LEASE_EVERY: Duration = Duration::from_secs(5);

/// How often the readiness of the rest of the process is read.
const READINESS_EVERY: Duration = Duration::from_millis(200);

const TOPICS: [&str; 5] =
    [topic::ACTIVITIES, topic::ENTRY_RULES, topic::TOKEN_CUTS, topic::ORDERS, topic::ORDER_EVENTS];

/// How long a core with a full mailbox may keep the others from the next message before the process is no longer ready.
const HELD_UP_MAX: Duration = Duration::from_secs(2);

/// Sends to every core, and reports the known activities to the relay.
#[derive(Clone)]
pub(crate) struct Broadcast {
    pub(crate) cores: Vec<mpsc::Sender<Control>>,
    /// Where a core that takes no messages is reported.
    pub(crate) readiness: Readiness,
    pub(crate) activities: watch::Sender<Arc<[ActivityId]>>,
    /// What each core remembers until it was read on the journal.
    pub(crate) recent: Arc<[Arc<RecentHolds>]>,
}

impl Broadcast {
    pub(crate) async fn send(&self, control: Control) {
        if let Control::Activity(activity) = &control {
            self.activities.send_if_modified(|known| {
                let is_new = !known.contains(&activity.id);
                if is_new {
                    *known = known.iter().copied().chain([activity.id]).collect();
                }
                is_new
            });
        }
        // The cores that have room get it before a full one is waited for.
        let full = |(index, core): (usize, &mpsc::Sender<Control>)| match core.try_send(control.clone()) {
            // Closed: the core has ended.
            Ok(()) | Err(TrySendError::Closed(_)) => None,
            Err(TrySendError::Full(_)) => Some(index),
        };
        let full: Vec<usize> = self.cores.iter().enumerate().filter_map(full).collect();
        for index in full {
            self.send_to_full(index, control.clone()).await;
        }
    }

    /// Waits for room in the mailbox of a core. The other cores get no further message meanwhile, because what waits for the cores
    /// would be without a bound otherwise.
    async fn send_to_full(&self, index: usize, control: Control) {
        let mut sending = pin!(self.cores[index].send(control));
        if timeout(HELD_UP_MAX, &mut sending).await.is_ok() {
            return;
        }
        let reason = format!("core {index} has taken no message for {HELD_UP_MAX:?}, and the others wait for it");
        tracing::error!(%reason, "the gateway does not follow the log");
        let part = self.readiness.part(&format!("gateway core {index}"), &reason);
        // The core has ended.
        drop(sending.await);
        part.ready();
        tracing::info!(core = index, "the gateway follows the log again");
    }
}

/// Follows the log until `stop`. Returns once the cores have received everything that was on the log at the call, and
/// continues in the background.
pub(crate) async fn follow<L: Log>(log: &L, cores: &Broadcast, stop: CancellationToken) -> Result<(), LogError> {
    let mut counted = CountedOrders::default();
    // Cores must know which sales are over before they read rules, because they forget those of finished sales first.
    read_to_end(log, &[topic::ACTIVITIES], &mut counted, cores).await?;
    let mut feed = read_to_end(log, &TOPICS, &mut counted, cores).await?;
    cores.send(Control::CaughtUp).await;
    let cores = cores.clone();
    tokio::spawn(async move {
        loop {
            let records = tokio::select! {
                () = stop.cancelled() => return,
                records = feed.poll(READ_MAX) => records,
            };
            match records {
                Ok(records) => pass_on(&records, &mut HashMap::new(), &mut counted, &cores).await,
                Err(LogError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the gateway can't read the log; it retries");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    });
    Ok(())
}

/// Delivers every record that is in `topics` now. Returns the consumer, which continues after them.
async fn read_to_end<L: Log>(
    log: &L,
    topics: &[&str],
    counted: &mut CountedOrders,
    cores: &Broadcast,
) -> Result<L::Consumer, LogError> {
    let mut waiting = HashMap::new();
    for name in topics {
        waiting.extend(log.ends(name).await?.into_iter().filter(|(_, end)| *end > 0));
    }
    let mut feed = log.follow(topics).await?;
    while !waiting.is_empty() {
        let records = feed.poll(READ_MAX).await?;
        pass_on(&records, &mut waiting, counted, cores).await;
    }
    Ok(feed)
}

async fn pass_on(
    records: &[LogRecord],
    waiting: &mut HashMap<Partition, u64>,
    counted: &mut CountedOrders,
    cores: &Broadcast,
) {
    let (mut rules, mut entries, mut events): (Vec<EntryRule>, Vec<Entry>, Vec<OrderEvent>) = Default::default();
    let mut cuts = Vec::new();
    for record in records {
        let read = match &*record.partition.topic {
            topic::ACTIVITIES => match Activity::decode(&record.value) {
                Ok(activity) => {
                    cores.send(Control::Activity(activity)).await;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            topic::ENTRY_RULES => EntryRule::decode(&record.value).map(|rule| rules.push(rule)),
            topic::TOKEN_CUTS => TokenCut::decode(&record.value).map(|cut| cuts.push(cut)),
            topic::ORDERS => Entries::decode(&record.value).map(|read| entries.extend(read.into_vec())),
            _ => OrderEvents::decode(&record.value).map(|read| events.extend(read.into_vec())),
        };
        if let Err(error) = read {
            let Partition { topic, index } = &record.partition;
            tracing::error!(%error, %topic, partition = index, offset = record.offset, "a record can't be read");
        }
        if waiting.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
            waiting.remove(&record.partition);
        }
    }
    if !cuts.is_empty() {
        cores.send(Control::TokenCuts(Arc::from(cuts))).await;
    }
    if !rules.is_empty() {
        cores.send(Control::EntryRules(Arc::from(rules))).await;
    }
    if !entries.is_empty() {
        let settled = counted.take(&entries);
        for recent in cores.recent.iter() {
            recent.settle(&settled);
        }
        cores.send(Control::Entries(Arc::from(entries))).await;
    }
    if !events.is_empty() {
        cores.send(Control::OrderEvents(Arc::from(events))).await;
    }
}

/// What `/readyz` reports of the rest of the process.
pub(crate) fn readiness_now(readiness: &Readiness) -> gateway_core::Readiness {
    let list = |parts: Vec<(String, String)>| -> Arc<[PartReason]> {
        parts.into_iter().map(|(part, reason)| PartReason { part, reason }).collect()
    };
    let is_stopping = readiness.is_draining();
    gateway_core::Readiness { reasons: list(readiness.waiting()), warnings: list(readiness.warnings()), is_stopping }
}

/// Sends the cores the readiness of the rest of the process whenever it is another one than what was `sent` last.
pub(crate) async fn pass_readiness_on(
    readiness: Readiness,
    mut sent: gateway_core::Readiness,
    cores: Broadcast,
    stop: CancellationToken,
) {
    loop {
        let now = readiness_now(&readiness);
        if now != sent {
            cores.send(Control::Readiness(now.clone())).await;
            sent = now;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(READINESS_EVERY) => {}
        }
    }
}

/// Extends the leases of the cores' worker ids, one for each core.
pub(crate) async fn keep_leases(mut leases: Vec<Lease>, cores: Broadcast, stop: CancellationToken) {
    loop {
        for (lease, core) in leases.iter_mut().zip(&cores.cores) {
            match lease.extend(SystemClock.now_ms()) {
                // The core has ended.
                Ok(until_ms) => drop(core.send(Control::LeaseUntil(until_ms)).await),
                Err(error) => tracing::error!(%error, "a worker id's lease can't be renewed"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LEASE_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, watch};

    use super::*;

    /// A part may become ready between the first message to the cores and the start of this task.
    #[tokio::test]
    async fn cores_are_told_what_changed_before_the_task_began() {
        let readiness = Readiness::default();
        let part = readiness.part("gateway", "not checked yet");
        let sent = readiness_now(&readiness);
        part.ready();
        let (sender, mut receiver) = mpsc::channel(1);
        let (activities, recent) = (watch::channel(Arc::from([])).0, Arc::from([]));
        let cores = Broadcast { cores: vec![sender], readiness: readiness.clone(), activities, recent };
        let stop = CancellationToken::new();
        let passing = tokio::spawn(pass_readiness_on(readiness, sent, cores, stop.clone()));
        let told = tokio::time::timeout(Duration::from_secs(5), receiver.recv()).await;
        assert!(matches!(told, Ok(Some(Control::Readiness(now))) if now.reasons.is_empty()));
        stop.cancel();
        passing.await.unwrap();
    }

    #[tokio::test]
    async fn a_core_that_takes_no_messages_is_named_and_keeps_no_message_from_the_others() {
        let readiness = Readiness::default();
        let ((stuck, mut stuck_in), (other, mut other_in)) = (mpsc::channel(1), mpsc::channel(4));
        let (activities, recent) = (watch::channel(Arc::from([])).0, Arc::from([]));
        let cores = Broadcast { cores: vec![stuck, other], readiness: readiness.clone(), activities, recent };
        let sending = tokio::spawn(async move {
            for _ in 0..2 {
                cores.send(Control::CaughtUp).await;
            }
        });
        for _ in 0..2 {
            assert!(matches!(other_in.recv().await, Some(Control::CaughtUp)));
        }
        let patience = std::time::Instant::now() + 15 * HELD_UP_MAX;
        let waiting = loop {
            let waiting = readiness.waiting();
            if !waiting.is_empty() || std::time::Instant::now() > patience {
                break waiting;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(waiting[0].0 == "gateway core 0" && waiting[0].1.contains("the others wait"), "{waiting:?}");
        for _ in 0..2 {
            assert!(matches!(stuck_in.recv().await, Some(Control::CaughtUp)));
        }
        sending.await.unwrap();
        assert!(readiness.waiting().is_empty());
    }
}
